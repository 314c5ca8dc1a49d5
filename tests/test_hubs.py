"""Hubs: the counts are a naive loop's, and a row that everything is near to is found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.base import unit_rows
from retrieval.hubs import Hubness, hubness, occurrences
from retrieval.index import Index


def rows(n: int, dim: int, seed: int) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32))


def found(X: np.ndarray, k: int) -> Hubness:
    return hubness(Index.build(X, [str(i) for i in range(len(X))], kind="flat"), X, k)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(2, 8), st.integers(1, 12), st.integers(0, 99))
def test_counts_are_those_of_a_loop(n: int, dim: int, k: int, seed: int) -> None:
    X = rows(n, dim, seed)
    hubs = found(X, k)
    naive = np.zeros(n, dtype=int)
    for i in range(n):
        cosines = X.astype(float) @ X[i].astype(float)
        others = [j for j in np.argsort(-cosines, kind="stable") if j != i]
        for j in others[:k]:
            naive[j] += 1
    np.testing.assert_array_equal(hubs.times, naive)
    assert hubs.k == min(k, n - 1)
    assert hubs.times.sum() == hubs.k * n


def test_skew_is_scipys_and_never_is_a_share() -> None:
    from scipy.stats import skew

    hubs = found(rows(200, 30, 1), 5)
    assert hubs.skew == pytest.approx(skew(hubs.times), abs=1e-12)
    assert hubs.never == sum(t == 0 for t in hubs.times.tolist()) / 200


def test_all_alike_have_no_skew() -> None:
    assert Hubness(3, np.full(9, 3)).skew == 0


def test_a_row_in_the_middle_is_the_hub() -> None:
    """Points in directions of their own have only the one between them all as a neighbour."""
    X = np.vstack([np.eye(30), np.full((1, 30), 30**-0.5)]).astype(np.float32)
    hubs = found(X, 1)
    assert hubs.times[30] == 30
    assert hubs.never == 29 / 31
    assert hubs.skew > 4


def test_occurrences_keep_a_place_for_every_row() -> None:
    assert occurrences(np.array([[0, 2], [2, 2]]), 5).tolist() == [1, 0, 3, 0, 0]
    assert occurrences(np.empty((0, 3), dtype=np.int64), 2).tolist() == [0, 0]
