"""Photos that look unlike their class: labels to doubt, the most doubtful first."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classify.dataset import Dataset
from classify.folds import held_out_folds, in_one_group, out_of_fold
from classify.heads import make_head
from classify.model import Model

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]

JUDGES = ("knn", "lda")  # a local and a global view, both fast; their probabilities are averaged
FOLDS = 5
NEAREST = 3


@dataclass(frozen=True)
class Witness:
    """A photo that looks like a doubted one."""

    row: int
    cosine: float


@dataclass(frozen=True)
class Doubts:
    """Every photo whose label could be judged, the most doubtful first.

    photos : those given; rows of one `group` are copies of each other, and no witnesses
    table : DataFrame, one row a judged photo: `row` (in `photos`), id, label, suggested (the
        likeliest other class), score (0 to 1: how far the suggested class is ahead of the given
        one, .5 is a tie), p_label, p_suggested (out of fold), confident (bool: confident learning
        counts the label as wrong)
    unjudged : photos whose class has no other group of photos to be judged by
    """

    photos: Dataset
    table: Any
    unjudged: int

    @property
    def doubted(self) -> Any:
        """The rows of `table` whose suggested class is likelier than the given one."""
        return self.table[self.table["score"] > 0.5]

    @property
    def wrong(self) -> int:
        """How many labels confident learning counts as wrong; hard photos are among them."""
        return int(self.table["confident"].sum())

    def witnesses(self, row: int, label: str) -> list[Witness]:
        """The photos of class `label` most similar to one, the nearest first; never its copies."""
        y, group, X = self.photos.y, self.photos.group, self.photos.X
        others = np.flatnonzero((y == label) & (group != group[row]))
        cosines = X[others] @ X[row]
        nearest = np.argsort(-cosines, kind="stable")[:NEAREST]
        return [Witness(int(others[i]), float(cosines[i])) for i in nearest]


def find_doubts(photos: Dataset, seed: int = 0) -> Doubts:
    """Judge every label by models that saw neither the photo nor its group.

    photos : sides do not count here, so leave the test photos out before; near-duplicates belong
        in one group

    Probabilities are the mean of two heads, each cross-validated. The score is p_s / (p_s + p_g),
    g the given class and s the likeliest other one. It orders photos as the log-odds do: a photo
    that looks like no class in particular (both are low) is no wrong label, as it is where photos
    are ranked by p_g alone (self-confidence), and of two low p_g the lower counts, as it does not
    in the difference p_s - p_g (normalised margin).
    """
    rows, P = probabilities(photos, seed)
    return doubts_of(photos, rows, P)


def doubts_of(photos: Dataset, rows: Ints, P: F64) -> Doubts:
    """The doubts that `probabilities` raise."""
    return Doubts(photos, _table(photos, rows, P), len(photos) - len(rows))


def probabilities(photos: Dataset, seed: int = 0) -> tuple[Ints, F64]:
    """(m,) rows that can be judged, and (m, C) what models without their groups say of them."""
    groups = len(np.unique(photos.group))
    classes, index = np.unique(photos.y, return_inverse=True)
    if len(classes) < 2 or groups < 2 or in_one_group(photos).all():
        return np.array([], dtype=np.int64), np.zeros((0, max(1, len(classes))))
    fold = held_out_folds(photos, min(FOLDS, groups), seed)
    heads = (Model(make_head(name)) for name in JUDGES)
    P = np.mean([out_of_fold(head, photos, fold).P for head in heads], axis=0)
    rows = np.flatnonzero(fold >= 0)
    known = P[np.arange(len(rows)), index[rows]] > 0  # else its class was absent from training
    return rows[known], P[known]


def _table(photos: Dataset, rows: Ints, P: F64) -> Any:
    """See `Doubts.table`; `rows` are those of `photos` that P (m, C) is of."""
    classes, index = np.unique(photos.y, return_inverse=True)
    given, n = index[rows], np.arange(len(rows))
    others = P.copy()
    others[n, given] = -1.0
    suggested = others.argmax(axis=1)
    p_label, p_suggested = P[n, given], P[n, suggested]
    table = pd.DataFrame(
        {
            "row": rows,
            "id": np.array(photos.ids, dtype=object)[rows],
            "label": classes[given],
            "suggested": classes[suggested],
            "score": p_suggested / (p_suggested + p_label),
            "p_label": p_label,
            "p_suggested": p_suggested,
            "confident": confident_class(P, given) != given,
        }
    )
    # 1 - score has more digits where the score is near 1
    order = np.lexsort((table["id"], p_label / (p_suggested + p_label)))
    return table.iloc[order].reset_index(drop=True)


def confident_class(P: F64, given: Any) -> Any:
    """The class that each label is counted under in the confident joint; the given one if none.

    Northcutt, Jiang, Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels":
    the likeliest of the classes whose probability reaches its threshold, the mean probability of
    the class over the photos labelled so.
    P : (n, C); given : (n,) columns. Returns (n,) columns.
    """
    counts = np.bincount(given, minlength=P.shape[1])
    sums = np.bincount(given, P[np.arange(len(P)), given], minlength=P.shape[1])
    threshold = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    reached = np.where(threshold - 1e-6 <= P, P, -1.0)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), given)
