"""Indices as autofaiss and clip-retrieval keep them: a FAISS file, facts in JSON, ids in Parquet.

autofaiss          knn.index     index_infos.json   ids/*.parquet (`id`, …, `i`: the row)
clip-retrieval     image.index   image.json         metadata/*.parquet, in the rows' order
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.columns import ID_COLUMNS, PATH_COLUMNS
from embed.errors import UserError
from embed.files import read_json
from retrieval.faiss_export import FILES, ROW
from retrieval.foreign_faiss import inner, read_foreign, stored_vectors
from retrieval.index import Index, as_unit_rows, load_faiss

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
_NAMES = (*ID_COLUMNS, "key", *PATH_COLUMNS, "url")
_ROWS_AT_ONCE = 4096
_SPARE = 8  # candidates beyond k, so that ties around the k-th place are ranked by row
_EXACT = 1e-5


@dataclass
class Foreign:
    """What `read_index` found."""

    index: "Index | ForeignIndex"
    metadata: list[Path]  # the Parquet files of its rows, in order
    places: I64 | None = None  # (n,) each row's place in them, where that is another one
    notes: list[str] = field(default_factory=list)


class ForeignIndex:
    """An index with lists or codes, made elsewhere; searched as `Index` is.

    Of codes (product quantisation) the similarities are FAISS's estimates, not exact cosines.
    """

    def __init__(self, faiss_index: Any, ids: list[str]) -> None:
        self.ids = ids
        self._faiss = faiss_index
        self._ivf = inner(faiss_index)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        return int(self._faiss.d)

    def search(self, Q: F32, k: int, allowed: NDArray[np.bool_] | None = None) -> tuple[I64, F32]:
        """Rows (q, k) int64 and similarities (q, k) float32, best first, ties by row.

        Q : (q, dim) float32, unit rows; allowed : (n,) booleans, the rows that may be found.
        Where fewer rows may be found, k is their number. A query whose lists hold too few is
        answered from all lists.
        """
        Q = as_unit_rows(Q)
        if Q.shape[1] != self.dim:
            raise ValueError(f"expected queries of {self.dim} columns, got {Q.shape[1]}")
        if allowed is not None and (allowed.shape != (len(self),) or allowed.dtype != np.bool_):
            raise ValueError(f"expected ({len(self)},) booleans, got {allowed.shape}")
        most = len(self) if allowed is None else int(allowed.sum())
        k, width = max(0, min(k, most)), min(k + _SPARE, most)
        if k == 0:
            return np.empty((len(Q), 0), np.int64), np.empty((len(Q), 0), np.float32)
        scores, rows = self._look(Q, width, allowed, self._ivf.nprobe)
        short = np.flatnonzero((rows[:, :k] < 0).any(axis=1))
        if len(short):
            scores[short], rows[short] = self._look(Q[short], width, allowed, self._ivf.nlist)
            if (rows[:, :k] < 0).any():
                raise UserError("The index is damaged: some of its rows cannot be compared.")
        scores[rows < 0] = -np.inf
        best = np.lexsort((rows, -scores), axis=1)[:, :k]
        return np.take_along_axis(rows, best, axis=1), np.take_along_axis(scores, best, axis=1)

    def _look(
        self, Q: F32, width: int, allowed: NDArray[np.bool_] | None, nprobe: int
    ) -> tuple[F32, I64]:
        faiss = load_faiss()
        wide = faiss.SearchParametersIVF(nprobe=min(nprobe, self._ivf.nlist))
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
            wide.sel = selector
        whole = self._faiss is not self._ivf
        params = faiss.SearchParametersPreTransform(index_params=wide) if whole else wide
        try:
            scores, rows = self._faiss.search(Q, width, params=params)
        except RuntimeError as error:
            raise UserError(f"The index is damaged: FAISS cannot search it ({error}).") from error
        if self._ivf.metric_type == faiss.METRIC_L2:
            scores = 1 - scores / 2  # of unit rows
        return np.asarray(scores, dtype=np.float32), rows


def read_index(path: Path, ids: Path | None = None) -> Foreign:
    """The index that autofaiss or clip-retrieval wrote to the folder `path`, with its ids.

    path : the folder, or the index file itself with `ids`, a Parquet file or a folder of them.
        An id is what the first column of `id`, `key`, the path columns and `url` says that has
        a different text in every row.

    Raises `UserError` where files are missing, foreign or hostile (see `read_foreign`), and where
    index, facts and ids are of different numbers of rows.
    """
    file, facts, where, notes = _found(path, ids)
    index = read_foreign(file)
    _check_facts(facts, index)
    files, names, places = _read_ids(where, int(index.ntotal), file)
    scaled = _scale(file, index)
    core = inner(index)
    kind = type(core).__name__
    if scaled:
        later = "" if kind.startswith("IndexFlat") else "; it was built without, so expect less"
        notes.append(f"vectors that were not of length 1, and were scaled: {scaled:,}{later}")
    if kind == "IndexIVFPQ":
        notes.append("its vectors are codes: similarities are estimates of the cosines")
    if kind.startswith("IndexIVF"):
        return Foreign(ForeignIndex(index, names), files, places, notes)
    if kind == "IndexFlatL2":
        index = load_faiss().IndexFlatIP(core.d)
        for X in stored_vectors(core):
            index.add(X)
    small = Index(index, names, "hnsw" if kind == "IndexHNSWFlat" else "flat", str(file))
    return Foreign(small, files, places, notes)


def metadata_rows(found: Foreign, rows: Sequence[int]) -> Any:
    """What the Parquet files say of these rows, as an Arrow table in their order.

    Reads the row groups that hold them. A column that some files lack is null there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    places = list(rows) if found.places is None else found.places[list(rows)].tolist()
    parts, at, start = list[Any](), dict[int, int](), 0
    for path in found.metadata:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                here = sorted({place for place in places if start <= place < end})
                if here or not parts:
                    inside = pa.array([place - start for place in here], pa.int64())
                    parts.append(file.read_row_group(group).take(inside))
                    at |= {place: len(at) + i for i, place in enumerate(here)}
                start = end
    table = pa.concat_tables(parts, promote_options="permissive")
    return table.take(pa.array([at[place] for place in places], pa.int64()))


def _found(path: Path, ids: Path | None) -> tuple[Path, Path | None, Path, list[str]]:
    """The index file, its facts, the file or folder of ids, and notes."""
    if path.is_file():
        if ids is None:
            raise UserError(f"Name the Parquet file with the ids of the rows of {path}: --ids PATH")
        return path, None, ids, []
    for index, facts, folder in FILES.values():
        if (path / index).is_file():
            where = path / folder
            if not where.is_dir() and (path / "ids.parquet").exists():
                where = path / "ids.parquet"
            notes = []
            if (path / "text.index").exists():
                notes.append("text.index is there too: the index of texts is not taken")
            known = path / facts
            return path / index, known if known.exists() else None, ids or where, notes
    names = ", ".join(names[0] for names in FILES.values())
    raise UserError(f"{path} has no index of autofaiss or clip-retrieval: expected {names} in it.")


def _check_facts(facts: Path | None, index: Any) -> None:
    if facts is None:
        return
    said = read_json(facts)
    for name, found in (("nb vectors", index.ntotal), ("vectors dimension", index.d)):
        if not isinstance(said, dict) or said.get(name, found) != found:
            raise UserError(f"{facts} is not of this index: expected {name} {found:,}.")


def _read_ids(where: Path, n: int, file: Path) -> tuple[list[Path], list[str], I64 | None]:
    """The Parquet files, the (n,) ids by row, and each row's place in the files; wrong counts are
    refused."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = [where] if where.is_file() else sorted(where.glob("*.parquet"))
    if not files:
        raise UserError(f"There are no ids of {file}: expected Parquet files in {where}.")
    try:
        rows = sum(pq.read_metadata(one).num_rows for one in files)
        if rows != n:
            raise UserError(f"{file} has {n:,} rows and {where} {rows:,}: expected one id a row.")
        schema = pq.read_schema(files[0])
        order = None
        if ROW in schema.names and pa.types.is_integer(schema.field(ROW).type):
            order = np.concatenate([_column(one, ROW).to_numpy() for one in files])
            if not np.array_equal(np.sort(order), np.arange(n)):
                raise UserError(f"{where}: `{ROW}` does not name each of {n:,} rows once.")
        for name in _NAMES:
            if name in schema.names:
                texts = [str(value) for one in files for value in _column(one, name).to_pylist()]
                if len(set(texts)) == n:
                    places = None if order is None else np.argsort(order)
                    placed = texts if places is None else [texts[at] for at in places]
                    return files, placed, places
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{where} cannot be read as Parquet ({error}).") from error
    raise UserError(
        f"{where} has no column with an id in every row, each once: expected one of "
        f"{', '.join(_NAMES)}; found {', '.join(schema.names[:20])}."
    )


def _column(file: Path, name: str) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(file, columns=[name]).column(0)


def _scale(file: Path, index: Any) -> int:
    """Scale whole vectors to length 1 where they lie; returns how many were not."""
    scaled = 0
    for X in stored_vectors(inner(index)):
        for start in range(0, len(X), _ROWS_AT_ONCE):
            some = X[start : start + _ROWS_AT_ONCE]
            with np.errstate(invalid="ignore"):  # some NaNs signal
                lengths = np.linalg.norm(some.astype(np.float64), axis=1)
            if not (np.isfinite(lengths) & (lengths > 0)).all():
                raise UserError(f"{file} has vectors that are zero or not finite.")
            off = np.abs(lengths - 1) > _EXACT
            some[off] /= lengths[off, None]
            scaled += int(off.sum())
    return scaled
