"""A node is computed once, its time is counted once, and nothing else changes."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import embeddings
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.sparse import coo_array

from classify.digests import NoDigestError, digest, unchanging
from classify.heads import HEADS
from classify.shared_work import NODE, SharedWork, shared, shared_work, timed

LARGE = 10**9


class Pair(NamedTuple):
    first: Any
    second: Any


class Clock:
    """Time passes only when `sleep` says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def counting(function: Callable[..., Any]) -> tuple[Any, list[Any]]:
    """A shared function and the list of its calls."""
    calls: list[Any] = []

    def counted(x: Any, y: Any = 1) -> Any:
        calls.append((x, y))
        return function(x, y)

    return shared(counted), calls


def test_equal_content_is_computed_once() -> None:
    double, calls = counting(lambda x, y: 2 * x)
    with shared_work(LARGE) as memo:
        first = double(np.arange(5.0))
        assert double(np.arange(5.0)) is first
        assert double(x=np.arange(5.0), y=1) is first
        double(np.arange(6.0))
        double(np.arange(5.0), 2)
        double(np.arange(5.0, dtype=np.float32))
        assert (len(calls), memo.hits, memo.misses) == (4, 2, 4)


def test_without_a_memo_it_is_the_plain_function() -> None:
    double, calls = counting(lambda x, y: 2 * x)
    first, second = double(np.arange(5.0)), double(np.arange(5.0))
    second[0] = 7
    assert first[0] == 0
    assert len(calls) == 2


def test_results_cannot_be_changed() -> None:
    make, _ = counting(lambda x, y: Pair([2 * x], {"k": 3 * x}))
    with shared_work(LARGE):
        found = make(np.arange(5.0))
        for array in (found.first[0], found.second["k"]):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1


def test_a_changed_argument_is_seen() -> None:
    double, calls = counting(lambda x, y: 2 * x)
    x = np.arange(5.0)
    view = x[1:]
    view.flags.writeable = False
    with shared_work(LARGE):
        double(x), double(view)
        x[1] = 9
        assert double(x)[1] == 18
        assert double(view)[0] == 18
        assert len(calls) == 4


def test_what_cannot_change_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = unchanging(np.arange(5.0))
    first = digest(x)
    monkeypatch.setattr("classify.digests.sha256", None)
    assert digest(x) == first
    with pytest.raises(TypeError):
        digest(np.arange(6.0))


def test_what_has_no_content_to_compare_is_computed_each_time() -> None:
    size, calls = counting(lambda x, y: len(x))
    with shared_work(LARGE):
        assert size(np.array(["a", 1], dtype=object)) == size(np.array(["a", 1], dtype=object))
    assert len(calls) == 2
    with pytest.raises(NoDigestError):
        digest(object())


def test_the_bytes_are_bounded_and_the_nodes_used_last_stay() -> None:
    make, calls = counting(lambda x, y: np.full(1000, x, dtype=np.uint8))
    with shared_work(2500 + 2 * NODE) as memo:
        make(1), make(2), make(1), make(3)
        assert memo.bytes == 2000 + 2 * NODE
        make(1)
        assert len(calls) == 3
        make(2)
        assert len(calls) == 4
    with shared_work(500) as memo:
        make(1), make(1)
        assert memo.bytes == 0
        assert len(calls) == 6


def test_a_node_that_was_dropped_and_made_again_is_the_same_to_others() -> None:
    make, made = counting(lambda x, y: np.full(1000, x, dtype=np.uint8))
    total, summed = counting(lambda x, y: int(x.sum()))
    with shared_work(1500 + 2 * NODE):
        first = make(1)
        total(first)
        make(2)
        total(first)
        assert total(make(1)) == 1000
    assert (len(made), len(summed)) == (3, 1)


def test_times_are_those_of_work_that_is_not_shared() -> None:
    clock = Clock()

    @shared
    def inner(x: int) -> int:
        clock.sleep(10)
        return x

    @shared
    def outer(x: int) -> int:
        clock.sleep(1)
        return inner(0) + inner(0) + x

    with shared_work(LARGE, clock) as memo:
        with timed(clock) as first:
            outer(1)
        assert (first.spent, first.seconds) == (11, 21)
        with timed(clock) as second:
            clock.sleep(5)
            outer(2)  # both inner ones are there
        assert (second.spent, second.seconds) == (6, 26)
        with timed(clock) as third:
            outer(1)
            with timed(clock) as inside:
                outer(2)
        assert (third.spent, third.seconds) == (0, 42)
        assert (inside.spent, inside.seconds) == (0, 21)
        assert (memo.spent, memo.saved) == (12, 10 + 20 + 42)


def test_an_error_is_no_result_but_its_time_counts() -> None:
    clock = Clock()

    @shared
    def inner() -> int:
        clock.sleep(10)
        return 1

    @shared
    def fails(x: int) -> int:
        inner()
        raise ValueError(str(x))

    with shared_work(LARGE, clock) as memo, timed(clock) as took:
        for _ in range(2):
            with pytest.raises(ValueError, match="3"):
                fails(3)
    assert (took.spent, took.seconds, memo.bytes) == (10, 20, NODE)


def test_a_memo_inside_another_takes_its_place() -> None:
    double, calls = counting(lambda x, y: 2 * x)
    with shared_work(LARGE) as outer:
        double(1)
        with shared_work(LARGE) as inner:
            double(1)
        double(1)
    double(1)
    assert (len(calls), outer.hits, inner.hits) == (3, 1, 0)


def test_of_threads_that_want_a_node_one_computes_it() -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow(x: Any, y: Any) -> Any:
        began.set()
        go_on.wait(10)
        return np.array([x])

    node, calls = counting(slow)
    memo, found = SharedWork(LARGE), []

    def work() -> None:
        with memo.active():
            found.append(node(1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    began.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(calls) == 1
    assert len({id(one) for one in found}) == 1
    node(1)
    assert len(calls) == 2  # this thread has no memo


some_arrays = arrays.arrays(
    st.sampled_from([np.float32, np.int64, np.bool_]),
    arrays.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
    elements=st.integers(0, 1),
)


@given(some_arrays, some_arrays)
def test_digests_are_equal_where_the_arrays_are(a: Any, b: Any) -> None:
    equal = a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    same_steps = a.strides == b.strides
    assert (digest(a) == digest(b)) == (equal and same_steps)
    assert digest(a) == digest(a.copy(order="K"))


def test_digests_tell_apart_what_is_like() -> None:
    x = np.arange(4.0)
    matrix = coo_array(np.eye(3)).tocsr()
    like = [1, 1.0, True, "1", b"1", None, (1,), [1], {1: 1}, (1, (1,)), ((1, 1),), Pair(1, 1)]
    like += [x, x.reshape(2, 2), x.reshape(2, 2).T, (x, x), np.float64, int, matrix, 2 * matrix]
    assert len({digest(value) for value in like}) == len(like)
    assert digest(Pair(x, matrix)) == digest(Pair(x.copy(), matrix.copy()))


# --- the heads

GIVEN: dict[str, list[dict[str, Any]]] = {
    "logreg": [{"C": 30.0}, {"loss": "focal"}, {"C": 3.0, "loss": "logit-adjusted"}, {"pca": 5}],
    "knn": [{"k": 1}, {"k": 7}, {"k": 40}, {"pca": 5}],
    "lda": [{"ridge": 0.5}],
    "centroid": [{"temperature": 0.2}],
    "lgbm": [{"n_candidates": 3, "rounds": 5}, {"pca": 5, "rounds": 5}],
}
COMBINED = [(name, balance) for name, head in HEADS.items() for balance in head.balances]


def outcome(name: str, balance: str, options: dict[str, Any]) -> list[bytes]:
    """All bits of a fitted head and of its probabilities."""
    X, y = embeddings((20, 12, 6, 2, 1), dim=8, spread=1.0)
    new = embeddings((5, 5, 5, 5, 5), dim=8, spread=1.0, seed=1)[0]
    head = HEADS[name](balance=balance, random_state=3, layout=(5, 3), **options).fit(X, y)
    state = {key: value.tobytes() for key, value in head.state().items()}
    return [head.predict_proba(new).tobytes(), *(state[key] for key in sorted(state))]


@pytest.fixture(scope="module")
def memo() -> SharedWork:
    """One for all heads, as in a sweep: what one of them left must not mislead another."""
    return SharedWork(LARGE)


@pytest.mark.parametrize(("name", "balance"), COMBINED)
def test_heads_are_the_same_to_the_last_bit(name: str, balance: str, memo: SharedWork) -> None:
    for options in [{}, *(GIVEN.get(name, []) if balance == "none" else [])]:
        alone = outcome(name, balance, options)
        with memo.active():
            assert outcome(name, balance, options) == alone
            misses = memo.misses
            assert outcome(name, balance, options) == alone
            assert memo.misses == misses


def test_balances_and_parameters_share_their_work() -> None:
    with shared_work(LARGE) as memo:
        outcome("knn", "none", {})
        first = memo.misses
        outcome("knn", "weights", {})
        assert memo.misses - first <= 2  # the plan of the balance, and a search
        for k in (1, 2, 3, 4):
            outcome("knn", "none", {"k": k})
        second = memo.misses
        outcome("knn", "none", {"k": 5})
        assert memo.misses - second <= 2  # a bank in another metric, and the search in it
        outcome("logreg", "none", {})
        third = memo.misses
        outcome("logreg", "weights", {})
        assert memo.misses - third <= 1
