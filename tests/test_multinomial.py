"""The solver: exact gradients, scikit-learn's minimum, mixtures as if they were rows."""

from typing import Any

import numpy as np
import pytest
from conftest import embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from classify import multinomial
from classify.multinomial import Multinomial, Solution, principal_axes
from classify.smote import draw

SIZES = (40, 9, 5)
EXACT = 1e-13  # nats from the minimum


def photos(sizes: tuple[int, ...] = SIZES, dim: int = 6, dtype: type = np.float64) -> Any:
    X, y = embeddings(sizes, dim=dim, spread=1.0)
    return X.astype(dtype), np.unique(y, return_inverse=True)[1]


def problem(gamma: float, weighted: bool, mixed: bool, dtype: type = np.float64) -> Multinomial:
    X, index = photos(dtype=dtype)
    weights = np.random.default_rng(0).uniform(0.2, 3, len(X)) if weighted else None
    mixtures = draw("smote", X, index, 0).mixtures.matrix(len(X)) if mixed else None
    return Multinomial(X, index, 3, weights, mixtures, gamma)


def some(shape: tuple[int, int] = (3, 6)) -> Solution:
    rng = np.random.default_rng(1)
    return Solution(2 * rng.normal(size=shape), rng.normal(size=shape[0]), np.nan)


each_problem = pytest.mark.parametrize(
    ("gamma", "weighted", "mixed"),
    [(g, w, m) for g in (0.0, 1.0, 2.0) for w in (False, True) for m in (False, True)],
)


@each_problem
def test_gradient_equals_finite_differences(gamma: float, weighted: bool, mixed: bool) -> None:
    p = problem(gamma, weighted, mixed)
    at = some()

    def value(flat: Any) -> float:
        theta = flat.reshape(3, 7)
        return p.loss(Solution(theta[:, :-1], theta[:, -1], np.nan), 10)[0]

    theta = np.column_stack([at.coef, at.intercept])
    numeric = approx_fprime(theta.ravel(), value, 1e-7).reshape(3, 7)
    np.testing.assert_allclose(p.loss(at, 10)[1], numeric, atol=1e-6)


@each_problem
def test_the_loss_is_the_formula(gamma: float, weighted: bool, mixed: bool) -> None:
    X, index = photos()
    at, C = some(), 10
    weights = np.random.default_rng(0).uniform(0.2, 3, len(X)) if weighted else np.ones(len(X))
    if mixed:
        new = draw("smote", X, index, 0).mixtures
        X, index = np.concatenate([X, new.rows(X)]), np.concatenate([index, index[new.first]])
        weights = np.concatenate([weights, np.ones(len(new.step))])
    log_p = log_softmax(X @ at.coef.T + at.intercept, axis=1)[np.arange(len(X)), index]
    loss = weights @ (-((1 - np.exp(log_p)) ** gamma) * log_p) / weights.sum()
    expected = loss + (at.coef**2).sum() / (2 * C * sum(SIZES))
    found = problem(gamma, weighted, mixed).loss(at, C)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@each_problem
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_vanishes_at_the_solution(
    gamma: float, weighted: bool, mixed: bool, dtype: type
) -> None:
    found = problem(gamma, weighted, mixed, dtype).fit(100)
    gradient = problem(gamma, weighted, mixed).loss(found, 100)[1]
    assert (gradient**2).sum() * 100 * sum(SIZES) / 2 < 1.5e-6
    assert found.gap < 1e-6
    assert np.abs(gradient).max() < 3e-5


@pytest.mark.parametrize("C", [1, 100])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_minimum_is_scikit_learns(C: float, weighted: bool) -> None:
    X, index = photos()
    weights = np.random.default_rng(0).uniform(0.2, 3, len(X)) if weighted else np.ones(len(X))
    exact = LogisticRegression(C=C * len(X) / weights.sum(), tol=1e-12, solver="newton-cg")
    exact.fit(X, index, weights)
    found = Multinomial(X, index, 3, weights).fit(C, tolerance=EXACT)
    np.testing.assert_allclose(found.coef, exact.coef_, atol=1e-5)
    np.testing.assert_allclose(np.diff(found.intercept), np.diff(exact.intercept_), atol=1e-5)


@pytest.mark.parametrize("method", ["smote", "borderline-smote", "adasyn"])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_mixtures_are_as_if_they_were_rows(method: str, gamma: float) -> None:
    X, index = photos((40, 9, 5, 2))
    new = draw(method, X, index, 3).mixtures
    implicit = Multinomial(X, index, 4, None, new.matrix(len(X)), gamma).fit(10, tolerance=EXACT)
    rows = np.concatenate([X, new.rows(X)])
    labels = np.concatenate([index, index[new.first]])
    # the penalty is that of the real rows
    explicit = Multinomial(rows, labels, 4, None, None, gamma)
    explicit = explicit.fit(10 * len(X) / len(rows), tolerance=EXACT)
    np.testing.assert_allclose(implicit.coef, explicit.coef, atol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_the_start_does_not_change_the_solution(gamma: float) -> None:
    p = problem(gamma, False, True)
    cold = p.fit(30, tolerance=EXACT)
    warm = p.fit(30, p.fit(3), tolerance=EXACT)
    far = p.fit(30, some(), tolerance=EXACT)
    np.testing.assert_allclose(warm.coef, cold.coef, atol=1e-5)
    np.testing.assert_allclose(far.coef, cold.coef, atol=1e-5)


def test_the_gap_bounds_the_distance_to_the_minimum() -> None:
    p = problem(0.0, False, False)
    least = p.loss(p.fit(100, tolerance=EXACT), 100)[0]
    for tolerance in (1e-1, 1e-2, 1e-4):
        rough = p.fit(100, tolerance=tolerance)
        assert rough.gap <= tolerance
        assert -1e-12 <= p.loss(rough, 100)[0] - least <= rough.gap


@pytest.mark.parametrize("mixed", [False, True])
def test_blocks_do_not_change_the_loss(mixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    one = problem(0.0, True, mixed).loss(some(), 10)
    monkeypatch.setattr(multinomial, "ROWS", 1)
    monkeypatch.setattr(multinomial, "ENTRIES", 3)
    many = problem(0.0, True, mixed)
    assert len(many._blocks) == 3
    for a, b in zip(one, many.loss(some(), 10), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_rows_of_weight_0_are_left_out() -> None:
    X, index = photos()
    weights = np.where(np.arange(len(X)) % 3 > 0, 1.0, 0.0)
    kept = weights > 0
    part = Multinomial(X[kept], index[kept], 3).fit(10 * len(X) / kept.sum(), tolerance=EXACT)
    found = Multinomial(X, index, 3, weights).fit(10, tolerance=EXACT)
    np.testing.assert_allclose(found.coef, part.coef, atol=1e-5)


def test_huge_logits_are_no_trouble() -> None:
    for dtype in (np.float32, np.float64):
        X, index = photos(dtype=dtype)
        for gamma in (0.0, 2.0):
            start = Solution(1e4 * some().coef, some().intercept, np.nan)
            loss, gradient = Multinomial(X, index, 3, gamma=gamma).loss(start, 10)
            assert np.isfinite(loss)
            assert np.isfinite(gradient).all()


@given(n=st.integers(2, 30), dim=st.integers(1, 30), seed=st.integers(0, 99))
@settings(deadline=None)
def test_principal_axes_keep_every_angle(n: int, dim: int, seed: int) -> None:
    X = np.random.default_rng(seed).normal(size=(n, dim))
    X[n // 2] = X[0]  # not of full rank
    axes = principal_axes(X)
    assert axes.shape[1] <= min(n, dim)
    np.testing.assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-6)
    np.testing.assert_allclose((X @ axes) @ (X @ axes).T, X @ X.T, atol=1e-8)
    moments = (X @ axes).T @ (X @ axes)
    np.testing.assert_allclose(moments, np.diag(np.diag(moments)), atol=1e-8)


@pytest.mark.parametrize("dim", [4, 100])
def test_the_minimum_lies_in_the_span_of_the_rows(dim: int) -> None:
    X, index = photos(dim=dim)
    axes = principal_axes(X)
    inside = Multinomial(X @ axes, index, 3).fit(100, tolerance=EXACT)
    direct = Multinomial(X, index, 3).fit(100, tolerance=EXACT)
    np.testing.assert_allclose(inside.coef @ axes.T, direct.coef, atol=1e-4)
