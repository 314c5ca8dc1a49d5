"""Linear discriminant analysis whose shrinkage and sureness are chosen by leaving one out."""

from typing import Any, NamedTuple, Self

import numpy as np
from scipy.special import softmax

from classify.base import Head
from classify.left_out import fit_factors, judges
from classify.ranges import above
from classify.shared_work import shared
from classify.within import Products, Within, left_out_share

RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
# To begin with, and where nobody judges, as every class has one row: G is then I, and log-odds are
# the cosines times this.
FACTOR = 10.0
CELLS = 1_000_000  # of a table rows × classes


class Lda(Head):
    """Gaussian classes of one covariance, shrunk towards a multiple of the identity.

    A class's log-odds are -f/2 · (d_c - t / n_c) + a · log n_c, linear in x. d_c is the squared
    distance (x - m_c)ᵀ G (x - m_c), G the inverse of the shrunk scatter within classes; t is the
    mean of d_c to the true centre of a row's own class, so t / n_c is by how much d_c is too
    large because the mean m_c of n_c rows is uncertain (Moran & Murphy 1979).

    Taken at its word, f and a as of Gaussian classes, the method is far too sure where dimensions
    are many. So f, a >= 0 and the shrinkage are those of the least leave-one-out log-loss: the
    distances of each training row without the row follow exactly from the fit on all of them
    (`classify.within.Within`). They are found on the real rows; rows that balancing adds count
    in the means and the scatter. With any `balance` every class weighs the same and a = 0.

    Parameters
    ----------
    ridge : what is added to the eigenvalues of the scatter, as a multiple of their mean, or None
        to choose it; the shrinkage is ridge / (1 + ridge)

    Attributes
    ----------
    coef_ : (C, dim) and intercept_ : (C,), float64; softmax(rows @ coef_.T + intercept_)
    shrinkage_ : float, of the covariance S / n towards its mean eigenvalue
    sharpness_ : float, of the log-odds relative to those of Gaussian classes
    """

    name = "lda"

    def __init__(
        self,
        balance: str = "none",
        random_state: int = 0,
        layout: tuple[int, ...] = (),
        pca: int | None = None,
        ridge: float | None = None,
    ) -> None:
        super().__init__(balance, random_state, layout, pca)
        self.ridge = ridge

    def check(self) -> None:
        super().check()
        above("ridge", self.ridge, optional=True)

    def _fit(self, rows: Any, index: Any) -> None:
        within, equal = Within.of(rows, index), self.balance != "none"
        ridges = RIDGES if self.ridge is None else (float(self.ridge),)
        choice = choose(within, rows, index, equal, ridges)
        self.shrinkage_ = choice.ridge / (1 + choice.ridge)
        self.sharpness_ = choice.factor / _gaussian(within, choice.ridge, len(rows))
        sizes, factor = within.counts, choice.factor
        X, y, _ = self._balanced(rows, index)
        if len(X) != len(rows):
            within = Within.of(X, y)
            sizes = np.minimum(sizes, within.counts)  # copies make a mean no better
            factor = self.sharpness_ * _gaussian(within, choice.ridge, len(X))
        means = within.means.astype(np.float64)
        towards = within.metric(means, choice.ridge)
        self.coef_ = factor * towards
        self.intercept_ = -factor / 2 * (means * towards).sum(axis=1)
        self.intercept_ += choice.factor / 2 * choice.noise / sizes
        self.intercept_ += choice.share * np.log(within.counts)

    def _proba(self, rows: Any) -> Any:
        return softmax(rows @ self.coef_.T + self.intercept_, axis=1)


def _gaussian(within: Within, ridge: float, n: int) -> float:
    """What G is to be multiplied by to be the inverse of the shrunk covariance of `n` rows."""
    return n * (1 + ridge) / (ridge * within.mean_value)


class Choice(NamedTuple):
    """See `Lda`."""

    ridge: float
    factor: float
    share: float
    """a"""
    noise: float
    """t, for G as `Within` scales it"""


@shared
def choose(
    within: Within, rows: Any, index: Any, equal: bool, ridges: tuple[float, ...] = RIDGES
) -> Choice:
    """The choice with the least leave-one-out log-loss; see `Lda`."""
    counts = within.counts
    panel = judges(index, CELLS // len(counts), equal)
    sizes = [] if equal else [panel.each(np.log(counts))]
    factors: Any = (FACTOR, 0.0)[: 1 + len(sizes)]
    usual = 1.0 if len(ridges) > 1 else ridges[0]
    best, choice = np.inf, Choice(usual, FACTOR, 0.0, 0.0)
    if not len(panel.rows):
        return choice
    left_out = LeftOut.of(within, rows[panel.rows], panel.index)
    for ridge in ridges:
        distance, noise = left_out.distances(ridge)
        factors, loss = fit_factors([-distance / 2, *sizes], panel, factors)
        if loss < best:
            share = 0.0 if equal else float(factors[1])
            best, choice = loss, Choice(ridge, float(factors[0]), share, noise)
    return choice


class LeftOut(NamedTuple):
    """Training rows X of classes `index` (J,), as fits without them see them.

    Every one has others of its class.
    """

    within: Within
    index: Any
    square: Products
    """of X"""
    cross: Products
    """of X and the class means"""
    between: Products
    """of the class means"""

    @classmethod
    @shared
    def of(cls, within: Within, X: Any, index: Any) -> Self:
        """X : (J, dim)"""
        X, means = X.astype(np.float64), within.means.astype(np.float64)
        square, cross = within.lengths(X), within.products(X, means)
        return cls(within, index, square, cross, within.products(means, means))

    @shared
    def distances(self, ridge: float) -> tuple[Any, float]:
        """d_c - t / n_c (J, C) and t in the metric; means, scatter and n_c lack the row."""
        raw, n = self.raw_distances(ridge), self.within.counts
        own = np.arange(len(raw)), self.index
        noise = float((raw[own] / left_out_share(n, self.index)).mean())
        raw -= noise / n
        raw[own] -= noise / (n[self.index] - 1) - noise / n[self.index]
        return raw, noise

    def raw_distances(self, ridge: float) -> Any:
        """d_c (J, C)."""
        own, fade = (np.arange(len(self.index)), self.index), self.within.fade(ridge)
        square, cross, between = (part.at(fade) for part in self[2:])
        distance = square[:, None] - 2 * cross + np.diag(between)
        near = distance[own]
        slant = (square - cross[own])[:, None] - cross + between[self.index]
        gain = self.within.gain(near, self.index, ridge)
        distance += gain[:, None] * slant**2
        share = left_out_share(self.within.counts, self.index)
        distance[own] = share**2 * (near + gain * near**2)
        return distance
