"""Maximal marginal relevance is the naive greedy choice, and its ends are what they must be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retrieval.diversity import diverse_order
from retrieval.index import exact_cosines


def candidates(points):
    """Unit rows (m, dim), best first for the query e_0, with their cosines."""
    X = points.astype(np.float64)
    X[~X.any(axis=1), 0] = 1
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    cosines = exact_cosines(X, np.eye(1, X.shape[1], dtype=np.float32)[0])
    order = np.argsort(-cosines, kind="stable")
    return cosines[order], X[order]


def naive(cosines, X, k, trade):
    """The definition of Carbonell and Goldstein, one candidate at a time."""
    chosen = []
    while len(chosen) < min(k, len(X)):
        best, best_score = None, None
        for i in range(len(X)):
            if i in chosen:
                continue
            alike = max((float(exact_cosines(X[[j]], X[i])[0]) for j in chosen), default=0.0)
            score = trade * float(cosines[i]) - (1 - trade) * alike
            if best is None or score > best_score:
                best, best_score = i, score
        chosen.append(best)
    return chosen


some = arrays(
    np.int8, st.tuples(st.integers(1, 12), st.integers(2, 4)), elements=st.integers(-3, 3)
)


@settings(deadline=None, max_examples=150)
@given(points=some, k=st.integers(1, 14), trade=st.sampled_from([0, 0.25, 0.5, 0.7, 1]))
def test_it_is_the_naive_greedy(points, k, trade):
    cosines, X = candidates(points)
    assert diverse_order(cosines, X, k, trade).tolist() == naive(cosines, X, k, trade)


@settings(deadline=None, max_examples=50)
@given(points=some, trade=st.floats(0, 1))
def test_fewer_are_the_beginning_of_more(points, trade):
    cosines, X = candidates(points)
    whole = diverse_order(cosines, X, len(X), trade).tolist()
    assert sorted(whole) == list(range(len(X)))
    for k in range(len(X)):
        assert diverse_order(cosines, X, k, trade).tolist() == whole[:k]


def test_one_is_the_plain_ranking():
    cosines, X = candidates(np.random.default_rng(0).integers(-3, 4, (500, 8)))
    assert diverse_order(cosines, X, 40, 1).tolist() == list(range(40))


def test_a_burst_of_one_animal_gives_way():
    """Nine photos nearly alike and three others a little further from the query."""
    rng = np.random.default_rng(0)
    burst = np.eye(1, 6)[0] + [0, 0.3, 0, 0, 0, 0] + rng.normal(0, 1e-3, (9, 6))
    others = np.eye(1, 6)[0] + 0.5 * np.eye(6)[3:]
    cosines, X = candidates(np.round(1000 * np.vstack([burst, others])).astype(np.int16))
    plain, thinned = range(4), diverse_order(cosines, X, 4, 0.5)
    assert (cosines[plain] > 0.95).all()
    assert sorted(thinned.tolist()) == [0, 9, 10, 11]


@pytest.mark.parametrize("k", [0, 5])
def test_nothing_to_choose_from(k):
    assert len(diverse_order(np.empty(0, "f4"), np.empty((0, 3), "f4"), k, 0.5)) == 0
