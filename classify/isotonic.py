"""Isotonic calibration: one rising function, how often a class of probability p is true."""

from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from classify.outcomes import F64, Ints


def isotonic_steps(P: F64, y_index: Ints) -> F64:
    """(2, k) places p, rising, and the function's values there; straight between them.

    The least squares fit of a rising function to all pairs of a photo and a class: p the
    probability, 1 where the class is the true one and 0 elsewhere. One-vs-rest as Zadrozny and
    Elkan (2002), with one function for all classes (Zhang, Kailkhura and Han 2020), so that
    classes with few photos have one as well and the order of the classes stays.

    P : (n, C) probabilities, y_index : (n,) columns, n > 0
    """
    every = np.sort(P, axis=None)
    places, hits = np.unique(P[np.arange(len(P)), y_index], return_counts=True)
    # A true class and the false ones up to the next true one always share a value.
    starts = np.searchsorted(every, places)
    if starts[0]:
        starts, hits = np.append(0, starts), np.append(0, hits)
    sizes = np.diff(starts, append=len(every))
    fit = isotonic_regression(hits / sizes, weights=sizes)
    first = starts[fit.blocks[:-1]]
    last = np.append(first[1:], len(every)) - 1
    values = fit.x[fit.blocks[:-1]]
    steps = np.stack([np.stack([every[first], every[last]], axis=1).ravel(), values.repeat(2)])
    return np.asarray(steps[:, np.append(True, np.diff(steps[0]) > 0)])


def stepped(P: Any, steps: F64) -> F64:
    """(n, C) probabilities by the function, rows summing to 1 and the order of classes kept."""
    values = np.interp(P, *steps) + 1e-6 * P  # equal values keep the order of P
    total = values.sum(axis=1, keepdims=True)
    return np.asarray(values / total)
