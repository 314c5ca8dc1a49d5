"""Ridge regression on the classes, with its exact leave-one-out scores from one eigenproblem."""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax

from classify.shared_work import shared

# For centred unit rows, whose scatter sums to about the number of rows.
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Ridge(NamedTuple):
    """Linear log-odds: softmax(rows @ coef + intercept) are probabilities."""

    coef: Any
    """(dim, C) float64"""
    intercept: Any
    """(C,) float64"""
    held_out: Any
    """(n, C) float64: the log-odds of each training row by a fit on all the others"""
    components: Any
    """(dim, c) float64: principal axes of the rows, the strongest last"""


class _Fit(NamedTuple):
    loss: float
    penalty: float
    factors: Any
    held_out: Any


@shared
def fit_ridge(rows: Any, index: Any, n_classes: int, n_components: int, balanced: bool) -> Ridge:
    """Regress one-hot classes on `rows` (n, dim), class numbers `index` (n,).

    With residual r_i and leverage h_i of the fit on all rows, the fit without row i misses it by
    r_i / (1 - h_i) (Allen 1974, PRESS; Rifkin & Lippert 2007). Scores s become log-odds
    f · s + a · log n_c. The penalty and f, a >= 0 are those with the least log-loss of the held-out
    scores; `balanced` counts every class the same there, and leaves frequency out (a = 0).
    """
    centre = rows.mean(axis=0, dtype=np.float64)
    X = rows - centre
    counts = np.bincount(index, minlength=n_classes)
    target = np.eye(n_classes)[index] - counts / len(index)
    values, U = _left_vectors(X)
    frequency = np.zeros(n_classes) if balanced else np.log(counts)
    weights = 1 / counts[index] if balanced else np.ones(len(index))
    fits = (
        _leave_one_out(values, U, target, index, frequency, weights / weights.sum(), penalty)
        for penalty in PENALTIES
    )
    best = min(fits, key=lambda fit: fit.loss)
    factor, share = best.factors
    coef = factor * X.T @ (U @ ((U.T @ target) / (values + best.penalty)[:, None]))
    strongest = slice(max(0, len(values) - n_components), None)
    components = X.T @ (U[:, strongest] / np.sqrt(values[strongest]))
    return Ridge(coef, share * frequency - centre @ coef, best.held_out, components)


def _left_vectors(X: Any) -> tuple[Any, Any]:
    """Eigenvalues > 0 (m,) of X Xᵀ, rising, and its eigenvectors (n, m), by the smaller side."""
    n, dim = X.shape
    if n <= dim:
        values, U = np.linalg.eigh(X @ X.T)
    else:
        values, V = np.linalg.eigh(X.T @ X)
        U = X @ V
    keep = values > 1e-10 * max(values[-1], np.finfo(float).tiny)
    values, U = values[keep], U[:, keep]
    return values, U if n <= dim else U / np.sqrt(values)


def _leave_one_out(
    values: Any, U: Any, target: Any, index: Any, frequency: Any, weights: Any, penalty: float
) -> _Fit:
    shrink = values / (values + penalty)
    residual = target - U @ (shrink[:, None] * (U.T @ target))
    leverage = 1 / len(U) + (U * U) @ shrink
    scores = target - residual / (1 - leverage)[:, None]
    factors, loss = _calibrate(scores, index, frequency, weights)
    return _Fit(loss, penalty, factors, factors[0] * scores + factors[1] * frequency)


def _calibrate(scores: Any, index: Any, frequency: Any, weights: Any) -> tuple[Any, float]:
    """f, a >= 0 of the least log-loss of softmax(f · scores + a · frequency), and that loss.

    One photo's worth of doubt is spread over all classes: separable scores stay finite.
    """
    from scipy.optimize import minimize

    n, n_classes = scores.shape
    wanted = np.full((n, n_classes), 1 / n_classes / (n + 1))
    wanted[np.arange(n), index] += n / (n + 1)

    def loss(factors: Any) -> tuple[float, Any]:
        log_odds = factors[0] * scores + factors[1] * frequency
        p = softmax(log_odds, axis=1)
        value = -(weights @ (wanted * np.log(np.maximum(p, 1e-300))).sum(axis=1))
        miss = weights @ ((p - wanted) * scores).sum(axis=1), (weights @ (p - wanted)) @ frequency
        return value, np.array(miss)

    found = minimize(loss, [10.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0, None)] * 2)
    return found.x, float(found.fun)
