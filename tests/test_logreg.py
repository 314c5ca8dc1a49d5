"""Logistic regression: converged, and the same loss by weights as by copies."""

import numpy as np
import pytest
from conftest import embeddings
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from classify.balance import BALANCES
from classify.base import unit_rows
from classify.logreg import C, LogReg

each_balance = pytest.mark.parametrize("balance", BALANCES)


@each_balance
def test_logreg_has_converged(balance: str) -> None:
    X, y = embeddings((40, 9, 5))
    head = LogReg(balance=balance).fit(X, y)
    index = np.unique(y, return_inverse=True)[1]
    rows, index, weights = head._balanced(unit_rows(X - head.mean_), index)
    error = softmax(rows @ head.coef_.T + head.intercept_, axis=1) - np.eye(3)[index]
    error *= np.ones((len(rows), 1)) if weights is None else weights[:, None]
    share = len(X) / len(rows)  # added rows share the weight of the real ones
    assert np.abs(share * error.T @ rows + head.coef_ / C).max() / len(X) < 1e-6
    assert np.abs(share * error.sum(axis=0)).max() / len(X) < 1e-6


def test_two_classes_are_one_logit() -> None:
    X, y = embeddings((20, 8))
    rows = unit_rows(X - X.mean(axis=0))
    exact = LogisticRegression(C=C, tol=1e-9, max_iter=10_000).fit(rows.astype(float), y)
    P = LogReg().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(P, exact.predict_proba(rows.astype(float)), atol=1e-4)


def test_weights_and_copies_are_the_same_loss() -> None:
    X, y = embeddings((20, 10, 5))
    copies = np.repeat(np.arange(35), [1] * 20 + [2] * 10 + [4] * 5)
    rows = unit_rows(X - X.mean(axis=0))
    weighted = LogReg(balance="weights").fit(X, y)
    copied = LogisticRegression(C=C * 35 / 60, solver="newton-cg", tol=1e-7)
    copied.fit(rows[copies], y[copies])
    np.testing.assert_allclose(weighted.coef_, copied.coef_, atol=1e-3)
