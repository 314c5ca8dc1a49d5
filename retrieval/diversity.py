"""Hits that are alike and yet not all the same: maximal marginal relevance.

Carbonell and Goldstein (1998): of the candidates, the next hit is the one with the largest

    trade · cosine to the query - (1 - trade) · largest cosine to the hits so far
"""

import numpy as np
from numpy.typing import NDArray

from retrieval.index import exact_cosines

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

CANDIDATES = 1000  # the best by plain rank, of which the hits are chosen


def diverse_order(cosines: F32, X: F32, k: int, trade: float) -> I64:
    """(min(k, m),) the candidates chosen, as their places, the first choice first.

    cosines : (m,) float32, of the candidates with the query, best first; X : (m, dim) float32,
    their unit rows; trade : 1 is the plain ranking, 0 looks only at how unlike the others a hit is.
    The first hit is the best candidate; ties fall in the order of the candidates. The choice does
    not depend on k: fewer are the beginning of more.
    """
    k = min(k, len(cosines))
    if trade == 1 or not k:
        return np.arange(k)
    relevance = trade * cosines.astype(np.float64)
    alike = np.full(len(cosines), -1.0)  # to the most alike of the hits so far
    left = np.ones(len(cosines), dtype=bool)
    chosen = [0]
    while len(chosen) < k:
        left[chosen[-1]] = False
        np.maximum(alike, exact_cosines(X, X[chosen[-1]]), out=alike)
        score = np.where(left, relevance - (1 - trade) * alike, -np.inf)
        chosen.append(int(score.argmax()))
    return np.asarray(chosen, dtype=np.int64)
