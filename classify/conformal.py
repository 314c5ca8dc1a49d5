"""Conformal sets: as many classes as it takes to hold the true one as often as wanted.

Vovk, Gammerman and Shafer 2005. A score says how little a class suits a photo. The scores of the
true classes of some photos that the model did not learn from give a threshold; a set holds all
classes with no higher score. If those photos and the new ones come in any order equally likely
(are exchangeable), and the same model scores both, a set holds the true class with at least the
probability `level`, and with no more than 1 / (n + 1) above where no scores are equal.

Here the photos are the training photos out of fold. That is not the split conformal of the
theorem: each fold has its own model, which learnt from the other folds only, and the new photos
are scored by the final model, which learnt from all. Cross-conformal (Vovk 2015) and CV+ (Barber
et al. 2021) keep all the folds' models for the new photos, with which at least 2 level - 1 is
sure; this does not, so nothing is. The final model learnt from more photos, which makes sets
rather too large; what was tuned on the same out-of-fold predictions makes them rather too small.
The coverage of the test photos tells.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from classify.outcomes import F64, Ints
from embed.errors import UserError, did_you_mean

METHODS = ("lac", "aps", "class")
LEVELS = (0.8, 0.9, 0.95)
_SLACK = 1e-9


@dataclass(frozen=True)
class Conformal:
    """Thresholds of the scores, by class.

    pooled : (C,) which classes had too few photos for a threshold of their own ("class" only)
    """

    method: str
    level: float
    thresholds: F64  # (C,); inf: always in the set
    pooled: NDArray[np.bool_]  # (C,)
    seed: int | None

    @classmethod
    def fit(cls, P: F64, y_index: Ints, method: str, level: float, seed: int | None = 0) -> Self:
        """From out-of-fold probabilities P (n, C) and columns of the true classes (n,).

        Rows with -1 (a class without a column) are left out.

        "lac" (Sadinle, Lei and Wasserman 2019) takes classes by their probability alone: the
        smallest sets on the whole, and none at all for a photo that suits no class. "aps" (Romano,
        Sesia and Candès 2020) takes the likeliest classes until they add up, so that hard photos
        get larger sets; the last one is in or out by lot, of `seed`, or always in where it is
        None, with which sets are larger than wanted. "class" is LAC with a threshold for each
        class (Vovk 2012), so that rare classes are held as often as others. Classes with too few
        photos for that (fewer than level / (1 - level): 9 at 0.9) share one threshold, as in the
        cluster of rare classes of Ding et al. 2023: they are held as often as wanted together, not
        each. Where they are too few even so, the next smallest classes join them.

        Raises `UserError` for another name or a level that is not between 0 and 1.
        """
        if method not in METHODS:
            raise UserError(f"'{method}' is no kind of set. {did_you_mean(method, METHODS)}")
        if not 0 < level < 1:
            raise UserError(f"A level of {level:g} was given: expected one such as 0.9.")
        n_classes, scored = P.shape[1], y_index >= 0
        lots = _lots(len(P), seed, 0)[scored]
        y_index = y_index[scored]
        own = _scores_of(np.asarray(P, dtype=np.float64)[scored], y_index, method, lots)
        pooled = np.zeros(n_classes, dtype=bool)
        thresholds = np.full(n_classes, quantile(own, level))
        if method == "class":
            pooled = _too_small(np.bincount(y_index, minlength=n_classes), level)
            thresholds[:] = quantile(own[pooled[y_index]], level)
            for c in np.flatnonzero(~pooled):
                thresholds[c] = quantile(own[y_index == c], level)
        return cls(method, level, thresholds, pooled, seed)

    def sets(self, P: F64) -> NDArray[np.bool_]:
        """(n, C) which classes are in each photo's set.

        The lots of "aps" are drawn anew for each call, the same for the same place in P.
        """
        P = np.asarray(P, dtype=np.float64)
        scores = 1 - P
        if self.method == "aps":
            scores = _adaptive(P, _lots(len(P), self.seed, 1))
        return np.asarray(scores <= self.thresholds + _SLACK)


def quantile(scores: F64, level: float) -> float:
    """The ⌈(n + 1) level⌉-th smallest of the n scores; inf where there is none such."""
    place = int(np.ceil((len(scores) + 1) * level - _SLACK))
    return float(np.partition(scores, place - 1)[place - 1]) if place <= len(scores) else np.inf


def _too_small(sizes: Ints, level: float) -> NDArray[np.bool_]:
    """(C,) the classes with too few photos, and the next smallest until they suffice together."""
    least = np.ceil(level / (1 - level) - _SLACK)
    pooled = sizes < least
    if pooled.any():
        for c in np.argsort(sizes, kind="stable"):
            if sizes[pooled].sum() >= least:
                break
            pooled[c] = True
    return np.asarray(pooled)


def _lots(n: int, seed: int | None, stream: int) -> F64:
    """(n,) how much of the last class's own probability counts, 0 to 1."""
    return np.ones(n) if seed is None else np.random.default_rng([seed, stream]).random(n)


def _scores_of(P: F64, y_index: Ints, method: str, lots: F64) -> F64:
    """(n,) scores of the true classes."""
    rows = np.arange(len(P))
    if method != "aps":
        return np.asarray(1 - P[rows, y_index])
    return np.asarray(_adaptive(P, lots)[rows, y_index])


def _adaptive(P: F64, lots: F64) -> F64:
    """(n, C) what the likelier classes add up to, and the share `lots` of the class itself."""
    order = np.argsort(-P, axis=1, kind="stable")
    sorted_p = np.take_along_axis(P, order, axis=1)
    sums = np.cumsum(sorted_p, axis=1) - (1 - lots[:, None]) * sorted_p
    scores = np.empty_like(P)
    np.put_along_axis(scores, order, sums, axis=1)
    return scores
