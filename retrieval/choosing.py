"""Which index, with which parameters: layouts are tried on a sample of the rows themselves.

What is said of all rows is extrapolated; `tuning` measures on the index once it is built.
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.parts import unit
from retrieval.index import as_unit_rows, load_faiss
from retrieval.index_memory import memory_of, row_bytes
from retrieval.plan import Dtype, Plan, usual_plan
from retrieval.trials import Sample, Trial, ivf_lists, try_plan
from retrieval.tuning import with_failings

F32 = NDArray[np.float32]

FLAT_SECONDS = 0.05  # brute force answers at once below this
SAMPLE = 50_000  # rows that layouts are tried on
_BUILD_SECONDS = 3600.0  # a layout that takes longer to build is the last choice
_ROUGHLY = 2.0  # how far extrapolated seconds can be trusted: nearer ones are as quick
_LEAST = 1_000  # with fewer rows in the sample nothing can be learned from it
_BLOCK = 16_384


def chooser(
    kind: str = "auto",
    k: int = 10,
    recall: float = 0.95,
    memory: int | None = None,
    latency: float | None = None,
    dtype: Dtype = "float32",
    seed: int = 0,
) -> Callable[[NDArray[Any]], Plan]:
    """`choose` for `index_building.build`: it draws the sample from the (mapped) rows itself."""

    def plan(X: NDArray[Any]) -> Plan:
        n, dim = X.shape
        rows = np.random.default_rng(seed).choice(n, min(n, SAMPLE), replace=False)
        sample = unit(X[np.sort(rows)])
        return choose(sample, n, dim, k, recall, memory, latency, seed, kind, dtype)

    return plan


def choose(
    sample: F32,
    n: int,
    dim: int,
    k: int = 10,
    recall: float = 0.95,
    memory: int | None = None,
    latency: float | None = None,
    seed: int = 0,
    kind: str = "auto",
    dtype: Dtype = "float32",
) -> Plan:
    """The plan for n rows, of which sample : (m, dim) float32, unit rows, were drawn at random.

    Flat while brute force over n rows takes less than 50 ms (or `latency`) here and fits in
    `memory`. Else HNSW, IVF with bytes and IVF with short codes are built on the sample without
    some rows that are the queries, and the one is taken that keeps `recall` at k with the least
    time a query, among those within `memory` bytes (without: half of this machine's) and
    `latency` seconds, and built within an hour; or, of those within twice that time and with less
    than half the memory, the quickest. What is said of n rows is extrapolated, and the
    notes say so; `tune` replaces it by what is measured. What no layout can keep stands there.
    kind : auto, flat, hnsw, ivf, ivfpq, or ivf with its code (ivfsq8, ivfpq64).
    """
    check_kind(kind)
    sample = as_unit_rows(sample)
    budget = memory if memory is not None else _half_of_memory()
    flat = Plan("flat", dtype=dtype)
    brute = brute_seconds(sample, n)
    quick = brute < min(FLAT_SECONDS, latency or FLAT_SECONDS) and memory_of(flat, n, dim) <= budget
    if kind == "flat" or (kind == "auto" and (quick or len(sample) < _LEAST)):
        found = Trial(flat, 1.0, brute, 0.0)
    elif len(sample) < _LEAST:  # nothing can be learned from so few, and all may be looked at
        few = _layouts(kind, n, dim, dtype)[0]
        found = Trial(replace(few, nprobe=few.nlist), recall, brute, 0.0)
    else:
        found = _fastest(sample, n, k, recall, budget, latency, seed, _layouts(kind, n, dim, dtype))
    plan = _described(found, n, dim, k)
    if len(sample) < n and plan.kind != "flat":
        said = (
            f"Chosen on a sample of {len(sample):,} rows; recall, time and memory for "
            f"{n:,} rows are extrapolated from it."
        )
        plan = replace(plan, notes=(said,))
    return with_failings(plan, recall, memory, latency)


def brute_seconds(sample: F32, n: int) -> float:
    """Seconds of one query over n rows by comparing all, as the rows of the sample take it."""
    faiss = load_faiss()
    took = []
    for x in sample[:9]:
        start = time.perf_counter()
        for at in range(0, len(sample), _BLOCK):
            X = sample[at : at + _BLOCK]
            faiss.knn(x[None], X, min(16, len(X)), metric=faiss.METRIC_INNER_PRODUCT)
        took.append(time.perf_counter() - start)
    return float(np.median(took)) * n / len(sample)


def _fastest(
    sample: F32,
    n: int,
    k: int,
    recall: float,
    budget: int,
    latency: float | None,
    seed: int,
    layouts: list[Plan],
) -> Trial:
    held = Sample.of(sample, k, seed)
    dim, lists = sample.shape[1], usual_plan("ivf", len(held.base), sample.shape[1]).nlist
    sizes = [memory_of(plan, n, dim) for plan in layouts]
    fits = [plan for plan, size in zip(layouts, sizes, strict=True) if size <= budget]
    tried = _few(fits) or [layouts[int(np.argmin(sizes))]]
    some_ivf = any(plan.kind == "ivf" for plan in tried)
    centroids = ivf_lists(held.base, lists, seed) if some_ivf else np.empty((0, dim), np.float32)
    trials = [try_plan(plan, held, n, recall, centroids) for plan in tried]

    def cost(trial: Trial) -> tuple[Any, ...]:
        late = latency is not None and trial.seconds > latency
        lacking = max(0.0, recall - trial.recall)
        return lacking, late, trial.build_seconds > _BUILD_SECONDS, trial.seconds

    best = min(trials, key=cost)
    much_smaller = [
        one
        for one in trials
        if cost(one)[:-1] == cost(best)[:-1]
        and one.seconds <= _ROUGHLY * best.seconds
        and memory_of(one.plan, n, dim) < memory_of(best.plan, n, dim) / 2
    ]
    return min(much_smaller or [best], key=cost)


def _layouts(kind: str, n: int, dim: int, dtype: Dtype) -> list[Plan]:
    """What may be tried for a kind: HNSW, IVF with bytes, short codes."""
    pq = [f"pq{dim // columns}" for columns in (4, 8, 16, 32) if dim % columns == 0]
    pq += [f"pq{dim // columns}x4" for columns in (2, 4, 8) if dim % columns == 0]
    some = ["sq8", "rabitq", *pq]
    codes = {"auto": some, "ivf": some, "ivfpq": pq or ["rabitq"]}
    plans = []
    if kind in ("auto", "hnsw"):
        plans.append(replace(usual_plan("hnsw", n, dim, "sq8", dtype), ef_construction=100))
    if kind != "hnsw":
        own = codes.get(kind, [kind.removeprefix("ivf")])
        plans += [usual_plan("ivf", n, dim, code, dtype) for code in own]
    return sorted(plans, key=lambda plan: -row_bytes(plan, dim))


def check_kind(kind: str) -> None:
    """A `UserError` for a kind of index that there is not."""
    if not re.fullmatch(r"auto|flat|hnsw|ivf(fp16|sq8|rabitq|pq([1-9]\d*(x4)?)?)?", kind):
        raise UserError(
            f"There is no kind of index {kind!r}. Choose from: auto, flat, hnsw, ivf, ivfpq, or "
            "one of the codes of ivf: ivffp16, ivfsq8, ivfrabitq, ivfpq64 (64 bytes a photo), "
            "ivfpq128x4 (as many, in 4 bits each: fast)."
        )


def _few(plans: list[Plan]) -> list[Plan]:
    """Not more than two of the short codes, the longest that fit, and one of the fast scan."""
    fast = [plan for plan in plans if plan.fast_scan]
    short = [plan for plan in plans if plan.short and not plan.fast_scan]
    return [plan for plan in plans if plan not in [*short[2:], *fast[1:]]]


def _described(found: Trial, n: int, dim: int, k: int) -> Plan:
    return replace(
        found.plan,
        recall=found.recall,
        k=k,
        latency_ms=1e3 * found.seconds,
        memory_bytes=memory_of(found.plan, n, dim),
    )


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
