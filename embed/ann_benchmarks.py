"""HDF5 as ann-benchmarks keeps its data sets (Aumüller, Bernhardsson and Faithfull, 2020).

`train` and `test` are rows of numbers, `neighbors` and `distances` the nearest rows of `train` to
each row of `test`. Beyond that layout a file of ours has ids and keys of both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError, near_path
from embed.files import whole_file
from embed.store import EmbeddingStore

F32 = NDArray[np.float32]

_ROWS_AT_ONCE = 4096
_MOST_DIM = 1_000_000
_DEFLATE = 1100  # HDF5's deflate packs no tighter than 1 : 1,032
_CHUNK = 2**28  # bytes of one chunk, which is unpacked as a whole
_ID_BYTES = 4096


class AnnBenchmark:
    """What a file holds, checked before any row is read.

    train, test : rows of `dim` numbers; ids : of train, then of test, or None where the file has
    none; keys : likewise; distance : angular, euclidean, … as the file names it.
    """

    def __init__(self, path: Path) -> None:
        """Raises `UserError` where the file is absent, damaged, sparse or of another layout."""
        self.path = path
        with _opened(path) as file:
            if _said(file, "type", "dense") != "dense":
                raise UserError(f"{path} is {_said(file, 'type', '')}: expected dense vectors.")
            self.distance = _said(file, "distance", "unknown")
            self.parts = [name for name in ("train", "test") if name in file]
            if "train" not in self.parts:
                raise UserError(
                    f"{path} has no `train`: expected HDF5 of ann-benchmarks; it has "
                    f"{', '.join(list(file)[:20]) or 'nothing'}."
                )
            found = [_dataset(path, file, name, "f", 2) for name in self.parts]
            dims = {data.shape[1] for data in found}
            if len(dims) > 1 or not 0 < min(dims) <= _MOST_DIM:
                raise UserError(f"{path}: rows of {sorted(dims)} values; expected one length.")
            self.dim = int(dims.pop())
            self.dtype = str(found[0].dtype)
            self.rows = {name: len(data) for name, data in zip(self.parts, found, strict=True)}
            self.ids = self._names(file, "ids")
            self.keys = self._names(file, "keys")

    def __len__(self) -> int:
        return sum(self.rows.values())

    def blocks(self, part: str, rows: int = _ROWS_AT_ONCE) -> Iterator[NDArray[Any]]:
        """(≤ rows, dim) arrays of the rows of `part`, train or test, in order."""
        with _opened(self.path) as file:
            data = _dataset(self.path, file, part, "f", 2)
            for start in range(0, len(data), rows):
                yield data[start : start + rows]

    def truth(self) -> tuple[NDArray[np.int64], F32]:
        """(neighbors, distances), both (queries, k); neighbors are rows of train.

        Raises `UserError` where they do not belong to these rows.
        """
        with _opened(self.path) as file:
            neighbors = _dataset(self.path, file, "neighbors", "iu", 2)[:].astype(np.int64)
            distances = _dataset(self.path, file, "distances", "f", 2)[:].astype(np.float32)
        outside = (
            neighbors.size and not 0 <= neighbors.min() <= neighbors.max() < self.rows["train"]
        )
        if neighbors.shape != distances.shape or len(neighbors) != self.rows.get("test"):
            raise UserError(
                f"{self.path}: {self.rows.get('test', 0):,} queries, neighbors {neighbors.shape}, "
                f"distances {distances.shape}: expected one row a query."
            )
        if outside:
            raise UserError(f"{self.path}: a neighbour is no row of train.")
        return neighbors, distances

    def _names(self, file: Any, what: str) -> list[str] | None:
        """`train_ids` and `test_ids`; files of others may call those of train just `ids`."""
        found: list[str] = []
        for part, rows in self.rows.items():
            name = f"{part}_{what}"
            if name not in file and part == "train" and what in file:
                name = what
            if name not in file:
                return None
            data = _dataset(self.path, file, name, "SOiu", 1)
            if data.dtype.itemsize > _ID_BYTES or len(data) != rows:
                raise UserError(
                    f"{self.path}: {rows:,} rows of {part} and {len(data):,} of {name}: expected "
                    "one short text or number a row."
                )
            found += [_text(value) for value in data[:]]
        return found


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import h5py

    if not path.exists():
        raise UserError(f"There is no {path}.{near_path(path)}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise UserError(f"{path} cannot be read as HDF5 ({error}).") from error


def _dataset(path: Path, file: Any, name: str, kinds: str, ndim: int) -> Any:
    """The dataset `name` of `file`, once it is clear that its bytes are in this very file."""
    import h5py

    wrong = f"{path}: `{name}`"
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise UserError(f"{wrong} is missing, or a link into another file.")
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
        raise UserError(f"{wrong} does not keep its numbers in this file.")
    if data.shape is None or len(data.shape) != ndim or data.dtype.kind not in kinds:
        raise UserError(f"{wrong} is {data.dtype} {data.shape}: expected {ndim} axis of numbers.")
    if data.dtype.kind == "O" and h5py.check_string_dtype(data.dtype) is None:
        raise UserError(f"{wrong} holds {data.dtype}: expected texts or numbers.")
    chunk = data.dtype.itemsize * int(np.prod(data.chunks, dtype=object)) if data.chunks else 0
    if data.nbytes > _DEFLATE * max(data.id.get_storage_size(), 1) or chunk > _CHUNK:
        raise UserError(f"{wrong} says it has {data.shape} values, which the file cannot hold.")
    return data


def _said(file: Any, name: str, otherwise: str) -> str:
    value = file.attrs.get(name, otherwise)
    return _text(value) if isinstance(value, str | bytes) else otherwise


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def write_ann_benchmark(
    store: EmbeddingStore,
    frame: Any,
    to: Path,
    queries: int,
    neighbors: int,
    rng: np.random.Generator,
) -> None:
    """`train`, `test`, `neighbors` and `distances`; the angular distance there is 1 - cosine."""
    import h5py

    if len(frame) < 2:
        raise UserError("A benchmark needs two photos at least: one to ask for, one to find.")
    held_out = np.sort(rng.permutation(len(frame))[: max(1, min(queries, len(frame) // 10))])
    is_test = np.isin(np.arange(len(frame)), held_out)
    train, test = frame[~is_test], frame[is_test]
    Q = store.load(test["key"].tolist())
    nearest = _Nearest(Q, min(neighbors, len(train)))
    with whole_file(to) as scratch, h5py.File(scratch, "w") as file:
        file.attrs.update(
            type="dense", distance="angular", point_type="float", dimension=store.spec.dim
        )
        for part, some in (("train", train), ("test", test)):
            for name, column in (("ids", "id"), ("keys", "key")):
                data = some[column].tolist()
                file.create_dataset(f"{part}_{name}", data=data, dtype=h5py.string_dtype())
        rows = file.create_dataset("train", (len(train), store.spec.dim), "f4")
        keys = train["key"].tolist()
        for start in range(0, len(keys), _ROWS_AT_ONCE):
            X = store.load(keys[start : start + _ROWS_AT_ONCE])
            rows[start : start + len(X)] = X
            nearest.look(start, X)
        file["test"] = Q
        file["neighbors"] = nearest.rows.astype(np.int32)
        file["distances"] = np.maximum(1 - nearest.cosines, 0).astype(np.float32)


class _Nearest:
    """The k rows of largest cosine to each query among all blocks looked at: (queries, k)."""

    def __init__(self, Q: F32, k: int) -> None:
        self.k = k
        self.Q = Q
        self.cosines: F32 = np.empty((len(Q), 0), np.float32)
        self.rows = np.empty((len(Q), 0), np.int64)

    def look(self, start: int, X: F32) -> None:
        rows = np.broadcast_to(np.arange(start, start + len(X)), (len(self.Q), len(X)))
        cosines = np.hstack([self.cosines, self.Q @ X.T])
        rows = np.hstack([self.rows, rows])
        best = np.argsort(-cosines, axis=1, kind="stable")[:, : self.k]
        self.cosines = np.take_along_axis(cosines, best, axis=1)
        self.rows = np.take_along_axis(rows, best, axis=1)
