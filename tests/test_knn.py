"""Nearest neighbours: equal to the naive version, and the choice is the best left out."""

import numpy as np
import pytest
from conftest import embeddings

from classify.base import unit_rows
from classify.knn import NEIGHBOURS, Knn, leave_one_out


def naive_votes(head: Knn, X: np.ndarray, rows: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The definition in `Knn`, row by row, with `rows` voting for `y`."""
    classes, counts = np.unique(y, return_counts=True)
    P = []
    for x in unit_rows(X - head.mean_):
        similarity = rows @ x
        nearest = np.argsort(-similarity, kind="stable")[: head.k_]
        votes = np.zeros(len(classes))
        for j in nearest:
            c = np.searchsorted(classes, y[j])
            votes[c] += np.exp(similarity[j] / head.temperature_) * counts[c] ** -head.size_power_
        P.append((1 - head.floor_) * votes / votes.sum() + head.floor_ * head.prior_)
    return np.array(P)


@pytest.mark.parametrize("balance", ["none", "weights"])
def test_knn_equals_the_naive_version(balance: str) -> None:
    X, y = embeddings((30, 12, 7, 5))
    new = embeddings((5, 5, 5, 5), seed=3)[0]
    head = Knn(balance=balance).fit(X, y)
    expected = naive_votes(head, new, unit_rows(X - X.mean(axis=0)), y)
    np.testing.assert_allclose(head.predict_proba(new), expected, rtol=1e-4)


def test_knn_takes_the_choice_that_leaving_one_out_finds_best() -> None:
    X, y = embeddings((14, 9, 4), spread=1.2)
    rows, index = unit_rows(X - X.mean(axis=0)), np.unique(y, return_inverse=True)[1]
    counts = np.bincount(index)
    prior = counts / counts.sum()
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -np.inf)

    def loss(k: int, temperature: float, power: float, floor: float) -> float:
        total = 0.0
        for i in range(len(rows)):
            nearest = np.argsort(-similarity[i])[:k]
            votes = np.exp(similarity[i, nearest] / temperature) / counts[index[nearest]] ** power
            share = votes[index[nearest] == index[i]].sum() / votes.sum()
            total -= np.log((1 - floor) * share + floor * prior[index[i]])
        return total / len(rows)

    chosen = leave_one_out(rows, index, prior)
    others = [chosen._replace(k=k) for k in NEIGHBOURS if k < len(rows)]
    others += [chosen._replace(temperature=t) for t in (0.02, 0.05, 0.12)]
    others += [chosen._replace(size_power=a) for a in (0.0, 0.25, 0.5)]
    others += [chosen._replace(floor=f) for f in (0.002, 0.01, 0.05, 0.2)]
    assert loss(*chosen) <= min(loss(*other) for other in others) + 1e-6
