"""Vectors out of a store in the forms that other programs read; ids always go with them."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from embed.ann_benchmarks import write_ann_benchmark
from embed.errors import UserError, did_you_mean
from embed.fiftyone_export import write_fiftyone
from embed.files import mendable, whole_file
from embed.fvecs import ids_beside, write_vecs
from embed.store import EmbeddingStore

F32 = NDArray[np.float32]
Form = Literal["clip-retrieval", "parquet", "csv", "ann-benchmarks", "fvecs", "fiftyone"]
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
    label: str | None = None,
) -> Exported:
    """Write the vectors of `rows`, a collection's DataFrame, to the new file or folder `to`.

    Memory holds a few thousand rows. `dtype` (float32, float16) is for clip-retrieval alone;
    `queries` (held out), `neighbors` and `seed` for ann-benchmarks alone; `label`, a column of
    classes, for fiftyone alone. Raises `UserError` where `to` is there already, and for rows
    without a vector.
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
    elif form == "fvecs":
        _fvecs(store, frame, to)
        notes = [f"their ids are in {ids_beside(to).name}: keep the two files together"]
    elif form == "fiftyone":
        notes = _fiftyone(store, frame, to, label)
    else:
        frame, notes = _without_copies(frame)
        rng = np.random.default_rng(seed)
        write_ann_benchmark(store, frame, to, queries, neighbors, rng)
    files = [to] if to.is_file() else [path for path in to.rglob("*") if path.is_file()]
    files += [ids_beside(to)] if form == "fvecs" else []
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
    with whole_folder(to) as scratch:
        for i in range(shards):
            some = frame.iloc[i * ROWS_A_SHARD : (i + 1) * ROWS_A_SHARD]
            number = str(i).zfill(digits)
            _npy(store, some["key"].tolist(), scratch / f"img_emb/img_emb_{number}.npy", dtype)
            with whole_file(scratch / f"metadata/metadata_{number}.parquet") as path:
                pq.write_table(pa.Table.from_pandas(some, preserve_index=False), path)


@contextmanager
def whole_folder(to: Path) -> Iterator[Path]:
    """Yield a scratch folder beside `to`, a new folder; it becomes `to` once all is well."""
    scratch = to.with_name(f".{to.name}.{os.getpid()}.tmp")
    try:
        scratch.mkdir(parents=True)
        yield scratch
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


def _fvecs(store: EmbeddingStore, frame: Any, to: Path) -> None:
    """The ids first: where the vectors are, their ids are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if to.suffix.lower() != ".fvecs":
        raise UserError(f"{to} should end in .fvecs.")
    beside = ids_beside(to)
    if beside.exists():
        raise UserError(f"{beside} is there already. Name another file, or move it away.")
    try:
        with whole_file(beside) as scratch:
            pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), scratch)
        write_vecs(to, (X for _, X in _blocks(store, frame["key"].tolist())))
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _fiftyone(store: EmbeddingStore, frame: Any, to: Path, label: str | None) -> list[str]:
    blocks = (X for _, X in _blocks(store, frame["key"].tolist()))
    with whole_folder(to) as scratch:
        return write_fiftyone(scratch, to.name, frame, blocks, label)
