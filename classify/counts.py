"""Photos counted by class, and every figure of photos that count more or less than once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from classify.calibration_error import calibration_error
from classify.discrimination import confidence_auroc
from classify.outcomes import F64, Outcomes, ratio

Classes = NDArray[np.bool_]  # (C,) some of the classes
BY_CONFIDENCE = {"ece": calibration_error, "auroc": confidence_auroc}
Subsets = Mapping[str, Classes]  # name -> those whose mean F1 has that name


@dataclass(frozen=True)
class Counts:
    """Photos by class in each of B resamples; each (C + 1, B), the last row is of no column."""

    truth: F64
    predicted: F64
    hits: F64

    @classmethod
    def of(cls, one: Outcomes, weights: F64) -> Self:
        """weights : (n, B) how often each photo counts."""
        return cls.from_sums(class_rows(one) @ weights)

    @classmethod
    def from_sums(cls, sums: F64) -> Self:
        """From what the rows of `class_rows` add up to, (3 * (C + 1), B)."""
        hits, truth, predicted = np.split(sums, 3)
        return cls(truth=hits + truth, predicted=hits + predicted, hits=hits)

    @property
    def f1(self) -> F64:
        """(C + 1, B), 0 where there is nothing to divide by."""
        return ratio(2 * self.hits, self.truth + self.predicted)

    def figure(self, name: str) -> F64:
        """(B,) the metric `name`, of those that need no more than these counts."""
        if name == "balanced_accuracy":
            return self._mean(ratio(self.hits, self.truth))
        if name == "macro_f1":
            return self._mean(self.f1)
        if name == "weighted_f1":
            return ratio((self.f1 * self.truth).sum(axis=0), self.truth.sum(axis=0))
        if name == "mcc":
            return self._mcc()
        if name == "kappa":
            return self._kappa()
        raise ValueError(f"unknown metric {name!r}")

    def macro_f1(self, some: Classes) -> F64:
        """(B,) mean F1 of `some` classes that have photos; NaN where none has."""
        tested = np.sign(self.truth[:-1][some])
        return ratio((self.f1[:-1][some] * tested).sum(axis=0), tested.sum(axis=0), np.nan)

    def accuracy(self, some: Classes) -> F64:
        """(B,) share right of the photos of `some` classes; NaN where there are none."""
        hits, truth = (of[:-1][some].sum(axis=0) for of in (self.hits, self.truth))
        return ratio(hits, truth, np.nan)

    def _mean(self, per_class: F64) -> F64:
        tested = np.sign(self.truth)
        return ratio((per_class * tested).sum(axis=0), tested.sum(axis=0))

    def _mcc(self) -> F64:
        """Gorodkin's (2004); 0 where all photos are of one class, or predicted as one."""
        n, hits, agree, pairs = self._pairs()
        return ratio(n * hits - agree, np.sqrt((n**2 - pairs[0]) * (n**2 - pairs[1])))

    def _kappa(self) -> F64:
        """Cohen's (1960); NaN where truth and prediction are all one class."""
        n, hits, agree, _ = self._pairs()
        return ratio(n * hits - agree, n**2 - agree, np.nan)

    def _pairs(self) -> tuple[F64, F64, F64, list[F64]]:
        """Photos, hits, and pairs of photos where truth and prediction, two truths, two
        predictions are the same class; each (B,)."""
        n, hits = self.truth.sum(axis=0), self.hits.sum(axis=0)
        same = [(self.truth, self.predicted), (self.truth, self.truth)]
        same.append((self.predicted, self.predicted))
        agree, *pairs = (np.asarray(np.einsum("cb,cb->b", a, b)) for a, b in same)
        return n, hits, agree, pairs


class Figures:
    """The figures of one `Outcomes`, for any weights of its photos."""

    def __init__(self, one: Outcomes, names: Sequence[str], subsets: Subsets) -> None:
        self._one, self._subsets = one, subsets
        self._by_confidence = [name for name in names if name in BY_CONFIDENCE]
        values = {name: one.photo_values(name) for name in names}
        self._means = {name: value for name, value in values.items() if value is not None}
        self._counted = [n for n in names if n not in (*self._means, *self._by_confidence)]
        rows = [csr_array(value[None, :]) for value in self._means.values()]
        if self._counted or subsets:
            rows.append(class_rows(one))
        self._rows = vstack(rows, format="csr") if rows else None

    def __call__(self, weights: F64) -> dict[str, F64]:
        """name -> (B,) figures of photos that count `weights` (n, B) times."""
        found = {
            name: BY_CONFIDENCE[name](self._one.confidence, self._one.right, weights)
            for name in self._by_confidence
        }
        if self._rows is None:
            return found
        sums = np.asarray(self._rows @ weights)
        k = len(self._means)
        if k:
            n = weights.sum(axis=0)
            found |= {name: total / n for name, total in zip(self._means, sums[:k], strict=True)}
        if self._counted or self._subsets:
            counts = Counts.from_sums(sums[k:])
            found |= {name: counts.figure(name) for name in self._counted}
            found |= {name: counts.macro_f1(some) for name, some in self._subsets.items()}
        return found


def class_rows(one: Outcomes) -> Any:
    """(3 * (C + 1), n) sparse: the right photos by class, the wrong by truth and by prediction.

    Sparse products add in one order on any number of threads.
    """
    right, wrong = np.flatnonzero(one.right), np.flatnonzero(~one.right)
    size = one.n_classes + 1
    row = np.concatenate([one.y[right], size + one.y[wrong], 2 * size + one.predicted[wrong]])
    cells = (np.ones(len(row)), (row, np.concatenate([right, wrong, wrong])))
    return csr_array(cells, shape=(3 * size, len(one.y)))
