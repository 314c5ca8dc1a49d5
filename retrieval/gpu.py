"""What FAISS does on a GPU, where its build has one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.index import load_faiss


def gpus() -> int:
    """How many GPUs this FAISS can use; faiss-cpu has none."""
    faiss = load_faiss()
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def on_gpus(index: Any) -> Any:
    """A copy of a FAISS index on all GPUs, or the index itself where there is none."""
    return load_faiss().index_cpu_to_all_gpus(index) if gpus() else index


def knn(Q: NDArray[np.float32], X: NDArray[np.float32], k: int) -> tuple[Any, Any]:
    """Inner products (q, k) and rows of the k best of X : (n, dim), by brute force."""
    faiss = load_faiss()
    if gpus():
        resources = faiss.StandardGpuResources()
        return faiss.knn_gpu(resources, Q, X, k, metric=faiss.METRIC_INNER_PRODUCT)  # type: ignore[no-any-return]
    return faiss.knn(Q, X, k, metric=faiss.METRIC_INNER_PRODUCT)  # type: ignore[no-any-return]


@contextmanager
def k_means_on_gpus(ivf: Any) -> Iterator[None]:
    """Inside, an IVF index trains its centroids and finds rows' lists on the GPUs."""
    if not gpus():
        yield
        return
    faiss, on_cpu = load_faiss(), ivf.quantizer
    trainer, quantizer = on_gpus(faiss.IndexFlatIP(ivf.d)), on_gpus(on_cpu)
    ivf.clustering_index = trainer
    if ivf.is_trained:
        ivf.quantizer = quantizer
    try:
        yield
    finally:
        ivf.clustering_index, ivf.quantizer = None, on_cpu
