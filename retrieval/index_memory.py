"""How many bytes an index has in memory while it is searched, before there is one."""

from retrieval.plan import Plan

_ID, _LINK, _OFFSET, _LEVEL = 8, 4, 8, 4  # bytes in FAISS


def memory_of(plan: Plan, n: int, dim: int) -> int:
    """Bytes of an index of `plan` over n rows of `dim`, without the rows kept for re-ranking.

    Those stay on the disk, mapped: what is read of them is given back when memory is short.
    A flat index is read whole at every search, so that its rows count.
    """
    size = row_bytes(plan, dim) * n
    if plan.kind == "hnsw":
        return size + int(n * (_links(plan.M) + _OFFSET + _LEVEL)) + _trained(plan, dim)
    if plan.kind == "ivf":
        return size + n * _ID + 4 * plan.nlist * dim + _trained(plan, dim)
    return size


def row_bytes(plan: Plan, dim: int) -> int:
    """Bytes of the code of one row."""
    if plan.kind == "flat":
        return {"float32": 4, "float16": 2}[plan.dtype] * dim
    if plan.code == "rabitq":  # a bit a column, and two float32 (Gao and Long, 2024)
        return -(-dim // 8) + 8
    return plan.pq_bytes or {"fp32": 4, "fp16": 2, "sq8": 1}[plan.code] * dim


def _links(M: int) -> float:
    """Bytes of the links of a row: 2 M in the lowest layer, M in each it reaches above.

    A row reaches layer l with probability M**-l (Malkov and Yashunin, 2018).
    """
    return _LINK * (2 * M + M / (M - 1))


def _trained(plan: Plan, dim: int) -> int:
    """Bytes that are there once: centroids of every sub-quantizer, or ranges of columns."""
    if plan.pq_bytes:
        return 4 * (1 << plan.pq[1]) * dim
    return {"sq8": 8 * dim, "rabitq": 4 * dim}.get(plan.code, 0)
