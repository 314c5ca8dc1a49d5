"""Temperatures: how sure a head may be, judged by photos that it did not see."""

from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq

# Below this a head's probability says only "no": a float32 zero must not outvote the others.
SMALLEST = 1e-9
_HOTTEST, _COLDEST = np.log(1 / 64), np.log(64)  # bounds of -log(temperature)


def log_probabilities(P: Any) -> Any:
    """(n, C) float32 logs of `P` (n, C), none below log(SMALLEST)."""
    least = np.maximum(P, SMALLEST, dtype=np.float32, casting="same_kind")
    return np.log(least, out=least)


def log_normalised(scores: Any, count: Any = None) -> Any:
    """`scores` (n, m) less the log of Σ count · exp(scores) of each row; same dtype.

    count : (m,) how many classes a column stands for; None is one each
    """
    lowered = scores - scores.max(axis=1, keepdims=True)
    likely = np.exp(lowered)
    # No matrix product: its last digits depend on the number of threads.
    total = likely.sum(axis=1) if count is None else np.einsum("nm,m->n", likely, count)
    return lowered - np.log(total)[:, None]


def temperature(scores: Any, truth: Any, count: Any = None) -> float:
    """T > 0 with the least log-loss of softmax(scores / T) (Guo et al. 2017).

    scores : (n, m) log-probabilities of photos that the head was not fitted on
    truth : (n,) int, column of the true class
    count : see `log_normalised`

    log T is drawn to 0 as by a standard normal prior: three photos that are all right do not make
    a head certain, and some hundred photos overrule it.
    """
    of_truth = scores[np.arange(len(scores)), truth].sum(dtype=np.float64)

    @cache
    def slope(sharpness: float) -> float:
        """Of the summed log-loss and the prior, by log(1 / T)."""
        beta = np.float32(np.exp(sharpness))
        p = np.exp(log_normalised(beta * scores, count))
        weighted = p if count is None else p * count
        expected = np.einsum("nm,nm->n", weighted, scores).sum(dtype=np.float64)
        return float(beta * (expected - of_truth) + sharpness)

    if slope(_HOTTEST) >= 0:
        return float(np.exp(-_HOTTEST))
    if slope(_COLDEST) <= 0:
        return float(np.exp(-_COLDEST))
    return float(np.exp(-brentq(slope, _HOTTEST, _COLDEST, xtol=1e-3)))
