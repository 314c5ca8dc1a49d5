"""Vectors made elsewhere into a store of their own, under the photos that a table names."""

import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embed import sources
from embed.columns import ID_COLUMNS, PATH_COLUMNS
from embed.encoders import NAMES
from embed.errors import UserError
from embed.files import sha256
from embed.images import ImageProblem
from embed.matching import match_rows
from embed.parts import IMPORTED, UNIT
from embed.places import PhotoFolder
from embed.rows import Problem
from embed.spec import EncoderSpec
from embed.store import EmbeddingStore
from embed.tables import Table
from embed.transform import Transform
from embed.vector_files import Source, lines_of, vector_sources

F32 = NDArray[np.float32]

_KEY = re.compile("[0-9a-f]{64}")
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
        file with a column of vectors; the folder that `clip-retrieval inference` wrote; HDF5 of
        ann-benchmarks; .fvecs or .bvecs with the ids beside; or an exported FiftyOneDataset. Rows
        are scaled to length 1.
    table : has a column `key` (SHA-256 of the photo's bytes), or names photos as `embed` takes
        it, relative to `photos`, else to the table's folder. HDF5 and .fvecs do without: their
        rows then get keys made from their ids, and stand for no photo.
    weights : a digest of the network's weights, where known, by default that of the vectors

    A row whose photo or vector is no good becomes a `Problem`. Raises `UserError` for what is
    wrong as a whole.
    """
    if name in NAMES or ":" in name or "/" in name:
        raise UserError(f"--name {name} is how an encoder is called here. Choose another name.")
    found = vector_sources(vectors, table)
    dims = {(source.dim, source.dtype) for source in found}
    if len(dims) > 1:
        raise UserError(f"{vectors} holds vectors of several kinds: {sorted(dims)}. Expected one.")
    dim, kind = dims.pop()
    spec = _spec(name, weights or _digest([source.path for source in found]), dim, kind)
    store = _open(folder, spec, dtype)
    done = Imported(name, folder, dim)
    for source in found:
        done.notes += source.notes
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


def _keys(source: Source, photos: Path | None, done: Imported) -> dict[int, str]:
    """The key of each row whose photo is found, by the row's number; others become problems."""
    table = source.table
    row_of = {line: row for row, line in enumerate(lines_of(table))}
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
    if path_at is None and table.unit == "vector":
        return _made_keys(table, done)
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


def made_key(id_: str) -> str:
    """The key of a vector that has an id and no photo."""
    return sha256(f"id:{id_}".encode())


def _made_keys(table: Table, done: Imported) -> dict[int, str]:
    id_at = table.find(ID_COLUMNS)
    ids = [] if id_at is None else [cells[id_at] for cells in table.rows]
    if len(set(ids)) < len(table.rows):
        raise UserError(f"{table.path} has ids that stand twice: nobody knows which row is meant.")
    done.notes.append(
        f"vectors without photos: {len(ids):,}; their keys are made from their ids ({ids[0]}, …)"
    )
    return {row: made_key(id_) for row, id_ in enumerate(ids)}


def _hash(path: str) -> tuple[str, str]:
    """(key, "") of a photo, or ("", what is wrong with it)."""
    try:
        return sha256(sources.read(path)), ""
    except ImageProblem as problem:
        return "", str(problem)


def _import(source: Source, keys: dict[int, str], store: EmbeddingStore, done: Imported) -> None:
    """Save the vectors of the rows in `keys`."""
    lines, start = lines_of(source.table), 0
    for block in source.blocks():
        with np.errstate(invalid="ignore"):  # some NaNs signal
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


def _problem(table: Table, line: int, reason: str, id_: str | None = None) -> Problem:
    return Problem(f"{table.path.name} {table.unit} {line}", reason, id_)


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
