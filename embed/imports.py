"""Vectors made elsewhere into a store of their own, under the photos that a table names."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed import sources
from embed.columns import PATH_COLUMNS
from embed.encoders import NAMES
from embed.errors import UserError, near_path
from embed.files import sha256
from embed.images import ImageProblem
from embed.matching import match_rows
from embed.parts import IMPORTED, UNIT
from embed.places import PhotoFolder
from embed.rows import Problem
from embed.spec import EncoderSpec
from embed.store import EmbeddingStore
from embed.tables import Table, read_table
from embed.transform import Transform

F32 = NDArray[np.float32]

_KEY = re.compile("[0-9a-f]{64}")
_ROWS_AT_ONCE = 4096
_EXACT = 1e-5  # a length so near to 1 is rounding: such rows are kept bit for bit


@dataclass
class Imported:
    """What `import_vectors` did."""

    name: str
    folder: Path
    dim: int
    rows: int = 0  # vectors that are in the store now
    added: int = 0
    known: int = 0  # rows whose photo had a vector already, which stays
    scaled: int = 0  # rows that were not of length 1
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Source:
    """Vectors with the table whose rows name their photos, in the same order."""

    path: Path
    rows: int
    dim: int
    dtype: str
    table: Table
    blocks: Callable[[], Iterator[NDArray[Any]]]


def import_vectors(
    folder: Path,
    name: str,
    vectors: Path,
    table: Path | None = None,
    photos: Path | None = None,
    weights: str | None = None,
    dtype: str | None = None,
) -> Imported:
    """Put `vectors` into the store in `folder`, as those of an encoder called `name`.

    vectors : a .npy file (n, dim) of floats with a `table` of n rows (CSV or Parquet); a Parquet
        file with a column of vectors; or the folder that `clip-retrieval inference` wrote. Rows
        are scaled to length 1.
    table : has a column `key` (SHA-256 of the photo's bytes), or names photos as `embed` takes
        it, relative to `photos`, else to the table's folder
    weights : a digest of the network's weights, where known, by default that of the vectors

    A row whose photo or vector is no good becomes a `Problem`. Raises `UserError` for what is
    wrong as a whole.
    """
    if name in NAMES or ":" in name or "/" in name:
        raise UserError(f"--name {name} is how an encoder is called here. Choose another name.")
    found = _sources(vectors, table)
    dims = {(source.dim, source.dtype) for source in found}
    if len(dims) > 1:
        raise UserError(f"{vectors} holds vectors of several kinds: {sorted(dims)}. Expected one.")
    dim, kind = dims.pop()
    spec = _spec(name, weights or _digest([source.path for source in found]), dim, kind)
    store = _open(folder, spec, dtype)
    done = Imported(name, folder, dim)
    for source in found:
        _import(source, _keys(source, photos, done), store, done)
    if not len(store):
        shown = "; ".join(f"{p.where}: {p.reason}" for p in done.problems[:3])
        raise UserError(f"Not one row of {vectors} could be imported ({shown}).")
    if done.scaled:
        done.notes.append(f"vectors that were not of length 1, and were scaled: {done.scaled:,}")
    if done.known:
        done.notes.append(f"rows whose photo has a vector already, which stays: {done.known:,}")
    store.compact()
    done.rows = len(store)
    return done


def _spec(name: str, weights: str, dim: int, dtype: str) -> EncoderSpec:
    unknown = Transform("squash", 0, 0, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return EncoderSpec(
        name, f"{IMPORTED}:{name}", IMPORTED, "unknown", weights, dim, "unknown", dtype, unknown
    )


def _open(folder: Path, spec: EncoderSpec, dtype: str | None) -> EmbeddingStore:
    if (folder / "spec.json").exists() and EmbeddingStore.open(folder).spec.digest != spec.digest:
        raise UserError(
            f"There are other vectors under the name '{spec.name}' already ({folder}). "
            "Choose another --name, or move that folder away."
        )
    return EmbeddingStore.open(folder, spec, dtype)


def _keys(source: _Source, photos: Path | None, done: Imported) -> dict[int, str]:
    """The key of each row whose photo is found, by the row's number; others become problems."""
    table = source.table
    row_of = {line: row for row, line in enumerate(_lines(table))}
    key_at = table.find(("key",))
    if key_at is not None and any(_KEY.fullmatch(cells[key_at]) for cells in table.rows):
        keys = {}
        for line, cells in zip(table.lines, table.rows, strict=True):
            if _KEY.fullmatch(cells[key_at]):
                keys[row_of[line]] = cells[key_at]
            else:
                done.problems.append(_problem(table, line, "its key is no SHA-256"))
        done.problems += [_problem(table, line, reason) for line, reason in table.bad]
        return keys
    path_at = table.find(PATH_COLUMNS)
    if path_at is None:
        raise UserError(
            f"{table.path} has no column that names the photos: expected `key` (SHA-256) or one "
            f"of {', '.join(PATH_COLUMNS)}; found {', '.join(table.columns[:20])}."
        )
    place = PhotoFolder(photos or table.path.parent)
    named, left_out = match_rows(table, place.locate, path_at, None)
    done.problems += [_problem(table, line, reason, id_) for line, reason, id_ in left_out]
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(lambda photo: _hash(photo.path), named))
    for photo, (key, reason) in zip(named, hashes, strict=True):
        if not key:
            done.problems.append(_problem(table, photo.line, reason, photo.id))
    return {row_of[p.line]: key for p, (key, _) in zip(named, hashes, strict=True) if key}


def _hash(path: str) -> tuple[str, str]:
    """(key, "") of a photo, or ("", what is wrong with it)."""
    try:
        return sha256(sources.read(path)), ""
    except ImageProblem as problem:
        return "", str(problem)


def _import(source: _Source, keys: dict[int, str], store: EmbeddingStore, done: Imported) -> None:
    """Save the vectors of the rows in `keys`."""
    lines, start = _lines(source.table), 0
    for block in source.blocks():
        wide = np.asarray(block, dtype=np.float64)
        lengths = np.linalg.norm(wide, axis=1)
        good = np.isfinite(lengths) & (lengths > 0)
        exact = np.abs(lengths - 1) <= _EXACT
        X = (wide / np.where(exact | ~good, 1, lengths)[:, None]).astype(np.float32)
        fresh: dict[str, int] = {}
        for i in range(len(X)):
            key = keys.get(start + i)
            if key is None:
                continue
            if not good[i]:
                why = "its vector is zero" if lengths[i] == 0 else "its vector is not finite"
                done.problems.append(_problem(source.table, lines[start + i], why))
            elif key in store or key in fresh:
                done.known += 1
            else:
                fresh[key] = i
        rows = list(fresh.values())
        if rows:
            store.append(list(fresh), X[rows], f"imported from {source.path.name}")
        done.added += len(rows)
        done.scaled += int((np.abs(lengths[rows] - 1) > UNIT).sum())
        start += len(X)


def _lines(table: Table) -> list[int]:
    """Where each row of the table stands in its file, those that are no good included."""
    if table.unit == "row":  # of Parquet: empty rows count
        import pyarrow.parquet as pq

        return list(range(1, pq.read_metadata(table.path).num_rows + 1))
    return sorted([*table.lines, *(line for line, _ in table.bad)])


def _problem(table: Table, line: int, reason: str, id_: str | None = None) -> Problem:
    return Problem(f"{table.path.name} {table.unit} {line}", reason, id_)


# ---- reading


def _sources(vectors: Path, table: Path | None) -> list[_Source]:
    if not vectors.exists():
        raise UserError(f"There is no {vectors}.{near_path(vectors)}")
    if vectors.is_dir():
        return _clip_retrieval(vectors)
    if vectors.suffix.lower() == ".parquet":
        return [_parquet(vectors)]
    if table is None:
        raise UserError(f"Name the table whose rows are those of {vectors}: --table TABLE.")
    return [_npy(vectors, _table(table))]


def _clip_retrieval(folder: Path) -> list[_Source]:
    shards = sorted((folder / "img_emb").glob("img_emb_*.npy"))
    if not shards:
        raise UserError(
            f"{folder} is no folder of clip-retrieval's: expected img_emb/img_emb_0.npy and "
            "metadata/metadata_0.parquet in it."
        )
    found = []
    for shard in shards:
        number = shard.stem.removeprefix("img_emb_")
        table = folder / "metadata" / f"metadata_{number}.parquet"
        found.append(_npy(shard, _table(table)))
    return found


def _npy(path: Path, table: Table) -> _Source:
    try:
        X = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read as a NumPy array ({error}).") from error
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.dtype.kind != "f" or not X.shape[1]:
        found = f"{X.dtype} {X.shape}" if isinstance(X, np.ndarray) else "several arrays"
        raise UserError(f"{path} holds {found}: expected one array (photos, numbers) of floats.")

    def blocks() -> Iterator[NDArray[Any]]:
        return (X[i : i + _ROWS_AT_ONCE] for i in range(0, len(X), _ROWS_AT_ONCE))

    return _checked(_Source(path, len(X), X.shape[1], X.dtype.name, table, blocks))


def _parquet(path: Path) -> _Source:
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
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[name]):
            values = batch.column(0).flatten().to_numpy(zero_copy_only=False)
            yield values.reshape(-1, kind.list_size)

    dtype = str(np.dtype(kind.value_type.to_pandas_dtype()))
    return _checked(_Source(path, file.metadata.num_rows, kind.list_size, dtype, table, blocks))


def _checked(source: _Source) -> _Source:
    rows = len(_lines(source.table))
    if rows != source.rows:
        raise UserError(
            f"{source.path} holds {source.rows:,} vectors and {source.table.path} {rows:,} rows: "
            "expected one row a vector, in the same order."
        )
    return source


def _table(path: Path) -> Table:
    return read_table(path, ("key", *PATH_COLUMNS))


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
