"""Balancing unequal classes, on training rows only: weights, copies, fewer rows, SMOTE."""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from classify.shared_work import shared
from classify.smote import NEIGHBOURS, Mixtures, draw

Balance = Literal[
    "none", "weights", "oversample", "undersample", "smote", "borderline-smote", "adasyn"
]
BALANCES: tuple[str, ...] = get_args(Balance)
SYNTHETIC = {"smote": "SMOTE", "borderline-smote": "Borderline-SMOTE", "adasyn": "ADASYN"}


class Balanced(NamedTuple):
    """Training rows after balancing: the real rows that stay come first, then the added ones."""

    X: Any
    """(n + added, dim), dtype of the input"""
    y: Any
    """(n + added,), dtype of the input"""
    weights: Any
    """(n,) float64 with mean 1, or None"""
    notes: list[str]
    """What a reader of the result must know, in sentences."""
    grown: Any
    """Labels of the classes that got rows"""


class Plan(NamedTuple):
    """What balancing does to rows, without copying one."""

    kept: Any
    """(n_kept,) int64 numbers of the real rows that stay, rising"""
    copies: Any
    """(n_kept,) int64: how often each counts, itself included"""
    mixtures: Mixtures | None
    """New rows, numbered as the rows were before"""
    weights: Any
    """(n_kept,) float64 with mean 1, or None"""
    notes: list[str]


def resample(X: Any, y: Any, method: str, random_state: int = 0) -> Balanced:
    """Balance the classes of `X` (n, dim) floats with labels `y` (n,).

    - `none`: the rows as they are.
    - `weights`: the rows as they are; weight n / (C · n_c) for a row of class c.
    - `oversample`: copies of random rows until every class is as large as the largest.
    - `undersample`: a random part of the rows, as many of every class as the smallest has; but
      min(n_c, 5) at least, so that one class of one photo does not throw all others away.
    - `smote`, `borderline-smote`, `adasyn`: rows between two of a class, see `classify.smote`;
      a class of one photo can only be copied.

    Where nothing changes `X` and `y` themselves are in the result. Raises ValueError for another
    method.
    """
    plan = plan_balance(X, y, method, random_state)
    same = len(plan.kept) == len(y) == plan.copies.sum()
    if same and plan.mixtures is None:
        return Balanced(X, y, plan.weights, plan.notes, y[:0])
    return _carried_out(X, y, plan)


@shared
def _carried_out(X: Any, y: Any, plan: Plan) -> Balanced:
    rows, labels = [X[plan.kept]], [y[plan.kept]]
    copied = np.repeat(plan.kept, plan.copies - 1)
    added = [y[copied]]
    if len(copied):
        rows.append(X[copied])
    if plan.mixtures is not None:
        rows.append(plan.mixtures.rows(X))
        added.append(y[plan.mixtures.first])
    grown = np.unique(np.concatenate(added))
    joined = np.concatenate(rows), np.concatenate(labels + added)
    return Balanced(*joined, plan.weights, plan.notes, grown)


@shared
def plan_balance(X: Any, y: Any, method: str, random_state: int = 0) -> Plan:
    """What `resample` does, as a plan: for those that need not hold the added rows in memory."""
    if method not in BALANCES:
        raise ValueError(f"balance must be one of {', '.join(BALANCES)}, got {method!r}")
    classes, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    every, once = np.arange(len(y)), np.ones(len(y), dtype=np.int64)
    if method == "weights":
        return Plan(every, once, None, class_weights(index), [])
    if method == "none" or counts.min() == counts.max():
        return Plan(every, once, None, None, [])
    if method == "oversample":
        return Plan(every, _oversample(index, random_state), None, None, [])
    if method == "undersample":
        kept = _undersample(index, counts, random_state)
        note = f"Undersampling trains on {len(kept):,} of {len(y):,} photos."
        return Plan(kept, once[kept], None, None, [note] if len(kept) < len(y) else [])
    drawn = draw(method, X, index, random_state)
    single = counts == 1
    copies = np.where(single[index], counts.max(), 1)
    name = SYNTHETIC[method]
    notes = _note(
        f"{name} needs two photos of a class; copied instead, having one:", classes[single]
    )
    reason = "on the border" if method == "borderline-smote" else "near another class"
    notes += _note(f"{name} found no photo {reason}; SMOTE instead:", classes[drawn.fallback])
    return Plan(every, copies, drawn.mixtures, None, notes)


def class_weights(index: Any) -> Any:
    """(n,) weight n / (C · n_c) of rows of class numbers `index` (n,): every class counts alike."""
    counts = np.bincount(index)
    return (len(index) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[index]


def _oversample(index: Any, random_state: int) -> Any:
    from imblearn.over_sampling import RandomOverSampler

    sampler = RandomOverSampler(random_state=random_state)
    sampler.fit_resample(np.arange(len(index))[:, None], index)
    return np.bincount(sampler.sample_indices_)


def _undersample(index: Any, counts: Any, random_state: int) -> Any:
    from imblearn.under_sampling import RandomUnderSampler

    size = np.minimum(counts, max(counts.min(), NEIGHBOURS))
    sampler = RandomUnderSampler(
        sampling_strategy=dict(enumerate(size.tolist())), random_state=random_state
    )
    sampler.fit_resample(np.arange(len(index))[:, None], index)
    return np.sort(sampler.sample_indices_)


def _note(text: str, labels: Any) -> list[str]:
    if not len(labels):
        return []
    names = ", ".join(str(label) for label in labels[:5]) + (", …" if len(labels) > 5 else "")
    return [f"{text} {names}."]
