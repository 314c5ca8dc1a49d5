"""Nearest neighbours by cosine, with everything chosen by leaving one out."""

from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np

from classify.base import Head, State, unit_rows

NEIGHBOURS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100)
TEMPERATURES = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.12)
SIZE_POWERS = (0.0, 0.25, 0.5)
FLOORS = (0.002, 0.01, 0.05, 0.2)


class Choice(NamedTuple):
    """How neighbours vote; see `Knn`."""

    k: int
    temperature: float
    size_power: float
    floor: float


class Knn(Head):
    """k nearest neighbours by inner product of centred unit rows (FAISS).

    A neighbour of cosine s and of a class of n_c rows votes n_c^-a · exp(s / T) for that class.
    The shares of the votes are mixed with a floor, p = (1 - f) · share + f · prior, so that no
    known class ever gets probability 0. k, T, a and f are those with the least leave-one-out
    log-loss on the real training rows: one search answers for all of them. Balancing comes after:
    with "weights" a = 1; added rows (copies, SMOTE) vote too and k grows as the rows do. The prior
    is the smoothed frequency of the classes, or equal where they are balanced.

    Attributes
    ----------
    k_, temperature_, size_power_, floor_ : the choice
    bank_ : (n_rows, dim) float32 unit rows that vote
    bank_index_ : (n_rows,) int64, their class numbers
    vote_ : (C,) float64, n_c^-a
    prior_ : (C,) float64
    """

    name = "knn"

    def _fit(self, rows: Any, index: Any) -> None:
        counts = np.bincount(index)
        prior = (counts + 1) / (counts + 1).sum()
        choice = leave_one_out(rows, index, prior)
        X, y, weights = self._balanced(rows, index)
        self.k_ = max(1, round(choice.k * len(X) / len(rows)))
        self.temperature_, self.floor_ = choice.temperature, choice.floor
        self.size_power_ = choice.size_power if weights is None else 1.0
        self.bank_, self.bank_index_ = np.ascontiguousarray(unit_rows(X), dtype=np.float32), y
        self.vote_ = np.bincount(y) ** -self.size_power_
        self.prior_ = prior if self.balance == "none" else np.full(len(prior), 1 / len(prior))
        self._load()

    def _load(self) -> None:
        self._index = _flat_index(self.bank_)

    def _proba(self, rows: Any) -> Any:
        similarity, neighbour = _search(self._index, rows, self.k_)
        label = self.bank_index_[neighbour]
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


def leave_one_out(rows: Any, index: Any, prior: Any) -> Choice:
    """The choice with the least mean log-loss when each row is voted on by the others.

    `rows` (n, dim) unit rows, `index` (n,) class numbers, `prior` (C,).
    """
    most = min(NEIGHBOURS[-1], len(rows) - 1)
    similarity, neighbour = _others(rows, most)
    counts = np.bincount(index).astype(float)
    hit = index[neighbour] == index[:, None]
    ks = np.array([k for k in NEIGHBOURS if k <= most])
    losses = {}
    for temperature, power in product(TEMPERATURES, SIZE_POWERS):
        votes = _weights(similarity, temperature) * counts[index[neighbour]] ** -power
        share = (np.cumsum(votes * hit, axis=1) / np.cumsum(votes, axis=1))[:, ks - 1]
        for floor in FLOORS:
            p = (1 - floor) * share + floor * prior[index][:, None]
            loss = -np.log(p).mean(axis=0)
            best = loss.argmin()
            losses[Choice(int(ks[best]), temperature, power, floor)] = loss[best]
    return min(losses, key=losses.__getitem__)


def _weights(similarity: Any, temperature: float) -> Any:
    """exp(s / T) for similarities in falling order, relative to the nearest: no overflow."""
    return np.exp((similarity - similarity[:, :1]) / temperature)


def _others(rows: Any, k: int) -> tuple[Any, Any]:
    """Similarities and numbers (n, k) of each row's nearest others, nearest first."""
    similarity, neighbour = _search(_flat_index(rows), rows, k + 1)
    own = neighbour == np.arange(len(rows))[:, None]
    own[~own.any(axis=1), -1] = True  # more than k copies of the row came before itself
    return similarity[~own].reshape(-1, k), neighbour[~own].reshape(-1, k)


def _flat_index(rows: Any) -> Any:
    import faiss

    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(np.ascontiguousarray(rows, dtype=np.float32))
    return index


def _search(index: Any, rows: Any, k: int) -> tuple[Any, Any]:
    similarity, neighbour = index.search(np.ascontiguousarray(rows, dtype=np.float32), k)
    return similarity.astype(np.float64), neighbour
