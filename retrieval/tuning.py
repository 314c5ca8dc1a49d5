"""The search parameters of a finished index, found and measured on it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.index_memory import memory_of
from retrieval.limits import memory_text, seconds_text
from retrieval.measuring import exact_neighbours, recalls_at_k, seconds_a_query
from retrieval.plan import Plan
from retrieval.trials import MOST_EF, REFINES

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

_QUERIES, _ENOUGH = 600, 100
_SPARE = 2  # standard errors that the tuned recall lies above the wish
_FLATTERED = (
    "The recall was measured with photos of the graph itself, which it finds more easily than "
    "others. `cli index --rebuild` measures with photos kept out of it."
)
_BLOCK = 65_536


class Tunable(Protocol):
    """What `tune` needs of an index; `BigIndex` has it."""

    plan: Plan

    def __len__(self) -> int: ...
    @property
    def dim(self) -> int: ...
    def search(self, Q: F32, k: int) -> tuple[I64, F32]: ...


class Built(Tunable, Protocol):
    """An index whose rows can be read; `BigIndex` is one."""

    about: Any

    def vectors(self, rows: I64) -> F32: ...


def held_out(n: int, seed: int = 0) -> Mask:
    """(n,) the rows to add after the others were built into the index: 600, or a tenth of all.

    So they are in no graph and no centroid of it, and `tune_index` can ask with them.
    """
    mask = np.zeros(n, bool)
    mask[np.random.default_rng(seed).choice(n, min(_QUERIES, n // 10), replace=False)] = True
    return mask


def tune_index(
    index: Built,
    recall: float = 0.95,
    k: int = 10,
    memory: int | None = None,
    latency: float | None = None,
    removed: I64 | None = None,
    seed: int = 0,
) -> Plan:
    """`tune` by rows that were added after the index was built, each searched among all others.

    A graph finds what it is made of far more easily than other photos, so its own rows are asked
    only where there are not enough others, and the notes then say so. removed : rows that are
    in no answer. Reads all rows once, a chunk at a time.
    """
    n = len(index)
    alive = np.ones(n, bool)
    if removed is not None:
        alive[removed] = False
    rows = np.flatnonzero(alive)
    outside = rows[rows >= index.about.indexed]
    enough = len(outside) >= min(_ENOUGH, len(rows) // 20)
    rows = outside if enough else rows
    own = np.random.default_rng(seed).choice(rows, min(_QUERIES, len(rows)), replace=False)
    queries = index.vectors(own)
    chunks = (index.vectors(np.arange(at, min(at + _BLOCK, n))) for at in range(0, n, _BLOCK))
    near, cosines = exact_neighbours(chunks, queries, k + 1, alive)
    truth = _without(near, cosines, own)[1]
    plan = tune(index, queries, truth, recall, memory, latency, own)
    if plan.kind == "hnsw" and not enough:
        plan = replace(plan, notes=(*plan.notes, _FLATTERED))
    index.plan = plan
    return plan


def tune(
    index: Tunable,
    queries: F32,
    truth: F32,
    recall: float = 0.95,
    memory: int | None = None,
    latency: float | None = None,
    own: I64 | None = None,
) -> Plan:
    """Set `index.plan` to the least effort that keeps `recall`, and to what was measured with it.

    queries : (q, dim) float32, unit rows; truth : (q, k) exact cosines of their k nearest rows, as
    `measuring.exact_neighbours` finds them; own : (q,) the row that each query is, where it is one
    of the index, so that it is left out of the answers (`truth` is without it). Every second
    query is tuned on, with two standard errors to spare; the others say what is stored, so that the
    choice does not flatter itself. Returns the plan to save.
    """
    k = truth.shape[1]
    half = slice(0, None, 2) if len(queries) > 1 else slice(None)
    rest = slice(1, None, 2) if len(queries) > 1 else slice(None)

    def recalls(part: slice) -> F32:
        found = _search_without(index, queries[part], k, None if own is None else own[part])
        return recalls_at_k(*found, truth[part])

    def try_out(effort: int, refine: int) -> float:
        index.plan = _with_effort(index.plan, effort, refine)
        found = recalls(half)
        return float(found.mean() - _SPARE * found.std() / np.sqrt(len(found)))

    if index.plan.kind != "flat":
        effort, refine = _enough(try_out, index.plan, recall)
        if try_out(effort, refine) >= recall:
            effort = _least(lambda value: try_out(value, refine) >= recall, effort)
            refine = _least(lambda value: try_out(effort, value) >= recall, refine)
        index.plan = _with_effort(index.plan, effort, refine)
    took = seconds_a_query(index.search, queries[rest][:100], k)
    plan = replace(
        index.plan,
        recall=float(recalls(rest).mean()),
        k=k,
        latency_ms=1e3 * took.median,
        memory_bytes=memory_of(index.plan, len(index), index.dim),
        notes=(),
    )
    index.plan = with_failings(plan, recall, memory, latency)
    return index.plan


def _search_without(index: Tunable, Q: F32, k: int, own: I64 | None) -> tuple[I64, F32]:
    if own is None:
        return index.search(Q, k)
    return _without(*index.search(Q, k + 1), own)


def _without(rows: I64, cosines: F32, own: I64) -> tuple[I64, F32]:
    """One column less: without the own row of each query, or the last where that is not there."""
    order = np.argsort(rows == own[:, None], axis=1, kind="stable")[:, :-1]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(cosines, order, 1)


def _with_effort(plan: Plan, effort: int, refine: int) -> Plan:
    if plan.kind == "hnsw":
        return replace(plan, ef_search=effort, refine=refine)
    return replace(plan, nprobe=effort, refine=refine)


def _enough(try_out: Callable[[int, int], float], plan: Plan, recall: float) -> tuple[int, int]:
    """An effort and a refinement that keep the recall, each doubled where that brings more."""
    effort, most = plan.ef_search, max(MOST_EF, plan.ef_search)
    if plan.kind == "ivf":
        effort, most = plan.nprobe, plan.nlist
    refine, most_refine = plan.refine, max(REFINES[-1], plan.refine)
    found = try_out(effort, refine)
    while found < recall and (effort, refine) != (most, most_refine):
        wide, deep = min(2 * effort, most), min(2 * refine, most_refine)
        by_effort = try_out(wide, refine) if wide > effort else -1.0
        by_refine = try_out(effort, deep) if deep > refine else -1.0
        if by_effort >= by_refine:
            effort, found = wide, by_effort
        else:
            refine, found = deep, by_refine
    return effort, refine


def with_failings(plan: Plan, recall: float, memory: int | None, latency: float | None) -> Plan:
    """The plan with a sentence for each wish that it does not keep."""
    said = list(plan.notes)
    if plan.recall is not None and plan.recall < recall:
        said.append(
            f"The recall of {recall:g} at {plan.k} cannot be kept: {plan.recall:.3f} are found. "
            "Allow more with `--memory` or `--latency`, or choose `--kind flat`, which is exact."
        )
    if memory is not None and plan.memory_bytes is not None and plan.memory_bytes > memory:
        said.append(
            f"{memory_text(memory)} of memory cannot be kept: it takes "
            f"{memory_text(plan.memory_bytes)}."
        )
    if latency is not None and plan.latency_ms is not None and plan.latency_ms > 1e3 * latency:
        said.append(
            f"{seconds_text(latency)} a query cannot be kept: it takes "
            f"{seconds_text(plan.latency_ms / 1e3)}. A lower `--recall` is faster."
        )
    return replace(plan, notes=tuple(said))


def _least(keeps: Callable[[int], bool], high: int) -> int:
    """About the least of 1 … high for which `keeps` holds, as it does for `high`."""
    low = 0
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high
