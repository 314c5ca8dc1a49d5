"""The stack: honest about its own figures, never dragged down, and clear about who helps."""

import io
import json

import numpy as np
import pytest
from conftest import embeddings
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.heads import make_head
from classify.metrics import score
from classify.pools import fit_pools
from classify.stack import (
    Pooling,
    Stack,
    choose,
    contributions,
    crossfit_pool,
    fit_pool,
    in_words,
)

N, C = 600, 6
SIZES = np.array([3, 6, 12, 25, 50, 100])
Y = np.random.default_rng(0).integers(0, C, N)
FOLD = np.arange(N) % 5


def head(skill: float, seed: int, y: np.ndarray = Y) -> np.ndarray:
    """Probabilities (n, C) of a head whose scores favour the true class by `skill`."""
    scores = np.random.default_rng(seed).normal(size=(len(y), C))
    scores[np.arange(len(y)), y] += skill
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def plain_mean(P: list[np.ndarray]) -> np.ndarray:
    logs = np.mean([np.log(np.maximum(p, 1e-9)) for p in P], axis=0)
    return np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)


def test_an_overconfident_head_does_not_drag_the_stack_down() -> None:
    """Like shrunk LDA: right less often than the others, and always certain."""
    good = [head(3, seed) for seed in (1, 2, 3)]
    loud = np.eye(C)[head(2, 4).argmax(axis=1)]
    stack = crossfit_pool([*good, loud], Y, FOLD, SIZES)
    best = max(score(Y, P, "macro_f1") for P in good)
    without = plain_mean(good)
    dragged = plain_mean([*good, loud])
    assert score(Y, dragged, "macro_f1") < score(Y, without, "macro_f1") - 0.06
    assert score(Y, stack, "macro_f1") >= best
    assert score(Y, stack, "macro_f1") >= score(Y, without, "macro_f1") - 0.003
    assert score(Y, stack, "log_loss") < score(Y, without, "log_loss")


def test_the_stack_is_no_worse_than_its_best_head_among_bad_ones() -> None:
    P = [head(3, 1), head(0, 2), head(0.3, 3) ** 20, np.full((N, C), 1 / C)]
    P = [p / p.sum(axis=1, keepdims=True) for p in P]
    stack = crossfit_pool(P, Y, FOLD, SIZES)
    assert score(Y, stack, "macro_f1") >= score(Y, P[0], "macro_f1") - 0.005
    assert score(Y, stack, "log_loss") <= score(Y, P[0], "log_loss") + 0.01


@given(fold=st.integers(0, 4), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_crossfit_never_sees_the_labels_of_its_own_fold(fold: int, seed: int) -> None:
    P, own = [head(1, 1), head(2, 2), head(1, 3)], fold == FOLD
    changed = Y.copy()
    changed[own] = np.random.default_rng(seed).integers(0, C, own.sum())
    before, after = Pooling(P, Y, FOLD, SIZES), Pooling(P, changed, FOLD, SIZES)
    np.testing.assert_array_equal(before.out_of_fold[own], after.out_of_fold[own])
    np.testing.assert_array_equal(
        before.out_of_fold_without(1)[own], after.out_of_fold_without(1)[own]
    )
    assert not np.array_equal(before.out_of_fold[~own], after.out_of_fold[~own])


def test_the_pool_is_of_all_rows_and_the_estimate_of_the_other_folds() -> None:
    P = [head(1, 1), head(2, 2)]
    pooling = Pooling(P, Y, FOLD, SIZES)
    assert pooling.pool.kind == "weights"
    part = pooling._evidence.part(FOLD != 2)
    expected = fit_pools(part, ["weights"])["weights"]([p[FOLD == 2] for p in P])
    np.testing.assert_array_equal(pooling.out_of_fold[FOLD == 2], expected)
    np.testing.assert_array_equal(fit_pool(P, Y, FOLD, SIZES)(P), pooling.pool(P))
    np.testing.assert_array_equal(fit_pool(np.stack(P), Y, FOLD, SIZES)(P), pooling.pool(P))


def test_the_gate_is_chosen_where_heads_differ_by_class_size() -> None:
    y = np.random.default_rng(0).integers(0, C, 3000)
    rare = y < 3
    P = [head(np.where(rare, 4, 0.5), 1, y), head(np.where(rare, 0.5, 4), 2, y)]  # type: ignore[arg-type]
    assert fit_pool(P, y, np.arange(3000) % 5, SIZES).kind == "gate"


def test_the_usual_kind_gives_way_only_to_a_clearly_better_one() -> None:
    rng = np.random.default_rng(0)
    weights, noise = rng.random(100), rng.normal(size=100)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    for gain, expected in ((0.09, "weights"), (0.11, "mean"), (-0.2, "weights")):
        assert choose({"mean": weights - gain - noise, "weights": weights}) == expected
    assert choose({"mean": np.zeros(1), "weights": np.ones(1)}) == "weights"
    assert choose({"mean": np.zeros(0)}) == "mean"


def test_a_class_that_no_head_could_know_leaves_the_pool_alone() -> None:
    P, unknown = [head(1, 1), head(2, 2)], Y == 0
    for p in P:
        p[unknown, 0] = 0
        p /= p.sum(axis=1, keepdims=True)
    known = fit_pool([p[~unknown] for p in P], Y[~unknown], FOLD[~unknown], SIZES)
    np.testing.assert_array_equal(fit_pool(P, Y, FOLD, SIZES)(P), known(P))
    assert np.isfinite(crossfit_pool(P, Y, FOLD, SIZES)).all()


@given(
    n=st.integers(1, 12),
    n_heads=st.integers(1, 3),
    n_folds=st.integers(1, 4),
    zeros=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_a_handful_of_photos_is_safe(
    n: int, n_heads: int, n_folds: int, zeros: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    y, fold = rng.integers(0, C, n), rng.integers(0, n_folds, n)
    P = [np.where(rng.random((n, C)) < zeros, 0, head(1, seed + h, y)) for h in range(n_heads)]
    P = [p / np.maximum(p.sum(axis=1, keepdims=True), 1e-9) for p in P]
    pooling = Pooling(P, y, fold, SIZES)
    for pooled in (pooling.out_of_fold, pooling.pool(P)):
        np.testing.assert_allclose(pooled.sum(axis=1), 1)
        assert (pooled >= 0).all()


def test_contributions_tell_who_helps() -> None:
    names = ["ann", "bob", "noise"]
    P = [head(2, 1), head(2, 2), head(0, 3)]
    records = contributions(names, Pooling(P, Y, FOLD, SIZES))
    assert [r["head"] for r in records[:3]] == names
    low = {r["head"]: r["macro_f1"][1] for r in records[:3]}
    assert min(low["ann"], low["bob"]) > 0
    assert low["noise"] <= 0
    assert records[3]["against"] == "alone"
    assert records[3]["macro_f1"][1] > 0
    assert all(r["log_loss"][0] < 0 for r in records if r["head"] != "noise")
    json.dumps(records)
    brings, against_best = in_words(records)
    assert brings.startswith("points of macro-F1 that each head brings to the stack: ann +")
    assert ", noise " in brings
    assert ", better; log-loss -" in against_best


def test_a_difference_is_that_of_the_stack_and_the_stack_without() -> None:
    pooling = Pooling([head(2, 1), head(1, 2)], Y, FOLD, SIZES)
    record = contributions(["ann", "bob"], pooling, groups=np.arange(N) // 3)[1]
    without = crossfit_pool(pooling.P[:1], Y, FOLD, SIZES)
    np.testing.assert_allclose(pooling.out_of_fold_without(1), without, atol=1e-6)
    for metric in ("macro_f1", "log_loss"):
        gained = score(Y, pooling.out_of_fold, metric) - score(Y, without, metric)
        assert record[metric][0] == pytest.approx(gained, abs=1e-6)


def test_it_says_when_the_best_head_alone_is_as_good() -> None:
    records = contributions(["ann", "noise"], Pooling([head(3, 1), head(0, 2)], Y, FOLD, SIZES))
    assert in_words(records)[-1].endswith("ann alone is as good as the stack")
    (said,) = in_words(contributions(["ann"], Pooling([head(3, 1)], Y, FOLD, SIZES)))
    assert said.endswith("ann alone is as good as the stack")


def test_a_saved_stack_predicts_the_same_bit_for_bit() -> None:
    X, y = embeddings((12, 9, 6))
    new = embeddings((5, 5, 5), seed=1)[0]
    heads = {name: make_head(name).fit(X, y) for name in ("logreg", "knn")}
    index = np.unique(y, return_inverse=True)[1]
    P = [one.predict_proba(X) for one in heads.values()]
    stack = Stack(heads, fit_pool(P, index, np.arange(len(y)) % 3, np.bincount(index)))
    file = io.BytesIO()
    np.savez(file, **stack.state())  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        loaded = Stack.from_state(dict(arrays))
    assert list(loaded.heads) == ["logreg", "knn"]
    np.testing.assert_array_equal(loaded.predict_proba(new), stack.predict_proba(new))
    np.testing.assert_array_equal(loaded.classes_, stack.classes_)
    np.testing.assert_array_equal(loaded.predict(new), stack.predict(new))
    np.testing.assert_array_equal(loaded.pool.sizes, [12, 9, 6])
    P_new = [one.predict_proba(new) for one in heads.values()]
    np.testing.assert_array_equal(stack.predict_proba(new), stack.pool(P_new))
