"""How far the probability of the likeliest class is from how often it is right."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

BINS = 15


def calibration_error(confidence: F64, right: NDArray[np.bool_], weights: F64) -> F64:
    """(B,) expected calibration error of the likeliest class, in 15 bins of equal mass.

    The photos are sorted by confidence and cut into 15 equal parts (Nguyen and O'Connor 2015); the
    figure is the mean over the parts of |mean confidence - share right|. A photo that stands on a
    cut belongs to both parts by shares, and photos of one confidence are spread over it evenly:
    neither the order of the photos matters nor that there may be fewer than 15.

    It is too high for few photos: in a bin of m photos chance alone parts confidence p and share
    by about sqrt(p (1 - p) / m).

    confidence : (n,) of the likeliest class
    weights : (n, B) how often each photo counts
    """
    order = np.argsort(confidence, kind="stable")
    last = np.flatnonzero(np.diff(confidence[order], append=np.inf))  # of each confidence
    times = np.take(weights.T, order, axis=1)
    mass = _running_sum(times, last)
    gap = _running_sum(times * (confidence - right)[order], last)
    cuts = np.linspace(0, 1, BINS + 1)
    at_cuts = [np.interp(cuts * m[-1], m, g) for m, g in zip(mass, gap, strict=True)]
    return np.asarray(np.abs(np.diff(at_cuts, axis=1)).sum(axis=1) / mass[:, -1])


def _running_sum(each: F64, last: NDArray[np.integer[Any]]) -> F64:
    """(B, 1 + len(last)) from 0, of rows (B, n), up to and with each of the places `last`."""
    found = np.zeros((len(each), each.shape[1] + 1))
    np.cumsum(each, axis=1, out=found[:, 1:])
    return found if len(last) == each.shape[1] else found[:, np.append(0, last + 1)]
