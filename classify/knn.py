"""Nearest neighbours in a metric that leaving one out chooses, with everything else."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np

from classify.base import Head, State
from classify.left_out import Judges, judges
from classify.ranges import whole
from classify.shared_work import shared
from classify.within import Within

NEIGHBOURS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100)
TEMPERATURES = (0.006, 0.009, 0.012, 0.018, 0.025, 0.035, 0.05, 0.07, 0.1, 0.14)
SIZE_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
FLOORS = (0.002, 0.01, 0.05, 0.2)
RIDGES = (np.inf, 10.0, 3.0, 1.0, 0.3)
CELLS = 8_000_000  # of a table of rows that judge × rows that vote
# Where k is given, so many are looked at: one look then serves every k of a sweep.
ROOM = 32  # and four times, 16 times … as many


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

    Parameters
    ----------
    k : how many of the real training rows vote, all where they are fewer; or None to choose it. T,
        a and f are then the best at that k, and the ridge is the one of the least loss over all k
        up to 32 (or 128, 512 … where k is above), so that k is all that fits of other k differ in

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

    def __init__(
        self,
        balance: str = "none",
        random_state: int = 0,
        layout: tuple[int, ...] = (),
        pca: int | None = None,
        k: int | None = None,
    ) -> None:
        super().__init__(balance, random_state, layout, pca)
        self.k = k

    def check(self) -> None:
        super().check()
        whole("k", self.k, optional=True)

    def _fit(self, rows: Any, index: Any) -> None:
        rows = rows.astype(np.float32, copy=False)
        within = Within.of(rows, index)
        if self.k is None:
            choice = leave_one_out(within, rows, index)
        else:
            choice = leave_one_out_at(self.k, within, rows, index)
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
        self._flat = Flat(self.bank_)

    def _proba(self, rows: Any) -> Any:
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        most = self.k_ if self.k is None else min(_room(self.k_), len(self.bank_))
        similarity, neighbour = (found[:, : self.k_] for found in nearest(self._flat, rows, most))
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


@dataclass(frozen=True)
class Flat:
    """Rows that FAISS searches through."""

    bank: Any
    """(n, dim) float32"""

    @cached_property
    def index(self) -> Any:
        import faiss

        index = faiss.IndexFlatIP(self.bank.shape[1])
        index.add(self.bank)
        return index


@shared
def nearest(flat: Flat, rows: Any, k: int) -> tuple[Any, Any]:
    """Inner products (n, k) of `rows` (n, dim) with the nearest of the bank, and their numbers."""
    similarity, neighbour = flat.index.search(rows, k)
    return similarity, neighbour


def _room(k: int) -> int:
    """How many are looked at where `k` of them are wanted."""
    room = ROOM
    while room < k:
        room *= 4
    return room


@shared
def _bank(within: Within, rows: Any, added: Any, ridge: float) -> Any:
    fade, X = within.fade(ridge), added.astype(np.float32)
    unit = _lengths(within.lengths(rows).at(fade).mean())
    length = _lengths(within.lengths(X).at(fade))[:, None]
    return np.ascontiguousarray(within.metric(X, ridge) / (length * unit))


def _lengths(squares: Any) -> Any:
    return np.sqrt(np.maximum(squares, 1e-12))


@shared
def leave_one_out(within: Within, rows: Any, index: Any) -> Choice:
    """The choice with the least mean log-loss when each row is voted on by the others.

    `rows` (n, dim) unit rows, `index` (n,) class numbers, `within` their scatter.
    """
    panel = judges(index, CELLS // len(rows), equal=False)
    if not len(panel.rows):  # a row a class
        return Choice(np.inf, 1, TEMPERATURES[-1], 0.0, FLOORS[-1])
    ks = tuple(k for k in NEIGHBOURS if k < len(rows))
    losses = left_out_losses(within, rows, index, panel, ks)
    *place, k = np.unravel_index(losses.argmin(), losses.shape)
    return _choice(place, ks[k])


def leave_one_out_at(k: int, within: Within, rows: Any, index: Any) -> Choice:
    """The same for `k` votes, or all where they are fewer, in the best metric for all like k."""
    panel = judges(index, CELLS // len(rows), equal=False)
    if not len(panel.rows):
        return Choice(np.inf, min(k, len(rows)), TEMPERATURES[-1], 0.0, FLOORS[-1])
    others = len(rows) - 1
    losses = left_out_losses(within, rows, index, panel, tuple(range(1, min(_room(k), others) + 1)))
    ridge = losses.min(axis=(1, 2, 3, 4)).argmin()
    at = losses[ridge, ..., min(k, others) - 1]
    return _choice((ridge, *np.unravel_index(at.argmin(), at.shape)), min(k, len(rows)))


def _choice(place: Any, k: int) -> Choice:
    """By its place in the tables of ridges, temperatures, powers and floors."""
    ridge, temperature, power, floor = place
    return Choice(RIDGES[ridge], k, TEMPERATURES[temperature], SIZE_POWERS[power], FLOORS[floor])


@shared
def left_out_losses(
    within: Within, rows: Any, index: Any, panel: Judges, ks: tuple[int, ...]
) -> Any:
    """Mean log-losses of the judges for every ridge, temperature, power, floor and k of `ks`."""
    most = min(max(ks[-1], NEIGHBOURS[-1]), len(rows) - 1)
    seen = left_out_neighbours(within, rows, index, panel, most)
    return np.stack([_losses(near, label, panel, within.counts, ks) for near, label in seen])


@shared
def left_out_neighbours(
    within: Within, rows: Any, index: Any, panel: Judges, most: int
) -> list[tuple[Any, Any]]:
    """For each ridge (J, most) similarities, the nearest first, and the neighbours' classes."""
    found = []
    for _, similarity in left_out_similarities(within, rows, panel):
        neighbour = np.argpartition(-similarity, most - 1, axis=1)[:, :most]
        near = np.take_along_axis(similarity, neighbour, axis=1).astype(np.float64)
        order = np.argsort(-near, axis=1)
        near, label = (np.take_along_axis(a, order, axis=1) for a in (near, index[neighbour]))
        found.append((near, label))
    return found


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


def _losses(near: Any, label: Any, panel: Judges, counts: Any, ks: tuple[int, ...]) -> Any:
    """Mean log-losses for every temperature, power, floor and k.

    near, label : (J, most) similarities, the nearest first, and class numbers of the neighbours
    """
    near, label = near[:, : ks[-1]], label[:, : ks[-1]]
    hit = label == panel.index[:, None]
    size = (counts[label] - hit).astype(float)
    truth = counts[panel.index] / (counts.sum() - 1 + len(counts))  # smoothed, without the row
    columns = np.array(ks) - 1
    by_size = [size**-power for power in SIZE_POWERS]
    losses = np.empty((len(TEMPERATURES), len(SIZE_POWERS), len(FLOORS), len(ks)))
    for t, temperature in enumerate(TEMPERATURES):
        weights = _weights(near, temperature)
        for p, weight in enumerate(by_size):
            votes = weights * weight
            share = (np.cumsum(votes * hit, axis=1) / np.cumsum(votes, axis=1))[:, columns]
            for f, floor in enumerate(FLOORS):
                each = -np.log((1 - floor) * share + floor * truth[:, None])
                losses[t, p, f] = each.mean(axis=0)
    return losses


def _weights(similarity: Any, temperature: float) -> Any:
    """exp(s / T) for similarities in falling order, relative to the nearest: no overflow."""
    return np.exp((similarity - similarity[:, :1]) / temperature)
