"""Big indexes: the same answers as brute force, whatever was filtered, added, removed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from big_indexes_by_hand import brute, clustered, made, plan_of, recall, source
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.errors import UserError
from embed.files import sha256
from retrieval import index_building
from retrieval.big_index import BigIndex
from retrieval.index import Index, Kind
from retrieval.index_building import add, build, remove
from retrieval.row_source import ArraySource

LAYOUTS = [
    "flat",
    "hnsw fp32",
    "hnsw sq8",
    "ivf fp16",
    "ivf sq8",
    "ivf pq8",
    "ivf pq8x4",
    "ivf rabitq",
]


# --- the same as brute force


@given(
    data=st.lists(st.lists(st.integers(-3, 3), min_size=4, max_size=4).filter(any), min_size=1),
    k=st.integers(1, 12),
    allowed=st.none() | st.integers(0, 2**32),
    layout=st.sampled_from(["flat", "ivf fp16", "ivf sq8"]),
    dtype=st.sampled_from(["float32", "float16"]),
    later=st.integers(0, 30),
    spare=st.sampled_from([0, 1, 8]),
)
@settings(deadline=None, max_examples=50)
def test_equals_brute_force_on_rows_with_ties(
    tmp_path_factory: pytest.TempPathFactory,
    data: list[list[int]],
    k: int,
    allowed: int | None,
    layout: str,
    dtype: str,
    later: int,
    spare: int,
) -> None:
    """Whole numbers make many ties; an exhaustive IVF with all rows as candidates is exact.

    Some rows come later, and however few candidates are compared in float64.
    """
    X = np.array(data, np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    mask = None if allowed is None else np.random.default_rng(allowed).random(len(X)) < 0.5
    first = max(1, len(X) - later)
    nlist = min(3, first)
    plan = replace(plan_of(layout, *X.shape), dtype=dtype, refine=len(X))
    if plan.kind == "ivf":
        plan = replace(plan, nlist=nlist, nprobe=nlist)
    folder = tmp_path_factory.mktemp("index") / "big"
    build(source(X[:first]), folder, plan, chunk_rows=7)
    add(folder, source(X[first:], "later-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrieval.big_index._SPARE", spare)
        rows, cosines = BigIndex.load(folder).search(X, k, mask)
    kept = X.astype(dtype).astype(np.float32)
    possible = len(X) if mask is None else int(mask.sum())
    assert rows.tolist() == brute(kept, X, min(k, possible), mask).tolist()
    assert (np.diff(cosines, axis=1) <= 0).all()


@pytest.mark.parametrize("spare", [0, 8])
@pytest.mark.parametrize("first", [1, 200, 400])
def test_what_float32_cannot_tell_apart_goes_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, spare: int
) -> None:
    """The same numbers in other orders: their sums differ in float32 alone. Some come later."""
    monkeypatch.setattr("retrieval.big_index._SPARE", spare)
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=64)
    X = np.stack([rng.permutation(numbers) for _ in range(400)])
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    Q = np.full((3, 64), 1 / 8, np.float32)
    assert len(np.unique(Q[0] @ X.T)) > 2
    index = made(tmp_path, X[:first], "ivf fp16", nlist=1, nprobe=1, refine=40)
    add(index.folder, source(X[first:], "later-"))
    rows, _ = BigIndex.load(index.folder).search(Q, 10)
    assert rows.tolist() == [list(range(10))] * 3


@given(seed=st.integers(0, 2**32), k=st.integers(1, 12), kind=st.sampled_from(["flat", "hnsw"]))
@settings(deadline=None, max_examples=25)
def test_the_small_index_filters_as_brute_force_does(seed: int, k: int, kind: Kind) -> None:
    rng = np.random.default_rng(seed)
    X = clustered(40, 4, seed)
    X[rng.integers(0, 40, 10)] = X[0]
    allowed = rng.random(40) < rng.random()
    index = Index.build(X, [str(i) for i in range(40)], kind=kind)
    rows, cosines = index.search(X[:5], k, allowed)
    truth = brute(X, X[:5], min(k, int(allowed.sum())), allowed)
    assert rows.tolist() == truth.tolist()
    assert all((index.cosines(X[i], rows[i]) == cosines[i]).all() for i in range(5))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_finds_the_neighbours(tmp_path: Path, layout: str) -> None:
    X = clustered(2500, 16, 0)
    index = made(tmp_path, X, layout, refine=20)
    Q = clustered(60, 16, 5)
    rows, cosines = index.search(Q, 10)
    assert recall(rows, brute(X, Q, 10)) > (0.999 if layout == "flat" else 0.85)
    for q, row, cosine in zip(Q, rows, cosines, strict=True):
        assert (index.cosines(q, row) == cosine).all()
    index.verify()
    assert len(index) == 2500
    assert index.dim == 16
    assert index.ids[-1] == "photo-02499"
    assert index.keys(np.array([7])) == [sha256(b"photo-00007")]
    assert index.row("photo-00031") == 31
    assert index.row("hoto-00031") is None


def test_more_effort_finds_more(tmp_path: Path) -> None:
    X = clustered(3000, 16, 1, centres=400)
    index = made(tmp_path, X, "ivf pq4", refine=1, nprobe=1)
    truth = brute(X, X[:80], 10)
    little = recall(index.search(X[:80], 10)[0], truth)
    index.plan = replace(index.plan, refine=40, nprobe=index.plan.nlist)
    much = recall(index.search(X[:80], 10)[0], truth)
    assert little < 0.8 < 0.99 < much
    index.save_plan(index.plan)
    assert BigIndex.load(index.folder).plan == index.plan
    with pytest.raises(ValueError, match="layout"):
        index.save_plan(replace(index.plan, code="sq8"))


def test_asking_for_more_than_the_lists_hold_gives_all(tmp_path: Path) -> None:
    X = clustered(400, 8, 2)
    index = made(tmp_path, X, "ivf sq8", nprobe=1)
    rows, _ = index.search(X[:3], 500)
    assert np.sort(rows, axis=1).tolist() == [list(range(400))] * 3
    assert index.search(X[:3], 5, np.zeros(400, bool))[0].shape == (3, 0)
    assert index.search(X[:0], 5)[0].shape == (0, 5)


# --- filters


@pytest.mark.parametrize("layout", ["ivf sq8", "ivf pq8x4", "hnsw fp32"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_filters_keep_the_recall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, share: float
) -> None:
    monkeypatch.setattr("retrieval.big_index._FEW", 0)  # no scan: the lists themselves are asked
    monkeypatch.setattr("retrieval.big_index._FEW_GRAPH", 200)
    X, Q = clustered(4000, 16, 3, centres=200), clustered(50, 16, 3, centres=200)
    index = made(tmp_path, X, layout)
    allowed = np.random.default_rng(0).random(len(X)) < share
    rows, _ = index.search(Q, 10, allowed)
    assert allowed[rows].all()
    assert recall(rows, brute(X, Q, 10, allowed)) >= 0.95


def test_a_filter_far_from_the_query_keeps_the_recall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allowed rows are those least like the queries: the nearest lists hold none of them."""
    monkeypatch.setattr("retrieval.big_index._FEW", 0)
    X = clustered(4000, 16, 4, centres=200)
    allowed = X @ X[0] < np.quantile(X @ X[0], 0.1)
    index = made(tmp_path, X, "ivf sq8")
    rows, _ = index.search(X[:1], 10, allowed)
    assert recall(rows, brute(X, X[:1], 10, allowed)) >= 0.95


# --- adding and removing


@pytest.mark.parametrize("layout", ["flat", "hnsw fp32", "ivf sq8", "ivf pq16x4"])
@pytest.mark.parametrize("tail", [10_000, 0])
def test_added_rows_are_found_and_removed_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, tail: int
) -> None:
    monkeypatch.setattr(index_building, "TAIL", tail)  # 0: into the lists at once
    X = clustered(1500, 16, 5)
    index = made(tmp_path, X[:1000], layout)
    before = index.search(X[:20], 5)
    add(index.folder, source(X[1000:], "new-"), chunk_rows=128)
    grown = BigIndex.load(index.folder)
    assert (len(grown), grown.ids[1000]) == (1500, "new-00000")
    assert grown.about.indexed == (0 if layout == "flat" else 1500 if tail == 0 else 1000)
    assert recall(grown.search(X, 1)[0], np.arange(1500)[:, None]) > 0.99
    assert (index.search(X[:20], 5)[0] == before[0]).all()  # who has it open is not disturbed
    remove(index.folder, np.array([3, 1200]))
    remove(index.folder, np.array([4]))
    left = BigIndex.load(index.folder)
    rows, _ = left.search(X[[3, 4, 1200]], 1500)
    assert rows.shape == (3, 1497)
    assert not np.isin(rows, [3, 4, 1200]).any()
    assert left.row("photo-00003") is None
    assert left.row("new-00200") is None
    assert left.row("photo-00005") == 5
    add(index.folder, source(X[3:4], "photo-0000"))  # an id that comes back is another row
    back = BigIndex.load(index.folder)
    assert back.search(X[3:4], 1)[0].tolist() == [[1500]]
    back.verify()


def test_vectors_of_another_encoder_are_not_added(tmp_path: Path) -> None:
    index = made(tmp_path, clustered(100, 8, 6), "flat")
    with pytest.raises(UserError, match="not of other"):
        add(index.folder, ArraySource(clustered(5, 8, 7), name="other"))
