"""How a head's figures grow with the training photos of each class."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.bootstrap import figure, resampled
from classify.dataset import Dataset, load_dataset
from classify.folds import Bools, held_out_folds, out_of_fold
from classify.model import Model
from classify.one_head import one_head
from classify.outcomes import F64, Outcomes
from classify.power_law import outlook
from classify.stratify import per_class_subset
from classify.tables import bracketed
from embed.errors import UserError
from embed.files import sha256, write_json
from embed.words import counted
from embed.workspace import Workspace, slug

SIZES = (2, 5, 10, 20, 50, None)  # photos of each class that train; None is all
METRICS = ("macro_f1", "accuracy")

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Point:
    """One number of photos a class.

    photos_per_class : None for all
    photos : in training, the mean over folds and draws
    classes : that train; `complete` of them have as many photos as that in every fold
    macro_f1, accuracy : (value, low, high), out of fold, on the same photos in every point
    """

    photos_per_class: int | None
    photos: float
    classes: int
    complete: int
    macro_f1: tuple[float, float, float]
    accuracy: tuple[float, float, float]


@dataclass(frozen=True)
class Curve:
    """The points of one head, fewest photos first, and what may be said of more photos."""

    head: str
    encoders: tuple[str, ...]
    points: tuple[Point, ...]
    sentence: str
    scored: int  # photos that are predicted
    folds: int
    seed: int
    repeats: int
    notes: tuple[str, ...]
    metric: str = "macro_f1"
    path: Path | None = None  # where it is written

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "path"}

    def lines(self) -> list[str]:
        """The curve in plain words, a line a point."""
        return list(self._lines())

    def _lines(self) -> Iterator[str]:
        yield (
            f"{self.head} on {'+'.join(self.encoders)}: {counted(self.scored, 'photo')} predicted "
            f"out of fold, {self.folds} folds, {counted(self.repeats, 'draw')} a point"
        )
        for p in self.points:
            size = "all" if p.photos_per_class is None else f"{p.photos_per_class:,}"
            yield (
                f"{size:>5} a class ({p.photos:,.0f} photos)  macro-F1 {bracketed(p.macro_f1)}  "
                f"accuracy {bracketed(p.accuracy)}"
            )
        yield self.sentence
        yield from self.notes


def chosen_sizes(text: str) -> tuple[int | None, ...]:
    """`2,5,all` as `learning_curve` takes it; a `UserError` for anything else."""
    words = [word.strip().lower() for word in text.split(",")]
    if not all(word == "all" or (word.isdecimal() and int(word) > 0) for word in words):
        raise UserError(
            "--sizes takes numbers of photos a class, and all, as in --sizes 2,5,10,all. "
            f"Got '{text}'."
        )
    return tuple(None if word == "all" else int(word) for word in words)


def learning_curve(
    workspace: Workspace,
    head: str,
    encoders: Sequence[str] | None = None,
    sizes: Sequence[int | None] = SIZES,
    folds: int = 5,
    seed: int = 0,
    split_name: str = "default",
    repeats: int = 3,
) -> Curve:
    """`cli curve`: measure on the training photos and write curves/HEAD-….json.

    sizes : photos of each class that may train, None for all
    repeats : draws of them, whose figures are averaged
    """
    dataset, notes = load_dataset(workspace, encoders, split_name)
    train = dataset.part("train")
    model = one_head(workspace, train, head, seed)
    found = measure_curve(train, model, sizes, folds, seed, repeats)
    wished = [*map(str, sizes), str(folds), str(seed), str(repeats)]
    digest = sha256("\n".join([train.vectors_digest, head, *wished]).encode())[:6]
    path = workspace.folder / "curves" / f"{head}-{slug(split_name)}-{digest}.json"
    curve = replace(found, notes=(*notes, *found.notes), path=path)
    write_json(path, curve.to_json() | {"split": split_name, "data": train.digest})
    return curve


def measure_curve(
    train: Dataset,
    model: Model,
    sizes: Sequence[int | None] = SIZES,
    folds: int = 5,
    seed: int = 0,
    repeats: int = 3,
) -> Curve:
    """Out-of-fold figures with the training part of each fold cut to some photos of each class.

    The folds are those of `cli fit`, so the point of all photos has its figures; every point
    predicts the same photos. The draws of one repeat are nested: more photos are the same ones
    and more.
    """
    if repeats < 1 or not sizes or any(n is not None and n < 1 for n in sizes):
        raise UserError(
            "Expected sizes of 1 photo a class or more and at least one draw, as in "
            f"--sizes 2,5,10,all --repeats 3. Got {list(sizes)} and {repeats}."
        )
    fold = held_out_folds(train, folds, seed)
    largest = max(
        np.unique(train.y[_training(train, fold, f)], return_counts=True)[1].max()
        for f in np.unique(fold[fold >= 0])
    )
    wished = sorted({n for n in sizes if n is not None})
    kept = [*(n for n in wished if n < largest), *([None] if None in sizes else [])]
    if not kept:
        raise UserError(f"Every size is beyond the {largest} photos that the largest class has.")
    points, samples = [], []
    for n in kept:
        point, values = _point(train, model, fold, n, seed, 1 if n is None else repeats)
        points.append(point)
        samples.append(values)
    sentence = outlook([p.photos / p.classes for p in points], np.array(samples))
    return Curve(
        head=model.head.name,
        encoders=tuple(spec.name for spec in train.specs),
        points=tuple(points),
        sentence=sentence,
        scored=int((fold >= 0).sum()),
        folds=len(np.unique(fold[fold >= 0])),
        seed=seed,
        repeats=repeats,
        notes=tuple(_notes(points, [n for n in wished if n >= largest], int(largest))),
    )


def _training(train: Dataset, fold: Ints, held_out: Any) -> NDArray[np.bool_]:
    """(n,) the rows that may train while a fold is held out, as `out_of_fold` takes them."""
    return ~np.isin(train.group, train.group[fold == held_out])


def _fewer(train: Dataset, n: int | None, seed: int, among: Bools) -> Bools:
    """(n,) of the rows `among` (n,) which `n` of each class to take."""
    rows, kept = np.flatnonzero(among), np.zeros(len(train), dtype=bool)
    kept[rows[per_class_subset(train.y[rows], train.group[rows], n, seed)]] = True
    return kept


def _point(
    train: Dataset, model: Model, fold: Ints, n: int | None, seed: int, repeats: int
) -> tuple[Point, F64]:
    """A point and its macro-F1 (1 + B,) in the resamples, which all points share."""
    outcomes, sizes, complete = [], [], []
    for repeat in range(repeats):
        fewer = partial(_fewer, train, n, seed + repeat)
        found = out_of_fold(model, train, fold, fewer)
        outcomes.append(Outcomes.of(found.y_index, found.P))
        for held_out in np.unique(fold[fold >= 0]):
            chosen = fewer(_training(train, fold, held_out))
            counts = np.unique(train.y[chosen], return_counts=True)[1]
            sizes.append(int(chosen.sum()))
            complete.append(int((counts >= (n or 0)).sum()))
    units = train.group[fold >= 0]
    drawn = resampled(outcomes, METRICS, seed=seed, groups=units)
    mean = {name: np.mean([one[name] for one in drawn], axis=0) for name in METRICS}
    figures = {name: figure(name, mean[name], len(np.unique(units))) for name in METRICS}
    point = Point(n, float(np.mean(sizes)), len(found.classes), min(complete), **figures)
    return point, mean["macro_f1"]


def _notes(points: Sequence[Point], beyond: Sequence[int], largest: int) -> Iterator[str]:
    if beyond:
        named = " and ".join(map(str, beyond))
        yield (
            f"{named} photos a class left out: the largest class has {largest} in training, so "
            "that is the same as all"
        )
    for p in points:
        if p.photos_per_class is not None and p.complete < p.classes:
            fewer = p.classes - p.complete
            yield (
                f"at {p.photos_per_class} a class, {fewer} of "
                f"{counted(p.classes, 'class has', 'classes have')} fewer and keep what they have"
            )
