"""Where the vector of each key lies: sorted arrays (55 bytes a row) and a dict of the newest."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

DIGEST = 32  # bytes of a SHA-256
_FEW = 16_384  # keys in the dict before it is merged, at least
_ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
_LOW_64 = (1 << 64) - 1


def digests(keys: Sequence[str]) -> bytes:
    """The 32 bytes of each key, one after the other; `ValueError` for what is no SHA-256."""
    text = "\n".join(keys)
    raw = bytes.fromhex(text)  # skips the line ends
    if len(raw) != DIGEST * len(keys) or text[2 * DIGEST :: 2 * DIGEST + 1].strip("\n"):
        raise ValueError("expected keys of 64 hexadecimal digits")
    return raw


class _Sorted(NamedTuple):
    hashes: U64  # (n,) ascending
    words: U64  # (n, 4) the digests
    where: I64  # (n,)
    starts: NDArray[np.int32]  # by the first bits of a hash: the first place it may stand at
    shift: np.uint64  # from a hash to its first bits


def _sorted(hashes: U64, words: U64, where: I64) -> _Sorted:
    bits = max(1, len(hashes).bit_length())
    shift = np.uint64(64 - bits)
    starts = hashes.searchsorted(np.arange(1 << bits, dtype=np.uint64) << shift)
    return _Sorted(hashes, words, where, starts.astype(np.int32), shift)


def repeated(raw: bytes) -> tuple[I64, I64]:
    """The rows of digests that stand several times in `raw`: (m,) row, (m,) a number for each key.

    Rows of one key follow on one another, ascending.
    """
    words = _words(raw)
    order = _order(words, _hashes(words))
    same = _equal(words[order[1:]], words[order[:-1]])
    several = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    number = np.cumsum(np.concatenate([[True], ~same]))
    return order[several[: len(order)]], number[: len(order)][several[: len(order)]]


class KeyIndex:
    """A map from digests to integers. One thread may add while others look up."""

    def __init__(self) -> None:
        self._rows = _sorted(
            np.empty(0, np.uint64), np.empty((0, 4), np.uint64), np.empty(0, np.int64)
        )
        self._newest: dict[bytes, int] = {}

    def __len__(self) -> int:
        self._settle()
        return len(self._rows.hashes)

    def __contains__(self, digest: bytes) -> bool:
        if digest in self._newest:
            return True
        rows = self._rows
        four = [int.from_bytes(digest[i : i + 8], "little") for i in (0, 8, 16, 24)]
        mixed = sum(w * c for w, c in zip(four, _ODD, strict=True)) & _LOW_64
        at = int(rows.hashes.searchsorted(np.uint64(mixed)))
        while at < len(rows.hashes) and int(rows.hashes[at]) == mixed:
            if rows.words[at].tobytes() == digest:
                return True
            at += 1
        return False

    def add(self, raw: bytes, where: I64) -> None:
        """Give the digests in `raw` (32 bytes each) new places; the latest place counts."""
        if len(where) > _FEW:
            self._settle()
            self._merge(raw, where)
            return
        self._newest.update(zip(_each(raw), where.tolist(), strict=True))
        if len(self._newest) > max(_FEW, len(self._rows.hashes) // 16):
            self._settle()

    def find(self, raw: bytes) -> I64:
        """(n,) places of the digests in `raw`, -1 where there is none."""
        newest = self._newest  # taken before the arrays: what leaves it is in them already
        found = _find(self._rows, _words(raw))
        if newest:
            for i, digest in enumerate(_each(raw)):
                if digest in newest:
                    found[i] = newest[digest]
        return found

    def _settle(self) -> None:
        if self._newest:
            self._merge(b"".join(self._newest), np.fromiter(self._newest.values(), np.int64))
            self._newest = {}

    def _merge(self, raw: bytes, where: I64) -> None:
        words = np.concatenate([_words(raw)[::-1], self._rows.words])  # the latest comes first
        where = np.concatenate([where[::-1], self._rows.where])
        hashes = _hashes(words)
        order = _order(words, hashes)
        same = _equal(words[order[1:]], words[order[:-1]])
        order = order[np.concatenate([[True], ~same])]
        self._rows = _sorted(hashes[order], words[order], where[order])


def _find(rows: _Sorted, asked: U64) -> I64:
    """A hash's first bits say where it may stand; from there a few steps, for all at once."""
    found = np.full(len(asked), -1, np.int64)
    hashes = _hashes(asked)
    at = rows.starts.take((hashes >> rows.shift).view(np.int64)).astype(np.int64)
    left = np.flatnonzero(at < len(rows.hashes))
    at, hashes = at[left], hashes[left]
    while len(left):
        there = rows.hashes.take(at)
        on = there <= hashes
        hit = np.flatnonzero(there == hashes)
        same = _equal(rows.words.take(at[hit], axis=0), asked.take(left[hit], axis=0))
        hit = hit[same]
        found[left[hit]] = rows.where.take(at[hit])
        on[hit] = False
        at += 1
        on &= at < len(rows.hashes)
        left, at, hashes = left[on], at[on], hashes[on]
    return found


def _order(words: U64, hashes: U64) -> I64:
    """Rows by hash; equal keys follow on one another as they came."""
    order = np.argsort(hashes, kind="stable")
    shared = hashes[order[1:]] == hashes[order[:-1]]
    if (shared & ~_equal(words[order[1:]], words[order[:-1]])).any():  # by two unlike keys
        return np.lexsort((*words.T, hashes))
    return order


def _equal(a: U64, b: U64) -> NDArray[np.bool_]:
    differ = a ^ b
    equal: NDArray[np.bool_] = (differ[:, 0] | differ[:, 1] | differ[:, 2] | differ[:, 3]) == 0
    return equal


def _each(raw: bytes) -> list[bytes]:
    return [raw[i : i + DIGEST] for i in range(0, len(raw), DIGEST)]


def _words(raw: bytes) -> U64:
    return np.frombuffer(raw, "<u8").reshape(-1, 4)


def _hashes(words: U64) -> U64:
    mixed: U64 = (words * np.array(_ODD, np.uint64)).sum(axis=1, dtype=np.uint64)
    return mixed
