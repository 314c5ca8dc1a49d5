"""SMOTE and its kin as recipes: which two rows of a class are mixed, and how far along."""

from typing import Any, NamedTuple

import numpy as np

from classify.shared_work import shared

NEIGHBOURS = 5  # of the same class, on the way to one of which a new row lies
SURROUNDINGS = 10  # rows of any class that say whether a row is on the border


class Mixtures(NamedTuple):
    """New rows x_first + step · (x_second - x_first), both of one class."""

    first: Any
    """(m,) int64 row numbers"""
    second: Any
    """(m,) int64 row numbers"""
    step: Any
    """(m,) float64 in [0, 1)"""

    def rows(self, X: Any) -> Any:
        """The new rows (m, dim) of `X` (n, dim), same dtype."""
        towards = X[self.second] - X[self.first]
        return (X[self.first] + self.step[:, None] * towards).astype(X.dtype)

    def matrix(self, n: int) -> Any:
        """Sparse (m, n) with matrix @ X the new rows of X."""
        from scipy.sparse import coo_array

        row = np.arange(len(self.step))
        return coo_array(
            (
                np.concatenate([1 - self.step, self.step]),
                (np.concatenate([row, row]), np.concatenate([self.first, self.second])),
            ),
            shape=(len(row), n),
        ).tocsr()


class Drawn(NamedTuple):
    """Mixtures class by class, and the classes for which SMOTE itself stood in."""

    mixtures: Mixtures
    fallback: list[int]


def draw(method: str, X: Any, index: Any, random_state: int) -> Drawn:
    """Mixtures that make every class of two rows or more about as large as the largest.

    X : (n, dim) floats; index : (n,) class numbers, 0 to C - 1

    - `smote`: from random rows towards one of their k nearest of the class (Chawla et al. 2002).
    - `borderline-smote`: only from rows half or more of whose 10 nearest, but not all, are of
      other classes (Han et al. 2005).
    - `adasyn`: the more from a row, the more of its k nearest are of other classes (He et al.
      2008); classes come out equal up to rounding.

    k is 5, or all others of a smaller class. Neighbours and random numbers are imbalanced-learn's,
    so the rows are too (save for the order of equally near neighbours). A class without a row
    to start from gets SMOTE's.
    """
    counts = np.bincount(index)
    lack = counts.max() - counts
    crowd = _foreign(X, index, method) if method != "smote" else None
    generator = np.random.RandomState(random_state)
    parts, fallback = [], []
    for c in np.flatnonzero((lack > 0) & (counts > 1)):
        members = np.flatnonzero(index == c)
        near = nearest(X[members], min(NEIGHBOURS, len(members) - 1))
        part = None
        if crowd is not None:
            foreign = crowd[members]
            if method == "adasyn":
                part = _adasyn(near, foreign[:, : near.shape[1]], lack[c], generator)
            else:
                part = _smote(near, np.flatnonzero(_in_danger(foreign)), lack[c], random_state)
            fallback += [int(c)] if part is None else []
        if part is None:
            part = _smote(near, np.arange(len(members)), lack[c], random_state)
        assert part is not None
        parts.append(Mixtures(members[part.first], members[part.second], part.step))
    empty = np.zeros(0, dtype=np.int64)
    parts.append(Mixtures(empty, empty, np.zeros(0)))
    return Drawn(Mixtures(*map(np.concatenate, zip(*parts, strict=True))), fallback)


@shared
def nearest(X: Any, k: int) -> Any:
    """(n, k) the nearest other rows of each row of `X` (n, dim) by Euclidean distance, in order."""
    exact = X.astype(float)
    squares = np.einsum("ij,ij->i", exact, exact)
    found = np.empty((len(X), k), dtype=np.int64)
    for start in range(0, len(X), 1024):
        part = exact[start : start + 1024]
        distance = squares - 2 * (part @ exact.T)
        own = np.arange(len(part))
        distance[own, start + own] = np.inf
        few = np.argpartition(distance, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distance, few, axis=1), axis=1, kind="stable")
        found[start : start + 1024] = np.take_along_axis(few, order, axis=1)
    return found


def _foreign(X: Any, index: Any, method: str) -> Any:
    """(n, k) whether each of a row's nearest, of any class, is of another."""
    k = SURROUNDINGS if method == "borderline-smote" else NEIGHBOURS
    return index[nearest(X, min(k, len(X) - 1))] != index[:, None]


def _in_danger(foreign: Any) -> Any:
    count, all_of_them = foreign.sum(axis=1), foreign.shape[1]
    return (count >= all_of_them / 2) & (count < all_of_them)


def _smote(near: Any, bases: Any, n_new: int, random_state: int) -> Mixtures | None:
    """`n_new` mixtures of rows `bases` with their neighbours `near` (n_c, k), numbered in it."""
    if not len(bases):
        return None
    generator = np.random.RandomState(random_state)
    k = near.shape[1]
    drawn = generator.randint(0, len(bases) * k, n_new)
    step = generator.uniform(size=n_new)
    first = bases[drawn // k]
    return Mixtures(first, near[first, drawn % k], step)


def _adasyn(near: Any, foreign: Any, n_new: int, generator: Any) -> Mixtures | None:
    share = foreign.mean(axis=1)
    if not share.any():
        return None
    wanted = np.rint(share / share.sum() * n_new).astype(int)
    if not wanted.sum():
        return None
    first = np.repeat(np.arange(len(near)), wanted)
    column = generator.choice(near.shape[1], size=len(first))
    step = generator.uniform(size=len(first))
    return Mixtures(first, near[first, column], step)
