"""How much a random split flatters: the same photos with their groups known, and held out."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.bootstrap import difference, figure, resampled
from classify.dataset import Dataset, load_dataset
from classify.folds import out_of_fold
from classify.grouping import column_of, together
from classify.model import Model
from classify.one_head import one_head
from classify.outcomes import Outcomes
from classify.runs import Predictions
from classify.splits import make_folds
from classify.stratify import Ints
from classify.tables import bracketed
from embed.errors import UserError
from embed.files import sha256, write_json
from embed.words import counted
from embed.workspace import Workspace, slug

NEAR_DUPLICATES = "near-duplicates"  # as `by`: groups of photos that look the same
METRICS = ("macro_f1", "accuracy")
WIDE = 0.1  # of an interval: beyond it "no leak" would say next to nothing
FEW_GROUPS = 10  # below that a bootstrap over groups is not to be trusted
_LENGTH = 6  # of the digest in the file's name

Figure = tuple[float, float, float]  # value, low, high (95%)


@dataclass(frozen=True)
class LeakReport:
    """Two figures of one head on the same photos.

    random : metric -> figure, where photos of the same group may be in training
    held_out : the same, where their whole group is held out
    difference : random minus held out, paired
    photos, groups : that are scored, of `testable` classes
    not_testable : classes of one group, which train and are not scored
    """

    by: str
    head: str
    encoders: tuple[str, ...]
    random: dict[str, Figure]
    held_out: dict[str, Figure]
    difference: dict[str, Figure]
    testable: int
    not_testable: tuple[str, ...]
    photos: int
    groups: int
    folds: int
    seed: int
    label: str
    notes: tuple[str, ...]
    path: Path | None = None  # where it is written

    @property
    def sentence(self) -> str:
        """What the difference means."""
        value, low, high = self.difference["macro_f1"]
        random, held_out = self.random["macro_f1"][0], self.held_out["macro_f1"][0]
        figures = (
            f"{random:.3f} where photos of the same {self._kind} were learnt from, {held_out:.3f} "
            "where none were"
        )
        points = f"{100 * value:.1f} points [{100 * low:.1f}, {100 * high:.1f}] of macro-F1"
        if low > 0:
            return (
                f"A random split flatters this collection by {points}: {figures}. Quote the "
                f"second for photos of a new {self._kind}."
            )
        if high < 0:
            return (
                f"A random split does not flatter this collection: it gives {points} against "
                f"holding out, {figures}."
            )
        if high - low > WIDE:
            return (
                f"These photos cannot show whether a random split flatters: it gives {points} more "
                f"than holding out, {figures}. So wide an interval may hide a large leak, or none."
            )
        return f"No leak that these photos could show: {points}, {figures}."

    @property
    def _kind(self) -> str:
        return "group of near-duplicates" if self.by == NEAR_DUPLICATES else self.by

    def to_json(self) -> dict[str, Any]:
        facts = {name: value for name, value in asdict(self).items() if name != "path"}
        return facts | {"sentence": self.sentence}

    def lines(self, most: int = 10) -> list[str]:
        """The report in plain words, a line each."""
        return list(self._lines(most))

    def _lines(self, most: int) -> Iterator[str]:
        yield (
            f"{self.head} on {'+'.join(self.encoders)}: {counted(self.photos, 'training photo')} "
            f"of {counted(self.testable, 'class', 'classes')} in "
            f"{counted(self.groups, 'group')} by {self.by}, {self.folds} folds"
        )
        for name in METRICS:
            shown = (self.random[name], self.held_out[name], self.difference[name])
            random, held_out, apart = map(bracketed, shown)
            yield f"{name:<9} random {random}  held out {held_out}  difference {apart}"
        yield self.sentence
        if self.not_testable:
            named = ", ".join(self.not_testable[:most])
            more = len(self.not_testable) - most
            yield (
                f"{counted(len(self.not_testable), 'class', 'classes')} of one {self._kind} only, "
                f"in training and not scored: {named}" + (f" and {more} more" if more > 0 else "")
            )
        yield from self.notes


def leak_report(
    workspace: Workspace,
    by: str,
    head: str = "knn",
    encoders: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
    split_name: str = "default",
) -> LeakReport:
    """`cli leak`: measure on the training photos and write leaks/BY-HEAD-….json.

    by : a column of the collection, or `near-duplicates`
    """
    dataset, notes = load_dataset(workspace, encoders, split_name)
    train = dataset.part("train")
    if by == NEAR_DUPLICATES:
        from classify.near_groups import near_groups

        # a photo like no other is a group of its own
        ids = train.rows["id"]
        value = ids.map(near_groups(workspace, train.rows)).astype("object")
        value = value.where(value.notna(), "only " + ids)
    else:
        value = column_of(train.rows, by, "--by")
    found = measure(train, value, one_head(workspace, train, head, seed), by, folds, seed)
    identity = [train.vectors_digest, by, head, str(folds), str(seed)]
    name = f"{slug(by)}-{head}-{sha256(chr(10).join(identity).encode())[:_LENGTH]}"
    path = workspace.folder / "leaks" / f"{name}.json"
    report = replace(found, notes=(*notes, *found.notes), path=path)
    write_json(path, report.to_json() | {"split": split_name, "data": train.digest})
    return report


def measure(
    train: Dataset, value: Any, model: Model, by: str, folds: int = 5, seed: int = 0
) -> LeakReport:
    """The report on `train`, whose row i has the `value` i of `by` (n,), missing where unknown.

    Held out: `folds` folds with whole groups in each. Random: the photos of each class change
    places among the folds, so that every fold trains on as many photos of each class as before
    (identical photos stay apart from their copies and may make it a few less), and only which
    photos they are differs. Rows without a value, and classes of one group, train in both.

    The difference is that of the same photos, its interval a bootstrap over whole groups; the
    draw of the folds is taken as it is.
    """
    known = ~np.asarray(_missing(value))
    group = together([train.rows["key"], value], len(train))
    fold, folds, out = _folds_of_groups(train.y, group, known, by, folds, seed)
    scored = fold >= 0
    mixed = _permuted_within(train.y, fold, seed)
    copies = together([train.rows["key"]], len(train))
    held_out = _predicted(model, train, group, fold)
    random = _predicted(model, train, copies, mixed)
    units = group[scored]
    outcomes = [Outcomes.of(one.y_index, one.P) for one in (random, held_out)]
    a, b = resampled(outcomes, METRICS, seed=seed, groups=units)
    n_groups = len(np.unique(units))
    wide = _widening(train.y[scored], units)
    return LeakReport(
        by=by,
        head=model.head.name,
        encoders=tuple(spec.name for spec in train.specs),
        random={m: _wider(figure(m, a[m], n_groups), wide[m], 0) for m in METRICS},
        held_out={m: _wider(figure(m, b[m], n_groups), wide[m], 0) for m in METRICS},
        difference={m: _wider(difference(a[m], b[m]), wide[m], -1) for m in METRICS},
        testable=len(np.unique(train.y[scored])),
        not_testable=tuple(out),
        photos=int(scored.sum()),
        groups=n_groups,
        folds=folds,
        seed=seed,
        label=train.label,
        notes=tuple(_notes(known, by, n_groups)),
    )


def _missing(value: Any) -> Any:
    import pandas as pd

    return pd.isna(pd.Series(value).to_numpy())


def _folds_of_groups(
    y: NDArray[np.str_], group: Ints, known: NDArray[np.bool_], by: str, folds: int, seed: int
) -> tuple[Ints, int, list[str]]:
    """(n,) the fold of each row, -1 for those that always train; how many; classes not scored."""
    known = ~np.isin(group, group[~known])
    classes, index = np.unique(y, return_inverse=True)
    groups = [len(np.unique(group[known & (index == c)])) for c in range(len(classes))]
    scored = known & (np.array(groups) > 1)[index]
    if len(np.unique(y[scored])) < 2:
        raise UserError(
            f"A leak by {by} shows in classes with photos of two or more {by}; fewer than two of "
            f"the {counted(len(classes), 'class', 'classes')} in training are such. "
            "Choose another column with --by."
        )
    folds = min(folds, len(np.unique(group[scored])))
    fold = np.full(len(y), -1, dtype=np.intp)
    fold[scored] = make_folds(y[scored], group[scored], folds, seed)
    for c in range(len(classes)):  # groups of several classes may leave one in a single fold
        mine = index == c
        if len(np.unique(fold[mine & scored])) < 2:
            fold[mine] = -1
    out = [str(classes[c]) for c in range(len(classes)) if (fold[index == c] < 0).all()]
    return fold, folds, out


def _permuted_within(y: NDArray[np.str_], fold: Ints, seed: int) -> Ints:
    """The folds shuffled inside each class; rows without one keep none."""
    rng = np.random.default_rng(seed)
    mixed = fold.copy()
    for name in np.unique(y[fold >= 0]):
        rows = np.flatnonzero((y == name) & (fold >= 0))
        mixed[rows] = rng.permutation(fold[rows])
    return mixed


def _predicted(model: Model, train: Dataset, group: Ints, fold: Ints) -> Predictions:
    return out_of_fold(model, replace(train, group=group.astype(str)), fold.astype(np.int64))


def _widening(y: NDArray[np.str_], group: Ints) -> dict[str, float]:
    """metric -> by what its interval over few groups is to be stretched.

    A mean of k groups that are drawn with replacement varies (k - 1) / k as much as it should (Rao
    and Wu 1988): those of a class for macro-F1, all for accuracy.
    """
    k = np.array([len(np.unique(group[y == name])) for name in np.unique(y)])
    n = len(np.unique(group))
    return {"macro_f1": float(np.sqrt((k / (k - 1)).mean())), "accuracy": np.sqrt(n / (n - 1))}


def _wider(one: Figure, factor: float, least: float) -> Figure:
    value, low, high = one
    ends = value - factor * (value - low), value + factor * (high - value)
    return value, float(max(ends[0], least)), float(min(ends[1], 1.0))


def _notes(known: NDArray[np.bool_], by: str, groups: int) -> Iterator[str]:
    if lone := int((~known).sum()):
        yield f"{counted(lone, 'photo')} without a {by}: in training, not scored"
    if groups < FEW_GROUPS:
        yield (f"only {groups} groups: an interval over so few is too narrow, take it as a hint")
