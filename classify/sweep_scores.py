"""What the configurations of a sweep are worth in the same resamples of the same photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classify.bootstrap import resampled
from classify.cell import Cell, CellResult
from classify.cell_store import SweepResult
from classify.configurations import Configuration, configurations
from classify.metrics import LESS_IS_BETTER
from classify.outcomes import F64, Ints, Outcomes
from classify.runs import Predictions
from classify.scored import SIZES, by_id, class_sizes, size_of
from classify.sweep_answers import METRICS
from embed.files import sha256


@dataclass(frozen=True)
class Photos:
    """Those that several cells were scored on, in the order of their ids."""

    groups: Ints
    """(n,) numbers of the groups that are drawn whole"""
    subsets: dict[str, NDArray[np.bool_]]
    """size of class -> (C,) the classes that have it"""
    classes: int
    """that have photos here"""
    trained: int
    """that are in training: those too that cannot be scored"""

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def units(self) -> int:
        return int(self.groups.max()) + 1


@dataclass(frozen=True)
class Scores:
    """K configurations that all have the same S seeds, in 1 + B draws of the same photos."""

    photos: Photos
    configurations: list[Configuration]
    """best first"""
    incomplete: list[Configuration]
    """those that lack one of the seeds; not compared"""
    seeds: tuple[int, ...]
    samples: dict[str, F64]
    """metric or size of class -> (K, 1 + B): the value, then those of the draws, over the seeds"""
    by_seed: F64
    """(K, S) the metric by which they stand in order"""
    outcomes: list[list[Outcomes]]
    """(K, S)"""


def read_outcomes(found: SweepResult) -> list[tuple[Photos, dict[Cell, Outcomes]]]:
    """The finished cells by the photos they were scored on, those of most cells first.

    One file of predictions is in memory at a time: of each photo some numbers are kept.
    """
    places: dict[str, Photos] = {}
    cells: dict[str, dict[Cell, Outcomes]] = {}
    for result in found.done:
        predictions = found.predictions(result)
        order = by_id(predictions)
        ids = np.array(predictions.ids, dtype=str)[order]
        group = ids if predictions.group is None else predictions.group[order]
        lines = map("\t".join, zip(ids, predictions.y[order], group, strict=True))
        key = sha256("\n".join([*predictions.classes, "", *lines]).encode())
        if key not in places:
            places[key] = _photos(predictions, group)
        outcomes = Outcomes.of(predictions.y_index, predictions.P).rows(order)
        cells.setdefault(key, {})[result.cell] = outcomes
    most_first = sorted(cells, key=lambda key: -len(cells[key]))
    return [(places[key], cells[key]) for key in most_first]


def scores(
    photos: Photos,
    outcomes: dict[Cell, Outcomes],
    results: Sequence[CellResult],
    metric: str,
    draws: int,
    seed: int = 0,
) -> Scores:
    """Draw groups of photos, and seeds where there are several, `draws` times.

    Crossed: photos and seeds are drawn independently, the same for all configurations (Owen 2007,
    "The pigeonhole bootstrap"; a little too wide where luck differs from photo to photo), with
    the seeds' deviations scaled by sqrt(S / (S - 1)), S being few (Rao and Wu 1988).
    """
    all_of_them = configurations([one for one in results if one.cell in outcomes], metric)
    seeds = shared_seeds(all_of_them)
    complete = [one for one in all_of_them if set(seeds) <= set(one.seeds)]
    cells = [
        [next(r.cell for r in one.results if r.cell.seed == s) for s in seeds] for one in complete
    ]
    drawn = resampled(
        [outcomes[cell] for row in cells for cell in row],
        list(METRICS),
        draws,
        seed,
        photos.groups,
        photos.subsets,
    )
    shape = (len(complete), len(seeds), 1 + draws)
    weights = seed_weights(len(seeds), draws, seed)
    samples, by_seed = {}, np.empty(shape[:2])
    for name in [*METRICS, *photos.subsets]:
        values = np.array([one[name] for one in drawn]).reshape(shape)
        samples[name] = np.einsum("ksb,sb->kb", values, weights)
        if name == metric:
            by_seed = values[:, :, 0].copy()
    order = np.argsort(-sign(metric) * samples[metric][:, 0], kind="stable")
    return Scores(
        photos=photos,
        configurations=[complete[i] for i in order],
        incomplete=[one for one in all_of_them if one not in complete],
        seeds=seeds,
        samples={name: values[order] for name, values in samples.items()},
        by_seed=by_seed[order],
        outcomes=[[outcomes[cell] for cell in cells[i]] for i in order],
    )


def sign(metric: str) -> int:
    """1 where more is better, -1 where less is."""
    return -1 if metric in LESS_IS_BETTER else 1


def shared_seeds(found: Sequence[Configuration]) -> tuple[int, ...]:
    """The seeds to compare by: such that most cells take part, more seeds first."""
    have = [frozenset(one.seeds) for one in found]
    every = sorted(frozenset().union(*have))
    common = sorted(every, key=lambda seed: (-sum(seed in each for each in have), seed))
    prefixes = [common[:k] for k in range(len(common), 0, -1)]
    best = max(prefixes, key=lambda some: len(some) * sum(set(some) <= each for each in have))
    return tuple(sorted(best))


def seed_weights(seeds: int, draws: int, seed: int = 0) -> F64:
    """(S, 1 + draws) what each of S seeds counts in each draw, first all equal; sums are 1."""
    weights = np.full((seeds, 1 + draws), 1 / seeds)
    if seeds > 1:
        rng = np.random.default_rng([seed, seeds])
        drawn = rng.multinomial(seeds, [1 / seeds] * seeds, draws).T / seeds
        weights[:, 1:] += np.sqrt(seeds / (seeds - 1)) * (drawn - 1 / seeds)
    return weights


def _photos(predictions: Predictions, group: NDArray[np.str_]) -> Photos:
    sizes = class_sizes(predictions, predictions.classes)
    names = np.array([size_of(n) for n in sizes])
    return Photos(
        groups=np.unique(group, return_inverse=True)[1],
        subsets={name: names == name for name in SIZES if (sizes[names == name] > 0).any()},
        classes=int((sizes > 0).sum()),
        trained=len(sizes),
    )
