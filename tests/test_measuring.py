"""Recall, exact neighbours and seconds as they are defined, on small arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.measuring import (
    exact_neighbours,
    peak_memory,
    queries_a_second,
    recall_at_k,
    recalls_at_k,
    seconds_a_query,
)


def unit_rows(n, dim, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def test_recall_counts_what_is_as_near_as_the_kth():
    truth = np.array([[0.9, 0.8, 0.7]], np.float32)
    assert recall_at_k(np.array([[1, 2, 3]]), truth, truth) == 1
    # another row with the same cosine as the third is as good
    assert recall_at_k(np.array([[1, 2, 99]]), truth, truth) == 1
    worse = np.array([[0.9, 0.7, 0.6]], np.float32)
    assert recall_at_k(np.array([[1, 3, 4]]), worse, truth) == pytest.approx(2 / 3)


def test_recall_counts_nothing_twice_and_no_missing_rows():
    truth = np.array([[0.9, 0.8]], np.float32)
    assert recall_at_k(np.array([[1, 1]]), np.array([[0.9, 0.9]], np.float32), truth) == 0.5
    assert recall_at_k(np.array([[1, -1]]), truth, truth) == 0.5
    fewer = np.array([[0.9]], np.float32)
    assert recall_at_k(np.array([[1]]), fewer, truth) == 0.5
    none = np.empty((1, 0), np.float32)
    assert recalls_at_k(np.empty((1, 0), int), none, none).tolist() == [1]


@given(
    n=st.integers(1, 60),
    k=st.integers(1, 8),
    cut=st.integers(1, 60),
    seed=st.integers(0, 99),
    filtered=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_exact_neighbours_are_those_of_sorting_all_whatever_the_chunks(n, k, cut, seed, filtered):
    rng = np.random.default_rng(seed)
    X = np.eye(4, dtype=np.float32)[rng.integers(0, 4, n)]  # many ties
    Q = unit_rows(3, 4, seed)
    allowed = rng.random(n) < 0.5 if filtered else np.ones(n, bool)
    chunks = [X[at : at + cut] for at in range(0, n, cut)]
    rows, cosines = exact_neighbours(chunks, Q, k, allowed if filtered else None)
    count = min(k, int(allowed.sum()))
    assert rows.shape == cosines.shape == (3, count)
    for x, found, near in zip(Q, rows, cosines, strict=True):
        exact = np.where(allowed, X @ x, -2)
        assert np.allclose(near, -np.sort(-exact)[:count], atol=1e-6)
        assert np.allclose(exact[found], near, atol=1e-6)
        assert len(set(found.tolist())) == count


def test_exact_neighbours_of_rows_kept_as_float16_compare_those_rows():
    X = unit_rows(300, 16).astype(np.float16)
    rows, cosines = exact_neighbours([X[:200], X[200:]], unit_rows(5, 16, 1), 4)
    unit = X.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    scores = unit_rows(5, 16, 1).astype(np.float64) @ unit.T
    assert (rows == np.argsort(-scores, axis=1)[:, :4]).all()
    assert np.allclose(cosines, -np.sort(-scores, axis=1)[:, :4], atol=1e-6)


def test_every_query_is_asked_alone_for_latency_and_all_at_once_for_throughput():
    asked = []

    def search(Q, k):
        asked.append(len(Q))
        return np.zeros((len(Q), k), np.int64), np.zeros((len(Q), k), np.float32)

    seconds = seconds_a_query(search, unit_rows(7, 4), 3)
    assert asked == [1] * 8
    assert 0 < seconds.median <= seconds.p95
    asked.clear()
    assert queries_a_second(search, unit_rows(7, 4), 3) > 0
    assert asked == [1, 7]


def test_peak_memory_sees_an_array():
    before = peak_memory()
    held = np.ones(before // 8, np.float64)  # as much again as there ever was
    assert held.nbytes / 2 < peak_memory() - before < 2 * held.nbytes
