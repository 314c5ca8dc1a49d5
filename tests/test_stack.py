"""The stack: weights go to who is right, and never see the fold they are used on."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize_scalar

from classify.heads import HEADS, load_head, make_head, save_head
from classify.stack import PRIOR_STRENGTH, Stack, _brier, _logs, crossfit_pool, fit_pool, pool

N, C = 400, 5


def probabilities(skill: float, seed: int, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, C) of a head whose scores favour the true class by `skill`; the classes."""
    y = np.random.default_rng(0).integers(0, C, n)
    scores = np.random.default_rng(seed).normal(size=(n, C)) + skill * np.eye(C)[y]
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), y


def brier(P: np.ndarray, y: np.ndarray) -> float:
    return float(((P - np.eye(C)[y]) ** 2).sum())


def test_a_perfect_head_among_noise_gets_the_weight() -> None:
    y = probabilities(0, 1)[1]
    perfect = np.eye(C)[y] * 0.9 + 0.02
    P = np.stack([probabilities(0, 1)[0], perfect, probabilities(0, 2)[0]])
    weights = fit_pool(P, y)
    assert weights[1] > 5 * max(weights[0], weights[2])
    np.testing.assert_array_equal(pool(P, weights).argmax(axis=1), y)


def test_identical_heads_pool_to_the_head_calibrated() -> None:
    rng = np.random.default_rng(0)
    true = rng.dirichlet(np.ones(C), 4 * N)
    y = np.array([rng.choice(C, p=p) for p in true])
    P = true**3 / (true**3).sum(axis=1, keepdims=True)  # three times too sure
    best = minimize_scalar(lambda w: brier(pool(P[None], [w]), y), bounds=(0.01, 5)).x
    weights = fit_pool(np.stack([P, P, P]), y)
    np.testing.assert_allclose(weights, weights.mean())
    assert weights.sum() == pytest.approx(best, rel=0.02)
    assert best == pytest.approx(1 / 3, rel=0.1)


def test_two_heads_that_err_apart_beat_each_of_them() -> None:
    heads = [probabilities(2, seed) for seed in (1, 2)]
    P, y = np.stack([P for P, _ in heads]), heads[0][1]
    pooled = crossfit_pool(P, y, np.arange(N) % 5)
    accuracy = (pooled.argmax(axis=1) == y).mean()
    assert accuracy > max((p.argmax(axis=1) == y).mean() for p in P) + 0.05


def test_an_overconfident_head_does_not_drag_the_pool_down() -> None:
    good, y = probabilities(3, 1)
    loud = probabilities(1, 2)[0] ** 30
    P = np.stack([good, loud / loud.sum(axis=1, keepdims=True)])
    pooled = crossfit_pool(P, y, np.arange(N) % 5)
    assert brier(pooled, y) <= brier(good, y)
    assert brier(pooled, y) < brier(pool(P, [0.5, 0.5]), y)


def test_a_photo_or_two_leave_the_weights_near_the_plain_mean() -> None:
    P = np.stack([probabilities(skill, skill, n=2)[0] for skill in (3, 0)])
    weights = fit_pool(P, probabilities(0, 0, n=2)[1])
    np.testing.assert_allclose(weights, 0.5, atol=1 / PRIOR_STRENGTH)


@given(fold=st.integers(0, 3), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_crossfit_never_sees_the_labels_of_its_own_fold(fold: int, seed: int) -> None:
    P = np.stack([probabilities(1, 1)[0], probabilities(2, 2)[0]])
    y, folds = probabilities(1, 1)[1], np.arange(N) % 4
    changed = y.copy()
    own = folds == fold
    changed[own] = np.random.default_rng(seed).integers(0, C, own.sum())
    before, after = crossfit_pool(P, y, folds), crossfit_pool(P, changed, folds)
    np.testing.assert_array_equal(before[own], after[own])
    assert not np.array_equal(before[~own], after[~own])


def test_the_gradient_is_the_gradient() -> None:
    P, y = np.stack([probabilities(1, 1)[0], probabilities(2, 2)[0]]), probabilities(1, 1)[1]
    at = np.array([0.4, 0.9])
    numeric = approx_fprime(at, lambda w: _brier(w, _logs(P), y)[0], 1e-6)
    np.testing.assert_allclose(_brier(at, _logs(P), y)[1], numeric, rtol=1e-4)


def test_a_class_that_no_head_could_know_leaves_the_weights_alone() -> None:
    P, y = np.stack([probabilities(1, 1)[0], probabilities(2, 2)[0]]), probabilities(1, 1)[1]
    unknown = y == 0
    P[:, unknown, 0] = 0
    P /= P.sum(axis=2, keepdims=True)
    np.testing.assert_array_equal(fit_pool(P, y), fit_pool(P[:, ~unknown], y[~unknown]))
    assert np.isfinite(pool(P, fit_pool(P, y))).all()


@given(weights=st.lists(st.floats(0, 20), min_size=2, max_size=2))
@settings(max_examples=30, deadline=None)
def test_pooled_rows_sum_to_one(weights: list[float]) -> None:
    P = np.stack([np.eye(C)[[0, 1, 2]], probabilities(1, 1, n=3)[0]])  # zeros too
    pooled = pool(P, np.array(weights))
    np.testing.assert_allclose(pooled.sum(axis=1), 1)
    assert (pooled >= 0).all()


def test_a_saved_stack_predicts_the_same_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 10)
    X = (rng.normal(size=(30, 6)) + 2 * np.eye(6)[np.repeat([0, 1, 2], 10)]).astype(np.float32)
    heads = {name: make_head(name).fit(X, y) for name in HEADS}
    stack = Stack(heads, np.array([0.5, 0.3, 0.4]))
    save_head(stack, tmp_path / "model.npz")
    loaded = load_head(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict_proba(X), stack.predict_proba(X))
    np.testing.assert_array_equal(loaded.classes_, ["a", "b", "c"])
    assert list(loaded.heads) == list(heads)
    P = np.stack([head.predict_proba(X) for head in heads.values()])
    np.testing.assert_array_equal(stack.predict_proba(X), pool(P, stack.weights))
    np.testing.assert_array_equal(stack.predict(X), loaded.predict(X))
