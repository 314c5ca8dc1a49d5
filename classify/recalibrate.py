"""Probabilities made to mean what they say, by photos that the model did not see."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from classify.calibration import SMALLEST, log_normalised, log_probabilities, temperature
from classify.class_scaling import vector_scaling
from classify.isotonic import isotonic_steps, stepped
from classify.outcomes import F64, LEAST_PROBABILITY, Ints
from classify.runs import Predictions
from embed.errors import UserError, did_you_mean
from embed.words import counted

METHODS = ("none", "temperature", "vector", "isotonic")  # from the simplest on
# Below some 1,000 photos isotonic regression learns their noise (Niculescu-Mizil and Caruana 2005),
# and it is the wrong ones that say how far to lower a probability.
FEWEST_PHOTOS, FEWEST_WRONG = 1000, 100


@dataclass(frozen=True)
class Evidence:
    """Out-of-fold predictions of photos whose class the fold's model knew."""

    P: F64  # (n, C)
    y_index: Ints  # (n,) column of the true class
    fold: Ints  # (n,)
    group: NDArray[Any]  # (n,)
    unknown: int  # photos that are left out

    @classmethod
    def of(cls, oof: Predictions) -> Self:
        """A class is unknown to a fold's model where its whole column is 0.

        Its photos say nothing about the final model, which knows their class.
        """
        if oof.fold is None:
            raise ValueError("expected out-of-fold predictions, got some without a fold")
        y, known = oof.y_index, np.zeros(len(oof.y), dtype=bool)
        for fold in np.unique(oof.fold):
            rows = oof.fold == fold
            known[rows] = oof.P[rows].any(axis=0)[y[rows]] & (y[rows] >= 0)
        group = np.arange(len(y)) if oof.group is None else oof.group
        return cls(oof.P[known], y[known], oof.fold[known], group[known], int((~known).sum()))


@dataclass(frozen=True)
class Recalibration:
    """A fitted way from probabilities to better ones.

    slope, offset : p ∝ exp(slope · log p + offset), each (C,), or one number for all classes
    steps : (2, k) of the method "isotonic", see `isotonic_steps`
    """

    method: str
    slope: F64
    offset: F64
    steps: F64 | None = None
    doubt: float = 0.0  # spread over all classes

    @classmethod
    def fit(cls, P: F64, y_index: Ints, method: str) -> Self:
        """From out-of-fold probabilities P (n, C) and columns of the true classes (n,).

        Rows with -1 (a class without a column) say nothing and are left out.

        "none" leaves all as it is; "temperature" (Guo et al. 2017) is one number for all;
        "vector" has two numbers a class, drawn to it (see `vector_scaling`); "isotonic" is a
        rising function (see `isotonic_steps`), with one photo's worth of doubt over all classes.

        Raises `UserError` for another name, and where there are too few photos for the method.
        """
        if method not in METHODS:
            raise UserError(f"'{method}' is no way to calibrate. {did_you_mean(method, METHODS)}")
        P, y_index = P[y_index >= 0], y_index[y_index >= 0]
        if why := why_not(P, y_index, method):
            raise UserError(f"{method} calibration: {why}. Take temperature instead.")
        return cls._fitted(P, y_index, method)

    @classmethod
    def _fitted(cls, P: F64, y_index: Ints, method: str) -> Self:
        slope, offset = np.ones(1), np.zeros(1)
        if method == "none":
            return cls(method, slope, offset)
        if method == "isotonic":
            return cls(method, slope, offset, isotonic_steps(P, y_index), 1 / (len(P) + 1))
        logs = log_probabilities(P)
        slope = slope / temperature(logs, y_index)
        if method == "vector":
            logs *= np.float32(slope[0])
            by_class, offset = vector_scaling(logs, y_index)
            slope = slope * by_class
        return cls(method, slope, offset)

    @classmethod
    def of(cls, oof: Predictions, method: str) -> Self:
        """The same from a run's out-of-fold predictions; "best" is the one of `best_method`."""
        evidence = Evidence.of(oof)
        if method == "best":
            method = best_method(log_losses(evidence, crossfits(evidence)), evidence.group)
        return cls.fit(evidence.P, evidence.y_index, method)

    def transform(self, P: F64) -> F64:
        """(n, C) float64, rows summing to 1, of probabilities P (n, C) of the same classes."""
        P = np.asarray(P, dtype=np.float64)
        if self.method == "none":
            return P
        if self.steps is not None:
            Q = stepped(P, self.steps)
            return np.asarray((1 - self.doubt) * Q + self.doubt / P.shape[1])
        logs = np.log(np.maximum(P, SMALLEST))
        return np.asarray(np.exp(log_normalised(self.slope * logs + self.offset)))


def why_not(P: F64, y_index: Ints, method: str) -> str | None:
    """Why the method cannot be fitted on these photos; None where it can."""
    wrong = int((P.argmax(axis=1) != y_index).sum())
    if method == "none" or (method != "isotonic" and len(P)):
        return None
    if len(P) >= FEWEST_PHOTOS and wrong >= FEWEST_WRONG:
        return None
    if not len(P):
        return "there is no out-of-fold photo of a class that its model knew"
    return (
        f"it takes {FEWEST_PHOTOS:,} photos with {FEWEST_WRONG} wrong answers among them, and "
        f"there are {counted(len(P), 'photo')} with {wrong:,}"
    )


def crossfits(evidence: Evidence) -> dict[str, F64]:
    """method -> (n, C) each fold's probabilities by what was fitted on the other folds.

    Without methods for which these are too few photos, and with one fold without any but "none".
    """
    P, y, fold = evidence.P, evidence.y_index, evidence.fold
    folds, found = np.unique(fold), {"none": evidence.P}
    for method in METHODS[1:] if len(folds) > 1 else ():
        if why_not(P, y, method) is None:
            found[method] = np.empty_like(P)
            for own in (fold == one for one in folds):
                fitted = Recalibration._fitted(P[~own], y[~own], method)
                found[method][own] = fitted.transform(P[own])
    return found


def log_losses(evidence: Evidence, found: Mapping[str, F64]) -> dict[str, F64]:
    """method -> (n,) log-loss of each photo."""
    of_truth = (np.arange(len(evidence.P)), evidence.y_index)
    return {
        method: -np.log(np.maximum(P[of_truth], LEAST_PROBABILITY)) for method, P in found.items()
    }


def best_method(losses: Mapping[str, F64], group: NDArray[Any]) -> str:
    """The simplest method that is as good as the best, by losses of the same photos.

    As good: its mean loss is higher by no more than one standard error of the difference, which
    is that over groups (Breiman et al. 1984). Else the method with most freedom would often win
    by chance.

    group : (n,) of the photos; those of one group are no independent witnesses
    """
    least = min(losses, key=lambda method: losses[method].sum())
    of = np.unique(group, return_inverse=True)[1]
    for method, loss in losses.items():
        excess = loss - losses[least]
        off = np.bincount(of, excess - excess.mean()) if len(excess) else np.zeros(1)
        if excess.sum() <= np.sqrt((off**2).sum()):
            return method
    return least
