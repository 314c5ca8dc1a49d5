"""Photos unlike all others: how far away the neighbours of each are.

Two scores. The distance to the k-th nearest neighbour (Ramaswamy, Rastogi and Shim 2000) finds
what lies apart; the local outlier factor (Breunig et al. 2000) compares that with how close the
neighbours lie to theirs, so it also finds what lies just beside a dense crowd. Over many data sets
neither is beaten by much that is newer (Campos et al. 2016).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.index import Index

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

K = 10
_LEAST = 1e-10  # scikit-learn's: what a density is kept from dividing by nothing with


@dataclass(frozen=True)
class Isolation:
    """How far n rows lie from their neighbours. Rows with one key count as one.

    k : neighbours looked at; fewer than asked for where there are fewer others
    near : (n, k) rows, the nearest first; cosine : (n, k) float32
    distance : (n,) to the k-th nearest, between unit vectors: 0 is the same, 2 the opposite
    lof : (n,) local outlier factor: about 1 among equals, above where neighbours lie closer
    """

    k: int
    near: I64
    cosine: F32
    distance: F64
    lof: F64

    @property
    def times(self) -> F64:
        """(n,) the distance as a multiple of the median one."""
        return self.distance / max(float(np.median(self.distance)), _LEAST)


def isolation(X: F32, keys: Sequence[str], k: int = K) -> Isolation:
    """The isolation of the rows of X : (n, dim) float32, unit rows, n > 0.

    keys : (n,) what makes two rows the same photo (the SHA-256 of its bytes); a copy is no
    neighbour. Exact below 200,000 rows, by a graph above (see `retrieval.index`). Among fewer
    than two different photos there is no neighbour: k is 0, the distances are 0 and the factors 1.
    """
    _, first, number = np.unique(
        np.asarray(keys, dtype=str), return_index=True, return_inverse=True
    )
    Y = X[first]
    near, cosine = Index.build(Y, [str(row) for row in range(len(Y))]).query_rows(
        Y, k, [[row] for row in range(len(Y))]
    )
    k = near.shape[1]
    if k == 0:
        n = len(X)
        return Isolation(0, first[near][number], cosine[number], np.zeros(n), np.ones(n))
    apart = np.sqrt(np.maximum(2 - 2 * cosine.astype(np.float64), 0))
    reach = np.maximum(apart, apart[near, -1])
    density = 1 / (reach.mean(axis=1) + _LEAST)
    lof = density[near].mean(axis=1) / density
    return Isolation(k, first[near][number], cosine[number], apart[number, -1], lof[number])


def percentile(values: F64) -> F64:
    """(n,) the percentage of the others that lie below each value; ties count as half."""
    from scipy.stats import rankdata

    if len(values) < 2:
        return np.zeros(len(values))
    return np.asarray(100 * (rankdata(values) - 1) / (len(values) - 1), dtype=np.float64)
