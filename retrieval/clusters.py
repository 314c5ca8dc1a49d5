"""Clusters of photos by their vectors alone, and how much they depend on which photos there are.

HDBSCAN (Campello, Moulavi and Sander 2013) finds how many clusters there are and leaves photos
that belong to none; k-means gives every photo to one of a number of clusters. Both work on the
principal components of the centred unit vectors: in many dimensions all distances are alike. Of
many photos a sample is clustered, and each other photo joins as its nearest of the sample does.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

METHODS = ("hdbscan", "kmeans")
DIMENSIONS = 50  # principal components
SAMPLE = 10_000  # photos that are clustered themselves
MIN_SIZE = 5
REPEATS, SHARE = 3, 0.8  # fits on such a share of the sample, for the stability
_SILHOUETTE = 2_000  # photos that a number of clusters is judged on
_CANDIDATES, _LARGEST = 12, 256  # numbers of clusters that are tried, and the largest of them


@dataclass(frozen=True)
class Clustering:
    """Clusters of n photos.

    cluster : (n,) from 1, the largest first; 0 belongs to none
    membership : (n,) 0 to 1. HDBSCAN: how deep in the dense part of its cluster; k-means: how much
        nearer its own centre is than the next one, 1 - d_own / d_next
    method : "hdbscan" or "kmeans"; sampled : photos that were clustered themselves
    silhouettes : number of clusters -> mean silhouette (Rousseeuw 1987), where it was chosen so
    stability : adjusted Rand index of each fit on a part of the sample with these clusters, on the
        photos of that part (as Ben-Hur, Elisseeff and Guyon 2002); what belongs to no cluster
        counts as one cluster more
    """

    cluster: I64
    membership: F64
    method: str
    sampled: int
    silhouettes: dict[int, float]
    stability: Sequence[float]

    @property
    def n_clusters(self) -> int:
        return int(self.cluster.max(initial=0))


def cluster_rows(
    X: F32,
    method: str = "hdbscan",
    n_clusters: int | None = None,
    min_size: int = MIN_SIZE,
    seed: int = 0,
    sample: int = SAMPLE,
) -> Clustering:
    """Cluster X : (n, dim) float32, unit rows; n of 3 or more.

    n_clusters : for k-means; without, the number with the highest silhouette; min_size : photos
    that HDBSCAN takes for a cluster. Equal for an equal seed.
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(X))[:sample])
    Z = _components(X, chosen, seed)
    part = Z[chosen]
    silhouettes: dict[int, float] = {}
    if method == "kmeans" and n_clusters is None:
        silhouettes = _silhouettes(part, rng, seed)
        n_clusters = max(silhouettes, key=lambda n: (silhouettes[n], -n))
    found, membership = _fit(part, method, n_clusters, min_size, seed)
    stability = []
    for repeat in range(1, REPEATS + 1):
        kept = np.sort(rng.permutation(len(part))[: max(3, round(SHARE * len(part)))])
        again, _ = _fit(part[kept], method, n_clusters, min_size, seed + repeat)
        stability.append(float(_sklearn("metrics").adjusted_rand_score(found[kept], again)))
    if len(part) < len(X):
        nearest = _faiss().knn(Z, part, 1)[1][:, 0]
        found, membership = found[nearest], membership[nearest]
    return Clustering(
        _largest_first(found), membership, method, len(part), silhouettes, tuple(stability)
    )


def central_rows(X: F32, cluster: I64, number: int, k: int) -> I64:
    """The k rows of a cluster nearest its mean direction, the nearest first, ties by row."""
    rows = np.flatnonzero(cluster == number)
    mean = X[rows].mean(axis=0, dtype=np.float64)
    return np.asarray(rows[np.argsort(-(X[rows] @ mean), kind="stable")[:k]], dtype=np.int64)


def _components(X: F32, chosen: I64, seed: int) -> F32:
    """(n, up to `DIMENSIONS`) coordinates on the principal axes of the chosen rows."""
    width = min(DIMENSIONS, X.shape[1], len(chosen) - 1)
    pca = _sklearn("decomposition").PCA(width, random_state=seed).fit(X[chosen])
    return np.ascontiguousarray(pca.transform(X), dtype=np.float32)


def _fit(Z: F32, method: str, n_clusters: int | None, min_size: int, seed: int) -> tuple[I64, F64]:
    """(m,) clusters from 0, -1 for none, and (m,) memberships."""
    if method == "hdbscan":
        fitted = (
            _sklearn("cluster")
            .HDBSCAN(min_cluster_size=min(max(2, min_size), len(Z)), copy=True)
            .fit(Z)
        )
        return fitted.labels_.astype(np.int64), np.asarray(fitted.probabilities_)
    fitted = _kmeans(Z, min(n_clusters or 1, len(Z)), seed)
    apart = np.sort(fitted.transform(Z), axis=1)[:, :2]
    if apart.shape[1] < 2:
        return fitted.labels_.astype(np.int64), np.ones(len(Z))
    nearer = 1 - apart[:, 0] / np.maximum(apart[:, 1], 1e-12)
    return fitted.labels_.astype(np.int64), np.asarray(nearer, dtype=np.float64)


def _kmeans(Z: F32, n: int, seed: int) -> Any:
    return _sklearn("cluster").KMeans(n, n_init=3, random_state=seed).fit(Z)


def _silhouettes(Z: F32, rng: np.random.Generator, seed: int) -> dict[int, float]:
    """Number of clusters -> mean silhouette, on a part of the sample."""
    part = Z[np.sort(rng.permutation(len(Z))[:_SILHOUETTE])]
    most = min(_LARGEST, max(2, len(part) // MIN_SIZE))
    numbers = np.unique(np.geomspace(2, most, _CANDIDATES).round().astype(int)).tolist()
    score = _sklearn("metrics").silhouette_score
    found = {n: _kmeans(part, n, seed).labels_ for n in numbers}
    return {n: float(score(part, y)) for n, y in found.items() if 1 < len(np.unique(y)) < len(part)}


def _largest_first(labels: I64) -> I64:
    """Clusters from 1 by size, ties by their first row; 0 for those of none (-1)."""
    names, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    number = np.zeros(int(labels.max(initial=-1)) + 2, dtype=np.int64)
    number[names[np.lexsort((first, -sizes))]] = np.arange(1, len(names) + 1)
    return number[labels]


def _sklearn(module: str) -> Any:
    """scikit-learn, loaded at first use."""
    return importlib.import_module(f"sklearn.{module}")


def _faiss() -> Any:
    return importlib.import_module("faiss")
