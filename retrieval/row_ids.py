"""The ids of an index's rows: a text file with one a line, and where each line ends."""

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]

IDS, ENDS = "ids.txt", "ids.ends"
_AT_ONCE = 65_536  # rows


class Ids(Sequence[str]):
    """Ids by row, read from the disk when asked for; opening them takes no time."""

    def __init__(self, folder: Path, n: int, size: int) -> None:
        self._ends: I64 = mapped(folder / ENDS, np.int64, (n,))
        self._text: Any = b""
        if size:
            with (folder / IDS).open("rb") as handle:
                self._text = mmap.mmap(handle.fileno(), size, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        raw: bytes = self._text[self._start(row) : int(self._ends[row]) - 1]
        return raw.decode()

    def __iter__(self) -> Iterator[str]:
        for low in range(0, len(self), _AT_ONCE):
            ends = self._ends[low : low + _AT_ONCE]
            raw: bytes = self._text[self._start(low) : int(ends[-1]) - 1]
            names = raw.decode().split("\n")
            # an id may hold the line's end itself
            yield from names if len(names) == len(ends) else self[low : low + len(ends)]

    def rows(self, name: str) -> list[int]:
        """The rows called `name`, ascending: several where it was removed and added again.

        A scan at the disk's pace, without a table in memory: half a second for ten million.
        """
        wanted, found, at = name.encode() + b"\n", list[int](), 0
        while (at := self._text.find(wanted, at)) >= 0:
            row = int(np.searchsorted(self._ends, at + len(wanted)))
            if self._start(row) == at and self._ends[row] == at + len(wanted):
                found.append(row)
            at += 1
        return found

    def _start(self, row: int) -> int:
        return int(self._ends[row - 1]) if row else 0


def mapped(path: Path, dtype: Any, shape: tuple[int, ...]) -> Any:
    """The first rows of a file, memory-mapped, read only."""
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", shape=shape)
