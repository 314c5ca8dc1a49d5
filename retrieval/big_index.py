"""Searching a big index: everything is memory-mapped, so it opens at once, whatever its size.

FAISS proposes candidates from short codes; they are ranked anew by exact cosines of the rows on
the disk, ties by row, as `Index` does it.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.parts import unit
from retrieval.among import Among
from retrieval.faiss_parts import fast_scan
from retrieval.gpu import gpus, knn, on_gpus
from retrieval.index import as_unit_rows, exact_cosines, load_faiss, score_slack
from retrieval.index_building import TRAINED, removed_rows
from retrieval.index_files import (
    KEYS,
    About,
    check_sizes,
    file_digest,
    only_writer,
    read_about,
    unusable,
    vectors_of,
    verify_files,
    write_about,
)
from retrieval.inverted_lists import open_lists
from retrieval.plan import Plan
from retrieval.row_ids import Ids, mapped

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

_FEW = 20_000  # allowed rows that are compared one by one: exact, and no slower
_FEW_GRAPH = 200_000  # a graph finds its way badly where most rows are not allowed
_SPARE = 8  # candidates beyond k, so that ties around the k-th place seldom need a second search
_BLOCK = 16_384  # rows of a scan at a time
_QUERIES, _FILTERED = 1024, 256  # at a time; with a filter every list is weighed for each
_WORTH_COPYING = 10_000  # queries for which an IVF is copied to the GPUs
_RANKED = 2048  # candidates that a thread ranks at a time
_CHECKED_AT_ONCE = 256 * 2**20  # bytes; files up to this size are hashed when they are opened
_READ_AS_NEEDED = ("lists-", "blocks-", "graph-")  # never whole


class BigIndex:
    """Nearest rows by cosine, from the folder that `index_building.build` made."""

    def __init__(self, folder: Path, about: About) -> None:
        self.folder, self.about = folder, about
        self.plan = about.plan
        self.ids = Ids(folder, about.n, about.ids_bytes)
        self._X = vectors_of(folder, about)
        self.removed = removed_rows(folder, about)
        self.list_of_row: NDArray[np.int32] = np.empty(0, np.int32)  # of ivf
        if name := about.named("list-of-row-"):
            self.list_of_row = np.load(folder / name, mmap_mode="r", allow_pickle=False)
        self._faiss: Any = None
        if about.indexed:
            self._faiss = _open_faiss(folder, about)
        self._on_gpus: Any = None
        self._all: Among | None = None
        self._all = self._among(None)

    @classmethod
    def load(cls, folder: Path) -> "BigIndex":
        """Open the index in `folder`.

        index.json is checked by its own checksum, every file by its size, the small ones (up to
        256 MB) by SHA-256, and each row that is compared by its length; `verify` reads it all.
        Raises `UserError` for an index that is absent, damaged, foreign or half built.
        """
        about = read_about(folder)
        check_sizes(folder, about)
        for name, (size, digest) in about.files.items():
            small = size <= _CHECKED_AT_ONCE and not name.startswith(_READ_AS_NEEDED)
            if small and file_digest(folder / name) != digest:
                raise unusable(folder, f"{name} was changed after it was written")
        if not about.planned:
            raise unusable(folder, "its building was not finished")
        try:
            return cls(folder, about)
        except (OSError, RuntimeError, ValueError) as error:
            raise unusable(folder, f"its files cannot be read ({error})") from error

    def __len__(self) -> int:
        """Rows, with those that were removed."""
        return self.about.n

    @property
    def dim(self) -> int:
        return self.about.dim

    @property
    def kind(self) -> str:
        return self.plan.kind

    def keys(self, rows: I64) -> list[str]:
        """The SHA-256 (hexadecimal) of the photos at `rows`."""
        raw = mapped(self.folder / KEYS, "V32", (len(self),))
        return [raw[row].tobytes().hex() for row in rows]

    def row(self, name: str) -> int | None:
        """The row of an id; None where there is none, or it was removed."""
        alive = [row for row in self.ids.rows(name) if not self._is_removed(row)]
        return alive[-1] if alive else None

    def vectors(self, rows: I64) -> F32:
        """(len(rows), dim) unit rows."""
        return unit(self._rows(rows))

    def cosines(self, x: F32, rows: I64) -> F32:
        """As `Index.cosines`, x (…, dim) and rows broadcast together.

        A row that is no unit vector is damage, a `UserError`.
        """
        return exact_cosines(self._unit_rows(rows)[0], x)

    def search(self, Q: F32, k: int, allowed: Mask | None = None) -> tuple[I64, F32]:
        """The k nearest rows of each query, best first, ties by row.

        Q : (q, dim) float32, unit rows; allowed : (n,) booleans, where not all rows count.
        Returns rows (q, k) int64 and exact cosines (q, k) float32. Where fewer than k rows are
        allowed, k is their number. Among 20,000 allowed rows or fewer (of a graph 200,000) the
        answer is exact; above, IVF looks at as many allowed rows as without a filter.
        """
        Q = as_unit_rows(Q)
        if Q.shape[1] != self.dim:
            raise ValueError(f"expected queries of {self.dim} columns, got {Q.shape[1]}")
        if allowed is not None and (allowed.shape != (len(self),) or allowed.dtype != np.bool_):
            raise ValueError(f"expected ({len(self)},) booleans, got {allowed.shape}")
        if len(Q) >= _WORTH_COPYING and allowed is None and self._on_gpus is None:
            self._to_gpus()
        among = self._among(allowed)
        k = max(0, min(k, among.count))
        rows, cosines = np.empty((len(Q), k), np.int64), np.empty((len(Q), k), np.float32)
        step = _QUERIES if allowed is None else _FILTERED
        for start in range(0, len(Q) if k else 0, step):
            part = slice(start, start + step)
            rows[part], cosines[part] = self._best(Q[part], k, among)
        return rows, cosines

    def verify(self) -> None:
        """Read every byte and compare checksums; damage is a `UserError`."""
        verify_files(self.folder)

    def save_plan(self, plan: Plan) -> None:
        """Search with `plan` from now on, here and wherever the folder is opened next.

        Raises `ValueError` where it is of another layout.
        """
        if plan.layout != self.plan.layout:
            raise ValueError(f"expected the layout {self.plan.layout}, got {plan.layout}")
        with only_writer(self.folder):
            self.about = replace(read_about(self.folder), plan=plan)
            write_about(self.folder, self.about)
        self.plan = plan

    def _to_gpus(self) -> None:
        """Copy the lists of an IVF to the GPUs where there are some: they are read whole.

        Bits (rabitq) and blocks of the fast scan have no GPU form.
        """
        some = self.plan.code != "rabitq" and not self.plan.fast_scan
        if gpus() and self.kind == "ivf" and some and self._faiss:
            self._on_gpus = on_gpus(self._faiss)

    def _among(self, allowed: Mask | None) -> Among:
        if allowed is None and self._all is not None:
            return self._all
        about = self.about
        return Among(
            about.n, about.indexed, self.list_of_row, self.plan.nlist, self.removed, allowed
        )

    def _is_removed(self, row: int) -> bool:
        at = int(np.searchsorted(self.removed, row))
        return at < len(self.removed) and int(self.removed[at]) == row

    def _rows(self, rows: I64) -> NDArray[Any]:
        return self._X[rows].astype(np.float32, copy=False)

    def _unit_rows(self, rows: I64) -> tuple[F32, F32]:
        """Rows and their lengths, which float16 changes a little; other ones are damage."""
        X = self._rows(rows)
        norms = np.sqrt(np.vecdot(X, X))
        if not (np.abs(norms - 1) < 2e-3).all():
            raise unusable(self.folder, "rows of vectors.bin were changed after it was written")
        return X, norms

    def _best(self, Q: F32, k: int, among: Among) -> tuple[I64, F32]:
        few = _FEW_GRAPH if self.kind == "hnsw" else _FEW
        if not self.about.indexed or (among.allowed is not None and among.count <= few):
            return self._scan(Q, k, among.rows)
        width = max(k * self.plan.refine, k + _SPARE)
        found = (
            self._graph(Q, width, among) if self.kind == "hnsw" else self._lists(Q, width, among)
        )
        tail = self._near_of(Q, k, among.tail)
        spare = np.full((len(Q), max(0, k - found.shape[1] - tail.shape[1])), -1)
        near = np.sort(np.hstack([found, tail, spare]), axis=1)
        if (near[:, 0] < -1).any() or (near[:, -1] >= len(self)).any():
            raise unusable(self.folder, "its lists were changed after they were written")
        rows, cosines = np.empty((len(Q), k), np.int64), np.empty((len(Q), k), np.float32)

        step = max(1, _RANKED // near.shape[1])

        def rank(start: int) -> None:
            part = slice(start, start + step)
            rows[part], cosines[part] = self._ranked(Q[part], near[part], k)

        if len(Q) <= step:  # a thread would wait for FAISS's own, which spin a while: 15 ms
            rank(0)
        else:
            with ThreadPoolExecutor(load_faiss().omp_get_max_threads()) as pool:
                list(pool.map(rank, range(0, len(Q), step)))
        short = np.flatnonzero((near >= 0).sum(axis=1) < k)  # lists or graph ended early
        if len(short):
            rows[short], cosines[short] = self._scan(Q[short], k, among.rows)
        return rows, cosines

    def _ranked(self, Q: F32, near: I64, k: int) -> tuple[I64, F32]:
        """The k best of the candidates `near` (q, width), -1 where there are none, ties by row.

        Those that float32 puts far behind are not compared in float64.
        """
        X, norms = self._unit_rows(np.maximum(near, 0))
        rows, width = near, k + _SPARE
        if near.shape[1] > width:
            scores = np.where(near < 0, -2, np.vecdot(X, Q[:, None]) / norms)
            order = np.argpartition(-scores, (k - 1, width - 1), axis=1)[:, :width]
            kth, last = np.take_along_axis(scores, order[:, [k - 1, width - 1]], 1).T
            if (kth - last > 2 * score_slack(self.dim)).all():
                rows = np.take_along_axis(near, order, 1)
                X = np.take_along_axis(X, order[..., None], 1)
        exact = exact_cosines(X, Q[:, None])
        best = np.lexsort((rows, np.where(rows < 0, np.inf, -exact)))[:, :k]
        return np.take_along_axis(rows, best, 1), np.take_along_axis(exact, best, 1)

    # ---- candidates

    def _lists(self, Q: F32, width: int, among: Among) -> I64:
        """(q, width) rows of IVF's lists, -1 where there are no more."""
        faiss = load_faiss()
        if among.allowed is None:
            if self._on_gpus is not None and among.selector is None:
                how = faiss.SearchParametersIVF(nprobe=self.plan.nprobe)
                found: I64 = self._on_gpus.search(Q, width, params=how)[1]
            else:  # FAISS would find each thread's lists alone, a row at a time where they are few
                near, order = self._faiss.quantizer.search(Q, self.plan.nprobe)
                found = self._read(Q, width, order, near, among)
            short = np.flatnonzero((found < 0).any(axis=1))
            if len(short):
                found[short] = self._probe(Q[short], width, among)
            return found
        return self._probe(Q, width, among)

    def _probe(self, Q: F32, width: int, among: Among) -> I64:
        """The nearest lists that hold allowed rows, until as many were looked at as usual."""
        nlist = self.plan.nlist
        usual = self.plan.nprobe / nlist * self.about.indexed
        near, order = self._faiss.quantizer.search(Q, nlist)
        counts = among.in_lists[order]
        enough = np.cumsum(counts, axis=1) - counts >= max(usual, 4 * width)
        order[enough | (counts == 0)] = -1
        probes = int((order >= 0).sum(axis=1).max())
        first = np.argsort(order < 0, axis=1, kind="stable")[:, : max(1, probes)]
        order = np.ascontiguousarray(np.take_along_axis(order, first, 1))
        near = np.ascontiguousarray(np.take_along_axis(near, first, 1))
        return self._read(Q, width, order, near, among)

    def _read(self, Q: F32, width: int, order: I64, near: F32, among: Among) -> I64:
        """(q, width) rows of the lists `order` (q, probes), whose centroids score `near`."""
        faiss = load_faiss()
        how = faiss.SearchParametersIVF(nprobe=order.shape[1], sel=among.selector)
        scores, rows = np.empty((len(Q), width), np.float32), np.empty((len(Q), width), np.int64)
        p = faiss.swig_ptr
        self._faiss.search_preassigned_c(
            len(Q), p(Q), width, p(order), p(near), p(scores), p(rows), False, how
        )
        return rows

    def _graph(self, Q: F32, width: int, among: Among) -> I64:
        """(q, width) rows of the graph, -1 where it did not reach more."""
        ef = max(self.plan.ef_search, width)
        wide = min(self.about.indexed, int(ef * len(self) / among.count))
        how = load_faiss().SearchParametersHNSW(efSearch=wide, sel=among.selector)
        found: I64 = self._faiss.search(Q, min(width, self.about.indexed), params=how)[1]
        return found

    def _near_of(self, Q: F32, k: int, rows: I64 | range) -> I64:
        """Among `rows` (ascending) the k nearest and some more, or -1: (q, width)."""
        width, k = min(k + _SPARE, len(rows)), min(k, len(rows))
        scores, near = self._scan_scores(Q, width, rows)
        if width < len(rows):
            close = scores[:, k - 1] - scores[:, -1] <= 2 * score_slack(self.dim)
            near[close] = -1
            near[close, :k] = self._scan(Q[close], k, rows)[0]
        return near

    def _scan(self, Q: F32, k: int, rows: I64 | range) -> tuple[I64, F32]:
        """The best of `rows` (ascending) by comparing each: exact, ties by row."""
        k = min(k, len(rows))
        best, cosines = np.empty((len(Q), k), np.int64), np.empty((len(Q), k), np.float32)
        width, left = k + _SPARE, np.arange(len(Q) if k else 0)
        while len(left):
            scores, near = self._scan_scores(Q[left], min(width, len(rows)), rows)
            loose = []
            for i, floor, found in zip(left, scores[:, -1], near, strict=True):
                found.sort()
                exact = self.cosines(Q[i], found)
                order = np.lexsort((found, -exact))[:k]
                best[i], cosines[i] = found[order], exact[order]
                if width < len(rows) and floor + score_slack(self.dim) >= cosines[i, -1]:
                    loose.append(i)
            left, width = np.array(loose, dtype=np.int64), 4 * width
        return best, cosines

    def _scan_scores(self, Q: F32, width: int, rows: I64 | range) -> tuple[F32, I64]:
        """float32 scores (q, width), best first, and their rows."""
        scores, best = np.empty((len(Q), 0), np.float32), np.empty((len(Q), 0), np.int64)
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            at: Any = slice(part.start, part.stop) if isinstance(part, range) else part
            X = self._rows(at)
            X = np.ascontiguousarray(X if self.plan.dtype == "float32" else unit(X))
            new, near = knn(Q, X, min(width, len(X)))
            scores = np.hstack([scores, new])
            best = np.hstack([best, near + part.start if isinstance(part, range) else part[near]])
            order = np.argsort(-scores, axis=1, kind="stable")[:, :width]
            scores = np.take_along_axis(scores, order, 1)
            best = np.take_along_axis(best, order, 1)
        return scores, best


def _open_faiss(folder: Path, about: About) -> Any:
    faiss = load_faiss()
    if about.plan.kind == "hnsw":
        return faiss.read_index(str(folder / about.named("graph-")), faiss.IO_FLAG_MMAP_IFC)
    ivf = faiss.read_index(str(folder / TRAINED))
    sizes = np.load(folder / about.named("sizes-"), allow_pickle=False)
    packed = about.plan.fast_scan
    path = folder / about.named("blocks-" if packed else "lists-")
    lists = open_lists(path, sizes, ivf.code_size, packed)
    found = fast_scan(ivf) if packed else ivf
    found.replace_invlists(lists, False)
    found.ntotal, found.referenced_objects = about.indexed, [ivf, lists]  # FAISS owns neither
    return found
