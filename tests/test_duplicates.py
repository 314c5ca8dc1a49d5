"""Copies come in groups, the largest is the one to keep, and nothing is ever removed."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import COLOURS, photo
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.base import unit_rows
from embed.errors import UserError
from embed.workspace import Workspace
from retrieval.cosine_pairs import pairs_above
from retrieval.duplicate_groups import HEADER, grouped
from retrieval.duplicates import find_duplicates


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 photos, one of them twice as it is, one again at twice the size, one again as JPEG."""
    folder = tmp_path_factory.mktemp("copies")
    for i in range(40):
        colour = list(COLOURS.values())[i % 5]
        photo(colour, 500 + i, noise=60).save(folder / f"{i:02}.png")
    shutil.copy(folder / "03.png", folder / "a copy of 03.png")
    one = photo(COLOURS["felidae"], 505, noise=60)
    one.save(folder / "05.png")
    one.resize((one.width * 2, one.height * 2)).save(folder / "05 twice as large.png")
    photo(COLOURS["canidae"], 506, noise=60).save(folder / "06 saved again.jpg", quality=80)
    photo(COLOURS["canidae"], 506, noise=60).save(folder / "06.png")
    return folder


@pytest.fixture
def workspace(folder, tmp_path, run):
    assert run("embed", folder, "--encoder", "pixels", "-w", tmp_path).code == 0
    return Workspace(tmp_path)


def names(rows):
    return [Path(name).name for name in rows["file_path"]]


def test_exact_and_near_copies_are_groups_with_the_largest_to_keep(workspace, folder):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    found = find_duplicates(workspace)
    groups = {tuple(names(rows)): rows["kind"].tolist() for rows in found.groups}
    assert groups[("03.png", "a copy of 03.png")] == ["exact", "exact"]
    assert groups[("05 twice as large.png", "05.png")] == ["near", "near"]
    assert groups[("06.png", "06 saved again.jpg")] == ["near", "near"]
    assert len(groups) == 3
    assert names(found.groups[0]) == ["03.png", "a copy of 03.png"]  # the surest first
    assert sorted(Path(p).name for p in found.redundant_paths) == [
        "05.png",
        "06 saved again.jpg",
        "a copy of 03.png",
    ]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert "3 photos" in "\n".join(found.lines())
    assert "look-alikes" in found.to_json()["rule"]


def test_the_table_says_which_to_keep_and_how_near_the_others_are(workspace):
    found = find_duplicates(workspace)
    with (workspace.folder / "duplicates" / "duplicates.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == HEADER
    assert len(rows) == len(found.table) == 6
    kept = [row for row in rows if row["keep"] == "yes"]
    assert [row["group"] for row in kept] == ["1", "2", "3"]
    assert all(row["cosine"] == "1.0000" for row in kept)
    large = next(row for row in rows if row["file_path"] == "05 twice as large.png")
    assert (large["width"], large["height"], large["keep"]) == ("96", "80", "yes")
    assert all(float(row["cosine"]) > 0.9 for row in rows)


def test_a_threshold_by_hand_decides_by_cosine_alone(workspace):
    found = find_duplicates(workspace, threshold=0.9999)
    assert names(found.groups[0]) == ["03.png", "a copy of 03.png"]
    assert "0.9999" in found.rule
    assert found.maybe == 0
    with pytest.raises(UserError, match="more than half"):
        find_duplicates(workspace, threshold=-0.99)
    with pytest.raises(UserError, match="is a cosine"):
        find_duplicates(workspace, threshold=95)


def test_photos_outside_are_compared_with_the_collection(workspace, folder, tmp_path):
    outside = tmp_path / "new"
    outside.mkdir()
    shutil.copy(folder / "07.png", outside / "known.png")
    shutil.copy(folder / "03.png", outside / "again.png")
    photo(COLOURS["rosaceae"], 9999, noise=60).save(outside / "unknown.png")
    (outside / "broken.png").write_bytes(b"no photo")
    found = find_duplicates(workspace, against=outside)
    assert [note for note in found.notes if note.startswith("broken.png is left out")]
    assert [names(rows) for rows in found.groups] == [
        ["03.png", "a copy of 03.png", "again.png"],
        ["07.png", "known.png"],
    ]
    assert found.redundant_paths == [str(outside / "again.png"), str(outside / "known.png")]
    assert found.outside == 3
    assert len(pd.read_parquet(workspace.collection)) == found.photos == 43
    with pytest.raises(UserError, match="in the collection already"):
        find_duplicates(workspace, against=folder)
    with pytest.raises(UserError, match="could be read"):
        find_duplicates(workspace, against=outside / "broken.png")


def test_a_collection_without_copies_says_so(tmp_path, run):
    (tmp_path / "p").mkdir()
    for i in range(12):
        photo(list(COLOURS.values())[i % 5], 900 + i, noise=70).save(tmp_path / "p" / f"{i}.png")
    assert run("embed", tmp_path / "p", "--encoder", "pixels", "-w", tmp_path).code == 0
    found = find_duplicates(Workspace(tmp_path))
    assert found.groups == found.redundant_paths == []
    assert "groups     0" in found.lines()
    assert (tmp_path / "duplicates" / "duplicates.html").exists()


@given(
    n=st.integers(2, 400),
    threshold=st.floats(-0.5, 0.99),
    seed=st.integers(0, 1000),
    twice=st.booleans(),
)
@settings(deadline=None, max_examples=30)
def test_pairs_above_a_threshold_are_those_of_brute_force(n, threshold, seed, twice):
    rng = np.random.default_rng(seed)
    X = unit_rows(rng.normal(size=(n, 4)).astype(np.float32))
    keys = [str(i) for i in range(n)]
    if twice:
        keys[-1] = keys[0]
    C = X.astype(float) @ X.astype(float).T
    expected = {
        (str(a), str(b))
        for a, b in zip(*np.triu_indices(n, 1), strict=True)
        if C[a, b] >= threshold or keys[a] == keys[b]
    }
    found = pairs_above(X, [f"{i}" for i in range(n)], keys, threshold)
    assert {tuple(sorted(p)) for p in zip(found["a"], found["b"], strict=True)} == {
        tuple(sorted(p)) for p in expected
    }
    assert (found["kind"] == "exact").sum() == int(twice)


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_groups_do_not_depend_on_the_order_of_the_rows(seed):
    rng = np.random.default_rng(seed)
    n = 12
    ids = [f"p{i:02}" for i in range(n)]
    rows = pd.DataFrame({"id": ids, "file_path": ids, "path": ids, "new": False})
    facts = pd.DataFrame(rng.integers(1, 3, (n, 3)), columns=["width", "height", "bytes"])
    X = unit_rows(rng.normal(size=(n, 5)).astype(np.float32))
    ends = rng.integers(0, n, (5, 2))
    ends = ends[ends[:, 0] != ends[:, 1]]
    pairs = pd.DataFrame({"a": [ids[a] for a, _ in ends], "b": [ids[b] for _, b in ends]})
    pairs["kind"] = rng.choice(["exact", "near", "maybe"], len(pairs))
    table = grouped(rows, X, facts, pairs)
    order = rng.permutation(n)
    again = grouped(
        rows.iloc[order].reset_index(drop=True),
        X[order],
        facts.iloc[order].reset_index(drop=True),
        pairs.sample(frac=1, random_state=0),
    )
    pd.testing.assert_frame_equal(table, again)
    assert set(table["id"]) == {*pairs["a"], *pairs["b"]}
    for _, group in table.groupby("group"):
        pixels = group["width"] * group["height"]
        assert pixels.iloc[0] == pixels.max()
        assert group["keep"].tolist() == [True] + [False] * (len(group) - 1)
