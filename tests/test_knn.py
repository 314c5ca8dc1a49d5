"""Nearest neighbours: equal to the naive version, and the choice is the best left out."""

from itertools import product

import numpy as np
import pytest
from conftest import embeddings

from classify.base import unit_rows
from classify.knn import (
    FLOORS,
    NEIGHBOURS,
    RIDGES,
    SIZE_POWERS,
    TEMPERATURES,
    Choice,
    Knn,
    leave_one_out,
    left_out_similarities,
)
from classify.left_out import judges
from classify.within import Within


def naive_metric(rows: np.ndarray, index: np.ndarray, penalty: float) -> np.ndarray:
    """penalty · (S + penalty · I)^-1, S the scatter of rows about their class's mean."""
    r = rows - np.array([rows[index == c].mean(axis=0) for c in index])
    eye = np.eye(rows.shape[1])
    return eye if penalty == np.inf else np.linalg.inv(r.T @ r / penalty + eye)


def naive_similarity(x: np.ndarray, bank: np.ndarray, G: np.ndarray) -> np.ndarray:
    return x @ G @ bank.T / np.sqrt(np.einsum("ij,jk,ik->i", bank, G, bank))


def naive_share(
    similarity: np.ndarray, label: np.ndarray, counts: np.ndarray, choice: Choice
) -> np.ndarray:
    """Shares of the votes (C,); `counts` (C,) of the rows that vote."""
    votes = np.zeros(len(counts))
    for j in np.argsort(-similarity, kind="stable")[: choice.k]:
        c = label[j]
        votes[c] += np.exp(similarity[j] / choice.temperature) * counts[c] ** -choice.size_power
    return votes / votes.sum()


def centred(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return unit_rows((X - X.mean(axis=0)).astype(float)), np.unique(y, return_inverse=True)[1]


def unit_of(within: Within, rows: np.ndarray, G: np.ndarray) -> float:
    return float(np.sqrt(np.einsum("ij,jk,ik->i", rows, G, rows).mean()))


@pytest.mark.parametrize("balance", ["none", "weights"])
@pytest.mark.parametrize("dim", [8, 80])
def test_knn_equals_the_naive_version(balance: str, dim: int) -> None:
    X, y = embeddings((30, 12, 7, 5), dim=dim, spread=1.2)
    new = embeddings((5, 5, 5, 5), dim=dim, spread=1.2, seed=3)[0]
    head = Knn(balance=balance).fit(X, y)
    rows, index = centred(X, y)
    within = Within.of(rows, index)
    G = naive_metric(rows, index, head.ridge_ * within.mean_value)
    choice = Choice(head.ridge_, head.k_, head.temperature_, head.size_power_, head.floor_)
    unit, counts = unit_of(within, rows, G), np.bincount(index)
    for x, p in zip(unit_rows(new - head.mean_), head.predict_proba(new), strict=True):
        share = naive_share(naive_similarity(x, rows, G) / unit, index, counts, choice)
        expected = (1 - head.floor_) * share + head.floor_ * head.prior_
        np.testing.assert_allclose(p, expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("dim", [5, 60])
def test_left_out_similarities_are_those_of_a_metric_without_the_row(dim: int) -> None:
    rows, index = centred(*embeddings((9, 6, 3, 1), dim=dim, spread=1.0))
    within = Within.of(rows, index)
    panel = judges(index, 1000, equal=False)
    assert set(panel.rows) == set(range(18))  # the only row of a class judges nobody
    for ridge, found in left_out_similarities(within, rows, panel):
        penalty = ridge * within.mean_value
        unit = unit_of(within, rows, naive_metric(rows, index, penalty))
        for i, row in enumerate(panel.rows):
            kept = np.arange(len(rows)) != row
            G = naive_metric(rows[kept], index[kept], penalty)
            expected = naive_similarity(rows[row], rows[kept], G) / unit
            np.testing.assert_allclose(found[i, kept], expected, atol=1e-7)
            assert found[i, row] == -np.inf


def test_knn_takes_the_choice_that_leaving_one_out_finds_best() -> None:
    rows, index = centred(*embeddings((14, 9, 4), spread=1.2))
    within, counts = Within.of(rows, index), np.bincount(index)
    metrics = {
        (ridge, row): naive_metric(
            np.delete(rows, row, axis=0), np.delete(index, row), ridge * within.mean_value
        )
        for ridge, row in product(RIDGES, range(len(rows)))
    }
    units = {
        ridge: unit_of(within, rows, naive_metric(rows, index, ridge * within.mean_value))
        for ridge in RIDGES
    }

    def loss(choice: Choice) -> float:
        total = 0.0
        for i in range(len(rows)):
            kept = np.arange(len(rows)) != i
            left = np.bincount(index[kept])
            similarity = naive_similarity(rows[i], rows[kept], metrics[choice.ridge, i])
            share = naive_share(similarity / units[choice.ridge], index[kept], left, choice)
            prior = (left + 1) / (left + 1).sum()
            p = (1 - choice.floor) * share + choice.floor * prior
            total -= np.log(p[index[i]])
        return total / len(rows)

    chosen = leave_one_out(within, rows, index)
    assert counts.min() > 1
    others = [chosen._replace(k=k) for k in NEIGHBOURS if k < len(rows)]
    others += [chosen._replace(ridge=r) for r in RIDGES]
    others += [chosen._replace(temperature=t) for t in TEMPERATURES]
    others += [chosen._replace(size_power=a) for a in SIZE_POWERS]
    others += [chosen._replace(floor=f) for f in FLOORS]
    assert loss(chosen) <= min(loss(other) for other in others) + 1e-6


def test_the_metric_forgets_what_varies_within_classes() -> None:
    """Two loud directions that say nothing about the class drown the plain cosine."""
    rng = np.random.default_rng(0)
    index = np.repeat(np.arange(8), 15)
    signal = np.eye(8)[index] + 0.15 * rng.normal(size=(120, 8))
    X = np.hstack([signal, 3 * rng.normal(size=(120, 2))])
    half = np.arange(120) % 2 == 0
    head = Knn().fit(X[half], index[half])
    assert head.ridge_ < np.inf
    assert (head.predict(X[~half]) == index[~half]).mean() > 0.9
    rows = unit_rows(X - X[half].mean(axis=0))
    nearest = index[half][(rows[~half] @ rows[half].T).argmax(axis=1)]
    assert (nearest == index[~half]).mean() < 0.8


def test_one_photo_of_each_class() -> None:
    X, y = embeddings((1, 1, 1))
    head = Knn().fit(X, y)
    assert (head.predict(X) == y).all()
    assert (head.predict_proba(X) > 0).all()
