"""What an index is worth on the data at hand: recall against brute force, seconds, memory."""

import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.index import exact_cosines, load_faiss

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
Search = Callable[[F32, int], tuple[I64, F32]]  # (q, dim) queries, k -> rows, cosines

SAME = 2.0**-23  # cosines closer than two steps of float32 below 1 are a tie
_SPARE = 8  # candidates beyond k, against float32's order of near ties
_BLOCK = 65_536  # rows compared at a time


@dataclass(frozen=True)
class Seconds:
    """What one query takes when queries come one after the other."""

    median: float
    p95: float


def recall_at_k(rows: I64, cosines: F32, truth: F32) -> float:
    """Mean of `recalls_at_k` over the queries."""
    return float(recalls_at_k(rows, cosines, truth).mean())


def recalls_at_k(rows: I64, cosines: F32, truth: F32) -> F32:
    """(q,) share of the k nearest that were found, where every row as near as the k-th counts.

    rows : (q, <= k) int64, -1 where nothing was found; cosines : as rows, exact; truth : (q, k)
    exact cosines of the k nearest, best first. Which of several tied rows were found does not
    matter (as in ann-benchmarks; Aumüller et al., 2020); a row found twice counts once.
    """
    k = truth.shape[1]
    if k == 0:
        return np.ones(len(truth), np.float32)
    near = (rows >= 0) & (cosines >= truth[:, -1:] - SAME)
    found = [len(set(row[ok].tolist())) for row, ok in zip(rows, near, strict=True)]
    return np.asarray(np.minimum(found, k) / k, dtype=np.float32)


def exact_neighbours(
    chunks: Iterable[NDArray[Any]], Q: F32, k: int, allowed: Bools | None = None
) -> tuple[I64, F32]:
    """The k nearest rows by brute force, in the memory of one chunk; best first, ties by row.

    chunks : parts (any number, dim) of the unit rows in order, float32 or float16; Q : (q, dim)
    float32, unit rows; allowed : (n,) which rows may be found. Returns rows (q, k) int64 and
    cosines (q, k) float32, fewer columns where fewer rows are allowed.
    """
    rows, cosines, start = np.empty((len(Q), 0), np.int64), np.empty((len(Q), 0), np.float32), 0
    for chunk in chunks:
        for at in range(0, len(chunk), _BLOCK):
            X = np.ascontiguousarray(chunk[at : at + _BLOCK], dtype=np.float32)
            numbers = np.arange(start, start + len(X))
            start += len(X)
            if allowed is not None:
                keep = allowed[numbers]
                X, numbers = X[keep], numbers[keep]
            if len(X):
                near, exact = _nearest(X, Q, k)
                rows = np.concatenate([rows, numbers[near]], axis=1)
                cosines = np.concatenate([cosines, exact], axis=1)
                best = np.lexsort((rows, -cosines), axis=1)[:, :k]
                rows = np.take_along_axis(rows, best, 1)
                cosines = np.take_along_axis(cosines, best, 1)
    return rows, cosines


def _nearest(X: F32, Q: F32, k: int) -> tuple[I64, F32]:
    faiss = load_faiss()
    width = min(k + _SPARE, len(X))
    near = faiss.knn(np.ascontiguousarray(Q), X, width, metric=faiss.METRIC_INNER_PRODUCT)[1]
    return near, np.stack([exact_cosines(X[row], x) for row, x in zip(near, Q, strict=True)])


def seconds_a_query(search: Search, Q: F32, k: int) -> Seconds:
    """Wall time of each query of Q : (q, dim) alone; the first is asked once more before."""
    search(Q[:1], k)
    took = []
    for i in range(len(Q)):
        start = time.perf_counter()
        search(Q[i : i + 1], k)
        took.append(time.perf_counter() - start)
    median, p95 = np.quantile(took, [0.5, 0.95])
    return Seconds(float(median), float(p95))


def queries_a_second(search: Search, Q: F32, k: int) -> float:
    """Throughput with all of Q : (q, dim) asked at once, on as many threads as FAISS has."""
    search(Q[:1], k)
    start = time.perf_counter()
    search(Q, k)
    return len(Q) / (time.perf_counter() - start)


def peak_memory() -> int:
    """Bytes that this process has had in memory at most, mapped files among them."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
