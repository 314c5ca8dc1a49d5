"""Files of vectors that other programs wrote, each with the table that names its rows."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.ann_benchmarks import AnnBenchmark
from embed.columns import ID_COLUMNS, PATH_COLUMNS
from embed.errors import UserError, near_path
from embed.fiftyone_samples import FiftyOneSamples
from embed.fvecs import KINDS, Vecs, ids_beside
from embed.tables import Table, read_table

ROWS_AT_ONCE = 4096
_HDF5 = (".hdf5", ".h5")
_NUMBER = re.compile(r"img_emb_(\d+)\.npy")


@dataclass(frozen=True)
class Source:
    """Vectors with the table whose rows name their photos, in the same order."""

    path: Path
    rows: int
    dim: int
    dtype: str
    table: Table
    blocks: Callable[[], Iterator[NDArray[Any]]]
    notes: list[str] = field(default_factory=list)


def vector_sources(vectors: Path, table: Path | None) -> list[Source]:
    """What is in `vectors`, a file or a folder, part by part; see `import_vectors`.

    Raises `UserError` for what is of no known form, and where counts differ.
    """
    if not vectors.exists():
        raise UserError(f"There is no {vectors}.{near_path(vectors)}")
    ending = vectors.suffix.lower()
    if vectors.is_dir() or ending in (".parquet", ".json"):
        if table is not None:
            raise UserError(f"{vectors} names its photos itself: leave --table out.")
        if vectors.is_dir():
            return _folder(vectors)
        return [_fiftyone(vectors.parent)] if ending == ".json" else [_parquet(vectors)]
    if ending in _HDF5:
        return [_ann_benchmark(vectors, table)]
    if ending in KINDS:
        return [_vecs(vectors, table)]
    if table is None:
        raise UserError(f"Name the table whose rows are those of {vectors}: --table TABLE.")
    return [_npy(vectors, _table(table))]


def lines_of(table: Table) -> list[int]:
    """Where each row of the table stands in its file, those that are no good included."""
    if table.unit == "row":  # of Parquet: empty rows count
        import pyarrow.parquet as pq

        return list(range(1, pq.read_metadata(table.path).num_rows + 1))
    return sorted([*table.lines, *(line for line, _ in table.bad)])


def _folder(folder: Path) -> list[Source]:
    if (folder / "samples.json").exists():
        return [_fiftyone(folder)]
    return _clip_retrieval(folder)


def _clip_retrieval(folder: Path) -> list[Source]:
    """Its shards in the order of their numbers, each with the metadata of that number."""
    shards = {
        number[1]: path
        for path in (folder / "img_emb").glob("img_emb_*.npy")
        if (number := _NUMBER.fullmatch(path.name))
    }
    if not shards:
        raise UserError(
            f"{folder} is no folder of clip-retrieval's: expected img_emb/img_emb_0.npy and "
            "metadata/metadata_0.parquet in it."
        )
    tables = {path.stem.removeprefix("metadata_") for path in folder.glob("metadata/*.parquet")}
    if alone := sorted(tables - shards.keys()):
        raise UserError(
            f"{folder} has metadata/metadata_{alone[0]}.parquet and no img_emb/img_emb_{alone[0]}"
            ".npy: a part is missing. Copy it whole, or run `clip-retrieval inference` again."
        )
    found = [
        _npy(shards[name], _table(folder / "metadata" / f"metadata_{name}.parquet"))
        for name in sorted(shards, key=int)
    ]
    texts = len(list(folder.glob("text_emb/*.npy")))
    if texts:
        notes = [f"text_emb is there too ({texts:,} files): vectors of texts are not taken"]
        found[0] = replace(found[0], notes=notes)
    return found


def _npy(path: Path, table: Table) -> Source:
    try:
        X = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read as a NumPy array ({error}).") from error
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.dtype.kind != "f" or not X.shape[1]:
        found = f"{X.dtype} {X.shape}" if isinstance(X, np.ndarray) else "several arrays"
        raise UserError(f"{path} holds {found}: expected one array (photos, numbers) of floats.")

    def blocks() -> Iterator[NDArray[Any]]:
        return (X[i : i + ROWS_AT_ONCE] for i in range(0, len(X), ROWS_AT_ONCE))

    return _checked(Source(path, len(X), X.shape[1], X.dtype.name, table, blocks))


def _parquet(path: Path) -> Source:
    import pyarrow.parquet as pq
    import pyarrow.types as kinds

    table = _table(path)
    file = pq.ParquetFile(path)
    fields = [f for f in file.schema_arrow if kinds.is_fixed_size_list(f.type)]
    if len(fields) != 1:
        raise UserError(
            f"{path} has {len(fields)} columns of vectors of one length: expected one. "
            "Or give the vectors as .npy, with --table."
        )
    name, kind = fields[0].name, fields[0].type

    def blocks() -> Iterator[NDArray[Any]]:
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=[name]):
            values = batch.column(0).flatten().to_numpy(zero_copy_only=False)
            yield values.reshape(-1, kind.list_size)

    dtype = str(np.dtype(kind.value_type.to_pandas_dtype()))
    return _checked(Source(path, file.metadata.num_rows, kind.list_size, dtype, table, blocks))


def _vecs(path: Path, table: Path | None) -> Source:
    """The ids are in the table, else in the file beside, else they are made."""
    found = Vecs(path)
    if table is None and ids_beside(path).exists():
        table = ids_beside(path)
    named = _table(table) if table else _made_table(path, len(found))
    n, dim = found.shape
    return _checked(Source(path, n, dim, found.dtype.name, named, found.blocks))


def _ann_benchmark(path: Path, table: Path | None) -> Source:
    """Rows of train, then those of test."""
    found = AnnBenchmark(path)

    def blocks() -> Iterator[NDArray[Any]]:
        for part in found.parts:
            yield from found.blocks(part)

    if table is not None:
        named = _table(table)
        if found.ids is not None:
            named = _in_order(named, found.ids, path)
    elif found.ids is None:
        named = _made_table(path, len(found))
    else:
        columns = {"id": found.ids} | ({"key": found.keys} if found.keys else {})
        named = _table_of(path, columns)
    return _checked(Source(path, len(found), found.dim, found.dtype, named, blocks))


def _fiftyone(folder: Path) -> Source:
    found = FiftyOneSamples(folder)
    table = _table_of(found.path, found.columns, "sample")
    return _checked(Source(found.path, len(found), found.dim, found.dtype, table, found.blocks))


def _in_order(table: Table, ids: Sequence[str], path: Path) -> Table:
    """The rows of `table` as `ids` name them: a file that mixes its rows must not mix photos."""
    id_at = table.find(ID_COLUMNS)
    if id_at is None:
        raise UserError(
            f"{path} has ids, and {table.path} has no column `id`, so nobody knows which row is "
            "which. Add that column."
        )
    row_of = {cells[id_at]: row for row, cells in enumerate(table.rows)}
    absent = [id_ for id_ in ids if id_ not in row_of]
    if absent or len(row_of) < len(table.rows):
        why = f"no row with the id '{absent[0]}'" if absent else "ids that stand twice"
        raise UserError(f"{table.path} has {why}: expected each id of {path} once.")
    rows = [row_of[id_] for id_ in ids]
    return Table(
        table.path,
        table.columns,
        [table.rows[row] for row in rows],
        list(range(1, len(rows) + 1)),
        [],
        table.notes,
        "vector",
    )


def _made_table(path: Path, rows: int) -> Table:
    """Ids for vectors that come without any: the file's name and the row's number from 0."""
    return _table_of(path, {"id": [f"{path.stem}-{row}" for row in range(rows)]})


def _table_of(path: Path, columns: dict[str, list[str]], unit: str = "vector") -> Table:
    rows = [list(cells) for cells in zip(*columns.values(), strict=True)]
    return Table(path, list(columns), rows, list(range(1, len(rows) + 1)), [], [], unit)


def _checked(source: Source) -> Source:
    rows = len(lines_of(source.table))
    if rows != source.rows:
        raise UserError(
            f"{source.path} holds {source.rows:,} vectors and {source.table.path} {rows:,} rows: "
            "expected one row a vector, in the same order."
        )
    return source


def _table(path: Path) -> Table:
    return read_table(path, ("key", *PATH_COLUMNS))
