"""Sharing rows out to sides or folds: stratified by label, and no group in two of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array

from embed.errors import UserError

Ints = NDArray[np.intp]

_EPSILON = 1e-9  # deficits are differences of floats
# How much an emptier side weighs against a class's own need. 0 would leave 100 classes of two
# photos without a test photo; much more lets sides of even size distort classes of a few groups.
_EVENNESS = 2


def assign(
    labels: ArrayLike,
    groups: ArrayLike,
    fractions: Sequence[float],
    seed: int,
    train_first: bool = True,
) -> Ints:
    """Share the rows out to sides: every class by `fractions`, no group on two sides.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011, "On the stratification of
    multi-label data") over groups: they come in random order, the largest first, and each goes
    to the side that lacks most of its labels. Where no side can hold the whole group within its
    share, it counts too how empty the sides are, so that many tiny classes do not all end on the
    same side. Of a class whose rows are each their own group, every side gets its share to
    within one row.

    labels, groups : (n,) str or int
    fractions : share of each side, above 0 and summing to 1
    train_first : side 0 gets a group of every class before another side gets any, so a class of
        one group is on side 0
    Returns (n,) int, the side of each row.
    """
    label_of = np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1]
    group_of = np.unique(np.asarray(groups), return_inverse=True)[1]
    counts = csr_array(coo_array((np.ones(len(label_of)), (group_of, label_of))))
    order = np.random.default_rng(seed).permutation(counts.shape[0])
    order = order[np.argsort(-counts.sum(axis=1)[order], kind="stable")]
    anchors = _anchors(counts, order) if train_first else set()
    shares = np.asarray(fractions, dtype=float)
    sides: Ints = np.zeros(counts.shape[0], dtype=np.intp)
    lack = np.outer(counts.sum(axis=0), shares)
    full = shares * len(group_of)
    room = full.copy()
    for group in sorted(order, key=lambda group: group not in anchors):
        cells = slice(counts.indptr[group], counts.indptr[group + 1])
        held, count = counts.indices[cells], counts.data[cells]
        if group not in anchors:
            sides[group] = _neediest(count @ lack[held], count @ count, room / full)
        lack[held, sides[group]] -= count
        room[sides[group]] -= count.sum()
    return sides[group_of]


def make_folds(labels: ArrayLike, groups: ArrayLike, n_folds: int, seed: int) -> Ints:
    """Fold of each row, 0 to `n_folds` - 1: stratified, no group in two folds; see `assign`.

    A class of fewer groups than folds lies in some of the folds only, so one of a single group
    is absent from training when its fold is held out.
    labels, groups : (n,); returns (n,) int
    """
    n_groups = len(np.unique(np.asarray(groups)))
    if not 2 <= n_folds <= n_groups:
        raise UserError(
            f"--folds must be between 2 and the number of training groups ({n_groups} groups of "
            f"{len(np.asarray(labels))} photos), not {n_folds}."
        )
    return assign(labels, groups, [1 / n_folds] * n_folds, seed, train_first=False)


def per_class_subset(y: ArrayLike, group: ArrayLike, n: int | None, seed: int) -> NDArray[np.bool_]:
    """(n_photos,) which to keep so that `n` of each class stay, or all where it has fewer.

    y, group : (n_photos,) str or int
    Groups come in random order and whole, as a collection grows by bursts, animals or species; of
    the last one only as many photos as are wanted. Of one seed a smaller subset lies inside a
    larger.
    """
    y, group = np.asarray(y), np.asarray(group)
    keep = np.zeros(len(y), dtype=bool)
    for c, name in enumerate(np.unique(y)):
        rows = np.flatnonzero(y == name)
        kinds, nth = np.unique(group[rows], return_inverse=True)
        place = np.random.default_rng([seed, c]).permutation(len(kinds))
        keep[rows[np.argsort(place[nth], kind="stable")][:n]] = True
    return keep


def _anchors(counts: Any, order: Ints) -> set[int]:
    """The groups that bring each class to side 0: the first in `order` that holds it."""
    ordered = counts[order].tocsc()
    ordered.sort_indices()
    return set(order[ordered.indices[ordered.indptr[:-1]]].tolist())


def _neediest(
    lack: NDArray[np.float64], size: float, emptiness: NDArray[np.float64]
) -> np.integer[Any]:
    """Side for a group. lack, size : what each side lacks of its labels and what it holds of
    them, both weighted by its label counts; emptiness : share of each side that is still free."""
    need = lack / size
    if need.max() >= 1 - _EPSILON:
        return np.argmax(np.where(need >= need.max() - _EPSILON, emptiness, -np.inf))
    return np.argmax(np.where(need > _EPSILON, need + _EVENNESS * emptiness, -np.inf))
