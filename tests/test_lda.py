"""LDA: scikit-learn's at the same shrinkage, exact without a row, and no surer than right."""

import numpy as np
import pytest
from conftest import embeddings
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import log_loss
from test_knn import centred, naive_metric

from classify.lda import RIDGES, Lda, LeftOut, choose
from classify.within import Within

both_sides = pytest.mark.parametrize("dim", [5, 60])


@both_sides
@pytest.mark.parametrize("balance", ["none", "weights"])
def test_lda_is_that_of_scikit_learn_up_to_its_sharpness(dim: int, balance: str) -> None:
    X, y = embeddings((20, 12, 8, 3), dim=dim, spread=1.0)
    X = X.astype(float)
    head = Lda(balance=balance).fit(X, y)
    rows, index = centred(X, y)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=head.shrinkage_).fit(rows, index)
    np.testing.assert_allclose(head.coef_, head.sharpness_ * theirs.coef_, rtol=1e-6, atol=1e-9)
    counts = np.bincount(index)
    rest = head.intercept_ - head.sharpness_ * (theirs.intercept_ - np.log(counts / counts.sum()))
    sizes = [np.ones(4), 1 / counts] + [np.log(counts)] * (balance == "none")
    known = np.stack(sizes, axis=1)  # nothing but class sizes makes the difference
    factors = np.linalg.lstsq(known, rest)[0]
    np.testing.assert_allclose(known @ factors, rest, atol=1e-8)
    assert factors[1] > 0


@both_sides
def test_left_out_distances_are_those_of_a_fit_without_the_row(dim: int) -> None:
    rows, index = centred(*embeddings((9, 6, 4, 2, 1), dim=dim, spread=1.0))
    within, several = Within.of(rows, index), np.flatnonzero(index < 4)
    left_out = LeftOut.of(within, rows[several], index[several])
    for ridge in RIDGES:
        found, noise = left_out.distances(ridge)
        own = []
        for i, corrected in zip(several, found, strict=True):
            kept = np.arange(len(rows)) != i
            counts = np.bincount(index[kept])
            G = naive_metric(rows[kept], index[kept], ridge * within.mean_value)
            away = rows[i] - [rows[kept & (index == c)].mean(axis=0) for c in range(5)]
            distance = np.einsum("cj,jk,ck->c", away, G, away)
            np.testing.assert_allclose(corrected, distance - noise / counts, rtol=1e-6, atol=1e-8)
            own.append(distance[index[i]] * counts[index[i]] / (counts[index[i]] + 1))
        np.testing.assert_allclose(noise, np.mean(own))


def test_the_choice_is_the_best_left_out() -> None:
    rows, index = centred(*embeddings((9, 6, 4), dim=30, spread=1.5))
    within = Within.of(rows, index)
    left_out, counts = LeftOut.of(within, rows, index), np.bincount(index)

    def loss(ridge: float, factor: float, share: float) -> float:
        log_odds = -factor / 2 * left_out.distances(ridge)[0] + share * np.log(counts)
        P = softmax(log_odds, axis=1)
        wanted = np.eye(3)[index] * len(index) / (len(index) + 1) + 1 / 3 / (len(index) + 1)
        return -(wanted * np.log(P)).sum(axis=1).mean()

    ridge, factor, share, noise = choose(within, rows, index, equal=False)
    assert noise == left_out.distances(ridge)[1]
    best = loss(ridge, factor, share)
    for step in (0.8, 1.25):
        assert best < loss(ridge, factor * step, share)
    assert all(best <= loss(r, factor, share) + 1e-9 for r in RIDGES)
    assert best <= loss(ridge, factor, share + 0.1)


def test_it_is_not_surer_than_it_is_right_in_many_dimensions() -> None:
    X, y = embeddings((10,) * 6, dim=300, spread=4.0)
    new, truth = embeddings((60,) * 6, dim=300, spread=4.0, seed=1)
    head = Lda().fit(X, y)
    gaussian = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=head.shrinkage_).fit(X, y)
    honest = log_loss(truth, head.predict_proba(new))
    assert honest < log_loss(truth, gaussian.predict_proba(new)) - 0.1
    assert honest < np.log(6)
    sure, right = head.predict_proba(new).max(axis=1).mean(), (head.predict(new) == truth).mean()
    assert abs(sure - right) < 0.1


def test_a_class_is_not_further_away_because_it_has_few_photos() -> None:
    """Equally far in truth, 60 photos against 3: new photos of both are right as often."""
    sizes, dim = (60,) * 5 + (3,) * 5, 60
    X, y = embeddings(sizes, dim=dim, spread=2.0)
    new, truth = embeddings((80,) * 10, dim=dim, spread=2.0, seed=5)
    rare = np.isin(
        truth, np.unique(y, return_counts=True)[0][np.unique(y, return_counts=True)[1] == 3]
    )
    head = Lda().fit(X, y)
    plain = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage=head.shrinkage_, priors=np.full(10, 0.1)
    ).fit(X, y)
    right = (head.predict(new) == truth)[rare].mean()
    assert right > (plain.predict(new) == truth)[rare].mean() + 0.1


def test_one_photo_of_each_class() -> None:
    X, y = embeddings((1, 1, 1))
    head = Lda().fit(X, y)
    assert (head.predict(X) == y).all()
    assert (head.predict_proba(X) > 0).all()
