"""The search index: unit vectors with their ids, exact below 200,000 rows, a graph above.

FAISS proposes candidates in float32; their cosines are then computed in float64 and ranked here,
so that equal photos are equal, and ties fall in the order in which the index was built.
"""

import hashlib
import importlib
import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.files import read_json, sha256, whole_file, write_bytes, write_json
from embed.parts import check

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Kind = Literal["auto", "flat", "hnsw"]

FORMAT = "familia-index-1"
FLAT_BELOW = 200_000  # rows; brute force answers in well under a second there
HNSW = {"M": 32, "efConstruction": 200, "efSearch": 128}
_SPARE = 8  # candidates beyond k, so that ties around the k-th place seldom need a second search
_BLOCK = 256  # queries at a time
_FILES = ("index.faiss", "ids.parquet")


class Index:
    """Nearest rows by cosine. Make one with `build` or `load`."""

    def __init__(self, faiss_index: Any, ids: Sequence[str], kind: str, source: str) -> None:
        self.ids = [str(name) for name in ids]
        self.kind = kind
        self.source = source
        self._faiss = faiss_index
        self._flat = (
            faiss_index if kind == "flat" else load_faiss().downcast_index(faiss_index.storage)
        )
        # a view, not a copy: it lives as long as the index beside it
        self._X: F32 = load_faiss().rev_swig_ptr(self._flat.get_xb(), len(self) * self.dim)
        self._X = self._X.reshape(len(self), self.dim)

    @classmethod
    def build(cls, X: F32, ids: Sequence[str], kind: Kind = "auto", source: str = "") -> "Index":
        """An index over X : (n, dim) float32, unit rows; ids : n strings, each once.

        `source` is a digest of what the rows were made from, for `fresh`. "hnsw" is the graph of
        Malkov and Yashunin (2018); on several cores its edges may differ from build to build.
        Raises `ValueError` for rows that are not finite unit vectors and for ids twice.
        """
        faiss = load_faiss()
        X = as_unit_rows(X)
        n, dim = X.shape
        if n == 0 or len(ids) != n:
            raise ValueError(f"expected one id for each of n > 0 rows, got {len(ids)} for {n}")
        if len(set(ids)) < n:
            raise ValueError(f"expected unique ids, got {n - len(set(ids))} repeated")
        if kind == "auto":
            kind = "flat" if n < FLAT_BELOW else "hnsw"
        if kind == "flat":
            index = faiss.IndexFlatIP(dim)
        elif kind == "hnsw":
            index = faiss.IndexHNSWFlat(dim, HNSW["M"], faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = HNSW["efConstruction"]
        else:
            raise ValueError(f"expected the kind auto, flat or hnsw, got {kind!r}")
        index.add(X)
        return cls(index, ids, kind, source)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        return int(self._faiss.d)

    def query(
        self, X: F32, k: int, exclude: Sequence[Collection[str]] | None = None
    ) -> tuple[NDArray[np.object_], F32]:
        """As `query_rows`, with ids: (q, k) strings; `exclude` has the ids to leave out."""
        without = None
        if exclude is not None:
            row_of = {name: row for row, name in enumerate(self.ids)}
            without = [[row_of[name] for name in names if name in row_of] for names in exclude]
        rows, similarities = self.query_rows(X, k, without)
        return np.asarray(self.ids, dtype=object)[rows], similarities

    def query_rows(
        self, X: F32, k: int, exclude: Sequence[Collection[int]] | None = None
    ) -> tuple[I64, F32]:
        """The k nearest rows of each query, best first, ties by row.

        X : (q, dim) float32, unit rows; exclude : for each query the rows it leaves out.
        Returns row numbers (q, k) int64 and cosines (q, k) float32. Where there are fewer than k
        rows that no query excludes, k is their number: there is never a row -1 (faiss#2657).
        """
        Q = as_unit_rows(X)
        if Q.shape[1] != self.dim:
            raise ValueError(f"expected queries of {self.dim} columns, got {Q.shape[1]}")
        without = [sorted(set(rows)) for rows in exclude] if exclude is not None else [[]] * len(Q)
        if len(without) != len(Q):
            raise ValueError(f"expected {len(Q)} exclusions, got {len(without)}")
        most = max(map(len, without), default=0)
        k = max(0, min(k, len(self) - most))
        rows, similarities = np.empty((len(Q), k), np.int64), np.empty((len(Q), k), np.float32)
        for start in range(0, len(Q) if k else 0, _BLOCK):
            part = slice(start, start + _BLOCK)
            rows[part], similarities[part] = self._best(
                Q[part], k, k + most + _SPARE, without[part]
            )
        return rows, similarities

    def search(self, Q: F32, k: int, allowed: NDArray[np.bool_] | None = None) -> tuple[I64, F32]:
        """As `query_rows`, among the rows that `allowed` (n,) marks: as `BigIndex.search`.

        With `allowed` the answer is exact for every kind: those rows alone are compared.
        """
        if allowed is None:
            return self.query_rows(Q, k)
        if allowed.shape != (len(self),) or allowed.dtype != np.bool_:
            raise ValueError(f"expected ({len(self)},) booleans, got {allowed.shape}")
        Q, rows = as_unit_rows(Q), np.flatnonzero(allowed)
        if Q.shape[1] != self.dim:
            raise ValueError(f"expected queries of {self.dim} columns, got {Q.shape[1]}")
        k = max(0, min(k, len(rows)))
        found, similarities = np.empty((len(Q), k), np.int64), np.empty((len(Q), k), np.float32)
        for i, x in enumerate(Q):
            cosines = self.cosines(x, rows)
            best = np.argsort(-cosines, kind="stable")[:k]
            found[i], similarities[i] = rows[best], cosines[best]
        return found, similarities

    def cosines(self, x: F32, rows: I64) -> F32:
        """Cosines (len(rows),) float32 of the query x : (dim,) float32 with rows of the index.

        They are rounded to 2**-24, float32's step below 1, so that ties are ties near 0 as well.
        """
        return exact_cosines(self._X[rows], x)

    def _best(self, Q: F32, k: int, width: int, without: list[list[int]]) -> tuple[I64, F32]:
        """The best k among `width` candidates; more where a tie may reach beyond them."""
        width = min(width, len(self))
        floor, candidates = self._candidates(Q, width)
        rows, similarities = np.empty((len(Q), k), np.int64), np.empty((len(Q), k), np.float32)
        for i, near in enumerate(candidates):
            cosines = self.cosines(Q[i], near)
            if without[i]:
                cosines[np.isin(near, without[i])] = -np.inf
            best = np.lexsort((near, -cosines))[:k]
            rows[i], similarities[i] = near[best], cosines[best]
        if self.kind == "flat" and width < len(self):
            loose = np.flatnonzero(floor + score_slack(self.dim) >= similarities[:, -1])
            if len(loose):
                rest = [without[int(i)] for i in loose]
                rows[loose], similarities[loose] = self._best(Q[loose], k, 4 * width, rest)
        return rows, similarities

    def _candidates(self, Q: F32, width: int) -> tuple[F32, I64]:
        """FAISS's lowest score (q,) and rows (q, width); all rows are real ones."""
        if self.kind == "flat":
            scores, rows = self._faiss.search(Q, width)
            return scores[:, -1], rows
        wide = load_faiss().SearchParametersHNSW(efSearch=max(HNSW["efSearch"], width))
        scores, rows = self._faiss.search(Q, width, params=wide)
        short = np.flatnonzero((rows < 0).any(axis=1))  # the graph did not reach enough rows
        if len(short):
            scores[short], rows[short] = self._flat.search(Q[short], width)
        return scores[:, -1], rows

    def save(self, folder: Path) -> None:
        """Write index.faiss, ids.parquet, then index.json with their checksums."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        faiss, table = load_faiss(), io.BytesIO()
        pq.write_table(pa.table({"id": self.ids}), table)
        write_bytes(folder / "ids.parquet", table.getvalue())
        digest = hashlib.sha256()
        with whole_file(folder / "index.faiss") as scratch, scratch.open("wb") as handle:
            # FAISS's own file writer does not notice a disk that fills up at the close

            def write(chunk: bytes) -> int:
                digest.update(chunk)
                return handle.write(chunk)

            faiss.write_index(self._faiss, faiss.PyCallbackIOWriter(write))
        about = {
            "check": check(np.memmap(folder / "index.faiss", np.uint8, "r")),
            "format": FORMAT,
            "kind": self.kind,
            "metric": "cosine",
            "dim": self.dim,
            "n": len(self),
            "source": self.source,
            "faiss": faiss.__version__,
            "parameters": HNSW if self.kind == "hnsw" else {},
            "sha256": dict(
                zip(_FILES, (digest.hexdigest(), sha256(table.getvalue())), strict=True)
            ),
        }
        write_json(folder / "index.json", about)

    @classmethod
    def load(cls, folder: Path) -> "Index":
        """The index in `folder`; one that is absent, damaged or foreign is a `UserError`."""
        import pyarrow.parquet as pq

        faiss, about = load_faiss(), _about(folder)
        for name in _FILES:
            if _checksum(folder / name) != about["sha256"].get(name):
                raise _unusable(folder, f"{name} is missing or was changed after it was written")
        try:
            ids = pq.read_table(folder / "ids.parquet")["id"].to_pylist()
            index = faiss.read_index(str(folder / "index.faiss"))
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise _unusable(folder, f"its files cannot be read ({error})") from error
        expected, found = (about["dim"], about["n"], about["n"]), (index.d, index.ntotal, len(ids))
        kinds = {faiss.IndexFlatIP: "flat", faiss.IndexHNSWFlat: "hnsw"}
        if found != expected or kinds.get(type(index)) != about["kind"]:
            raise _unusable(
                folder, f"expected {about['kind']} with (dim, rows, ids) {expected}, got {found}"
            )
        return cls(index, ids, about["kind"], about["source"])

    @staticmethod
    def fresh(folder: Path, source: str) -> bool:
        """Whether `folder` has an index made from `source`; its files are checked by `load`."""
        try:
            return bool(_about(folder)["source"] == source)
        except UserError:
            return False


def load_faiss() -> Any:
    """FAISS, loaded at first use; the types it brings lack what SWIG makes."""
    return importlib.import_module("faiss")


def exact_cosines(X: NDArray[Any], x: F32) -> F32:
    """Cosines (n,) float32 of x : (dim,) with X : (n, dim), by float64, rounded to 2**-24.

    Broadcasts as `np.vecdot` does.
    """
    near, q = X.astype(np.float64), x.astype(np.float64)
    cosines = np.vecdot(near, q) / np.sqrt(np.vecdot(near, near) * np.vecdot(q, q))
    return np.asarray(np.rint(cosines * 2**24) / 2**24, dtype=np.float32)


def score_slack(dim: int) -> float:
    """How far FAISS's float32 score may lie from the cosine (four standard errors of the sum).

    Rounding errors of a dot product grow with the root of its length (Higham and Mary, 2019);
    norms are off by 1e-6 at most.
    """
    return float(4 * np.sqrt(dim) * 2.0**-24 + 2e-6)


def as_unit_rows(X: F32) -> F32:
    """X as (n, dim) contiguous float32 with norms right to 1e-6; those off by 1e-3 are refused."""
    X = np.ascontiguousarray(X, dtype=np.float32)
    if X.ndim != 2 or X.shape[1] == 0:
        raise ValueError(f"expected (n, dim) rows, got an array of shape {X.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(np.sqrt(np.einsum("ij,ij->i", X, X)) - 1)
    if not (off < 1e-3).all():  # NaN fails as well
        raise ValueError(f"expected finite unit rows, got norms up to {off.max()} away from 1")
    return X if (off < 1e-6).all() else X / np.linalg.norm(X, axis=1, keepdims=True)


def _about(folder: Path) -> dict[str, Any]:
    path = folder / "index.json"
    if not path.exists():
        raise _unusable(folder, "it has no index.json")
    about = read_json(path)
    fields = {"format", "kind", "dim", "n", "source", "sha256"}
    if not isinstance(about, dict) or about.get("format") != FORMAT or fields - about.keys():
        raise _unusable(folder, f"index.json is not of the format {FORMAT}")
    return about


def _checksum(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return ""


def _unusable(folder: Path, why: str) -> UserError:
    return UserError(
        f"{folder} holds no index that can be used: {why}. Remove that folder and run "
        "`cli search` again: the index is built anew from the embeddings."
    )
