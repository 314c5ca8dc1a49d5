"""What figures need of probabilities: some numbers a photo in the place of one a class."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Ints = NDArray[np.integer[Any]]

LEAST_PROBABILITY = 1e-6  # in log-loss: a class absent from a training fold has probability 0
NEVER = np.iinfo(np.int64).max  # rank of a true class that is not listed at all


@dataclass(frozen=True)
class Outcomes:
    """Of n photos. The prediction is the column of the highest probability, the first of equals."""

    n_classes: int  # columns
    y: Ints  # (n,) column of the true class; n_classes where it has none
    predicted: Ints  # (n,) column
    confidence: F64  # (n,) probability of the prediction
    of_truth: F64  # (n,) probability of the true class
    rank: Ints  # (n,) how many classes are listed before the true one, or NEVER
    brier: F64  # (n,) squared distance to the truth, 0 to 2

    @classmethod
    def of(cls, y: Ints, P: F64) -> Self:
        """From y (n,) int, -1 for a class without a column, and P (n, C) probabilities."""
        y, P = np.asarray(y), np.asarray(P)
        if len(y) == 0 or len(P) != len(y) or not np.isfinite(P).all():
            raise ValueError(f"{len(y)} photos need as many rows of finite probabilities")
        of_truth = _probability_of_truth(y, P)
        squares = np.einsum("ij,ij->i", P, P)
        return cls(
            n_classes=P.shape[1],
            y=np.where(y < 0, P.shape[1], y),
            predicted=P.argmax(axis=1),
            confidence=P.max(axis=1),
            of_truth=of_truth,
            rank=rank_of_truth(y, P),
            brier=np.maximum(squares + 1 - 2 * of_truth, 0),
        )

    def rows(self, chosen: Any) -> Self:
        """Those of some photos, or in another order."""
        arrays = {k: v[chosen] for k, v in vars(self).items() if k != "n_classes"}
        return replace(self, **arrays)

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.y == self.predicted)

    def photo_values(self, name: str) -> F64 | None:
        """(n,) what each photo adds to a metric that is a mean over photos; None for others."""
        if name in ("accuracy", "micro_f1"):  # the same where every photo has one answer
            return self.right.astype(float)
        if name.startswith("top_"):
            return (self.rank < int(name[4:])).astype(float)
        if name == "log_loss":
            return np.abs(np.log(np.maximum(self.of_truth, LEAST_PROBABILITY)))
        return self.brier if name == "brier" else None


def rank_of_truth(y: Ints, P: F64) -> Ints:
    """(n,) how many classes are listed before the true one; `NEVER` where it has probability 0.

    Of equal probabilities the first column is listed first, as in the prediction and in what
    `predict` prints.
    """
    p = _probability_of_truth(y, P)[:, None]
    before = np.arange(P.shape[1]) < np.asarray(y)[:, None]
    ahead = np.greater(P, p) | (np.equal(P, p) & before)
    rank: Ints = np.where(p[:, 0] > 0, ahead.sum(axis=1), NEVER)
    return rank


def _probability_of_truth(y: Ints, P: F64) -> F64:
    y = np.asarray(y)
    return np.where(y >= 0, P[np.arange(len(P)), y], 0.0)


def ratio(part: NDArray[Any], whole: NDArray[Any], nothing: float = 0.0) -> F64:
    """part / whole, and `nothing` where whole is 0."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), nothing)
