"""Hubs: rows that are among the nearest neighbours of very many others.

In many dimensions a few rows become neighbours of nearly everything and others of nothing, and
the few then decide too many answers (Radovanovic, Nanopoulos and Ivanovic, 2010).
"""

from dataclasses import dataclass

import numpy as np

from retrieval.index import F32, I64, Index

K = 10


@dataclass(frozen=True)
class Hubness:
    """How often each row is a neighbour of the others."""

    k: int  # neighbours that each row has; fewer than asked for where there are fewer rows
    times: I64  # (n,) N_k of each row: among so many others' k nearest; the sum is k × n

    @property
    def skew(self) -> float:
        """Skewness of `times`: 0 where all are alike, above 1 there are hubs; 0 for equals."""
        apart = self.times - self.times.mean()
        spread = np.sqrt((apart**2).mean())
        return float((apart**3).mean() / spread**3) if spread > 0 else 0.0

    @property
    def never(self) -> float:
        """Share of the rows that are nobody's neighbour."""
        return float((self.times == 0).mean())


def hubness(index: Index, X: F32, k: int = K) -> Hubness:
    """N_k of the rows of an index, each asking for its `k` nearest but itself.

    X : (n, dim) float32 unit rows, those the index was built from, in its order
    """
    rows, _ = index.query_rows(X, k, [[row] for row in range(len(X))])
    return Hubness(rows.shape[1], occurrences(rows, len(X)))


def occurrences(rows: I64, n: int) -> I64:
    """(n,) how often each of n rows stands in `rows`, neighbours of any shape."""
    return np.bincount(rows.ravel(), minlength=n).astype(np.int64)
