"""Nearest neighbours in a metric that leaving one out chooses, with everything else."""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np

from classify.base import Head, State
from classify.left_out import Judges, judges
from classify.within import Within

NEIGHBOURS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100)
TEMPERATURES = (0.006, 0.009, 0.012, 0.018, 0.025, 0.035, 0.05, 0.07, 0.1, 0.14)
SIZE_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
FLOORS = (0.002, 0.01, 0.05, 0.2)
RIDGES = (np.inf, 10.0, 3.0, 1.0, 0.3)
CELLS = 8_000_000  # of a table of rows that judge × rows that vote


class Choice(NamedTuple):
    """How neighbours are found and vote; see `Knn`."""

    ridge: float
    k: int
    temperature: float
    size_power: float
    floor: float


class Knn(Head):
    """k nearest neighbours (FAISS) in a metric G that forgets what varies within classes.

    A training row x_i is the nearer to x the larger s = x G x_i / |x_i|_G is, which for G = I is
    the cosine; G is the inverse of the scatter within classes plus a ridge (the global form of
    Hastie & Tibshirani 1996). A neighbour of a class of n_c rows votes n_c^-a · exp(s / T) for
    that class. The shares of the votes are mixed with a floor, p = (1 - f) · share + f · prior, so
    that no known class ever gets probability 0. The ridge, k, T, a and f are those with the least
    leave-one-out log-loss on the real training rows, the metric, too, being the one without the
    row (`classify.within.Within`). Balancing comes after: with "weights" a = 1; added rows
    (copies, SMOTE) vote too and k grows as the rows do. The prior is the smoothed frequency of the
    classes, or equal where they are balanced.

    Attributes
    ----------
    ridge_, k_, temperature_, size_power_, floor_ : the choice; ridge_ = inf is G = I
    bank_ : (n_rows, dim) float32, G x_i / |x_i|_G, up to a common scale; their inner products with
        centred unit rows are s
    bank_index_ : (n_rows,) int64, their class numbers
    vote_ : (C,) float64, n_c^-a
    prior_ : (C,) float64
    """

    name = "knn"

    def _fit(self, rows: Any, index: Any) -> None:
        rows = rows.astype(np.float32)
        within = Within.of(rows, index)
        choice = leave_one_out(within, rows, index)
        X, y, weights = self._balanced(rows, index)
        self.ridge_ = choice.ridge
        self.k_ = max(1, round(choice.k * len(X) / len(rows)))
        self.temperature_, self.floor_ = choice.temperature, choice.floor
        self.size_power_ = choice.size_power if weights is None else 1.0
        self.bank_, self.bank_index_ = _bank(within, rows, X, choice.ridge), y
        self.vote_ = np.bincount(y) ** -self.size_power_
        sizes = within.counts + 1.0
        prior = sizes if self.balance == "none" else np.ones(len(sizes))
        self.prior_ = prior / prior.sum()
        self._load()

    def _load(self) -> None:
        import faiss

        self._index = faiss.IndexFlatIP(self.bank_.shape[1])
        self._index.add(self.bank_)

    def _proba(self, rows: Any) -> Any:
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        similarity, neighbour = self._index.search(rows, self.k_)
        similarity, label = similarity.astype(np.float64), self.bank_index_[neighbour]
        votes = _weights(similarity, self.temperature_) * self.vote_[label]
        cell = label + np.arange(len(rows))[:, None] * len(self.prior_)
        share = np.bincount(cell.ravel(), votes.ravel(), len(rows) * len(self.prior_))
        share = share.reshape(len(rows), -1) / votes.sum(axis=1, keepdims=True)
        return (1 - self.floor_) * share + self.floor_ * self.prior_

    @classmethod
    def from_state(cls, state: State) -> Self:
        head = super().from_state(state)
        head._load()
        return head


def _bank(within: Within, rows: Any, added: Any, ridge: float) -> Any:
    fade, X = within.fade(ridge), added.astype(np.float32)
    unit = _lengths(within.lengths(rows).at(fade).mean())
    length = _lengths(within.lengths(X).at(fade))[:, None]
    return np.ascontiguousarray(within.metric(X, ridge) / (length * unit))


def _lengths(squares: Any) -> Any:
    return np.sqrt(np.maximum(squares, 1e-12))


def leave_one_out(within: Within, rows: Any, index: Any) -> Choice:
    """The choice with the least mean log-loss when each row is voted on by the others.

    `rows` (n, dim) unit rows, `index` (n,) class numbers, `within` their scatter.
    """
    panel = judges(index, CELLS // len(rows), equal=False)
    if not len(panel.rows):  # a row a class
        return Choice(np.inf, 1, TEMPERATURES[-1], 0.0, FLOORS[-1])
    most = min(NEIGHBOURS[-1], len(rows) - 1)
    losses: dict[Choice, float] = {}
    for ridge, similarity in left_out_similarities(within, rows, panel):
        neighbour = np.argpartition(-similarity, most - 1, axis=1)[:, :most]
        near = np.take_along_axis(similarity, neighbour, axis=1).astype(np.float64)
        order = np.argsort(-near, axis=1)
        near, label = (np.take_along_axis(a, order, axis=1) for a in (near, index[neighbour]))
        losses |= _losses(ridge, near, label, panel, within.counts)
    return min(losses, key=losses.__getitem__)


def left_out_similarities(within: Within, rows: Any, panel: Judges) -> Iterator[tuple[float, Any]]:
    """Each ridge, and s (J, n) of the judges to all rows in the metric without the judge.

    A judge is -inf to itself.
    """
    X, (classes, place) = rows[panel.rows], np.unique(panel.index, return_inverse=True)
    centres, own = within.means[classes], (np.arange(len(X)), place)
    to_rows, to_centres = within.products(X, rows), within.products(X, centres)
    between = within.products(centres, rows)
    square, squares, middle = (within.lengths(part) for part in (X, rows, centres))
    for ridge in RIDGES:
        fade = within.fade(ridge)
        similarity, length, self_square = to_rows.at(fade), squares.at(fade), square.at(fade)
        slant = similarity - between.at(fade)[place]  # of x_i less its class's mean
        cross = to_centres.at(fade)[own]
        lever = self_square - cross
        away = lever - cross + middle.at(fade)[place]
        gain = within.gain(away, panel.index, ridge).astype(slant.dtype)
        similarity += (gain * lever)[:, None] * slant
        slant *= slant
        slant *= gain[:, None]
        slant += length
        similarity /= _lengths(slant)
        similarity /= _lengths(length.mean())
        similarity[np.arange(len(X)), panel.rows] = -np.inf
        yield ridge, similarity


def _losses(ridge: float, near: Any, label: Any, panel: Judges, counts: Any) -> dict[Choice, Any]:
    """The best k and its mean log-loss for every temperature, power and floor.

    near, label : (J, most) similarities, the nearest first, and class numbers of the neighbours
    """
    hit = label == panel.index[:, None]
    size = (counts[label] - hit).astype(float)
    truth = counts[panel.index] / (counts.sum() - 1 + len(counts))  # smoothed, without the row
    ks = np.array([k for k in NEIGHBOURS if k <= near.shape[1]])
    losses = {}
    for temperature, power in product(TEMPERATURES, SIZE_POWERS):
        votes = _weights(near, temperature) * size**-power
        share = (np.cumsum(votes * hit, axis=1) / np.cumsum(votes, axis=1))[:, ks - 1]
        for floor in FLOORS:
            loss = -np.log((1 - floor) * share + floor * truth[:, None]).mean(axis=0)
            best = loss.argmin()
            losses[Choice(ridge, int(ks[best]), temperature, power, floor)] = loss[best]
    return losses


def _weights(similarity: Any, temperature: float) -> Any:
    """exp(s / T) for similarities in falling order, relative to the nearest: no overflow."""
    return np.exp((similarity - similarity[:, :1]) / temperature)
