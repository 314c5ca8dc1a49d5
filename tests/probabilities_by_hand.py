"""Probabilities whose truth a test knows."""

import numpy as np


def softmax(scores):
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def honest(n, n_classes=5, seed=0, spread=2.0):
    """Probabilities (n, C) and classes (n,) drawn with them."""
    rng = np.random.default_rng(seed)
    P = softmax(rng.normal(size=(n, n_classes)) * spread)
    y = (rng.random((n, 1)) > np.cumsum(P, axis=1)).sum(axis=1)
    return P, np.minimum(y, n_classes - 1)


def sharper(P, power):
    """The same of a head that is too sure (or, below 1, too modest)."""
    return softmax(power * np.log(P))
