"""FAISS's side of a plan: an IVF without rows, its training, and the graph."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.parts import unit
from retrieval.gpu import k_means_on_gpus
from retrieval.index import load_faiss
from retrieval.plan import Plan

F32 = NDArray[np.float32]
Rows = NDArray[Any]

_A_CENTROID = 64  # rows of the sample, as many as memory allows
_SAMPLE_ROWS, _SAMPLE_BYTES = 16_384, 256 * 2**20  # at least, at most
_ROUNDS = 10


def new_ivf(plan: Plan, dim: int) -> Any:
    """An untrained IVF index for inner products of unit rows."""
    faiss = load_faiss()
    args = faiss.IndexFlatIP(dim), dim, plan.nlist
    ip = faiss.METRIC_INNER_PRODUCT
    if M := plan.pq[0]:
        if dim % M:
            raise UserError(f"{plan.code} needs a dim it divides: {dim} columns cannot be cut so.")
        ivf = faiss.IndexIVFPQ(*args, *plan.pq, ip)
        ivf.pq.cp.min_points_per_centroid = 1  # else it warns of small collections, again and again
    elif plan.code == "rabitq":
        ivf = faiss.IndexIVFRaBitQ(*args, ip)
        ivf.qb = 8
    else:
        kinds = {"fp16": faiss.ScalarQuantizer.QT_fp16, "sq8": faiss.ScalarQuantizer.QT_8bit}
        ivf = faiss.IndexIVFScalarQuantizer(*args, kinds[plan.code], ip)
    ivf.cp.spherical, ivf.cp.niter, ivf.cp.min_points_per_centroid = True, _ROUNDS, 1
    return ivf


def train_ivf(plan: Plan, X: Rows, seed: int = 0) -> Any:
    """The IVF trained on a sample of X : (n, dim), which fits in 256 MB."""
    n, dim = X.shape
    values = 1 << plan.pq[1]  # of a sub-quantizer; it must see as many rows
    if n < values:
        raise UserError(f"{plan.code} needs {values} photos or more, got {n}. Try `--kind flat`.")
    if plan.nlist > n:
        raise UserError(f"Expected at most as many lists as photos ({n:,}), got {plan.nlist:,}.")
    wanted = max(_A_CENTROID * plan.nlist, _SAMPLE_ROWS)
    m = min(n, max(plan.nlist, min(wanted, _SAMPLE_BYTES // (4 * dim))))
    rows = np.sort(np.random.default_rng(seed).choice(n, m, replace=False))
    ivf = new_ivf(plan, dim)
    with k_means_on_gpus(ivf):
        ivf.train(unit(X[rows]))
    return ivf


def fast_scan(ivf: Any) -> Any:
    """An IVF with a 4-bit product code as FAISS searches it fast; it takes the rows along."""
    found = load_faiss().IndexIVFPQFastScan(ivf)
    found.referenced_objects = [ivf]  # whose centroids it uses
    return found


def encode_rows(ivf: Any, X: F32) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The list (n,) and the code (n, code_size) of each row."""
    with k_means_on_gpus(ivf):
        both = ivf.sa_encode(X)
    head = ivf.coarse_code_size()
    lists = np.zeros(len(X), np.int32)
    for at in range(head):
        lists |= both[:, at].astype(np.int32) << (8 * at)
    return lists, np.ascontiguousarray(both[:, head:])


def new_graph(plan: Plan, dim: int) -> Any:
    """An empty HNSW graph (Malkov and Yashunin, 2018) over rows in memory."""
    faiss = load_faiss()
    ip = faiss.METRIC_INNER_PRODUCT
    if plan.code == "fp32":
        graph = faiss.IndexHNSWFlat(dim, plan.M, ip)
    else:
        kinds = {"fp16": faiss.ScalarQuantizer.QT_fp16, "sq8": faiss.ScalarQuantizer.QT_8bit}
        graph = faiss.IndexHNSWSQ(dim, kinds[plan.code], plan.M, ip)
    graph.hnsw.efConstruction = plan.ef_construction
    return graph
