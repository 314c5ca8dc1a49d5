"""The scatter within classes, and what it is without any one row: the metric of `knn` and `lda`."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from classify.shared_work import shared


@dataclass(frozen=True)
class Within:
    """S = Σ r_i r_iᵀ over rows less their class's mean, r_i = x_i - m_c, by its eigenvectors.

    The metric at a ridge λ is G = λ (S + λ I)^-1: the identity for λ = inf, and the more of the
    differences between photos of the same class it forgets, the smaller λ is. λ is given as a
    multiple, `ridge`, of the mean eigenvalue of S, so that ridge / (1 + ridge) is the usual
    shrinkage of a covariance towards a multiple of the identity (Ledoit & Wolf 2004).

    Without row i, S loses a r_i r_iᵀ with a = n_c / (n_c - 1), so G gains
    a (G r_i)(G r_i)ᵀ / (λ - a r_iᵀ G r_i) (Sherman & Morrison 1950): all that a fit without the
    row would see follows from the fit on all rows.
    """

    counts: Any
    """(C,) int64, rows of each class"""
    means: Any
    """(C, dim)"""
    values: Any
    """(m,) eigenvalues of S > 0"""
    axes: Any
    """(dim, m), its unit eigenvectors"""
    mean_value: float

    @classmethod
    @shared
    def of(cls, rows: Any, index: Any) -> Self:
        """Of `rows` (n, dim) with class numbers `index` (n,), 0..C-1; works in dtype of rows."""
        counts = np.bincount(index)
        means = class_sums(rows, index) / counts[:, None].astype(rows.dtype)
        r = rows - means[index]
        wide = r.shape[0] <= r.shape[1]
        values, vectors = np.linalg.eigh(r @ r.T if wide else r.T @ r)
        # Below: rounding, or directions that rows in the span of the others do not have.
        least = max(np.finfo(values.dtype).eps * len(values) * values[-1], 1e-12)
        values, vectors = values[values > least], vectors[:, values > least]
        axes = r.T @ (vectors / np.sqrt(values)) if wide else vectors
        size = max(float((r * r).sum()), 1e-6 * float((rows * rows).sum()), 1e-12)
        return cls(counts, means, values, axes, size / rows.shape[1])

    def fade(self, ridge: float) -> Any:
        """(m,) in 0..1, how much of each axis G takes away: G = I - V diag(fade) Vᵀ."""
        return (self.values / (self.values + ridge * self.mean_value)).astype(self.values.dtype)

    def metric(self, X: Any, ridge: float) -> Any:
        """`X` (n, dim) times G, (n, dim)."""
        return X - (X @ self.axes * self.fade(ridge)) @ self.axes.T

    def products(self, X: Any, Y: Any) -> "Products":
        """What all inner products of rows `X` (n, dim) and `Y` (k, dim) follow from."""
        return Products(X @ Y.T, X @ self.axes, Y @ self.axes)

    def lengths(self, X: Any) -> "Products":
        """The same of each row of `X` (n, dim) and itself alone."""
        return Products((X * X).sum(axis=1, keepdims=True), (X @ self.axes) ** 2, None)

    def gain(self, own: Any, index: Any, ridge: float) -> Any:
        """(n,): without its row, G gains gain_i (G r_i)(G r_i)ᵀ; `own` (n,) is r_iᵀ G r_i."""
        share = left_out_share(self.counts, index)
        return share / np.maximum(ridge * self.mean_value - share * own, 1e-12)


class Products(NamedTuple):
    """Inner products x G y for every ridge."""

    plain: Any
    """(n, k), for G = I"""
    left: Any
    """(n, m) on the axes"""
    right: Any
    """(k, m) on the axes, or None: `left` has the squares"""

    def at(self, fade: Any) -> Any:
        """(n, k), or (n,) squared lengths, of the metric with this `Within.fade`."""
        if self.right is None:
            return self.plain[:, 0] - self.left @ fade
        return self.plain - (self.left * fade) @ self.right.T


def left_out_share(counts: Any, index: Any) -> Any:
    """n_c / (n_c - 1) (n,): x_i less its class's mean without it is this times x_i - m_c."""
    n = counts[index]
    return n / np.maximum(n - 1, 1)


def class_sums(rows: Any, index: Any) -> Any:
    """(C, dim), the sum of each class's rows, dtype of `rows`."""
    order = np.argsort(index, kind="stable")
    starts = np.flatnonzero(np.diff(index[order], prepend=-1))
    return np.add.reduceat(rows[order], starts, axis=0)
