"""The index equals brute force, never mixes ids up, and refuses what is damaged or foreign."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embed.errors import UserError
from retrieval.index import Index
from retrieval.narrowing import narrowed_hits
from retrieval.queries import Query
from retrieval.unknown_ids import nearest_ids

FILES = ("index.faiss", "ids.parquet", "index.json")


def unit(X):
    X = np.asarray(X, dtype=np.float64)
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def names(n):
    return [f"photo-{i:04}" for i in range(n)]


def clustered(n, dim, n_clusters, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_clusters, dim))
    return unit(centres[rng.integers(n_clusters, size=n)] + 0.7 * rng.normal(size=(n, dim)))


def brute_force(X, Q, k):
    """Cosines of every pair in float64, rounded to 2**-24 as reported, ties by row."""
    X, Q = (A / np.linalg.norm(A, axis=1, keepdims=True) for A in (X.astype("f8"), Q.astype("f8")))
    cosines = np.rint(Q @ X.T * 2**24) / 2**24
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(cosines, rows, axis=1)


@st.composite
def rows_with_ties(draw):
    """Unit rows of small whole numbers: many are equal, or equally far from a query."""
    n, dim = draw(st.integers(1, 60)), draw(st.integers(1, 6))
    X = draw(arrays(np.int8, (n, dim), elements=st.integers(-2, 2)))
    X[~X.any(axis=1), 0] = 1
    return unit(X)


@settings(deadline=None, max_examples=60)
@given(X=rows_with_ties(), k=st.integers(1, 70))
def test_flat_is_brute_force_with_ties_by_row(X, k):
    index = Index.build(X, names(len(X)), kind="flat")
    rows, similarities = index.query_rows(X, k)
    true_rows, true_cosines = brute_force(X, X, k)
    assert rows.shape == (len(X), min(k, len(X)))
    np.testing.assert_array_equal(rows, true_rows)
    np.testing.assert_allclose(similarities, true_cosines, atol=1e-6)
    np.testing.assert_array_equal(index.query(X, k)[0], np.array(names(len(X)), object)[rows])


def test_ties_reach_beyond_the_candidates():
    """A hundred copies of one photo: those that FAISS did not return first may rank first."""
    X = unit(np.vstack([clustered(50, 24, 5), np.ones((100, 24)), clustered(50, 24, 5, seed=1)]))
    rows, similarities = Index.build(X, names(200), kind="flat").query_rows(X[[149, 60]], 7)
    assert rows.tolist() == [list(range(50, 57))] * 2
    assert (similarities == 1).all()


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_every_row_is_its_own_nearest(kind):
    X = clustered(400, 32, 20)
    rows, similarities = Index.build(X, names(400), kind=kind).query_rows(X, 1)
    assert rows[:, 0].tolist() == list(range(400))
    assert (similarities == 1).all()


@settings(deadline=None, max_examples=30)
@given(X=rows_with_ties(), k=st.integers(1, 12), data=st.data())
def test_excluded_rows_are_brute_force_without_them(X, k, data):
    n = len(X)
    exclude = [data.draw(st.sets(st.integers(0, n - 1), max_size=3)) for _ in range(min(n, 4))]
    rows, similarities = Index.build(X, names(n)).query_rows(X[: len(exclude)], k, exclude)
    width = min(k, n - max(map(len, exclude)))
    for i, out in enumerate(exclude):
        order, cosines = brute_force(X, X[i : i + 1], n)
        keep = ~np.isin(order[0], list(out))
        assert rows[i].tolist() == order[0][keep][:width].tolist()
        np.testing.assert_allclose(similarities[i], cosines[0][keep][:width], atol=1e-6)


def test_hnsw_recall_and_no_row_minus_one():
    X, Q = clustered(6000, 32, 60), clustered(200, 32, 60, seed=0)
    index = Index.build(X, names(6000), kind="hnsw")
    rows, similarities = index.query_rows(Q, 10)
    true_rows, true_cosines = brute_force(X, Q, 10)
    found = [len(set(a) & set(b)) for a, b in zip(rows, true_rows, strict=True)]
    assert np.mean(found) / 10 >= 0.95
    # what it finds is ranked by the exact cosine
    same = rows == true_rows
    np.testing.assert_allclose(similarities[same], true_cosines[same], atol=1e-6)
    everything, _ = index.query_rows(Q[:2], 6000)  # more than the graph's walk reaches
    assert all(sorted(row) == list(range(6000)) for row in everything.tolist())


def test_auto_is_exact_for_small_collections():
    assert Index.build(clustered(30, 8, 3), names(30)).kind == "flat"


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_saved_and_loaded_answers_alike(kind, tmp_path):
    X = clustered(300, 16, 10)
    index = Index.build(X, names(300), kind=kind, source="abc")
    index.save(tmp_path / "new" / "folder")
    loaded = Index.load(tmp_path / "new" / "folder")
    assert (loaded.ids, loaded.kind, loaded.source, loaded.dim) == (names(300), kind, "abc", 16)
    for mine, theirs in zip(index.query(X, 5), loaded.query(X, 5), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted(FILES)
    assert Index.fresh(tmp_path / "new" / "folder", "abc")
    assert not Index.fresh(tmp_path / "new" / "folder", "other")
    assert not Index.fresh(tmp_path, "abc")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "empty"])
def test_damaged_files_are_refused_and_made_anew(name, damage, tmp_path):
    X = clustered(40, 8, 4)
    Index.build(X, names(40), source="s").save(tmp_path)
    file = tmp_path / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    content = {"cut": data[: len(data) // 2], "flipped": data, "empty": b""}
    file.unlink() if damage == "gone" else file.write_bytes(content[damage])
    with pytest.raises(UserError, match="again"):
        Index.load(tmp_path)


@pytest.mark.parametrize(
    "change", [{"dim": 9}, {"n": 39}, {"kind": "hnsw"}, {"format": "other"}, {"sha256": {}}, None]
)
def test_an_index_that_is_not_what_it_says_is_refused(change, tmp_path):
    Index.build(clustered(40, 8, 4), names(40)).save(tmp_path)
    about = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(about | change if change else [1]))
    with pytest.raises(UserError, match="cli search"):
        Index.load(tmp_path)


def test_another_index_s_files_are_refused(tmp_path):
    Index.build(clustered(40, 8, 4), names(40)).save(tmp_path / "a")
    Index.build(clustered(40, 8, 4), names(40)[::-1]).save(tmp_path / "b")
    (tmp_path / "b" / "ids.parquet").replace(tmp_path / "a" / "ids.parquet")
    with pytest.raises(UserError, match=r"ids\.parquet"):
        Index.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("X", "ids"),
    [
        (np.ones((2, 3)), ["a", "b"]),
        (np.zeros((2, 3)), ["a", "b"]),
        (np.array([[1, 0], [np.nan, 0]]), ["a", "b"]),
        (np.array([[1, 0], [np.inf, 0]]), ["a", "b"]),
        (np.eye(2), ["a", "a"]),
        (np.eye(2), ["a"]),
        (np.zeros((0, 2)), []),
        (np.ones(1), ["a"]),
    ],
    ids=["long", "zero", "nan", "inf", "duplicate-id", "too-few-ids", "no-rows", "one-axis"],
)
def test_wrong_rows_are_refused(X, ids):
    with pytest.raises(ValueError, match="expected"):
        Index.build(X.astype(np.float32), ids)


def test_wrong_queries_are_refused():
    index = Index.build(np.eye(3, dtype=np.float32), ["a", "b", "c"])
    with pytest.raises(ValueError, match="3 columns"):
        index.query_rows(np.eye(2, dtype=np.float32), 1)
    with pytest.raises(ValueError, match="3 exclusions"):
        index.query_rows(np.eye(3, dtype=np.float32), 1, [[0]])
    rows, similarities = index.query_rows(np.zeros((0, 3), np.float32), 2)
    assert rows.shape == similarities.shape == (0, 2)


# --- search: ids, photos, tables


@pytest.fixture
def collection():
    X = clustered(60, 16, 6)
    X[7] = X[3]  # one photo under two names ...
    X[11] = X[3]  # ... and another file with the same pixels
    keys = [f"{i:064x}" for i in range(60)]
    keys[7] = keys[3]
    rows = pd.DataFrame(
        {
            "id": names(60),
            "path": [f"/photos/{i}.jpg" for i in range(60)],
            "file_path": [f"{i}.jpg" for i in range(60)],
            "key": keys,
            "family": pd.array(["felidae", "canidae", None] * 20, dtype="str"),
            "rank": "species",
        }
    )
    return rows, X


def search(rows, X, query, k, key=None):
    """The hits of a row's id or of a vector."""
    index = Index.build(X, rows["id"].tolist(), kind="flat")
    asked = Query("photo", query, key)
    if isinstance(query, str):
        row = rows["id"].tolist().index(query)
        asked = Query(query, X[row], key=rows["key"][row], exclude=(query,))
    return narrowed_hits(index, rows, lambda at: X[at], [asked], k)


def test_search_by_id_leaves_the_row_out_and_marks_its_copies(collection):
    rows, X = collection
    hits = search(rows, X, "photo-0003", 5)
    assert hits["id"].tolist()[:2] == ["photo-0007", "photo-0011"]
    assert hits["same_photo"].tolist() == [True, False, False, False, False]
    assert hits["rank"].tolist() == [1, 2, 3, 4, 5]
    assert (hits["query"] == "photo-0003").all()
    others = np.setdiff1d(np.arange(60), [3])
    order = others[np.argsort(-(X[others] @ X[3]), kind="stable")][:5]
    assert set(hits["id"]) == {names(60)[i] for i in order}
    # the table's columns belong to the hit's own row
    for hit in hits.to_dict("records"):
        row = rows[rows["id"] == hit["id"]].iloc[0]
        assert (hit["path"], hit["file_path"], hit["key"]) == tuple(
            row[["path", "file_path", "key"]]
        )
        assert hit["table_rank"] == "species"
        assert hit["family"] is row["family"] or hit["family"] == row["family"]


def test_search_by_photo_puts_the_very_same_content_first(collection):
    rows, X = collection
    hits = search(rows, X, X[3], 1, key=rows["key"][11])  # three rows have cosine 1
    assert hits["id"].tolist() == ["photo-0011"]
    assert hits["same_photo"].all()
    hits = search(rows, X, X[3], 4, key="f" * 64)
    assert hits["id"].tolist()[:3] == ["photo-0003", "photo-0007", "photo-0011"]
    assert not hits["same_photo"].any()
    assert (hits["similarity"].iloc[:3] == 1).all()


def test_search_gives_every_row_where_k_is_larger(collection):
    rows, X = collection
    assert len(search(rows, X, X[0], 500)) == 60
    assert sorted(search(rows, X, "photo-0003", 500)["id"]) == sorted(
        set(names(60)) - {names(60)[3]}
    )


def test_the_only_photo_has_no_lookalike(collection):
    rows, X = collection
    assert search(rows[:1], X[:1], "photo-0000", 3).empty
    assert search(rows[:1], X[:1], X[1], 3)["id"].tolist() == ["photo-0000"]


def test_an_unknown_id_names_the_nearest():
    said = nearest_ids("foto-0042", names(60))
    assert said.startswith("Did you mean 'photo-0042'")
    assert len(said) < 100
    assert nearest_ids("zzz", names(60)) == ""


@pytest.mark.parametrize("first", ["torch", "faiss"])
def test_torch_and_faiss_in_one_process(first):
    """Each brings its own OpenMP: either import order must work, and give the same answer."""
    program = f"""
import {first}, torch, numpy as np
from retrieval.index import Index
X = torch.nn.functional.normalize(torch.randn(3000, 64, generator=torch.manual_seed(0)), dim=1)
ids = [str(i) for i in range(3000)]
for kind in ("flat", "hnsw"):
    rows, _ = Index.build(X.numpy(), ids, kind=kind).query_rows(X.numpy(), 2)
    assert (rows[:, 0] == np.arange(3000)).all()
    X = torch.nn.functional.normalize(X @ torch.eye(64), dim=1)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent.parent,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
