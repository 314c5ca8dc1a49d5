"""Whole groups (species, individuals) held out inside each class, as near a share as they allow."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array


def held_groups(labels: ArrayLike, groups: ArrayLike, share: float, seed: int) -> NDArray[np.bool_]:
    """(n,) the rows to hold out, so that each class with two groups or more is on both sides.

    labels, groups : (n,) str and int
    share : of the photos of a class that are held out, as near as whole groups allow and at least
        one group; which of several groups of one size is drawn at random
    No class loses its last group. Where groups hold photos of several classes, classes of few
    groups come first, the share is only about met, and a class may be left without any held.
    """
    label_of = np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1]
    group_of = np.unique(np.asarray(groups), return_inverse=True)[1]
    ones = np.ones(len(label_of), dtype=int)
    of_class = csr_array(coo_array((ones, (label_of, group_of))))
    of_group = csr_array(of_class.T)
    rng = np.random.default_rng(seed)
    held = np.zeros(of_class.shape[1], dtype=bool)
    left = np.diff(of_class.indptr)  # groups of each class that still train

    def may_go(group: int) -> bool:
        return bool((left[_cells(of_group, group)[0]] > 1).all())

    for c in np.argsort(left, kind="stable"):
        own, sizes = _cells(of_class, c)
        order = rng.permutation(len(own))
        own, sizes = own[order], sizes[order]
        wanted = share * sizes.sum() - sizes[held[own]].sum()
        free = np.array([not held[g] and may_go(g) for g in own])
        for i in _nearest(sizes[free].tolist(), wanted, not held[own].any(), bool(free.all())):
            group = own[free][i]
            if may_go(group):
                held[group] = True
                left[_cells(of_group, group)[0]] -= 1
    return np.asarray(held[group_of])


def _cells(counts: Any, row: int) -> tuple[Any, Any]:
    """The columns of a sparse row that hold something, and what they hold."""
    cells = slice(counts.indptr[row], counts.indptr[row + 1])
    return counts.indices[cells], counts.data[cells]


def _nearest(sizes: list[int], wanted: float, any_: bool, not_all: bool) -> list[int]:
    """Places of the sizes whose sum is nearest to `wanted`: at least one, not all, where asked.

    An exact subset sum: bit s of `reached[i]` says that some of the first i sizes sum to s.
    """
    if len(sizes) < any_ + not_all:
        return []
    reached = [1]
    for size in sizes:
        reached.append(reached[-1] | reached[-1] << size)
    lowest = min(sizes, default=0) if any_ else 0
    highest = sum(sizes) - (min(sizes, default=0) if not_all else 0)
    sums = [s for s in range(lowest, highest + 1) if reached[-1] >> s & 1]
    s = min(sums, key=lambda s: abs(s - wanted))
    chosen = []
    for i in reversed(range(len(sizes))):
        if not reached[i] >> s & 1:
            chosen.append(i)
            s -= sizes[i]
    return chosen
