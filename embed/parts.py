"""One HDF5 part of a store: written once, read by rows, every byte of it under a checksum.

HDF5 checksums its own structures (format 1.8 and later, no variable-length text); a `check` over
the keys and over each block of rows is made whenever they are read; a SHA-256 over all keys and
vectors names the file and is checked by `verify`. Keys and vectors lie in the file as plain
arrays, so rows are read by their place, in threads, past HDF5's lock.
"""

import json
import os
import zlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.spec import EncoderSpec

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
S64 = NDArray[np.bytes_]
Rows = NDArray[Any]  # float32 or float16, as on the disk

FORMAT = "familia-embeddings-2"
IMPORTED = "imported"  # the spec's library, where vectors were made elsewhere
DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
UNIT = 1e-3  # how far the length of a row may be from 1
_BLOCKS_A_TASK = 16
THREADS = min(4, os.cpu_count() or 1)
_FOLD_BYTES = 8 * 1031
ROW_BITS = 32
_HDF5_SAYS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError)


def part_paths(folder: Path) -> list[Path]:
    """The parts of the store in `folder`, by name."""
    return sorted(folder.glob("part-*.h5"))


class PartError(UserError):
    """A part that cannot be used; `why` is the reason without path and remedy."""

    def __init__(self, path: Path, why: str, mend: str) -> None:
        super().__init__(f"{path} {why}. {mend}")
        self.why = why


class DamagedError(PartError):
    """A part that is not as it was written."""

    def __init__(self, path: Path, why: str) -> None:
        mend = (
            "Move it out of the folder and run `cli embed PHOTOS` again, or let "
            "`cli store repair` do both: only its photos are computed anew."
        )
        super().__init__(path, f"is damaged: {why}", mend)
        self.why = why


class ForeignError(PartError):
    """A sound part that does not belong where it lies."""


@dataclass(frozen=True)
class Part:
    """What the head of a part says; its rows are read when asked for."""

    path: Path
    rows: int
    dim: int
    dtype: np.dtype[Any]
    keys_at: int  # bytes from the start of the file
    vectors_at: int
    block_rows: int
    checks: NDArray[np.uint32]  # of the keys, then of each block of rows
    sha256: str
    made_by: bytes  # JSON

    def keys(self) -> S64:
        """(rows,) 64 bytes each; raises `DamagedError` where their checksum differs."""
        with self.path.open("rb") as handle:
            handle.seek(self.keys_at)
            raw = handle.read(64 * self.rows)
        if len(raw) != 64 * self.rows or check(np.frombuffer(raw, np.uint8)) != self.checks[0]:
            raise DamagedError(self.path, "the checksum of its keys does not match")
        return np.frombuffer(raw, "S64")

    @property
    def blocks(self) -> int:
        return len(self.checks) - 1

    def rows_in(self, number: int) -> int:
        """Rows of one block: the last may have fewer."""
        return min(self.block_rows, self.rows - number * self.block_rows)

    def block(self, handle: Any, number: int, buffer: NDArray[np.uint8]) -> Rows:
        """(≤ block_rows, dim) rows of one block, in `buffer`; raises `DamagedError`."""
        first, rows = number * self.block_rows, self.rows_in(number)
        width = self.dim * self.dtype.itemsize
        room = buffer[: rows * width]
        handle.seek(self.vectors_at + first * width)
        if handle.readinto(room) != len(room) or check(room) != self.checks[number + 1]:
            last = first + rows - 1
            raise DamagedError(self.path, f"the checksum of rows {first} to {last} does not match")
        return room.view(self.dtype).reshape(rows, self.dim)

    def buffer(self) -> NDArray[np.uint8]:
        """Room for any block."""
        rows = min(self.block_rows, self.rows)
        return np.empty(rows * self.dim * self.dtype.itemsize, np.uint8)


def check(data: NDArray[np.uint8]) -> int:
    """CRC-32 over the column sums of `data` as rows of 1,031 64-bit words, and over its rest.

    It runs at the memory's pace, some ten times faster than a CRC-32 over all bytes. Any one
    changed word changes it; a prime width, so that blocks of a disk do not fall on each other.
    """
    whole = len(data) // _FOLD_BYTES * _FOLD_BYTES
    sums = np.add.reduce(data[:whole].view("<u8").reshape(-1, _FOLD_BYTES // 8), axis=0)
    return zlib.crc32(data[whole:].data, zlib.crc32(sums.data))


def places(number: int, rows: int) -> I64:
    """(rows,) where the rows of part `number` lie: one integer for part and row."""
    return (number << ROW_BITS) + np.arange(rows, dtype=np.int64)


def gather(parts: Sequence[Part], where: I64, X: Rows) -> None:
    """Fill X (n, dim) with the rows at `where` (n,), as `places` names them.

    Rows of another dtype than X's are scaled to length 1 again. Takes a block of memory a thread.
    Raises `DamagedError`, and `FileNotFoundError` for a part that is gone.
    """
    order = np.argsort(where)
    number = where[order] >> ROW_BITS
    row = where[order] & ((1 << ROW_BITS) - 1)
    block_rows = np.array([part.block_rows for part in parts], dtype=np.int64)[number]
    block = row // block_rows
    row -= block * block_rows
    new = (number[1:] != number[:-1]) | (block[1:] != block[:-1])
    out = _as_items(X)
    edges = [0, *(np.flatnonzero(new) + 1).tolist(), len(where)]

    def fill(spans: Sequence[tuple[int, int]]) -> None:  # all of one part
        part = parts[number[spans[0][0]]]
        buffer = part.buffer()
        with part.path.open("rb", buffering=0) as handle:
            for start, end in spans:
                at, wanted, one = order[start:end], row[start:end], int(block[start])
                size = part.rows_in(one)
                whole = len(wanted) == size and bool((wanted == np.arange(size)).all())
                if whole and part.dtype == X.dtype and (at == at[0] + np.arange(size)).all():
                    part.block(handle, one, X[at[0] : at[0] + size].reshape(-1).view(np.uint8))
                    continue
                found = part.block(handle, one, buffer)
                rows = found if whole else found[wanted]
                out[at] = _as_items(rows if rows.dtype == X.dtype else unit(rows))

    spans = list(pairwise(edges)) if len(where) else []
    tasks = [
        of_part[i : i + _BLOCKS_A_TASK]
        for _, group in groupby(spans, key=lambda span: number[span[0]])
        for of_part in [list(group)]
        for i in range(0, len(of_part), _BLOCKS_A_TASK)
    ]
    if len(tasks) < 2:
        deque(map(fill, tasks), maxlen=0)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        deque(pool.map(fill, tasks), maxlen=0)


def _as_items(X: Rows) -> NDArray[np.void]:
    """(n,) rows as one item each: they are copied faster."""
    items: NDArray[np.void] = X.view(np.dtype((np.void, X.shape[1] * X.itemsize)))[:, 0]
    return items


def unit(rows: Rows) -> F32:
    """(n, dim) float32 rows of length 1."""
    X = rows.astype(np.float32)
    X /= np.sqrt(np.einsum("ij,ij->i", X, X))[:, None]
    return X


def read_part(path: Path, spec: EncoderSpec | None) -> Part:
    """The head of the part at `path`, checked; any encoder's where `spec` is None.

    Raises `FileNotFoundError`, `DamagedError`, and `ForeignError` where spec or format is another.
    """
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as part:
            return _head(path, part, spec)
    except PartError:
        raise
    except _HDF5_SAYS as error:
        if not path.exists():  # HDF5 has several words for a file that goes while it opens it
            raise FileNotFoundError(path) from error
        raise DamagedError(path, "it is no readable HDF5 file") from error


def spec_in(path: Path) -> EncoderSpec | None:
    """The spec that the part at `path` was made by; None where it cannot be read."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as part:
            return EncoderSpec.from_json(json.loads(part.attrs["spec"]))
    except _HDF5_SAYS:
        return None


def _head(path: Path, part: Any, spec: EncoderSpec | None) -> Part:
    import h5py

    attributes = dict(part.attrs)
    found = _text(attributes.get("format", ""))
    if found != FORMAT:
        raise ForeignError(path, f"is no part of this program's ({found or 'no format'})", _ASIDE)
    if spec is not None and _text(attributes["spec_digest"]) != spec.digest:
        raise ForeignError(
            path,
            f"was made by another encoder spec than {path.parent / 'spec.json'} says",
            rebuild(spec),
        )
    keys, vectors = part["keys"], part["vectors"]
    dtype = next((d for d in DTYPES.values() if _is(vectors, h5py.h5t.py_create(d))), None)
    rows, size = len(keys), int(attributes["block_rows"])
    if dtype is None or not _is(keys, h5py.h5t.py_create(np.dtype("S64"))):
        raise DamagedError(path, f"it holds {keys.dtype} keys and {vectors.dtype} vectors")
    dim = spec.dim if spec else json.loads(attributes["spec"])["dim"]
    if keys.shape != (rows,) or vectors.shape != (rows, dim):
        raise DamagedError(path, f"expected {rows} vectors of {dim} numbers, found {vectors.shape}")
    checks = np.asarray(attributes["checks"])
    at = keys.id.get_offset(), vectors.id.get_offset()
    if None in at or size < 1 or len(checks) != 1 + -(-rows // size):
        raise DamagedError(path, "its rows are not laid out as this program does")
    return Part(
        path, rows, dim, dtype, at[0], at[1], size, checks, _text(attributes["sha256"]),
        bytes(attributes["made_by"]),
    )  # fmt: skip


def _is(dataset: Any, kind: Any) -> bool:
    return bool(dataset.id.get_type().equal(kind))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


_ASIDE = "Move it out of the folder, or let `cli store repair` do it."


def rebuild(spec: EncoderSpec) -> str:
    """The command that makes the vectors of `spec` anew."""
    if spec.library == IMPORTED:
        return "Import its vectors again with `cli store import`, under another --name."
    return (
        f"Run `cli embed PHOTOS --encoder {spec.source} --rebuild` to set the stored vectors aside "
        "and make new ones."
    )
