"""Narrowed hits are what a naive reader of all rows would show, page after page."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from embed.errors import UserError
from embed.files import sha256
from retrieval.diversity import CANDIDATES, diverse_order
from retrieval.folding import copy_groups, firsts_by_cosine, near_cosine, open_copy_groups
from retrieval.index import Index, exact_cosines
from retrieval.narrowing import narrowed_hits
from retrieval.queries import Query


def unit(X):
    X = np.asarray(X, dtype=np.float64)
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def collection(n, rng, n_keys=None):
    """Rows as `embed` keeps them, with a species, a missing cell here and there, and a year."""
    species = rng.choice(["lynx", "puma", "bison", None], n)
    return pd.DataFrame(
        {
            "id": [f"photo-{i:04}" for i in range(n)],
            "path": [f"/photos/{i}.jpg" for i in range(n)],
            "file_path": [f"{i}.jpg" for i in range(n)],
            "species": species,
            "year": rng.integers(2000, 2020, n).astype(str),
            "rank": ["species"] * n,
            "key": [f"{k:064x}" for k in rng.integers(0, n_keys, n)]
            if n_keys
            else [f"{i:064x}" for i in range(n)],
        },
        dtype="str",
    )


def of_row(rows, X, i):
    return Query(rows["id"][i], X[i], key=rows["key"][i], exclude=(rows["id"][i],))


def naive(rows, X, query, where=None, same=None, groups=None, line=None, diverse=None, most=9**9):
    """All hits of a query as places, one row looked at after another."""
    own = [i for i in range(len(rows)) if rows["id"][i] in query.exclude]
    copies = [i for i in range(len(rows)) if rows["key"][i] == query.key and i not in own]
    shared = {rows[same][i] for i in [*own, *copies] if pd.notna(rows[same][i])} if same else set()
    may = [
        i
        for i in range(len(rows))
        if i not in own
        and (where is None or where(rows.iloc[i]))
        and not (same and rows[same][i] in shared)
    ]
    cosines = exact_cosines(X, query.vector)
    ranked = sorted(may, key=lambda i: (i not in copies, -cosines[i], i))
    if groups is not None or line is not None:
        shown = []
        for i in ranked:
            if len(shown) == most:
                break
            if groups is not None:
                folded = any(groups[i] == groups[j] for j in shown)
            else:
                folded = any(exact_cosines(X[[j]], X[i])[0] >= line for j in shown)
            if not folded:
                shown.append(i)
        ranked = shown
    if diverse is not None:
        order = diverse_order(cosines[ranked], X[ranked], len(ranked), diverse)
        ranked = [ranked[i] for i in order]
    return ranked


@st.composite
def searches(draw):
    n, dim = draw(st.integers(1, 30)), draw(st.integers(2, 5))
    X = draw(arrays(np.int8, (n, dim), elements=st.integers(-2, 2)))
    X[~X.any(axis=1), 0] = 1
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    rows = collection(n, rng, n_keys=draw(st.sampled_from([None, 4])))
    X = unit(X)[np.unique(rows["key"], return_index=True)[1]][rows["key"].factorize(sort=True)[0]]
    if draw(st.booleans()):
        query = of_row(rows, X, draw(st.integers(0, n - 1)))
    else:
        query = Query("words", X[draw(st.integers(0, n - 1))])
    groups = [f"g{i}" for i in rng.integers(0, 1 + n // 3, n)] if draw(st.booleans()) else None
    return rows, X, query, groups


@settings(deadline=None, max_examples=80)
@given(
    search=searches(),
    year=st.sampled_from([None, 2005, 2015]),
    same=st.sampled_from([None, "species"]),
    diverse=st.sampled_from([None, 0, 0.5, 1]),
    k=st.integers(1, 7),
    shuffled=st.booleans(),
)
def test_it_is_the_naive_reader(search, year, same, diverse, k, shuffled):
    rows, X, query, groups = search
    where = None if year is None else f"year > {year}"
    if year is not None and not (rows["year"].astype(int) > year).any():
        return
    ids, order = rows["id"].tolist(), np.arange(len(rows))
    index = Index.build(X, ids)
    if shuffled:  # the collection's order is another one than the index's
        order = np.random.default_rng(0).permutation(len(rows))
    table = rows.iloc[order].reset_index(drop=True)
    kept = None if groups is None else [groups[i] for i in order]
    pages = [
        narrowed_hits(
            index, table, lambda at: X[order[at]], [query], k, where, same,
            False if kept is None else kept, diverse, page,
        )
        for page in range(1, 2 + len(rows) // k)
    ]  # fmt: skip
    hits = pd.concat(pages, ignore_index=True)
    looks = None if year is None else lambda row: int(row["year"]) > year
    expected = naive(rows, X, query, looks, same, groups, diverse=diverse)
    assert hits["id"].tolist() == [ids[i] for i in expected]
    assert hits["rank"].tolist() == list(range(1, len(expected) + 1))
    np.testing.assert_array_equal(hits["similarity"], exact_cosines(X[expected], query.vector))
    assert hits["year"].tolist() == rows["year"].iloc[expected].tolist()
    assert hits["same_photo"].tolist() == [rows["key"][i] == query.key for i in expected]
    if groups is not None:
        all_of_them = naive(rows, X, query, looks, same)
        behind = [sum(groups[j] == groups[i] for j in all_of_them) - 1 for i in expected]
        assert hits["folded"].tolist() == behind


def bursts(n, copies, dim, rng):
    """n scenes, each photographed `copies` times with a little noise: (n·copies, dim)."""
    scenes = unit(rng.normal(size=(n, dim)))
    return unit(np.repeat(scenes, copies, axis=0) + 0.002 * rng.normal(size=(n * copies, dim)))


def test_unique_shows_each_burst_once_and_says_how_many_stand_behind():
    rng = np.random.default_rng(0)
    X = np.vstack([bursts(1, 6, 16, rng), unit(rng.normal(size=(400, 16)))])
    rows = collection(len(X), rng)
    index = Index.build(X, rows["id"].tolist())
    hits = narrowed_hits(index, rows, lambda at: X[at], [of_row(rows, X, 0)], 5, unique=True)
    burst = set(rows["id"][:6])
    assert hits["id"].isin(burst).tolist() == [True, False, False, False, False]
    assert hits["folded"].tolist() == [4, 0, 0, 0, 0]  # neither the query nor the hit itself
    assert list(hits.columns[:8]) == [
        "query", "rank", "id", "similarity", "file_path", "path", "same_photo", "folded"
    ]  # fmt: skip
    assert "table_rank" in hits.columns


def test_more_are_asked_for_until_k_remain():
    """The forty nearest are one burst: twice k would not be enough."""
    rng = np.random.default_rng(1)
    X = np.vstack([bursts(1, 40, 16, rng), unit(rng.normal(size=(1500, 16)))])
    rows = collection(len(X), rng)
    index = Index.build(X, rows["id"].tolist())
    query = of_row(rows, X, 3)
    line = near_cosine(index, lambda at: X[at])
    expected = naive(rows, X, query, line=line, most=12)
    found = [
        narrowed_hits(index, rows, lambda at: X[at], [query], 4, unique=True, page=p)
        for p in (1, 2, 3)
    ]
    ids = [name for hits in found for name in hits["id"]]
    assert ids == rows["id"].iloc[expected].tolist()
    assert found[0]["folded"].tolist() == [38, 0, 0, 0]


def test_different_photos_are_not_folded_and_the_line_is_learned():
    """Twice as close together, the same photos have a line twice as near."""
    rng = np.random.default_rng(2)
    wide = rng.normal(size=(600, 12))
    near = np.hstack([wide, np.full((600, 1), 6.0)])  # every cosine is closer to 1
    lines = []
    for X in (unit(wide), unit(near)):
        index = Index.build(X, [str(i) for i in range(len(X))])
        line = near_cosine(index, lambda at, X=X: X[at])
        assert len(firsts_by_cosine(X, line)) == len(X)
        copies = unit(X + 0.001 * rng.normal(size=X.shape))
        both = np.vstack([X, copies])
        assert firsts_by_cosine(both, line).tolist() == list(range(len(X)))
        lines.append(line)
    assert lines[0] < lines[1] < 1


def test_of_few_photos_only_the_same_vector_is_a_copy():
    X = unit([[1, 0], [1, 1e-2], [0, 1], [1, 0]])
    index = Index.build(X, list("abcd"))
    assert firsts_by_cosine(X, near_cosine(index, lambda at: X[at])).tolist() == [0, 1, 2]


@settings(deadline=None, max_examples=60)
@given(
    X=arrays(np.int8, st.tuples(st.integers(1, 300), st.just(3)), elements=st.integers(-3, 3)),
    line=st.sampled_from([0.5, 0.9, 1.0]),
)
def test_folding_is_greedy_in_the_order_of_the_hits(X, line):
    X[~X.any(axis=1), 0] = 1
    X, shown = unit(X), []
    for i in range(len(X)):
        if not shown or exact_cosines(X[shown], X[i]).max() < np.float32(line):
            shown.append(i)
    assert firsts_by_cosine(X, line).tolist() == shown


def test_groups_of_copies_are_those_of_the_photos_bytes(tmp_path):
    rng = np.random.default_rng(8)
    pictures = rng.integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    names = ["a.png", "b.png", "again.png"]
    for name, pixels in zip(names, pictures[[0, 1, 0]], strict=True):
        Image.fromarray(pixels).save(tmp_path / name)
    rows = pd.DataFrame({"id": names, "path": [str(tmp_path / name) for name in names]})
    rows["key"] = [sha256((tmp_path / name).read_bytes()) for name in names]
    X = unit(rng.normal(size=(3, 8)))[[0, 1, 0]]
    assert copy_groups(rows, X, tmp_path / "facts").tolist() == ["a.png", "b.png", "a.png"]


def test_saved_groups_are_used_for_the_same_photos_alone(tmp_path):
    path, made = tmp_path / "index" / "copies.npz", []

    def ask(source, groups):
        def make():
            made.append(source)
            return groups

        return open_copy_groups(path, source, make).tolist()

    assert ask("one", ["x", "a", "x"]) == [1, 0, 1]
    assert ask("one", ["y", "y", "y"]) == [1, 0, 1]
    assert ask("two", ["x", "x", "y", "y"]) == [0, 0, 1, 1]
    path.write_bytes(path.read_bytes()[:-40])
    assert ask("two", ["x", "y", "x", "y"]) == [0, 1, 0, 1]
    assert made == ["one", "two", "two"]


def test_those_behind_the_candidates_follow_by_rank():
    rng = np.random.default_rng(3)
    X = unit(rng.normal(size=(CANDIDATES + 30, 8)))
    rows = collection(len(X), rng)
    index, query = Index.build(X, rows["id"].tolist()), Query("words", X[7])
    plain = narrowed_hits(index, rows, lambda at: X[at], [query], len(X))["id"].tolist()
    thin = narrowed_hits(index, rows, lambda at: X[at], [query], len(X), diverse=0.3)["id"].tolist()
    assert sorted(thin[:CANDIDATES]) == sorted(plain[:CANDIDATES])
    assert thin[:CANDIDATES] != plain[:CANDIDATES]
    assert thin[CANDIDATES:] == plain[CANDIDATES:]


def test_the_photo_of_a_row_shares_its_species_and_a_text_shares_none():
    rng = np.random.default_rng(4)
    X = unit(rng.normal(size=(50, 6)))
    rows = collection(50, rng)
    rows.loc[5, "species"] = "lynx"
    index = Index.build(X, rows["id"].tolist())
    queries = [Query("photo", X[5], key=rows["key"][5]), Query("words", X[5])]
    hits = narrowed_hits(index, rows, lambda at: X[at], queries, 50, exclude_same="species")
    by_query = {name: set(h["species"].dropna()) for name, h in hits.groupby("query")}
    assert by_query["photo"] == {"puma", "bison"}
    assert by_query["words"] == {"lynx", "puma", "bison"}
    assert (hits["query"] == "words").sum() == 50


def test_nothing_left_is_an_empty_table_with_its_columns():
    rng = np.random.default_rng(5)
    rows, X = collection(3, rng), unit(rng.normal(size=(3, 4)))
    rows["species"] = "lynx"
    index = Index.build(X, rows["id"].tolist())
    for options in ({"exclude_same": "species"}, {"page": 9}, {"page": 10**9, "unique": True}):
        hits = narrowed_hits(index, rows, lambda at: X[at], [of_row(rows, X, 0)], 12, **options)
        assert len(hits) == 0
        assert {"query", "rank", "id", "similarity", "species"} <= set(hits.columns)


def test_rows_that_left_the_collection_are_no_hits():
    rng = np.random.default_rng(6)
    rows, X = collection(20, rng), unit(rng.normal(size=(20, 4)))
    index, left = Index.build(X, rows["id"].tolist()), rows.iloc[10:].reset_index(drop=True)
    hits = narrowed_hits(index, left, lambda at: X[10 + at], [Query("x", X[0])], 20)
    assert sorted(hits["id"]) == left["id"].tolist()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0}, ["--k", "from 1", "0"]),
        ({"page": 0}, ["--page", "from 1"]),
        ({"diverse": 1.5}, ["--diverse", "from 0", "1.5"]),
        ({"diverse": float("nan")}, ["--diverse"]),
        ({"exclude_same": "speces"}, ["'speces'", "Did you mean 'species'?"]),
        ({"where": "speces == 'x'"}, ["no column 'speces'"]),
        ({"where": "species == 'Lynx'"}, ["No row", "'Lynx': did you mean 'lynx'?"]),
        ({"where": "species == 'zzzzzz'"}, ["No row", "'zzzzzz' or like it"]),
        ({"where": "year > 2050"}, ["No row", "year > 2050"]),
    ],
)
def test_mistakes(options, words):
    rng = np.random.default_rng(7)
    rows, X = collection(40, rng), unit(rng.normal(size=(40, 4)))
    index = Index.build(X, rows["id"].tolist())
    with pytest.raises(UserError) as caught:
        narrowed_hits(index, rows, lambda at: X[at], [Query("x", X[0])], **{"k": 5, **options})
    for word in words:
        assert word in str(caught.value)
