"""The rows that a search may answer with: those a filter allows, without those removed."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.index import load_faiss

I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Among:
    """Rows below n, in the forms that FAISS, a scan and a choice of lists need them.

    list_of_row : the IVF list of each row below `indexed`; removed : rows, ascending; allowed :
    (n,) booleans, or None for all.
    """

    def __init__(
        self,
        n: int,
        indexed: int,
        list_of_row: NDArray[np.int32],
        nlist: int,
        removed: I64,
        allowed: Mask | None,
    ) -> None:
        self.n, self.indexed, self.allowed = n, indexed, allowed
        self._list_of_row, self._nlist = list_of_row, nlist
        self._mask = allowed
        if len(removed):
            self._mask = np.ones(n, bool) if allowed is None else allowed.copy()
            self._mask[removed] = False
        self.count = n if self._mask is None else int(np.count_nonzero(self._mask))

    @cached_property
    def rows(self) -> I64 | range:
        return range(self.n) if self._mask is None else np.flatnonzero(self._mask)

    @cached_property
    def tail(self) -> I64 | range:
        """Those that are not in FAISS's files yet."""
        if self._mask is None:
            return range(self.indexed, self.n)
        return np.flatnonzero(self._mask[self.indexed :]) + self.indexed

    @cached_property
    def selector(self) -> Any:
        """For FAISS; None where all rows count."""
        if self._mask is None:
            return None
        self._bits = np.packbits(self._mask, bitorder="little")  # FAISS reads it: it must live on
        faiss = load_faiss()
        return faiss.IDSelectorBitmap(len(self._bits), faiss.swig_ptr(self._bits))

    @cached_property
    def in_lists(self) -> I64:
        """(nlist,) how many of them each list holds."""
        lists = self._list_of_row
        mine = lists if self._mask is None else lists[self._mask[: len(lists)]]
        return np.bincount(mine, minlength=self._nlist)
