"""Balancing: equal classes, real rows first and unchanged, the rows of imbalanced-learn."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.balance import BALANCES, plan_balance, resample
from classify.smote import draw, nearest

SIZES = st.lists(st.integers(1, 9), min_size=2, max_size=6)
SYNTHETIC = ("smote", "borderline-smote", "adasyn")


def rows_of(sizes: list[int], seed: int = 0, apart: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows (n, 7) float32 in mixed order, and class names; class centres `apart`."""
    rng = np.random.default_rng(seed + len(sizes))
    index = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    X = rng.normal(size=(len(index), 7)) + apart * rng.normal(size=(len(sizes), 7))[index]
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return X.astype(np.float32), np.array([f"class {c}" for c in index])


def gap(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Distance of x from the segment between a and b."""
    along = b - a
    t = np.clip((x - a) @ along / max(along @ along, 1e-12), 0, 1)
    return float(np.linalg.norm(x - a - t * along))


@given(sizes=SIZES, method=st.sampled_from(BALANCES), seed=st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_real_rows_come_first_and_classes_come_out_equal(
    sizes: list[int], method: str, seed: int
) -> None:
    X, y = rows_of(sizes)
    new = resample(X, y, method, seed)
    assert new.X.dtype == X.dtype
    if method == "undersample":
        assert set(map(bytes, new.X)) <= set(map(bytes, X))
    else:
        np.testing.assert_array_equal(new.X[: len(X)], X)
        np.testing.assert_array_equal(new.y[: len(y)], y)
    weights = np.ones(len(new.y)) if new.weights is None else new.weights
    totals = np.array([weights[new.y == c].sum() for c in np.unique(y)])
    counts = np.unique(y, return_counts=True)[1]
    expected = {
        "none": counts,
        "weights": len(y) / len(sizes),
        "undersample": np.minimum(counts, max(5, counts.min())),
    }.get(method, max(sizes))
    # ADASYN rounds the share of every row by itself
    np.testing.assert_allclose(totals, expected, atol=counts.max() if method == "adasyn" else 1e-9)
    grown = [c for c in np.unique(y) if (new.y == c).sum() > (y == c).sum()]
    np.testing.assert_array_equal(new.grown, grown)


@given(sizes=SIZES, seed=st.integers(0, 99), method=st.sampled_from(SYNTHETIC))
@settings(max_examples=60, deadline=None)
def test_added_rows_lie_between_two_rows_of_their_class(
    sizes: list[int], seed: int, method: str
) -> None:
    X, y = rows_of(sizes)
    new = resample(X, y, method, seed)
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
    np.testing.assert_array_equal(new.grown, ["class 1", "class 2"])


@pytest.mark.parametrize("method", SYNTHETIC)
@pytest.mark.parametrize("seed", [3, 4])
def test_rows_equal_imbalanced_learns_where_classes_are_large(method: str, seed: int) -> None:
    from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE

    theirs = {"smote": SMOTE, "borderline-smote": BorderlineSMOTE, "adasyn": ADASYN}[method]
    X, y = rows_of([40, 20, 15, 9], seed, apart=0.4)
    expected, labels = theirs(random_state=seed).fit_resample(X, y)
    ours = resample(X, y, method, seed)
    assert not ours.notes
    assert len(ours.X) > len(X) + 60
    np.testing.assert_array_equal(ours.X, expected)
    np.testing.assert_array_equal(ours.y, labels)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_small_classes_equal_imbalanced_learn_with_fewer_neighbours(size: int) -> None:
    from imblearn.over_sampling import SMOTE

    X, y = rows_of([12, size])
    expected = SMOTE(k_neighbors=size - 1, random_state=0).fit_resample(X, y)[0]
    np.testing.assert_array_equal(resample(X, y, "smote").X, expected)


@given(n=st.integers(2, 40), k=st.integers(1, 9), seed=st.integers(0, 99))
@settings(deadline=None)
def test_nearest_equals_sorting_all_distances(n: int, k: int, seed: int) -> None:
    X = np.random.default_rng(seed).normal(size=(n, 3))
    k = min(k, n - 1)
    distance = np.linalg.norm(X[:, None] - X[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_array_equal(nearest(X, k), distance.argsort(axis=1)[:, :k])


def test_nearest_of_equal_rows_never_names_the_row_itself() -> None:
    found = nearest(np.ones((8, 4), dtype=np.float32), 5)
    assert (found != np.arange(8)[:, None]).all()
    assert all(len(set(row)) == 5 for row in found.tolist())


@pytest.mark.parametrize("method", SYNTHETIC)
def test_the_matrix_of_mixtures_makes_the_same_rows(method: str) -> None:
    X, y = rows_of([30, 12, 3], apart=0.5)
    index = np.unique(y, return_inverse=True)[1]
    mixtures = draw(method, X, index, 5).mixtures
    np.testing.assert_allclose(mixtures.matrix(len(X)) @ X, mixtures.rows(X), atol=1e-6)
    np.testing.assert_array_equal(index[mixtures.first], index[mixtures.second])


@pytest.mark.parametrize("method", ["borderline-smote", "adasyn"])
def test_a_class_far_from_all_others_gets_smote_and_is_named(method: str) -> None:
    X, y = rows_of([30, 10])
    X[y == "class 1"] += 20
    new = resample(X, y, method, 1)
    np.testing.assert_array_equal(new.X, resample(X, y, "smote", 1).X)
    assert len(new.notes) == 1
    assert new.notes[0].endswith("SMOTE instead: class 1.")


def test_undersampling_keeps_five_of_a_class_whatever_the_smallest() -> None:
    X, y = rows_of([30, 8, 3, 1])
    new = resample(X, y, "undersample")
    np.testing.assert_array_equal(np.unique(new.y, return_counts=True)[1], [5, 5, 3, 1])
    assert new.notes == ["Undersampling trains on 14 of 42 photos."]
    new = resample(*rows_of([30, 8, 7]), "undersample")
    np.testing.assert_array_equal(np.unique(new.y, return_counts=True)[1], [7, 7, 7])


def test_the_seed_decides() -> None:
    X, y = rows_of([9, 4, 3], apart=0.3)
    for method in set(BALANCES) - {"none", "weights"}:
        same = [resample(X, y, method, 1).X for _ in range(2)]
        np.testing.assert_array_equal(*same)
        other: Any = resample(X, y, method, 2).X
        assert not np.array_equal(same[0], other), method


@pytest.mark.parametrize("method", SYNTHETIC)
def test_threads_do_not_change_the_rows(method: str) -> None:
    from threadpoolctl import threadpool_limits

    X, y = rows_of([60, 30, 20], apart=0.4)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(resample(X, y, method, 3).X)
    np.testing.assert_array_equal(*found)


def test_a_plan_holds_no_added_row() -> None:
    X, y = rows_of([9, 3, 1])
    plan = plan_balance(X, y, "smote", 0)
    assert plan.mixtures is not None
    assert len(plan.mixtures.step) == 6
    np.testing.assert_array_equal(plan.copies[y == "class 2"], [9])
    assert plan.copies.sum() == 9 + 3 + 9


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="none, weights, oversample, undersample, smote"):
        resample(*rows_of([3, 2]), "svm-smote")
