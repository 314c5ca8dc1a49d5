"""Pools: weight goes to who is right, and no further than the photos tell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify import pools
from classify.pools import (
    KINDS,
    PRIOR_STRENGTH,
    Evidence,
    Pool,
    fit_pools,
    kinds_for,
    size_shares,
)

N, C = 400, 5
SIZES = np.array([2, 5, 9, 20, 60])
each_kind = pytest.mark.parametrize("kind", KINDS)


def truth(n: int = N, n_classes: int = C) -> np.ndarray:
    return np.random.default_rng(0).integers(0, n_classes, n)


def head(skill: float | np.ndarray, seed: int, y: np.ndarray, n_classes: int = C) -> np.ndarray:
    """Probabilities (n, C) of a head whose scores favour the true class by `skill`."""
    scores = np.random.default_rng(seed).normal(size=(len(y), n_classes))
    scores[np.arange(len(y)), y] += skill
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def fitted(kind: str, P: list[np.ndarray], y: np.ndarray) -> Pool:
    sizes = SIZES if P[0].shape[1] == C else np.full(P[0].shape[1], 9)
    return fit_pools(Evidence.of(P, y, sizes), [kind])[kind]


def brier(P: np.ndarray, y: np.ndarray) -> float:
    return float(((P - np.eye(P.shape[1])[y]) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize("kind", ["weights", "greedy", "gate"])
def test_a_perfect_head_among_noise_gets_the_weight(kind: str) -> None:
    y = truth()
    P = [head(0, 1, y), np.eye(C)[y] * 0.9 + 0.02, head(0, 2, y)]
    pool = fitted(kind, P, y)
    moved = pool.small * pool.spread
    assert moved[1] > 5 * max(moved[0], moved[2])
    np.testing.assert_array_equal(pool(P).argmax(axis=1), y)


@each_kind
def test_identical_heads_pool_to_the_head_calibrated(kind: str) -> None:
    rng = np.random.default_rng(0)
    true = rng.dirichlet(np.ones(C), 4000)
    y = (rng.random((4000, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(max=C - 1)
    P = true**3 / (true**3).sum(axis=1, keepdims=True)  # three times too sure
    np.testing.assert_allclose(fitted(kind, [P, P, P], y)([P, P, P]), true, atol=0.05)


@each_kind
def test_two_heads_that_err_apart_beat_each_of_them(kind: str) -> None:
    y = truth()
    P = [head(2, 1, y), head(2, 2, y)]
    new = [head(2, 3, y), head(2, 4, y)]
    pooled = fitted(kind, P, y)(new)
    assert (pooled.argmax(axis=1) == y).mean() > max((p.argmax(axis=1) == y).mean() for p in new)
    assert brier(pooled, y) < min(brier(p, y) for p in new) - 0.05


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "raw mean"])
def test_calibration_quiets_an_overconfident_head(kind: str) -> None:
    y = truth()
    P = [head(3, 1, y), np.eye(C)[head(1, 2, y).argmax(axis=1)]]
    alone, raw = brier(P[0], y), brier(fitted("raw mean", P, y)(P), y)
    assert brier(fitted(kind, P, y)(P), y) < min(alone + 0.01, raw - 0.05)


def test_a_photo_or_two_leave_the_weights_near_the_plain_mean() -> None:
    y = truth(2)
    P = [head(3, 3, y), head(0, 1, y)]
    mean = fitted("mean", P, y).small
    for kind in ("weights", "gate"):
        pool = fitted(kind, P, y)
        np.testing.assert_allclose(pool.small, mean, atol=4 / PRIOR_STRENGTH)
        np.testing.assert_allclose(pool.large, mean, atol=4 / PRIOR_STRENGTH)


def test_the_gate_trusts_each_head_where_it_is_good() -> None:
    y = truth(2000)
    rare = y < 2
    P = [head(np.where(rare, 4, 0.5), 1, y), head(np.where(rare, 0.5, 4), 2, y)]
    gate, weights = fitted("gate", P, y), fitted("weights", P, y)
    assert gate.small[0] > gate.large[0] + 0.2
    assert gate.large[1] > gate.small[1] + 0.2
    assert brier(gate(P), y) < brier(weights(P), y)
    np.testing.assert_array_equal(weights.small, weights.large)


@pytest.mark.parametrize("kind", ["weights", "gate"])
def test_no_step_from_the_fitted_weights_is_better(kind: str) -> None:
    y = truth()
    evidence = Evidence.of([head(1, 1, y), head(2, 2, y)], y, SIZES)
    found = fit_pools(evidence, ["mean", kind])
    pool, mean = found[kind], found["mean"].small

    def objective(step: np.ndarray) -> float:
        small, large = pool.small + step[:2], pool.large + step[2:]
        off, apart = (small + large) / 2 - mean, large - small
        moved = Pool(kind, pool.temperatures, small, large, pool.spread, SIZES)
        return float(
            evidence.brier(moved).sum(dtype=float)
            + PRIOR_STRENGTH * (off @ off / 2 + apart @ apart)
        )

    steps = np.eye(4) if kind == "gate" else np.tile(np.eye(2), 2)
    at = objective(np.zeros(4))
    assert all(objective(size * step) > at for step in steps for size in (-0.05, 0.05))


def test_greedy_leaves_noise_out() -> None:
    y = truth()
    pool = fitted("greedy", [head(2, 1, y), head(0, 2, y), head(2, 3, y)], y)
    assert pool.small[1] == 0
    assert pool.small[[0, 2]].min() > 0


def test_a_short_list_of_classes_gives_nearly_the_pool_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    y = truth(800, 240)
    P = [head(2, 1, y, 240), head(2, 2, y, 240) ** 0.4, head(1, 3, y, 240) ** 5]
    P = [p / p.sum(axis=1, keepdims=True) for p in P]
    monkeypatch.setattr(pools, "MOST_CLASSES", 240)
    assert Evidence.of(P, y, np.ones(240)).logs.shape == (3, 800, 240)
    full = {kind: fitted(kind, P, y)(P) for kind in ("mean", "weights", "greedy")}
    monkeypatch.setattr(pools, "MOST_CLASSES", 239)
    short = Evidence.of(P, y, np.ones(240))
    assert short.logs.shape == (3, 800, pools.LIKELIEST + pools.DRAWN)
    assert short.count.sum() == pytest.approx(240)
    np.testing.assert_allclose(
        np.exp(short.logs[0][np.arange(800), short.truth]), P[0][np.arange(800), y], rtol=1e-5
    )
    for kind, pooled in full.items():
        assert brier(fitted(kind, P, y)(P), y) == pytest.approx(brier(pooled, y), rel=0.01)


def test_many_photos_are_pooled_in_blocks_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MOST_CLASSES", 40)
    monkeypatch.setattr(pools, "LIKELIEST", 30)
    y = truth(300, 50)
    P = [head(3, 1, y, 50), head(2, 2, y, 50)]
    whole = fitted("weights", P, y)
    expected = whole(P)
    monkeypatch.setattr(pools, "_CELLS", 700)
    blocks = fitted("weights", P, y)
    np.testing.assert_array_equal(blocks.small, whole.small)
    np.testing.assert_array_equal(blocks(P), expected)


@given(weights=st.lists(st.floats(0, 20), min_size=4, max_size=4), t=st.floats(0.02, 60))
@settings(max_examples=50, deadline=None)
def test_pooled_rows_sum_to_one(weights: list[float], t: float) -> None:
    P = [np.eye(C)[[0, 1, 2]], np.vstack([head(1, 1, truth(2)), np.zeros(C)])]
    small, large = np.array(weights[:2]), np.array(weights[2:])
    pool = Pool("gate", np.array([t, 1]), small, large, np.ones(2), SIZES)
    pooled = pool(P)
    np.testing.assert_allclose(pooled.sum(axis=1), 1)
    assert (pooled >= 0).all()


@each_kind
def test_a_saved_pool_gives_the_same_bits(kind: str) -> None:
    y = truth()
    P = [head(1, 1, y), head(2, 2, y)]
    pool = fitted(kind, P, y)
    state = pool.state()
    assert all(value.dtype.kind in "iufU" for value in state.values())
    again = Pool.from_state(state)
    np.testing.assert_array_equal(again(P), pool(P))
    assert again.describe(["ann", "bob"]) == pool.describe(["ann", "bob"])


def test_descriptions_name_the_heads() -> None:
    y = truth()
    P = [head(1, 1, y), head(3, 2, y)]
    said = {kind: fitted(kind, P, y).describe(["ann", "bob"]) for kind in KINDS}
    assert "plain mean" in said["mean"]
    assert "calibrated" not in said["raw mean"]
    assert said["gate"].count("bob") == 3
    share = float(said["weights"].split("bob ")[1].split(";")[0])
    assert 0.6 < share <= 1


def test_shares_and_the_kinds_that_differ() -> None:
    np.testing.assert_allclose(size_shares(np.array([1, 10, 100])), [0, 0.5, 1])
    np.testing.assert_array_equal(size_shares(np.array([7, 7])), [0, 0])
    assert kinds_for(1, SIZES) == ("mean",)
    assert "gate" not in kinds_for(3, np.full(4, 5))
    assert kinds_for(2, SIZES) == KINDS
