"""Trying an index on a sample: what it must look at there to keep a recall, and what that says
of all rows."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.faiss_parts import fast_scan, new_graph, new_ivf
from retrieval.gpu import knn
from retrieval.index import exact_cosines, load_faiss
from retrieval.measuring import SAME
from retrieval.plan import Plan

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Seconds = Callable[[Plan, int], float]  # of a plan for all rows, and the effort on the sample

REFINES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # candidates a hit
MOST_EF = 2048
_QUERIES = 200
_TIMED = 30  # queries asked one by one
_LEARN, _ROUNDS = 10_000, 10  # rows and rounds of k-means a code is learned with
_QUARTER = 4


@dataclass(frozen=True)
class Sample:
    """Rows to search, queries that were taken out of them, and what brute force says."""

    base: F32  # (m, dim) unit rows
    queries: F32  # (q, dim)
    scores: F32  # (q, m) cosines
    k: int

    @classmethod
    def of(cls, X: F32, k: int, seed: int) -> "Sample":
        """A tenth of X : (m, dim), but 200 rows at most, become queries."""
        mixed = np.random.default_rng(seed).permutation(len(X))
        q = max(1, min(_QUERIES, len(X) // 10))
        base, queries = X[np.sort(mixed[q:])], X[mixed[:q]]
        return cls(base, queries, queries @ base.T, min(k, len(base)))

    def quarter(self) -> "Sample":
        """With every fourth row."""
        scores = np.ascontiguousarray(self.scores[:, ::_QUARTER])
        base = np.ascontiguousarray(self.base[::_QUARTER])
        return replace(self, base=base, scores=scores, k=min(self.k, len(base)))

    def recalls(self, candidates: I64) -> F32:
        """(width,) recall where the first 1, 2, … width candidates are ranked exactly."""
        kth = -np.partition(-self.scores, self.k - 1, axis=1)[:, self.k - 1 : self.k]
        cosines = np.take_along_axis(self.scores, np.maximum(candidates, 0), 1)
        near = (candidates >= 0) & (cosines >= kth - SAME)
        found = np.minimum(np.cumsum(near, axis=1), self.k)
        return np.asarray(found.mean(axis=0) / self.k, dtype=np.float32)


@dataclass(frozen=True)
class Trial:
    """A plan for n rows with what the sample says of it there."""

    plan: Plan
    recall: float  # on the sample
    seconds: float  # a query over n rows, extrapolated
    build_seconds: float  # for n rows, extrapolated


def try_plan(plan: Plan, sample: Sample, n: int, recall: float, centroids: F32) -> Trial:
    """`plan` with the cheapest search that keeps `recall` on the sample, or finds the most there.

    plan : a layout for n rows; centroids : (nlist, dim) of lists over the sample, as `ivf_lists`
    learns them. How many lists, how large an ef and how many candidates of a short code are needed
    among n rows grows by the power of the rows that the sample and a quarter of it show. The
    seconds are those of its parts at their size for n rows.
    """
    index, build_seconds = _build(plan, sample.base, centroids)
    m, best = len(sample.base), None
    more = _growth_of_effort(plan, index, sample, n, recall, centroids)
    seconds_of = _graph_seconds if plan.kind == "hnsw" else _lists_seconds
    seconds_at = seconds_of(plan, index, sample, n)
    for effort in _efforts(plan, len(centroids)):
        refine, found = _needed(plan, index, sample, effort, recall)
        there = _for_all(plan, refine, effort * more)
        seconds = seconds_at(there, effort)
        build = build_seconds * (n / m) * _growth(plan, n, m, len(centroids))
        trial = Trial(there, found, seconds, build)
        if best is None or _better(trial, best, recall):
            best, at = trial, effort
        elif best.recall >= recall and seconds > 2 * best.seconds:
            break
    assert best is not None
    if best.plan.short and n > m:
        best = _with_more_refining(best, index, sample, n, recall, at)
    return best


def ivf_lists(base: F32, nlist: int, seed: int) -> F32:
    """(nlist, dim) centroids of spherical k-means on base : (m, dim)."""
    faiss = load_faiss()
    k_means = faiss.Kmeans(base.shape[1], nlist, niter=10, spherical=True, seed=seed + 1)
    k_means.cp.min_points_per_centroid = 1
    k_means.train(base)
    return np.asarray(k_means.centroids, dtype=np.float32)


def _build(plan: Plan, base: F32, centroids: F32) -> tuple[Any, float]:
    """FAISS's index of the sample, and the seconds that its rows took."""
    few = base[:: max(1, len(base) // _LEARN)]
    if plan.kind == "hnsw":
        index = new_graph(plan, base.shape[1])
        if not index.is_trained:
            index.train(few)
    else:
        index = new_ivf(replace(plan, nlist=len(centroids), nprobe=1), base.shape[1])
        index.quantizer.add(centroids)
        if plan.pq_bytes:
            index.pq.cp.niter, index.pq.cp.min_points_per_centroid = _ROUNDS, 1
        index.train(few)
        if plan.fast_scan:
            index = fast_scan(index)
    start = time.perf_counter()
    index.add(base)
    return index, time.perf_counter() - start


def _efforts(plan: Plan, nlist: int) -> list[int]:
    """How many lists to look at, or HNSW's ef, from little to all."""
    first, last = (16, MOST_EF) if plan.kind == "hnsw" else (1, nlist)
    steps = {min(last, round(first * 2 ** (i / 2))) for i in range(40)}
    return sorted(steps)


def _search(plan: Plan, index: Any, Q: F32, width: int, effort: int) -> I64:
    faiss = load_faiss()
    if plan.kind == "hnsw":
        how = faiss.SearchParametersHNSW(efSearch=max(effort, width))
    else:
        how = faiss.SearchParametersIVF(nprobe=effort)
    rows: I64 = index.search(Q, width, params=how)[1]
    return rows


def _needed(
    plan: Plan, index: Any, sample: Sample, effort: int, recall: float
) -> tuple[int, float]:
    """The least refinement that keeps `recall` with `effort`, and the recall that it has."""
    refines = [r for r in REFINES if plan.kind != "hnsw" or r == 1 or r * sample.k <= effort]
    width = min(refines[-1] * sample.k, len(sample.base))
    recalls = sample.recalls(_search(plan, index, sample.queries, width, effort))
    at = [float(recalls[min(r * sample.k, width) - 1]) for r in refines]
    enough = [i for i, found in enumerate(at) if found >= recall]
    best = enough[0] if enough else int(np.argmax(at))
    return refines[best], at[best]


def _for_all(plan: Plan, refine: int, effort: float) -> Plan:
    if plan.kind == "hnsw":
        return replace(plan, refine=refine, ef_search=round(effort))
    return replace(plan, refine=refine, nprobe=min(plan.nlist, max(1, round(effort))))


def _growth_of_effort(
    plan: Plan, index: Any, sample: Sample, n: int, recall: float, centroids: F32
) -> float:
    """How many times the lists, or the ef, that the sample needs n rows need."""
    m, quarter = len(sample.base), sample.quarter()
    if plan.kind == "hnsw":
        here = _ef_needed(plan, index, sample, recall)
        fewer = _ef_needed(plan, _build(plan, quarter.base, centroids)[0], quarter, recall)
        most = 1.0
    else:
        half = ivf_lists(quarter.base, -(-len(centroids) // 2), 0)  # as lists grow: by the root
        here = _lists_needed(sample, centroids, recall)
        fewer = _lists_needed(quarter, half, recall)
        most = 0.5  # the same share of them
    power = np.log(here / fewer) / np.log(_QUARTER)
    return float(max(1.0, n / m) ** np.clip(power, 0, most))


def _lists_needed(sample: Sample, centroids: F32, recall: float) -> float:
    """How many of the nearest lists hold the share `recall` of the neighbours."""
    own = knn(sample.base, centroids, 1)[1][:, 0]
    near = np.argpartition(-sample.scores, sample.k - 1, axis=1)[:, : sample.k]
    order = np.argsort(np.argsort(-sample.queries @ centroids.T, axis=1), axis=1)
    return float(np.quantile(1 + np.take_along_axis(order, own[near], 1), recall))


def _ef_needed(plan: Plan, index: Any, sample: Sample, recall: float) -> float:
    """The ef whose candidates hold the share `recall` of the neighbours, between those tried."""
    efs = _efforts(plan, 0)
    width = min(2 * sample.k, len(sample.base))
    found = [sample.recalls(_search(plan, index, sample.queries, width, ef))[-1] for ef in efs]
    return float(np.exp(np.interp(recall, np.maximum.accumulate(found), np.log(efs))))


def _graph_seconds(plan: Plan, index: Any, sample: Sample, n: int) -> Seconds:
    """What a query over n rows takes with a plan, from that with the ef of the sample."""
    deeper = _growth(plan, n, len(sample.base), 0)

    def seconds(there: Plan, effort: int) -> float:
        here = _seconds(plan, index, sample, effort, there.refine)
        return here * max(1.0, there.ef_search / max(effort, sample.k)) * deeper

    return seconds


def _lists_seconds(plan: Plan, index: Any, sample: Sample, n: int) -> Seconds:
    """What a query over n rows takes: finding lists, reading them, ranking candidates."""
    faiss, base = load_faiss(), sample.base
    lists = faiss.IndexFlatIP(base.shape[1])
    lists.add(np.resize(base, (plan.nlist, base.shape[1])))
    finding = _median_seconds(lambda x: lists.search(x, 1), sample)
    # lists as long as those of n rows will be
    long = max(2, min(len(base), round(len(base) * plan.nlist / n)))
    centroids = ivf_lists(base, long, 0)
    of_n, _ = _build(plan, base, centroids)
    width = min(4 * sample.k, len(base))

    def scan(probes: int) -> float:
        return _median_seconds(lambda x: _search(plan, of_n, x, width, probes), sample)

    reading = max(0.0, scan(long) - scan(1)) / (long - 1)

    def seconds(there: Plan, effort: int) -> float:
        rows = np.random.default_rng(0).integers(0, len(base), there.refine * sample.k)
        ranking = _median_seconds(lambda x: exact_cosines(base[rows], x[0]), sample)
        return finding + reading * there.nprobe + ranking

    return seconds


def _seconds(plan: Plan, index: Any, sample: Sample, effort: int, refine: int) -> float:
    """Median of single queries on the sample, with exact re-ranking."""
    width = min(refine * sample.k, len(sample.base))

    def one(x: F32) -> None:
        near = _search(plan, index, x, width, effort)[0]
        exact_cosines(sample.base[near], x[0]).argsort()

    return _median_seconds(one, sample)


def _median_seconds(search: Callable[[F32], object], sample: Sample) -> float:
    took = []
    for x in sample.queries[:_TIMED]:
        start = time.perf_counter()
        search(x[None])
        took.append(time.perf_counter() - start)
    return float(np.median(took))


def _growth(plan: Plan, n: int, m: int, nlist: int) -> float:
    """How much longer one row or query takes among n rows than among m."""
    if plan.kind == "hnsw":
        return max(1.0, float(np.log(n) / np.log(max(m, 2))))
    return max(1.0, plan.nlist / nlist)


def _better(trial: Trial, best: Trial, recall: float) -> bool:
    if min(trial.recall, best.recall) >= recall:
        return trial.seconds < best.seconds
    return trial.recall > best.recall


def _with_more_refining(
    trial: Trial, index: Any, sample: Sample, n: int, recall: float, effort: int
) -> Trial:
    quarter = sample.quarter()
    index.reset()
    index.add(quarter.base)
    fewer, _ = _needed(trial.plan, index, quarter, effort, recall)
    power = np.log(trial.plan.refine / fewer) / np.log(_QUARTER)
    more = trial.plan.refine * (n / len(sample.base)) ** float(np.clip(power, 0, 1))
    refine = min(REFINES[-1], int(np.ceil(more)))
    rows = np.random.default_rng(0).integers(0, len(sample.base), refine * sample.k)
    start = time.perf_counter()
    exact_cosines(sample.base[rows], sample.queries[0])
    extra = (time.perf_counter() - start) * (1 - trial.plan.refine / refine)
    return replace(
        trial, plan=replace(trial.plan, refine=refine), seconds=trial.seconds + max(0.0, extra)
    )
