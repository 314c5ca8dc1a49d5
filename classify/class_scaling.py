"""Vector scaling: a sharpness and an offset for each class, as far as its photos speak for them."""

from typing import Any

import numpy as np
from scipy.optimize import minimize

from classify.calibration import log_normalised

ROUNDS, STEPS = 3, 12  # of the variances, and of the descent in each
_NARROWEST = 1e-6  # variance of a prior; less means the same


def vector_scaling(scores: Any, truth: Any) -> tuple[Any, Any]:
    """(slope, offset), each (C,): p ∝ exp(slope · scores + offset) (Guo et al. 2017).

    scores : (n, C) float32 log-probabilities at their best temperature, of photos that the head
        was not fitted on
    truth : (n,) int, column of the true class

    Both are drawn to 1 and 0, the answer of the temperature alone, by normal priors. How narrow
    these are comes from the same photos: the variances with the highest evidence (MacKay 1992),
    one for all slopes and one for all offsets. So hundreds of classes with a handful of photos
    each move nothing unless many of them say so.

    A class without a photo here may have some elsewhere: it keeps 1 and 0, and only what the
    other classes get of each other is fitted, or they would all be raised above it.
    """
    there, truth = np.unique(truth, return_inverse=True)
    some = scores[:, there]
    found, variances = np.zeros((2, len(there))), np.ones(2)
    for _ in range(ROUNDS):
        stiffness = _curvature(some, found)
        found = _likeliest(some, truth, found, variances, stiffness)
        told = stiffness * variances[:, None]
        told = (told / (1 + told)).sum(axis=1)  # how many of them the photos fix, not the prior
        variances = np.maximum((found**2).sum(axis=1) / np.maximum(told, _NARROWEST), _NARROWEST)
    slope, offset = np.ones(scores.shape[1]), np.zeros(scores.shape[1])
    slope[there], offset[there] = 1 + found[0], found[1]
    return slope, offset


def _likeliest(scores: Any, truth: Any, start: Any, variances: Any, stiffness: Any) -> Any:
    """(2, C) what to add to slopes of 1 and offsets of 0."""
    precision = 1 / variances[:, None]
    scale = 1 / np.sqrt(stiffness + precision)  # in these units every direction is as steep
    rows = np.arange(len(scores))
    of_truth = np.stack([np.bincount(truth, scores[rows, truth]), np.bincount(truth)])

    def loss(steps: Any) -> tuple[float, Any]:
        added = steps.reshape(scale.shape) * scale
        logs = log_normalised(_scaled(scores, added))
        value = float((precision * added**2).sum() / 2 - logs[rows, truth].sum(dtype=np.float64))
        gradient = _sums(np.exp(logs, out=logs), scores) - of_truth + precision * added
        return value, (gradient * scale).ravel()

    options = {"ftol": 1e-7, "maxiter": STEPS}
    found = minimize(loss, (start / scale).ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(scale.shape) * scale


def _curvature(scores: Any, added: Any) -> Any:
    """(2, C) second derivatives of the log-loss along each slope and each offset."""
    p = np.exp(log_normalised(_scaled(scores, added)))
    p *= 1 - p
    of_slope = np.einsum("nc,nc,nc->c", p, scores, scores).astype(np.float64)
    return np.stack([of_slope, p.sum(axis=0, dtype=np.float64)])


def _scaled(scores: Any, added: Any) -> Any:
    slope, offset = (1 + added[0]).astype(np.float32), added[1].astype(np.float32)
    return scores * slope + offset


def _sums(p: Any, scores: Any) -> Any:
    """(2, C); no matrix product: its last digits depend on the number of threads."""
    of_slope = np.einsum("nc,nc->c", p, scores).astype(np.float64)
    return np.stack([of_slope, p.sum(axis=0, dtype=np.float64)])
