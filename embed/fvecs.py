"""`.fvecs`, `.bvecs` and `.ivecs`: rows that each start with their length, as TEXMEX's.

The SIFT1M set of Jégou, Douze and Schmid (2011) is kept so: a row is a little-endian int32, the
number of values, then the values (float32, uint8 or int32). All rows of a file are equally long.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError, near_path
from embed.files import whole_file

KINDS: dict[str, np.dtype[Any]] = {
    ".fvecs": np.dtype("<f4"),
    ".bvecs": np.dtype("u1"),
    ".ivecs": np.dtype("<i4"),
}
_MOST = 1_000_000  # values a row; longer than any vector, so what says more is no such file
_ROWS_AT_ONCE = 4096


class Vecs:
    """The rows of such a file, read where they are needed: `shape` (n, dim) and `dtype`."""

    def __init__(self, path: Path) -> None:
        """Raises `UserError` where the file is absent, cut off or not of this kind."""
        self.path, self.dtype = path, _kind(path)
        try:
            with path.open("rb") as handle:
                head, size = handle.read(4), handle.seek(0, 2)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error}).{near_path(path)}") from error
        dim = int.from_bytes(head, "little", signed=True)
        if len(head) < 4 or not 0 < dim <= _MOST:
            said = f"its first row says it has {dim:,} values" if size else "it is empty"
            raise UserError(f"{path} is no {path.suffix} file: {said}.")
        self._row = np.dtype([("dim", "<i4"), ("values", self.dtype, (dim,))])
        if size % self._row.itemsize:
            whole, rest = divmod(size, self._row.itemsize)
            raise UserError(
                f"{path} is cut off, or its rows differ in length: after {whole:,} rows of {dim:,} "
                f"values {rest:,} bytes are left over. Copy or download it again."
            )
        self.shape = (size // self._row.itemsize, dim)

    def __len__(self) -> int:
        return self.shape[0]

    def blocks(self, rows: int = _ROWS_AT_ONCE) -> Iterator[NDArray[Any]]:
        """(≤ rows, dim) arrays of `dtype`, in order; a row of another length is a `UserError`."""
        with self.path.open("rb") as handle:
            for start in range(0, len(self), rows):
                count = min(rows, len(self) - start)
                found = np.fromfile(handle, self._row, count)
                wrong = np.flatnonzero(found["dim"] != self.shape[1])
                if len(found) < count or len(wrong):
                    row = start + (int(wrong[0]) if len(wrong) else len(found)) + 1
                    raise UserError(
                        f"{self.path} is damaged: row {row:,} does not have {self.shape[1]:,} "
                        "values, as the first one says of itself. Copy or download it again."
                    )
                yield found["values"]


def read_vecs(path: Path) -> NDArray[Any]:
    """(n, dim) float32, uint8 or int32, by the file's ending; raises as `Vecs`."""
    found = Vecs(path)
    X = np.empty(found.shape, found.dtype)
    start = 0
    for block in found.blocks():
        X[start : start + len(block)] = block
        start += len(block)
    return X


def write_vecs(path: Path, blocks: Iterable[NDArray[Any]]) -> int:
    """Write blocks of (n, dim) rows to `path`, whole or not at all; returns how many rows.

    What the ending's type cannot hold without loss of its kind (floats in `.ivecs`, numbers over
    255 in `.bvecs`) raises `ValueError`; float64 is rounded to float32.
    """
    dtype, dim, rows = _kind(path), 0, 0
    with whole_file(path) as scratch, scratch.open("wb") as handle:
        for X in blocks:
            if X.ndim != 2 or not 0 < X.shape[1] <= _MOST or (dim and X.shape[1] != dim):
                raise ValueError(f"expected (n, {dim or 'dim'}) rows, got an array of {X.shape}")
            dim = X.shape[1]
            out = np.empty(len(X), np.dtype([("dim", "<i4"), ("values", dtype, (dim,))]))
            out["dim"], out["values"] = dim, _cast(X, dtype)
            handle.write(out.data)
            rows += len(X)
        if not rows:
            raise ValueError("expected at least one row")
    return rows


def ids_beside(path: Path) -> Path:
    """The Parquet file that keeps the ids of the rows of `path`, in their order."""
    return path.with_suffix(".ids.parquet")


def _cast(X: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return X.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    if X.dtype.kind not in "iu" or (X.size and (X.min() < limits.min or X.max() > limits.max)):
        raise ValueError(f"expected whole numbers from {limits.min} to {limits.max}")
    return X.astype(dtype)


def _kind(path: Path) -> np.dtype[Any]:
    if path.suffix.lower() not in KINDS:
        raise UserError(f"{path} should end in {', '.join(KINDS)}, by the kind of its numbers.")
    return KINDS[path.suffix.lower()]
