"""FAISS index files of other programs, read so that a hostile one does no harm.

FAISS parses them in C++: so it is held to the size of the file, only the kinds that autofaiss
makes are taken, and what a search would follow blindly (edges of a graph, row numbers in lists)
is checked before the first one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError, near_path
from retrieval.index import load_faiss

I64 = NDArray[np.int64]

KINDS = ("IndexFlatIP", "IndexFlatL2", "IndexHNSWFlat", "IndexIVFFlat", "IndexIVFPQ")
_FIRST = (b"IxFI", b"IxF2", b"IHNf", b"IwFl", b"IwPQ", b"IxPT")
_ELSEWHERE = b"ilod"  # lists that are in another file, which FAISS would open
_MOST_DIM = 1_000_000
_MOST = 1e9  # of a number in a rotation, a codebook or a centroid


def read_foreign(path: Path) -> Any:
    """The FAISS index in `path`: one of `KINDS`, or one behind a rotation (`IndexPreTransform`).

    Raises `UserError` for files that are absent, damaged, of another kind, or that contradict
    themselves.
    """
    faiss = load_faiss()
    try:
        size = path.stat().st_size
        with path.open("rb") as handle, _limited(faiss, size):
            if handle.read(4) not in _FIRST:
                raise _refused(path, f"expected a FAISS index of the kinds {', '.join(KINDS)}")
            handle.seek(0)

            def read(count: int) -> bytes:
                data = handle.read(count)
                if data == _ELSEWHERE:
                    raise ValueError("its lists are in another file; merge them into one index")
                return data

            # its table for L2 codes is larger than many a file, and is made after all is checked
            skip = faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE
            index = faiss.read_index(faiss.PyCallbackIOReader(read), skip)
            if handle.tell() != size:
                raise _refused(path, f"{size - handle.tell():,} bytes follow its end")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}).{near_path(path)}") from error
    except (RuntimeError, ValueError, MemoryError) as error:
        raise _refused(path, str(error)) from error
    try:
        _check(index)
    except ValueError as error:
        raise _refused(path, str(error)) from error
    core = inner(index)
    if type(core).__name__ == "IndexIVFPQ" and core.metric_type == faiss.METRIC_L2:
        core.precompute_table()
    return index


def inner(index: Any) -> Any:
    """The index behind a rotation, else itself; alive as long as `index`."""
    if type(index).__name__ == "IndexPreTransform":
        return load_faiss().downcast_index(index.index)
    return index


def stored_vectors(index: Any) -> Iterator[NDArray[np.float32]]:
    """Views of the vectors as they lie in an index that keeps them whole; none for codes."""
    faiss, kind = load_faiss(), type(index).__name__
    if kind == "IndexHNSWFlat":
        index = faiss.downcast_index(index.storage)
    if kind in ("IndexFlatIP", "IndexFlatL2", "IndexHNSWFlat"):
        n = int(index.ntotal)
        yield faiss.rev_swig_ptr(index.get_xb(), n * index.d).reshape(n, index.d)
    elif kind == "IndexIVFFlat":
        lists = index.invlists
        for i in range(index.nlist):
            if n := lists.list_size(i):
                codes = faiss.rev_swig_ptr(lists.get_codes(i), n * index.d * 4)
                yield codes.view(np.float32).reshape(n, index.d)


@contextmanager
def _limited(faiss: Any, size: int) -> Iterator[None]:
    """No part of an index is larger than its file, so none need be believed that says it is."""
    vector, loop = (
        faiss.get_deserialization_vector_byte_limit(),
        faiss.get_deserialization_loop_limit(),
    )
    # tables that FAISS counts in units of four bytes or of items fall under the same limit
    faiss.set_deserialization_vector_byte_limit(4 * size + 4096)
    faiss.set_deserialization_loop_limit(size + 4096)
    try:
        yield
    finally:
        faiss.set_deserialization_vector_byte_limit(vector)
        faiss.set_deserialization_loop_limit(loop)


def _check(index: Any) -> None:
    """Raises `ValueError` where parts of the index do not fit one another."""
    faiss = load_faiss()
    if type(index).__name__ == "IndexPreTransform":
        dim = index.d
        for i in range(index.chain.size()):
            step = faiss.downcast_VectorTransform(index.chain.at(i))
            if not isinstance(step, faiss.LinearTransform):
                raise ValueError(f"it changes vectors by {type(step).__name__}")
            sizes = step.A.size(), step.b.size()
            _same("rotation", sizes, (step.d_in * step.d_out, step.d_out if step.have_bias else 0))
            _same("dim of a rotation", (step.d_in, step.is_trained), (dim, True))
            _usual(faiss.vector_to_array(step.A))
            _usual(faiss.vector_to_array(step.b))
            dim = step.d_out
        _same("dim", (inner(index).d, inner(index).ntotal), (dim, index.ntotal))
        core = inner(index)
        _same("parts", (index.is_trained, index.metric_type), (True, core.metric_type))
        index = core
        if type(index).__name__ != "IndexIVFPQ":
            raise ValueError(f"it has {type(index).__name__} behind a rotation, not IndexIVFPQ")
    kind = type(index).__name__
    if kind not in KINDS:
        raise ValueError(f"it is {kind}: expected one of {', '.join(KINDS)}")
    if index.metric_type not in (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2):
        raise ValueError("its metric is neither the inner product nor the Euclidean distance")
    if not index.is_trained or not 0 < index.d <= _MOST_DIM or index.ntotal <= 0:
        raise ValueError(f"it holds {index.ntotal:,} rows of {index.d:,} numbers")
    if kind == "IndexHNSWFlat":
        _check_graph(index)
    elif kind.startswith("IndexIVF"):
        _check_lists(index)
    else:
        _check_flat(index)


def _check_flat(index: Any) -> None:
    _same("bytes of vectors", index.codes.size(), 4 * index.d * index.ntotal)


def _check_graph(index: Any) -> None:
    faiss, graph = load_faiss(), index.hnsw
    storage = faiss.downcast_index(index.storage)
    if type(storage).__name__ not in ("IndexFlatIP", "IndexFlatL2"):
        raise ValueError(f"its graph is over {type(storage).__name__}")
    _same("rows of the graph", (storage.ntotal, storage.d), (index.ntotal, index.d))
    _check_flat(storage)
    names = ("offsets", "levels", "neighbors", "cum_nneighbor_per_level")
    offsets, levels, edges, room = (
        np.asarray(faiss.vector_to_array(getattr(graph, name)), dtype=np.int64) for name in names
    )
    _same("levels", len(levels), index.ntotal)
    if levels.min() < 1 or levels.max() >= len(room) or (np.diff(room) < 0).any() or room[0]:
        raise ValueError("its graph has impossible levels")
    starts = np.concatenate([[0], np.cumsum(room[levels])])
    if not np.array_equal(offsets, starts) or len(edges) != starts[-1]:
        raise ValueError("its graph's edges do not add up")
    if edges.min(initial=-1) < -1 or edges.max(initial=-1) >= index.ntotal:
        raise ValueError("its graph leads to rows that are not there")
    entry = graph.entry_point
    if not 0 <= entry < index.ntotal or levels[entry] != graph.max_level + 1:
        raise ValueError("its graph starts at a row that is not there")
    # an edge of a higher level leads to a row of that level, or a search reads past its edges
    for level in range(1, int(levels.max())):
        for row in np.flatnonzero(levels > level):
            near = edges[offsets[row] + room[level] : offsets[row] + room[level + 1]]
            if (levels[near[near >= 0]] <= level).any():
                raise ValueError("its graph has edges between levels")


def _check_lists(index: Any) -> None:
    faiss, lists = load_faiss(), index.invlists
    if type(faiss.downcast_InvertedLists(lists)).__name__ != "ArrayInvertedLists":
        raise ValueError("its lists are of another kind")
    quantizer = faiss.downcast_index(index.quantizer)
    if type(quantizer).__name__ == "IndexHNSWFlat":
        _check_graph(quantizer)
    elif type(quantizer).__name__ in ("IndexFlatIP", "IndexFlatL2"):
        _check_flat(quantizer)
    else:
        raise ValueError(f"its lists are found by {type(quantizer).__name__}")
    _same("lists", (quantizer.ntotal, lists.nlist), (index.nlist, index.nlist))
    _same("dim of its lists", (quantizer.d, quantizer.is_trained), (index.d, True))
    if index.nprobe < 1:
        raise ValueError("it looks into no list")
    if type(index).__name__ == "IndexIVFPQ":
        pq = index.pq
        _same("numbers of a code", (pq.d, pq.M * pq.dsub), (index.d, index.d))
        if not 1 <= pq.nbits <= 16:
            raise ValueError(f"its codes have {pq.nbits} bits")
        _same("codebooks", pq.centroids.size(), index.d * 2**pq.nbits)
        _usual(faiss.vector_to_array(pq.centroids))
        for X in stored_vectors(quantizer):
            _usual(X)
        width = (pq.M * pq.nbits + 7) // 8
    else:
        width = 4 * index.d
    _same("bytes of a code", (index.code_size, lists.code_size), (width, width))
    _same("rows in its lists", sum(map(lists.list_size, range(index.nlist))), index.ntotal)
    seen = np.zeros(index.ntotal, dtype=np.bool_)
    for i in range(index.nlist):
        n = lists.list_size(i)
        ids = faiss.rev_swig_ptr(lists.get_ids(i), n) if n else np.empty(0, np.int64)
        if n and (ids.min() < 0 or ids.max() >= index.ntotal):
            raise ValueError("its lists name rows that are not there")
        seen[ids] = True
    if not seen.all():
        raise ValueError("its lists name rows twice")


def _usual(numbers: NDArray[np.float32]) -> None:
    """What overflows has no order, and a search would come back without rows."""
    if not (np.abs(numbers) < _MOST).all():
        raise ValueError("it holds numbers that are not finite or too large")


def _same(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise ValueError(f"its {what} do not add up ({found}, expected {expected})")


def _refused(path: Path, why: str) -> UserError:
    return UserError(f"{path} is no index that can be used: {' '.join(why.split())[:300]}.")
