"""Multinomial logistic regression: the solver, for cross-entropy and for the focal loss."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax

from classify.lbfgs import descend
from classify.shared_work import shared

ENTRIES = 1 << 17  # logits of a block: they stay in the processor's cache,
ROWS = 512  # but fewer rows are not worth adding up a gradient (C, dim)
FIRST = 0.1  # nats; from zeros, the curvature is measured again once this near
EASE = 3  # the mean curvature is above that of most directions; flat from 1 to 10


class Solution(NamedTuple):
    """Logits are rows @ coef.T + intercept."""

    coef: Any
    """(C, dim) float64"""
    intercept: Any
    """(C,) float64"""
    gap: float
    """The mean loss is at most this far from its minimum, in nats (cross-entropy is convex)."""


class _Block(NamedTuple):
    """Training rows of some classes, and the mixtures of them that train as well."""

    rows: Any
    """(b, dim)"""
    mixtures: Any
    """(m, b) sparse, or None"""
    index: Any
    """(b + m,) class numbers"""
    weights: Any
    """(b + m,)"""


class Multinomial:
    """Minimise the mean weighted loss of softmax(rows @ coef.T + intercept) plus an L2 penalty.

        Σ w_i · loss_i / Σ w_i  +  |coef|² / (2 C n)

    n is the number of `rows`, so that mixtures share the weight of the real rows. The intercept is
    not penalised. loss_i = -(1 - p_i)^gamma · log p_i with p_i the probability of the true class:
    cross-entropy for gamma = 0, else the focal loss (Lin et al. 2017). The logits of a mixture of
    rows are the mixture of their logits: mixtures cost no product with `dim`.

    Parameters
    ----------
    rows : (n, dim) float32 or float64: products are computed in this dtype, sums in float64.
        Convergence is fastest along principal axes (`principal_axes`)
    index : (n,) class numbers, 0 to n_classes - 1
    weights : (n,) or None for equal ones; rows of weight 0 are left out
    mixtures : (m, n) sparse matrix or None: further rows of weight 1, each of rows of one class
    """

    def __init__(
        self,
        rows: Any,
        index: Any,
        n_classes: int,
        weights: Any = None,
        mixtures: Any = None,
        gamma: float = 0.0,
    ) -> None:
        self.n_classes, self.gamma = n_classes, gamma
        self.n, self.dim = rows.shape
        weights = np.ones(self.n) if weights is None else weights
        size = max(ENTRIES // n_classes, ROWS)
        self._blocks = list(_blocks(rows, index, weights, mixtures, size))
        self._total = sum(block.weights.sum(dtype=float) for block in self._blocks)
        self.dtype = rows.dtype
        self.spread = (rows * rows).mean(axis=0, dtype=float)

    def fit(self, C: float, start: Solution | None = None, tolerance: float = 1e-6) -> Solution:
        """The minimum under the penalty of `C`, from `start` (zeros if None).

        L-BFGS on columns scaled by the inverse root of their mean curvature. It ends when the
        gradient g proves the loss to be within `tolerance` nats of its minimum: the penalty makes
        it 1 / (C n)-strongly convex, so the gap is at most |g|² C n / 2. Where float32 is too
        coarse to get there it goes on in float64.
        """
        theta = np.zeros((self.n_classes, self.dim + 1))
        if start is not None:
            theta = np.column_stack([start.coef, start.intercept])
        elif tolerance < FIRST:
            theta, _ = self._descend(theta, C, FIRST)
        theta, gap = self._descend(theta, C, tolerance)
        if gap > tolerance and self.dtype == np.float32:
            theta, gap = self.in_float64()._descend(theta, C, tolerance)
        return Solution(theta[:, :-1].copy(), theta[:, -1].copy(), gap)

    def loss(self, solution: Solution, C: float) -> tuple[float, Any]:
        """The penalised mean loss and its gradient (C, dim + 1), the intercept's last."""
        theta = np.column_stack([solution.coef, solution.intercept])
        loss, gradient, _ = self.evaluate(theta, C)
        return loss, gradient

    def class_curvature(self, theta: Any) -> Any:
        """The mean (C, C) of diag(p) - p pᵀ over the rows, p their probabilities at `theta`."""
        dtype = self.dtype
        found = np.zeros((self.n_classes, self.n_classes))
        for block in self._blocks:
            Z = block.rows @ theta[:, :-1].T.astype(dtype) + theta[:, -1].astype(dtype)
            if block.mixtures is not None:
                Z = np.concatenate([Z, block.mixtures @ Z])
            p = softmax(Z, axis=1)
            weighted = p * block.weights[:, None]
            found -= weighted.T @ p
            found.flat[:: self.n_classes + 1] += weighted.sum(axis=0, dtype=float)
        return found / self._total

    def _descend(self, theta: Any, C: float, tolerance: float) -> tuple[Any, float]:
        curvature = self.evaluate(theta, C)[2] / EASE
        scale = np.append(curvature * self.spread + 1 / (C * self.n), curvature) ** -0.5
        gap = np.inf

        def value(flat: Any) -> tuple[float, Any]:
            nonlocal gap
            loss, gradient, _ = self.evaluate(flat.reshape(theta.shape) * scale, C)
            gap = float((gradient**2).sum()) * C * self.n / 2
            return loss, (gradient * scale).ravel()

        end, _ = descend(value, (theta / scale).ravel(), lambda: gap <= tolerance)
        return end.reshape(theta.shape) * scale, gap

    def evaluate(self, theta: Any, C: float) -> tuple[float, Any, float]:
        """The penalised mean loss at `theta` (C, dim + 1), the intercept last; its gradient there.

        Last, the mean of p (1 - p) over rows and classes.
        """
        coef, intercept = theta[:, :-1], theta[:, -1]
        dtype = self.dtype
        columns, shift = coef.T.astype(dtype, order="C"), intercept.astype(dtype)
        gradient = np.zeros_like(theta)
        loss = doubt = 0.0
        for block in self._blocks:
            Z = block.rows @ columns
            Z += shift
            if block.mixtures is not None:
                Z = np.concatenate([Z, block.mixtures @ Z])
            more = _errors(Z, block.index, block.weights, self.gamma)
            loss, doubt = loss + more[0], doubt + more[1]
            if block.mixtures is not None:
                real = len(block.rows)
                Z = Z[:real] + block.mixtures.T @ Z[real:]
            gradient[:, :-1] += Z.T @ block.rows
            gradient[:, -1] += Z.sum(axis=0, dtype=float)
        gradient /= self._total
        gradient[:, :-1] += coef / (C * self.n)
        loss = loss / self._total + float((coef * coef).sum()) / (2 * C * self.n)
        return loss, gradient, doubt / (self._total * self.n_classes)

    def in_float64(self) -> "Multinomial":
        """The same with products in float64."""
        exact = object.__new__(Multinomial)
        vars(exact).update(vars(self))
        exact.dtype = np.dtype(float)
        exact._blocks = [
            b._replace(rows=b.rows.astype(float), weights=b.weights.astype(float))
            for b in self._blocks
        ]
        return exact


def _errors(Z: Any, index: Any, weights: Any, gamma: float) -> tuple[float, float]:
    """Turn logits `Z` (n, C) into the loss's derivative by them, in place.

    Returns the weighted sums of the loss and of 1 - Σ p².
    """
    own = np.arange(len(Z)), index
    Z -= Z.max(axis=1, keepdims=True)
    log_p = Z[own]
    np.exp(Z, out=Z)
    total = Z.sum(axis=1)
    log_p -= np.log(total)
    Z /= total[:, None]
    doubt = weights @ (1 - np.einsum("ij,ij->i", Z, Z))
    if gamma:
        p, miss = np.exp(log_p), -np.expm1(log_p)
        loss = -(miss**gamma) * log_p
        weights_of_error = weights * (miss**gamma - gamma * p * miss ** (gamma - 1) * log_p)
    else:
        loss, weights_of_error = -log_p, weights
    Z[own] -= 1
    Z *= weights_of_error[:, None]
    return float(weights.astype(float) @ loss), float(doubt)


def _blocks(rows: Any, index: Any, weights: Any, mixtures: Any, size: int) -> Iterator[_Block]:
    """Whole classes, some `size` rows a block, rows and mixtures in the order of the classes."""
    order = np.argsort(index, kind="stable")
    if mixtures is None:
        order, added = order[weights[order] > 0], order[:0]
    else:
        mixtures = mixtures.tocsr().astype(rows.dtype)
        label = index[mixtures.indices[mixtures.indptr[:-1]]]
        mixed = np.argsort(label, kind="stable")
        mixtures, added = mixtures[mixed][:, order], label[mixed]
    real = index[order]
    for first, last in _runs_of_classes(np.bincount(np.concatenate([real, added])), size):
        a, b = np.searchsorted(real, [first, last])
        ma, mb = np.searchsorted(added, [first, last])
        yield _Block(
            rows[order[a:b]],
            mixtures[ma:mb, a:b] if mb > ma else None,
            np.concatenate([real[a:b], added[ma:mb]]),
            np.concatenate([weights[order[a:b]], np.ones(mb - ma)]).astype(rows.dtype),
        )


def _runs_of_classes(counts: Any, size: int) -> Iterator[tuple[int, int]]:
    first = held = 0
    for c, count in enumerate(counts):
        held += count
        if held >= size or c == len(counts) - 1:
            yield first, c + 1
            first, held = c + 1, 0


@shared
def principal_axes(rows: Any) -> Any:
    """Orthonormal axes (dim, r) of the span of `rows` (n, dim): its principal axes, same dtype.

    The weakest first; by the smaller of the two Gram matrices. The weights of a fit under an L2
    penalty lie in the span, so r <= min(n, dim) columns `rows @ axes` are enough, and nothing is
    lost.
    """
    exact = rows.astype(float)
    n, dim = rows.shape
    values, vectors = np.linalg.eigh(exact @ exact.T if n < dim else exact.T @ exact)
    keep = values > 1e-10 * max(values[-1], np.finfo(float).tiny)
    if n < dim:
        vectors = exact.T @ (vectors[:, keep] / np.sqrt(values[keep]))
        return vectors.astype(rows.dtype)
    return vectors[:, keep].astype(rows.dtype)
