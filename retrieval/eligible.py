"""The rows of an index that may be hits of a query, best first, as many as are asked for."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.index import exact_cosines

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
Found = tuple[I64, F32]  # rows of the index, best first, and their cosines with the query


class SearchIndex(Protocol):
    """Any index: `retrieval.index.Index` or a big one."""

    @property
    def ids(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def search(self, Q: F32, k: int, allowed: Mask | None = None) -> Found: ...


class Eligible:
    """The rows that may be hits of one query, best first, as many as are asked for.

    may : (n,) bool, or None for all; own : rows that the query is made of; copies : other rows that
    may be hits and have the content of the query's photo, which come first
    """

    def __init__(
        self,
        index: SearchIndex,
        x: F32,
        may: Mask | None,
        own: I64,
        copies: I64,
        X_of: Callable[[I64], F32],
    ) -> None:
        self._index, self._x, self._may, self._own, self.copies = index, x, may, own, copies
        self._X_of = X_of

    def mask(self) -> Mask:
        """(n,) the rows that may be hits."""
        may = np.ones(len(self._index), dtype=bool) if self._may is None else self._may.copy()
        may[self._own] = False
        return may

    def best(self, n: int) -> Found:
        """The best n, or all there are."""
        out, n = np.concatenate([self._own, self.copies]), min(n, len(self._index))
        if self._may is None:  # an index searches faster without a mask, so a few more are asked
            rows, cosines = self._index.search(self._x[None], n + len(out))
            keep = ~np.isin(rows[0], out)
            near, alike = rows[0][keep], cosines[0][keep]
        else:
            may = self.mask()
            may[self.copies] = False
            rows, cosines = self._index.search(self._x[None], n, may)
            near, alike = rows[0], cosines[0]
        if not len(self.copies):
            return near[:n], alike[:n]
        same = exact_cosines(self._X_of(self.copies), self._x)
        return np.append(self.copies, near)[:n], np.append(same, alike)[:n]
