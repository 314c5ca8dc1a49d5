"""Centroids: the nearest one wins, and the sureness is the best left out."""

import numpy as np
import pytest
from conftest import embeddings
from scipy.special import softmax
from test_knn import centred

from classify.base import unit_rows
from classify.centroid import Centroid, left_out_cosines
from classify.within import class_sums


def test_the_nearest_centroid_wins() -> None:
    X, y = embeddings((20, 12, 8, 3), spread=1.0)
    new = embeddings((9, 9, 9, 9), spread=1.0, seed=1)[0]
    head = Centroid(balance="weights").fit(X, y)
    rows, index = centred(X, y)
    centroids = unit_rows(np.array([rows[index == c].mean(axis=0) for c in range(4)]))
    cosines = unit_rows(new - X.mean(axis=0)) @ centroids.T
    P = softmax(cosines / head.temperature_, axis=1)
    np.testing.assert_allclose(head.predict_proba(new), P, rtol=1e-4)


def test_left_out_cosines_are_those_of_centroids_without_the_row() -> None:
    rows, index = centred(*embeddings((9, 6, 2), spread=1.0))
    found = left_out_cosines(rows, class_sums(rows, index), index)
    for i in range(len(rows)):
        kept = np.arange(len(rows)) != i
        means = np.array([rows[kept & (index == c)].mean(axis=0) for c in range(3)])
        np.testing.assert_allclose(found[i], rows[i] @ unit_rows(means).T)


@pytest.mark.parametrize("balance", ["none", "weights"])
def test_the_temperature_is_the_best_left_out(balance: str) -> None:
    X, y = embeddings((40, 10, 5), spread=2.0)
    head = Centroid(balance=balance).fit(X.astype(float), y)
    rows, index = centred(X, y)
    cosines = left_out_cosines(rows, class_sums(rows, index), index)
    weights = np.ones(len(y)) if balance == "none" else 1 / np.bincount(index)[index]
    wanted = np.eye(3)[index] * len(y) / (len(y) + 1) + 1 / 3 / (len(y) + 1)

    def loss(step: float) -> float:
        P = softmax(cosines / (head.temperature_ * step) + head.intercept_, axis=1)
        return -(weights @ (wanted * np.log(P)).sum(axis=1))

    assert loss(1) < min(loss(0.8), loss(1.25))
    assert (head.intercept_ == 0).all() == (balance == "weights")


def test_one_photo_of_each_class() -> None:
    X, y = embeddings((1, 1, 1))
    assert (Centroid().fit(X, y).predict(X) == y).all()
