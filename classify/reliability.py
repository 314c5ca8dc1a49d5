"""Reliability diagram: how often answers are right that claim to be so sure."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from classify.outcomes import Outcomes
from classify.shares import share_interval

MOST_BINS = 15
FEWEST = 20  # photos in a bin: with fewer its interval says nearly nothing


def reliability(one: Outcomes, groups: ArrayLike | None = None) -> list[dict[str, Any]]:
    """Bins of equal mass, the least sure first (Niculescu-Mizil and Caruana 2005).

    Each has `low` and `high`, the ends of its confidences; `n` photos; their mean `confidence`;
    `accuracy`, the share that is right, with its 95% interval `accuracy_low`, `accuracy_high`
    (Wilson's; with `groups` (n,) see `share_interval`). There are up to 15, with 20 photos or
    more each where there are so many; photos of one confidence stay together.
    """
    bins = _bins(one.confidence)
    n = np.bincount(bins)
    cells = (bins, np.arange(len(bins)))
    whole = csr_array((np.ones(len(bins)), cells), shape=(len(n), len(bins)))
    part = csr_array((one.right.astype(float), cells), shape=whole.shape)
    low, high = share_interval(part, whole, groups)
    rows = []
    for i, photos in enumerate(n.tolist()):
        own = bins == i
        confidence = one.confidence[own]
        rows.append(
            {
                "low": float(confidence.min()),
                "high": float(confidence.max()),
                "n": photos,
                "confidence": float(confidence.mean()),
                "accuracy": float(one.right[own].mean()),
                "accuracy_low": float(low[i]),
                "accuracy_high": float(high[i]),
            }
        )
    return rows


def _bins(confidence: Any) -> Any:
    """(n,) number of each photo's bin, all of them in use."""
    n = len(confidence)
    wanted = min(MOST_BINS, max(1, n // FEWEST))
    below = np.searchsorted(np.sort(confidence), confidence)  # photos that are less sure
    return np.unique(below * wanted // n, return_inverse=True)[1]
