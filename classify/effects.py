"""What each axis of a sweep changes, all else being equal, and where that depends on another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np

from classify.bootstrap import Figure, difference
from classify.cell import Cell
from classify.outcomes import F64
from classify.paired import holm
from classify.sweep_answers import METRICS, Effect, Interaction

MOST_VALUES = 8  # of an axis that is asked about interactions
MOST_INTERACTIONS = 3000
_USUAL = Cell((), "")
_CHOSEN = ("encoders", "head")  # these have no usual value: the first of the grid
_CELL = {one.name for one in fields(Cell)}
_NONE = repr(None)
_TINY = 1e-12
Settings = Mapping[str, Any]
Written = Mapping[str, str]
Key = tuple[tuple[str, str], ...]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Contrast:
    """Pairs of configurations (by number) that differ in one axis alone."""

    axis: str
    value: Any
    reference: Any
    pairs: tuple[Pair, ...]


def find_axes(settings: Sequence[Settings], in_order: Sequence[Settings]) -> dict[str, list[Any]]:
    """axis -> its values, the reference first, of those that have two or more.

    settings : of the configurations that are compared; in_order : the same or more, as in the grid
    A parameter has the values of the heads that have it; without one stands None.
    """
    heads: dict[str, set[str]] = {}
    for one in in_order:
        for name in one:
            heads.setdefault(name, set()).add(one["head"])
    there = {name: {repr(one.get(name)) for one in settings} for name in heads}
    found = {}
    for name, its in heads.items():
        values = {repr(one.get(name)): one.get(name) for one in in_order if one["head"] in its}
        kept = [value for key, value in values.items() if key in there[name]]
        if len(kept) > 1:
            usual = None if name in _CHOSEN else repr(_usual(name))
            found[name] = sorted(kept, key=lambda value: repr(value) != usual)
    return found


def contrasts(settings: Sequence[Settings], axes: Mapping[str, Sequence[Any]]) -> list[Contrast]:
    """Each value of each axis against its reference, where pairs are there to tell.

    Two heads are compared at equal settings of all that both of them have, over every pair of
    settings of what only one has.
    """
    written, found = _written(settings), []
    for axis, (reference, *others) in axes.items():
        for value in others:
            pairs = list(_pairs(written, axis, value, reference))
            if pairs:
                found.append(Contrast(axis, value, reference, tuple(pairs)))
    return found


def effects(
    found: Sequence[Contrast],
    settings: Sequence[Settings],
    samples: Mapping[str, F64],
    metric: str,
    units: int,
) -> list[Effect]:
    """The mean difference of each contrast, with intervals and a p for their number.

    samples : metric or size of class -> (K, 1 + B), the value and those of the draws
    units : photos or groups that are drawn
    """
    heads = list(dict.fromkeys(one["head"] for one in settings))
    weights = np.array([_weights(one.pairs, len(settings)) for one in found])
    if not len(weights):
        return []
    moved = {name: weights @ np.nan_to_num(values) for name, values in samples.items()}
    holes = {name: np.isnan(values).any(axis=0) for name, values in samples.items()}
    p = [p_value(values, units) for values in moved[metric]]
    made = []
    for i, (one, raw, corrected) in enumerate(zip(found, p, holm(p), strict=True)):
        by_head = {}
        if one.axis != "head" and len(heads) > 1:
            for head in heads:
                pairs = [pair for pair in one.pairs if settings[pair[0]]["head"] == head]
                if pairs:
                    own = _weights(pairs, len(settings)) @ samples[metric]
                    by_head[head] = _figure(own)
        each = {name: _figure(np.where(holes[name], np.nan, moved[name][i])) for name in samples}
        made.append(
            Effect(
                axis=one.axis,
                value=one.value,
                reference=one.reference,
                pairs=len(one.pairs),
                figures={name: each[name] for name in METRICS if name in each},
                by_size={name: each[name] for name in each if name not in METRICS},
                by_head=by_head,
                p=raw,
                p_holm=float(corrected),
            )
        )
    return made


def interactions(
    found: Sequence[Contrast],
    settings: Sequence[Settings],
    axes: Mapping[str, Sequence[Any]],
    values: F64,
    units: int,
) -> list[Interaction]:
    """Differences of differences over each pair of axes, least p first.

    values : (K, 1 + B) of the metric. Axes of more than `MOST_VALUES` values are left out.
    """
    written = _written(settings)
    few = [name for name, its in axes.items() if len(its) <= MOST_VALUES]
    asked: list[tuple[Contrast, str, Any, Any, int]] = []
    weights: list[F64] = []
    for a, b in combinations(few, 2):
        axis, other = (b, a) if a == "head" else (a, b)
        reference, *rest = axes[other]
        for one in found:
            if one.axis != axis:
                continue
            for value in rest:
                terms = list(_quadruples(written, one, other, value, reference))
                if terms and len(weights) < MOST_INTERACTIONS:
                    own = np.mean(
                        [
                            _weights(mine, len(settings)) - _weights(its, len(settings))
                            for mine, its in terms
                        ],
                        axis=0,
                    )
                    asked.append((one, other, value, reference, len(terms)))
                    weights.append(own)
    if not asked:
        return []
    moved = np.array(weights) @ values
    p = [p_value(one, units) for one in moved]
    made = [
        Interaction(
            one.axis, one.value, one.reference, other, value, reference, n, _figure(own), raw,
            float(corrected),
        )
        for (one, other, value, reference, n), own, raw, corrected in zip(
            asked, moved, p, holm(p), strict=True
        )
    ]  # fmt: skip
    return sorted(made, key=lambda one: one.p)


def p_value(values: F64, units: int) -> float:
    """Two-sided p of "no difference" by the standard error of the draws, (1 + B,).

    Student's t with a degree of freedom fewer than the `units` that are drawn: smooth, so that it
    can be corrected for many comparisons, which a share of 1,000 draws cannot.
    """
    from scipy.stats import t

    value, spread = float(values[0]), float(np.nanstd(values[1:]))
    if abs(value) <= _TINY:
        return 1.0
    return float(2 * t.sf(abs(value) / max(spread, _TINY), max(units - 1, 1)))


def _pairs(written: Sequence[Written], axis: str, value: Any, reference: Any) -> Iterator[Pair]:
    without = _own(written, value, reference) if axis == "head" else set()
    sides: list[dict[Key, list[int]]] = []
    for wanted in (repr(value), repr(reference)):
        places: dict[Key, list[int]] = {}
        for i, one in enumerate(written):
            if one.get(axis, _NONE) == wanted:
                places.setdefault(_rest(one, {axis, *without}), []).append(i)
        sides.append(places)
    mine, its = sides
    for key, rows in mine.items():
        yield from ((i, j) for i in rows for j in its.get(key, ()))


def _quadruples(
    written: Sequence[Written], one: Contrast, other: str, value: Any, reference: Any
) -> Iterator[tuple[list[Pair], list[Pair]]]:
    """Pairs of the contrast at `value` and at `reference` of the other axis, all else equal."""
    without = _own(written, value, reference) if other == "head" else set()
    at: dict[str, dict[Key, list[Pair]]] = {repr(value): {}, repr(reference): {}}
    for pair in one.pairs:
        mine = written[pair[0]]
        places = at.get(mine.get(other, _NONE))
        if places is not None:
            places.setdefault(_rest(mine, {one.axis, other, *without}), []).append(pair)
    mine_at, its_at = at[repr(value)], at[repr(reference)]
    yield from ((pairs, its_at[key]) for key, pairs in mine_at.items() if key in its_at)


def _written(settings: Sequence[Settings]) -> list[Written]:
    """Values as keys; a parameter that is not set is as one that is not there."""
    return [
        {name: repr(one[name]) for name in sorted(one) if one[name] is not None} for one in settings
    ]


def _own(written: Sequence[Written], a: str, b: str) -> set[str]:
    """Parameters that only one of two heads has in this sweep."""
    have = [
        {name for one in written if one["head"] == repr(head) for name in one if name not in _CELL}
        for head in (a, b)
    ]
    return have[0] ^ have[1]


def _rest(one: Written, without: set[str]) -> Key:
    """All other settings."""
    return tuple(item for item in one.items() if item[0] not in without)


def _weights(pairs: Sequence[Pair], n: int) -> F64:
    """(n,) what each configuration counts in the mean difference."""
    found = np.zeros(n)
    for i, j in pairs:
        found[i] += 1 / len(pairs)
        found[j] -= 1 / len(pairs)
    return found


def _usual(name: str) -> Any:
    if name == "columns":
        return ""
    return getattr(_USUAL, name, None)


def _figure(values: F64) -> Figure:
    return difference(values, np.zeros_like(values))
