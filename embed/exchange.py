"""Vectors out of a store in the forms that other programs read; ids always go with them."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError, did_you_mean
from embed.files import mendable, whole_file
from embed.store import EmbeddingStore

F32 = NDArray[np.float32]
Form = Literal["clip-retrieval", "parquet", "csv", "ann-benchmarks"]
FORMS: tuple[str, ...] = get_args(Form)

ROWS_A_SHARD = 1_000_000  # of clip-retrieval's
_ROWS_AT_ONCE = 4096
_NOT_SHOWN = ("size", "mtime_ns")  # columns that mean something on this disk alone


@dataclass(frozen=True)
class Exported:
    """What `export` wrote."""

    form: str
    path: Path
    rows: int
    dim: int
    bytes: int
    notes: list[str]


def export(
    store: EmbeddingStore,
    rows: Any,
    to: Path,
    form: str,
    dtype: str = "float32",
    queries: int = 1000,
    neighbors: int = 100,
    seed: int = 0,
) -> Exported:
    """Write the vectors of `rows`, a collection's DataFrame, to the new file or folder `to`.

    Memory holds a few thousand rows. `dtype` (float32, float16) is for clip-retrieval alone;
    `queries` (held out), `neighbors` and `seed` for ann-benchmarks alone. Raises `UserError`
    where `to` is there already, and for rows without a vector.
    """
    if form not in FORMS:
        raise UserError(f"'{form}' is no form to export. {did_you_mean(form, FORMS)}")
    if to.exists():
        raise UserError(f"{to} is there already. Name a new file or folder, or move it away.")
    if not len(rows):
        raise UserError("The collection has no photos. Run `cli embed PHOTOS` first.")
    frame = rows.drop(columns=[name for name in _NOT_SHOWN if name in rows])
    notes: list[str] = []
    if form == "clip-retrieval":
        _clip_retrieval(store, frame, to, np.dtype(dtype))
    elif form == "parquet":
        _parquet(store, frame, to)
    elif form == "csv":
        _csv(store, frame, to)
    else:
        frame, notes = _without_copies(frame)
        _ann_benchmarks(store, frame, to, queries, neighbors, np.random.default_rng(seed))
    files = [to] if to.is_file() else [path for path in to.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    return Exported(form, to, len(frame), store.spec.dim, total, notes)


def _blocks(store: EmbeddingStore, keys: list[str]) -> Iterator[tuple[int, F32]]:
    """(first row, vectors) of a few thousand rows at a time."""
    for start in range(0, len(keys), _ROWS_AT_ONCE):
        yield start, store.load(keys[start : start + _ROWS_AT_ONCE])


def _clip_retrieval(store: EmbeddingStore, frame: Any, to: Path, dtype: np.dtype[Any]) -> None:
    """`img_emb/img_emb_0.npy` and `metadata/metadata_0.parquet`, as `clip-retrieval inference`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = _renamed(frame, ("image_path",)).rename(columns={"path": "image_path"})
    shards = -(-len(frame) // ROWS_A_SHARD)
    digits = len(str(shards))
    scratch = to.with_name(f".{to.name}.tmp")
    try:
        for i in range(shards):
            some = frame.iloc[i * ROWS_A_SHARD : (i + 1) * ROWS_A_SHARD]
            number = str(i).zfill(digits)
            _npy(store, some["key"].tolist(), scratch / f"img_emb/img_emb_{number}.npy", dtype)
            with whole_file(scratch / f"metadata/metadata_{number}.parquet") as path:
                pq.write_table(pa.Table.from_pandas(some, preserve_index=False), path)
        scratch.rename(to)
    except OSError as error:
        raise mendable(error, to) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _npy(store: EmbeddingStore, keys: list[str], path: Path, dtype: np.dtype[Any]) -> None:
    about = {"descr": dtype.str, "fortran_order": False, "shape": (len(keys), store.spec.dim)}
    with whole_file(path) as scratch, scratch.open("wb") as handle:
        np.lib.format.write_array_header_1_0(handle, about)
        for _, X in _blocks(store, keys):
            handle.write(X.astype(dtype, copy=False).data)


def _parquet(store: EmbeddingStore, frame: Any, to: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def vector(X: F32) -> dict[str, Any]:
        values = pa.array(X.reshape(-1))
        return {"vector": pa.FixedSizeListArray.from_arrays(values, X.shape[1])}

    _stream(store, _renamed(frame, ("vector",)), vector, to, pq.ParquetWriter)


def _csv(store: EmbeddingStore, frame: Any, to: Path) -> None:
    import pyarrow as pa
    from pyarrow.csv import CSVWriter

    names = [f"v{i}" for i in range(store.spec.dim)]
    first = ["id", "key", "file_path"]
    frame = frame[first + [name for name in frame if name not in [*first, "path"]]]

    def numbers(X: F32) -> dict[str, Any]:
        return {name: pa.array(column) for name, column in zip(names, X.T.copy(), strict=True)}

    _stream(store, _renamed(frame, names), numbers, to, CSVWriter)


def _stream(
    store: EmbeddingStore,
    frame: Any,
    columns: Callable[[F32], dict[str, Any]],
    to: Path,
    writer: Callable[[Any, Any], Any],
) -> None:
    """The frame's columns beside those of its vectors, block by block."""
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)

    def block(start: int, X: F32) -> Any:
        some = table.slice(start, len(X))
        for name, column in columns(X).items():
            some = some.append_column(name, column)
        return some

    schema = block(0, np.empty((0, store.spec.dim), np.float32)).schema
    with (
        whole_file(to) as scratch,
        scratch.open("wb") as handle,
        writer(handle, schema) as opened,
    ):
        for start, X in _blocks(store, frame["key"].tolist()):
            opened.write_table(block(start, X))


def _renamed(frame: Any, taken: Any) -> Any:
    """A user's column that is called as one of ours becomes `table_…`, as `embed` does."""
    return frame.rename(columns={name: f"table_{name}" for name in taken if name in frame})


def _without_copies(frame: Any) -> tuple[Any, list[str]]:
    unlike = frame[~frame["key"].duplicated()]
    copies = len(frame) - len(unlike)
    return unlike, [f"copies of another photo, left out: {copies:,}"] if copies else []


def _ann_benchmarks(
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
        for name, some in (("train_ids", train), ("test_ids", test)):
            file.create_dataset(name, data=some["id"].tolist(), dtype=h5py.string_dtype())
        rows = file.create_dataset("train", (len(train), store.spec.dim), "f4")
        for start, X in _blocks(store, train["key"].tolist()):
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
