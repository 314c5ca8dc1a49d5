"""A saved flat index read in place: the same exact answers, without FAISS and without a copy.

Loading FAISS takes longer than comparing a photo with some ten thousand others.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.files import read_json
from embed.parts import check
from retrieval.index import Index

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

# How `faiss.write_index` begins an IndexFlatIP; the vectors follow.
_HEAD = np.dtype(
    [
        ("kind", "S4"),
        ("dim", "<i4"),
        ("n", "<i8"),
        ("unused", "<i8", 2),
        ("trained", "?"),
        ("metric", "<i4"),
        ("numbers", "<u8"),
    ]
)
_BLOCK = 64  # rows at a time: they stay in the processor's cache


class FlatFile(Index):
    """An `Index` of the kind "flat" over the mapped file `index.faiss`. Open it with `open`."""

    def __init__(self, X: F32, ids: list[str], source: str) -> None:
        self.ids, self.kind, self.source = ids, "flat", source
        self._X = X

    @property
    def dim(self) -> int:
        return int(self._X.shape[1])

    @classmethod
    def open(cls, folder: Path, ids: list[str], source: str) -> "FlatFile | None":
        """The flat index in `folder` over the rows `ids`, made from `source`.

        None where there is another or none, and where a byte of it is not as it was written.
        """
        file = folder / "index.faiss"
        try:
            if not cls.fresh(folder, source):
                return None
            about = read_json(folder / "index.json")
            with file.open("rb") as handle:
                head = np.frombuffer(handle.read(_HEAD.itemsize), _HEAD)[0]
            unchanged = _is_unchanged(file, about)
        except (UserError, OSError, ValueError, IndexError):
            return None
        n, dim = len(ids), int(head["dim"])
        sound = (
            about["kind"] == "flat"
            and unchanged
            and head["kind"] == b"IxFI"
            and (head["n"], head["numbers"]) == (n, n * dim)
            and file.stat().st_size == _HEAD.itemsize + 4 * n * dim
        )
        if not sound:
            return None
        return cls(np.memmap(file, "<f4", "r", _HEAD.itemsize, (n, dim)), ids, source)

    def vectors(self, rows: Sequence[int]) -> F32:
        """(len(rows), dim) float32: a copy of these rows."""
        return np.array(self._X[list(rows)])

    def _candidates(self, Q: F32, width: int) -> tuple[F32, I64]:
        scores = np.empty((len(Q), len(self)), dtype=np.float32)
        for low in range(0, len(self), _BLOCK):
            block = np.array(self._X[low : low + _BLOCK])  # BLAS takes no rows at odd addresses
            scores[:, low : low + _BLOCK] = Q @ block.T
        rows = np.argpartition(-scores, width - 1, axis=1)[:, :width]
        return np.take_along_axis(scores, rows, axis=1).min(axis=1), rows


def _is_unchanged(file: Path, about: dict[str, Any]) -> bool:
    """Whether every byte is as it was written, by the quick check where index.json has one."""
    if "check" in about:
        return bool(check(np.memmap(file, np.uint8, "r")) == about["check"])
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return bool(about["sha256"].get(file.name) == digest)
