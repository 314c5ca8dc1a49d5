"""Photos counted by class, and every figure of photos that count more or less than once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from classify.calibration_error import calibration_error
from classify.outcomes import F64, Ints, Outcomes

Subsets = Mapping[str, NDArray[np.bool_]]  # name -> (C,) classes


@dataclass(frozen=True)
class Counts:
    """Photos by class in each of B resamples; each (C + 1, B), the last row is of no column."""

    truth: F64
    predicted: F64
    hits: F64

    @classmethod
    def of(cls, one: Outcomes, weights: F64) -> Self:
        """weights : (n, B) how often each photo counts."""

        def summed(column: Ints, rows: Ints) -> F64:
            cells = (np.ones(len(rows)), (column[rows], rows))
            return np.asarray(csr_array(cells, shape=(one.n_classes + 1, len(column))) @ weights)

        everything = np.arange(len(one.y))
        return cls(
            truth=summed(one.y, everything),
            predicted=summed(one.predicted, everything),
            hits=summed(one.y, np.flatnonzero(one.right)),
        )

    @property
    def f1(self) -> F64:
        return ratio(2 * self.hits, self.truth + self.predicted)

    def figure(self, name: str, subset: NDArray[np.bool_] | None = None) -> F64:
        """(B,) balanced_accuracy, macro_f1, weighted_f1; or the macro-F1 of a subset (C,)."""
        tested = np.sign(self.truth)
        if subset is not None:
            per_class, weight = self.f1[:-1][subset], tested[:-1][subset]
        elif name == "balanced_accuracy":
            per_class, weight = ratio(self.hits, self.truth), tested
        elif name == "macro_f1":
            per_class, weight = self.f1, tested
        elif name == "weighted_f1":
            per_class, weight = self.f1, self.truth
        else:
            raise ValueError(f"unknown metric {name!r}")
        return ratio((per_class * weight).sum(axis=0), weight.sum(axis=0))


def figures(one: Outcomes, names: Sequence[str], weights: F64, subsets: Subsets) -> dict[str, F64]:
    """name -> (B,) figures of photos that count `weights` (n, B) times.

    `subsets` of the classes have their mean F1 under their names.
    """
    values = {name: one.photo_values(name) for name in names}
    means = {name: v @ weights / weights.sum(axis=0) for name, v in values.items() if v is not None}
    if "ece" in names:
        means["ece"] = calibration_error(one.confidence, one.right, weights)
    left = [name for name in (*names, *subsets) if name not in means]
    if not left:
        return means
    counts = Counts.of(one, weights)
    return means | {name: counts.figure(name, subsets.get(name)) for name in left}


def ratio(part: NDArray[Any], whole: NDArray[Any], nothing: float = 0.0) -> F64:
    """part / whole, and `nothing` where whole is 0."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), nothing)
