"""LightGBM on columns: starts from honest log-odds and mends what they cannot."""

import numpy as np
import pytest
from conftest import embeddings
from scipy.special import softmax
from sklearn.linear_model import Ridge

from classify.base import unit_rows
from classify.lgbm_columns import LgbmColumns
from classify.ridge import PENALTIES, fit_ridge


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("dim", [5, 60])
def test_ridge_log_odds_are_those_of_a_fit_without_the_row(dim: int, balanced: bool) -> None:
    X, y = embeddings((12, 8, 3, 1), dim=dim, spread=1.0)
    X, index = X.astype(float), np.unique(y, return_inverse=True)[1]
    ridge = fit_ridge(X, index, 4, 3, balanced)
    target = np.eye(4)[index] - np.eye(4)[index].mean(axis=0)
    frequency = np.zeros(4) if balanced else np.log(np.bincount(index))

    def log_odds(penalty: float, kept: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return Ridge(penalty).fit(X[kept], target[kept]).predict(rows)

    everyone, found = np.ones(len(X), dtype=bool), (X @ ridge.coef + ridge.intercept).ravel()
    for penalty in PENALTIES:  # f and a follow from the fit on all rows
        scores = log_odds(penalty, everyone, X).ravel()
        known = np.stack([scores, np.tile(frequency, len(X))], axis=1)
        factors = np.linalg.lstsq(known, found)[0]
        if np.allclose(known @ factors, found, atol=1e-8):
            break
    else:
        pytest.fail("the log-odds are those of no ridge regression")
    for i in range(len(X)):
        alone = log_odds(penalty, np.arange(len(X)) != i, X[[i]])[0]
        np.testing.assert_allclose(
            ridge.held_out[i], factors[0] * alone + factors[1] * frequency, atol=1e-6
        )


def test_the_ridge_neither_shouts_nor_forgets_how_common_a_class_is() -> None:
    X, y = embeddings((3, 2, 2), spread=0.01)  # separable: the best factor has no bound
    apart = fit_ridge(X, np.unique(y, return_inverse=True)[1], 3, 3, balanced=False)
    assert 0.5 < softmax(apart.held_out, axis=1).max() < 0.999
    rng = np.random.default_rng(0)
    noise, index = unit_rows(rng.normal(size=(200, 4))), np.repeat([0, 1], [180, 20])
    alike = fit_ridge(noise, index, 2, 3, balanced=False)
    np.testing.assert_allclose(softmax(alike.held_out, axis=1)[:, 1], 0.1, atol=0.05)


def test_the_trees_mend_what_the_ridge_cannot() -> None:
    rng = np.random.default_rng(0)
    X, new = (unit_rows(rng.normal(size=(n, 6)).astype(np.float32)) for n in (900, 500))
    y, truth = ((rows[:, 0] * rows[:, 1] > 0).astype(int) for rows in (X, new))
    head = LgbmColumns().fit(X, y)
    linear = unit_rows(new - head.mean_) @ head.coef_ + head.intercept_
    assert (linear.argmax(axis=1) == truth).mean() < 0.6
    assert (head.predict(new) == truth).mean() > 0.8
