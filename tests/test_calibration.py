"""Temperatures undo too much and too little confidence; a handful of photos moves them little."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classify.calibration import SMALLEST, log_normalised, log_probabilities, temperature


def drawn(n: int, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logs (n, C) of true probabilities, and classes drawn by them."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.full(n_classes, 0.5), n)
    y = (rng.random((n, 1)) > P.cumsum(axis=1)).sum(axis=1).clip(max=n_classes - 1)
    return log_probabilities(P), y


def log_loss(logs: np.ndarray, y: np.ndarray, t: float) -> float:
    return float(-log_normalised(logs / t)[np.arange(len(y)), y].mean())


@pytest.mark.parametrize("confidence", [0.3, 1, 4, 12])
def test_the_temperature_undoes_the_confidence(confidence: float) -> None:
    logs, y = drawn(4000, 5)
    assert temperature(confidence * logs, y) == pytest.approx(confidence, rel=0.1)


def test_no_other_temperature_is_better() -> None:
    logs, y = drawn(3000, 8)
    best = log_loss(logs, y, temperature(logs, y))
    assert best <= min(log_loss(logs, y, t) for t in np.geomspace(0.2, 5, 41)) + 1e-4


def test_a_head_of_zeros_and_ones_learns_its_error_rate() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 1000)
    said = np.where(rng.random(1000) < 0.7, y, rng.integers(0, 10, 1000))
    logs = log_probabilities(np.eye(10)[said])
    sure = np.exp(log_normalised(logs / temperature(logs, y))).max(axis=1)
    np.testing.assert_allclose(sure, (said == y).mean(), atol=0.01)


def test_three_right_photos_make_no_head_certain() -> None:
    logs, y = np.log(np.full((3, 2), [0.8, 0.2], dtype=np.float32)), np.zeros(3, dtype=int)
    assert 0.4 < temperature(logs, y) < 1
    assert temperature(np.tile(logs, (200, 1)), np.zeros(600, dtype=int)) < 0.3


def test_without_a_photo_the_temperature_is_one() -> None:
    assert temperature(np.zeros((0, 4), np.float32), np.zeros(0, int)) == 1


def test_a_column_may_stand_for_several_equal_classes() -> None:
    logs, y = drawn(500, 4)
    full = np.hstack([logs, np.repeat(logs[:, :1] - 2, 7, axis=1)])
    short, count = full[:, :5], np.array([1, 1, 1, 1, 7], np.float32)
    assert temperature(short, y, count) == pytest.approx(temperature(full, y), rel=1e-4)
    np.testing.assert_allclose(log_normalised(short, count), log_normalised(full)[:, :5], atol=1e-5)


@given(arrays(np.float32, (3, 4), elements=st.floats(-1e4, 1e4, width=32)))
@settings(max_examples=50, deadline=None)
def test_normalised_rows_sum_to_one(scores: np.ndarray) -> None:
    np.testing.assert_allclose(np.exp(log_normalised(scores)).sum(axis=1), 1, rtol=1e-5)


@given(arrays(np.float64, (6, 3), elements=st.sampled_from([0.0, 1e-30, 0.5, 1.0])), st.data())
@settings(max_examples=50, deadline=None)
def test_zeros_and_ones_give_a_finite_temperature(P: np.ndarray, data: st.DataObject) -> None:
    y = np.array(data.draw(st.lists(st.integers(0, 2), min_size=6, max_size=6)))
    logs = log_probabilities(P)
    assert logs.min() >= np.log(np.float32(SMALLEST))
    t = temperature(logs, y)
    assert np.isfinite(t)
    assert t > 0
