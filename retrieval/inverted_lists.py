"""IVF's lists on the disk: codes and row numbers of one list after the other, memory-mapped.

As FAISS's `OnDiskInvertedLists` lays them out: of each list all codes, then all rows (int64).
They are written from a file of codes in the order of the rows, a chunk at a time, so that memory
does not grow with the rows. Codes of 4 bits are written once more as the fast scan reads them: in
blocks of 32 rows, the codes of one sub-quantizer side by side (André et al., 2015).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.index import load_faiss
from retrieval.row_ids import mapped

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

_ROW = 8  # bytes of a row number
_BLOCK = 65_536
_TOGETHER = 32  # rows of a block of the fast scan
_PACKED_BYTES = 32 * 2**20  # of codes at a time


def open_lists(
    path: Path, sizes: I64, code_size: int, packed: bool = False, only: slice = slice(None)
) -> Any:
    """FAISS's lists over the file at `path`; sizes : (nlist,) rows of each.

    packed : whether `pack` wrote it; only : the lists to open, the others seem to be empty.
    """
    faiss = load_faiss()
    room = _room(sizes) if packed else sizes
    lists = faiss.OnDiskInvertedLists()
    lists.nlist, lists.code_size, lists.read_only = len(sizes), code_size, True
    lists.filename, lists.totsize = str(path), int(room.sum()) * (code_size + _ROW)
    lists.prefetch_nthread = 0  # its threads cost more than they bring where pages are in memory
    seen = np.zeros_like(sizes)
    seen[only] = sizes[only]
    rows = np.stack([seen, room, _starts(room, code_size)], axis=1)
    for one_size, capacity, start in rows.tolist():
        one = faiss.OnDiskOneList()
        one.size, one.capacity, one.offset = one_size, capacity, start
        lists.lists.push_back(one)
    if lists.totsize:
        lists.do_mmap()
    return lists


def fold(
    old: tuple[Path, I64] | None,
    codes: Path,
    lists_of_rows: I32,
    first: int,
    code_size: int,
    nlist: int,
    to: Path,
) -> I64:
    """Write the lists `old` and the coded rows from `first` on as one file; the sizes (nlist,).

    old : the file and its sizes; codes : a file with the codes (m, code_size) of the rows first
    to first + m; lists_of_rows : (m,) the list of each.
    """
    m = len(lists_of_rows)
    before = np.zeros(nlist, np.int64) if old is None else old[1]
    sizes = before.copy()
    for at in range(0, m, _BLOCK):  # not at once: bincount makes int64 of all it is given
        sizes += np.bincount(lists_of_rows[at : at + _BLOCK], minlength=nlist)
    starts = _starts(sizes, code_size)
    with to.open("w+b") as handle:
        handle.truncate(int(sizes.sum()) * (code_size + _ROW))
    if old is not None:
        _copy_old(old, starts, sizes, code_size, to)
    filled = before.copy()
    for at in range(0, m, _BLOCK):
        part = slice(at, min(at + _BLOCK, m))
        rows = np.arange(first + part.start, first + part.stop)
        # mapped anew for each block: pages that were written do not count as memory for long
        block = mapped(codes, np.uint8, (m, code_size))[part]
        _scatter(to, block, rows, lists_of_rows[part], filled, starts, sizes, code_size)
    return sizes


def pack(ivf: Any, lists: Path, sizes: I64, to: Path) -> None:
    """Write the `lists` of a 4-bit `ivf` as the fast scan reads them.

    Each list has room for whole blocks. Memory holds 32 MB of codes at a time.
    """
    faiss, width = load_faiss(), ivf.code_size
    room = _room(sizes)
    part = np.cumsum(room * width) // _PACKED_BYTES
    with to.open("wb") as handle:
        for first in np.unique(part, return_index=True)[1]:
            only = slice(int(first), int(np.searchsorted(part, part[first], "right")))
            plain = open_lists(lists, sizes, width, only=only)
            ivf.replace_invlists(plain, False)
            ivf.ntotal, ivf.own_invlists = int(sizes[only].sum()), True  # else it makes no lists
            fast = faiss.IndexIVFPQFastScan(ivf)  # packs what `ivf` holds
            ivf.own_invlists = False
            blocks = fast.invlists
            for number in range(only.start, only.stop):
                n, space = int(sizes[number]), int(room[number])
                rows = np.full(space, -1, "<i8")
                if n:
                    rows[:n] = faiss.rev_swig_ptr(blocks.get_ids(number), n)
                    codes = faiss.rev_swig_ptr(blocks.get_codes(number), space * width)
                    handle.write(codes.tobytes())
                handle.write(rows.tobytes())


def _room(sizes: I64) -> I64:
    """(nlist,) rows that whole blocks hold."""
    return -(-sizes // _TOGETHER) * _TOGETHER


def _starts(sizes: I64, code_size: int) -> I64:
    """(nlist,) the byte at which each list begins."""
    ends = np.cumsum(sizes) * (code_size + _ROW)
    return np.concatenate([[0], ends[:-1]]).astype(np.int64)


def _copy_old(old: tuple[Path, I64], starts: I64, sizes: I64, code_size: int, to: Path) -> None:
    path, before = old
    with path.open("rb") as source, to.open("r+b") as target:
        for size, room, start in zip(before.tolist(), sizes.tolist(), starts.tolist(), strict=True):
            target.seek(start)
            target.write(source.read(size * code_size))
            target.seek(start + room * code_size)
            target.write(source.read(size * _ROW))


def _scatter(
    to: Path, codes: U8, rows: I64, lists: I32, filled: I64, starts: I64, sizes: I64, code_size: int
) -> None:
    """Put each code and row number behind what its list has so far; counts in `filled`."""
    order = np.argsort(lists, kind="stable")
    codes, rows = codes[order], rows[order].astype("<i8")
    numbers, first, counts = np.unique(lists[order], return_index=True, return_counts=True)
    with to.open("r+b") as target:
        for number, at, count in zip(
            numbers.tolist(), first.tolist(), counts.tolist(), strict=True
        ):
            target.seek(int(starts[number]) + int(filled[number]) * code_size)
            target.write(codes[at : at + count].tobytes())
            place = int(sizes[number]) * code_size + int(filled[number]) * _ROW
            target.seek(int(starts[number]) + place)
            target.write(rows[at : at + count].tobytes())
    filled[numbers] += counts
