"""Ridge regression on the classes, with its exact leave-one-out scores from one eigenproblem."""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

# Penalties for centred unit rows, whose scatter sums to about the number of rows.
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
LOG_SHARPNESS = (-2.0, 7.0)


class Ridge(NamedTuple):
    """One linear score a class; softmax(sharpness * score) is a probability.

    The class's own frequency is left out of its score: rare classes start even with common ones.
    """

    coef: Any
    """(dim, C) float64"""
    intercept: Any
    """(C,) float64"""
    sharpness: float
    held_out: Any
    """(n, C) float64: the score of each training row by a fit on all the others"""
    components: Any
    """(dim, c) float64: principal axes of the rows, the strongest last"""


def fit_ridge(rows: Any, index: Any, n_classes: int, n_components: int) -> Ridge:
    """Regress one-hot classes on `rows` (n, dim), class numbers `index` (n,).

    With residual r_i and leverage h_i of the fit on all rows, the fit without row i misses it by
    r_i / (1 - h_i) (Allen 1974, PRESS; Rifkin & Lippert 2007). Penalty and sharpness are those
    with the least log-loss of these scores.
    """
    centre = rows.mean(axis=0, dtype=np.float64)
    X = rows - centre
    target = np.eye(n_classes)[index]
    target -= target.mean(axis=0)
    values, U = _left_vectors(X)
    loss, sharpness, penalty, held_out = min(
        (_leave_one_out(values, U, target, index, penalty) for penalty in PENALTIES),
        key=lambda fit: fit[0],
    )
    del loss
    coef = X.T @ (U @ ((U.T @ target) / (values + penalty)[:, None]))
    strongest = slice(max(0, len(values) - n_components), None)
    components = X.T @ (U[:, strongest] / np.sqrt(values[strongest]))
    return Ridge(coef, -centre @ coef, sharpness, held_out, components)


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
    values: Any, U: Any, target: Any, index: Any, penalty: float
) -> tuple[float, float, float, Any]:
    """Log-loss, sharpness, penalty and held-out scores (n, C)."""
    shrink = values / (values + penalty)
    residual = target - U @ (shrink[:, None] * (U.T @ target))
    leverage = 1 / len(U) + (U * U) @ shrink
    held_out = target - residual / (1 - leverage)[:, None]
    sharpness, loss = _sharpness(held_out, index)
    return loss, sharpness, penalty, held_out


def _sharpness(scores: Any, index: Any) -> tuple[float, float]:
    """The factor for which softmax(factor * scores) has the least log-loss, and that loss."""
    from scipy.optimize import minimize_scalar

    true = scores[np.arange(len(index)), index]

    def loss(log_factor: float) -> float:
        factor = np.exp(log_factor)
        return float((logsumexp(factor * scores, axis=1) - factor * true).mean())

    found = minimize_scalar(loss, bounds=LOG_SHARPNESS, method="bounded")
    return float(np.exp(found.x)), float(found.fun)
