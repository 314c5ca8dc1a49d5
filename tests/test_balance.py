"""Balancing: equal classes, real rows first and unchanged, SMOTE's rows on segments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.balance import BALANCES, resample

SIZES = st.lists(st.integers(1, 9), min_size=2, max_size=6)


def rows_of(sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows (n, 7) float32 in mixed order, and class names."""
    rng = np.random.default_rng(len(sizes))
    y = rng.permutation(np.repeat([f"class {c}" for c in range(len(sizes))], sizes))
    X = rng.normal(size=(len(y), 7)).astype(np.float32)
    return X / np.linalg.norm(X, axis=1, keepdims=True), y


def gap(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Distance of x from the segment between a and b."""
    along = b - a
    t = np.clip((x - a) @ along / max(along @ along, 1e-12), 0, 1)
    return float(np.linalg.norm(x - a - t * along))


@given(sizes=SIZES, method=st.sampled_from(BALANCES), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_real_rows_come_first_and_classes_come_out_equal(
    sizes: list[int], method: str, seed: int
) -> None:
    X, y = rows_of(sizes)
    new = resample(X, y, method, seed)
    np.testing.assert_array_equal(new.X[: len(X)], X)
    np.testing.assert_array_equal(new.y[: len(y)], y)
    assert new.X.dtype == X.dtype
    weights = np.ones(len(new.y)) if new.weights is None else new.weights
    totals = [weights[new.y == c].sum() for c in np.unique(y)]
    expected = {
        "none": np.unique(y, return_counts=True)[1],
        "weights": len(y) / len(sizes),
    }.get(method, max(sizes))
    np.testing.assert_allclose(totals, expected)


@given(sizes=SIZES, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_added_rows_lie_between_two_rows_of_their_class(sizes: list[int], seed: int) -> None:
    X, y = rows_of(sizes)
    new = resample(X, y, "smote", seed)
    for x, label in zip(new.X[len(X) :], new.y[len(y) :], strict=True):
        own = X[y == label].astype(float)
        assert min(gap(x, a, b) for a in own for b in own) < 1e-5


def test_smote_invents_rows_where_there_are_two_and_copies_where_there_is_one() -> None:
    X, y = rows_of([8, 2, 1])
    new = resample(X, y, "smote")
    real = {row.tobytes() for row in X}
    invented = {
        c: sum(row.tobytes() not in real for row in new.X[new.y == f"class {c}"]) for c in range(3)
    }
    assert invented == {0: 0, 1: 6, 2: 0}
    assert new.notes == ["SMOTE needs two photos of a class; copied instead, having one: class 2."]


def test_smote_equals_imbalanced_learn_where_classes_are_large() -> None:
    from imblearn.over_sampling import SMOTE

    X, y = rows_of([20, 9, 7])
    ours = resample(X, y, "smote", 3)
    theirs, labels = SMOTE(random_state=3).fit_resample(X, y)
    np.testing.assert_array_equal(ours.X, theirs)
    np.testing.assert_array_equal(ours.y, labels)


def test_the_seed_decides() -> None:
    X, y = rows_of([9, 4, 3])
    for method in ("oversample", "smote"):
        same = [resample(X, y, method, 1).X for _ in range(2)]
        np.testing.assert_array_equal(*same)
        assert not np.array_equal(same[0], resample(X, y, method, 2).X)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="none, weights, oversample, smote"):
        resample(*rows_of([3, 2]), "adasyn")
