"""How far the probability of the likeliest class is from how often it is right."""

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
    excess = (confidence - right)[order]
    found = np.empty(weights.shape[1])
    for b, times in enumerate(weights.T):
        mass, gap = (
            np.append(0, np.cumsum(each)[last]) for each in (times[order], times[order] * excess)
        )
        at_cuts = np.interp(np.linspace(0, mass[-1], BINS + 1), mass, gap)
        found[b] = np.abs(np.diff(at_cuts)).sum() / mass[-1]
    return found
