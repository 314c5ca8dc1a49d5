"""Balancing unequal classes, on training rows only: class weights, copies, SMOTE."""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np

Balance = Literal["none", "weights", "oversample", "smote"]
BALANCES: tuple[str, ...] = get_args(Balance)
NEIGHBOURS = 5


class Balanced(NamedTuple):
    """Training rows after balancing: the real rows first and unchanged, then the added ones."""

    X: Any
    """(n + added, dim), dtype of the input"""
    y: Any
    """(n + added,), dtype of the input"""
    weights: Any
    """(n,) float64 with mean 1, or None"""
    notes: list[str]
    """What a reader of the result must know, in sentences."""


def resample(X: Any, y: Any, method: str, random_state: int = 0) -> Balanced:
    """Balance the classes of `X` (n, dim) floats with labels `y` (n,).

    - `none`: the rows as they are.
    - `weights`: the rows as they are; weight n / (C · n_c) for a row of class c.
    - `oversample`: copies of random rows until every class is as large as the largest.
    - `smote`: rows on the segment between a row and one of its k nearest of the same class
      (Chawla et al. 2002), k = min(5, n_c - 1); a class of one photo can only be copied.

    Raises ValueError for another method.
    """
    classes, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    if method == "none" or (method != "weights" and method in BALANCES and _equal(counts)):
        return Balanced(X, y, None, [])
    if method == "weights":
        return Balanced(X, y, (len(y) / (len(classes) * counts))[index], [])
    if method == "oversample":
        return _oversample(X, y, random_state)
    if method == "smote":
        return _smote(X, y, classes, counts, random_state)
    raise ValueError(f"balance must be one of {', '.join(BALANCES)}, got {method!r}")


def _equal(counts: Any) -> bool:
    return bool(counts.min() == counts.max())


def _oversample(X: Any, y: Any, random_state: int) -> Balanced:
    from imblearn.over_sampling import RandomOverSampler

    rows, labels = RandomOverSampler(random_state=random_state).fit_resample(X, y)
    return Balanced(rows, labels, None, [])


def _smote(X: Any, y: Any, classes: Any, counts: Any, random_state: int) -> Balanced:
    from imblearn.over_sampling import SMOTE

    rows, labels, largest = [X], [y], counts.max()
    for k in range(1, NEIGHBOURS + 1):
        chosen = (np.minimum(NEIGHBOURS, counts - 1) == k) & (counts < largest)
        if chosen.any():
            sampler = SMOTE(
                sampling_strategy=dict.fromkeys(classes[chosen].tolist(), largest),
                k_neighbors=k,
                random_state=random_state,
            )
            more_rows, more_labels = sampler.fit_resample(X, y)
            rows.append(more_rows[len(y) :])
            labels.append(more_labels[len(y) :])
    single = classes[(counts == 1) & (counts < largest)]
    for label in single:
        rows.append(np.repeat(X[y == label], largest - 1, axis=0))
        labels.append(np.repeat(y[y == label], largest - 1))
    return Balanced(np.concatenate(rows), np.concatenate(labels), None, _notes(single))


def _notes(single: Any) -> list[str]:
    if not len(single):
        return []
    names = ", ".join(str(label) for label in single[:5]) + (", …" if len(single) > 5 else "")
    return [f"SMOTE needs two photos of a class; copied instead, having one: {names}."]
