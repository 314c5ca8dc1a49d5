"""No group on two sides, every class its share, and a clear word where that cannot be."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, needs_shared
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.splits import (
    Split,
    SplitRule,
    assign,
    describe,
    make_folds,
    make_split,
    split_from_csv,
)
from embed.errors import UserError

FRACTIONS = [[0.8, 0.2], [0.7, 0.2, 0.1], [0.25] * 4, [0.05, 0.95], [0.9, 0.1]]


def collection(labels: list[str | None], **columns: list[str | None]) -> pd.DataFrame:
    ids = [f"p{i:03}" for i in range(len(labels))]
    return pd.DataFrame(
        {
            "id": ids,
            "file_path": [f"x/{i}.jpg" for i in ids],
            "key": [f"hash of {i}" for i in ids],
            "family": labels,
            **columns,
        },
        dtype="str",
    )


def rare_species() -> pd.DataFrame:
    assert SHARED
    rows = pd.read_csv(Path(SHARED) / "data/rare_species/metadata.csv", dtype=str)
    return rows.assign(id=rows["rare_species_id"], key=rows["file_path"])


@settings(deadline=None)
@given(
    labels=st.lists(st.integers(0, 8), min_size=1, max_size=120),
    fractions=st.sampled_from(FRACTIONS),
    seed=st.integers(0, 99),
    train_first=st.booleans(),
)
def test_each_class_gets_its_share_to_within_one_photo(
    labels: list[int], fractions: list[float], seed: int, train_first: bool
) -> None:
    y = np.array(labels)
    side = assign(y, np.arange(len(y)), fractions, seed, train_first)
    for label in np.unique(y):
        found = np.bincount(side[y == label], minlength=len(fractions))
        assert np.all(np.abs(found - (y == label).sum() * np.array(fractions)) < 1 + 1e-9)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 15)), min_size=1, max_size=120),
    fractions=st.sampled_from(FRACTIONS),
    seed=st.integers(0, 99),
)
def test_no_group_crosses_and_every_class_trains(
    rows: list[tuple[int, int]], fractions: list[float], seed: int
) -> None:
    label, group = np.array(rows).T
    side = assign(label, group, fractions, seed)
    for one in np.unique(group):
        assert len(set(side[group == one])) == 1
    for one in np.unique(label):
        assert 0 in side[label == one]
    np.testing.assert_array_equal(side, assign(label, group, fractions, seed))


def test_seeds_give_different_splits() -> None:
    y = np.arange(60) % 3
    a, b = (assign(y, np.arange(60), [0.8, 0.2], seed) for seed in (0, 1))
    assert (a != b).any()


@pytest.mark.parametrize("fractions", [[0.8, 0.2], [0.9, 0.1], [0.7, 0.15, 0.15]])
def test_tiny_classes_do_not_all_end_on_one_side(fractions: list[float]) -> None:
    y = np.repeat(np.arange(100), 2)
    sizes = np.bincount(assign(y, np.arange(200), fractions, 0))
    assert np.abs(sizes / 200 - fractions).max() < 0.03


def test_unequal_groups_leave_every_class_near_its_share() -> None:
    rng = np.random.default_rng(0)
    size = np.ceil(rng.lognormal(2, 1, 400)).astype(int)
    group = np.repeat(np.arange(400), size)
    label = group // 8
    test = assign(label, group, [0.8, 0.2], 0) == 1
    share = np.bincount(label, test) / np.bincount(label)
    assert (share > 0).all()
    assert test.mean() == pytest.approx(0.2, abs=0.02)
    assert np.abs(share - 0.2).mean() < 0.04
    # The test is made of more, smaller groups than its share.
    assert len(np.unique(group[test])) > 0.2 * 400


def test_folds_spread_classes_of_one_group() -> None:
    fold = make_folds(np.arange(50), np.arange(50), 5, 0)
    assert np.bincount(fold).tolist() == [10] * 5


@pytest.mark.parametrize(("n", "limit"), [(12_000, 2.5), (100_000, 15)])
def test_speed(n: int, limit: float) -> None:
    y = np.random.default_rng(0).integers(0, 202, n)
    start = time.perf_counter()
    assign(y, np.arange(n), [0.8, 0.2], 0)
    assert time.perf_counter() - start < limit


def test_identical_photos_and_groups_at_second_hand_stay_together() -> None:
    rows = collection(["a", "b"] * 30, camera=[f"c{i // 3}" for i in range(60)])
    rows.loc[[0, 20, 40], "key"] = "the same photo"
    split = make_split(rows, "family", SplitRule(test=0.3, by="camera"))
    side = split.table["split"]
    assert side[[0, 1, 2, 18, 19, 20, 39, 40, 41]].nunique() == 1
    assert side.groupby(rows["camera"]).nunique().max() == 1


def test_rows_without_a_group_are_alone_and_rows_without_a_label_have_no_side() -> None:
    camera = ["c1"] * 10 + [None] * 30
    rows = collection(["a", "b"] * 19 + [None, None], camera=camera)
    split = make_split(rows, "family", SplitRule(by="camera"))
    assert len(split.table) == 38
    assert split.table["group"].nunique() == 29
    report = describe(split, rows)
    assert report.unlabelled == 2
    assert any("28 photos without a camera" in line for line in report.lines())


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = collection(["a", "b", "c"] * 20)
    shuffled = rows.sample(frac=1, random_state=3)
    a, b = make_split(rows, "family"), make_split(shuffled, "family")
    assert b.table["id"].tolist() == shuffled["id"].tolist()
    assert set(zip(a.table["id"], a.table["split"], strict=True)) == set(
        zip(b.table["id"], b.table["split"], strict=True)
    )


def test_small_classes_are_named_with_what_happens_to_them() -> None:
    rows = collection(["a"] * 40 + ["b"] * 40 + ["lonely"])
    report = describe(make_split(rows, "family"), rows)
    text = "\n".join(report.lines())
    assert report.photos == {"train": 65, "val": 0, "test": 16}
    assert report.leaks == report.clashes == report.unplaced == 0
    assert "1 of 3 classes: of one photo only, so they stay in train" in text
    assert "lonely (1 photo)" in text
    assert report.to_json()["classes"][2] == {
        "class": "lonely", "train": 1, "val": 0, "test": 0, "groups": 1,
    }  # fmt: skip


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    rows = collection(["a", "b"] * 20).assign(
        id=["NA", "007", "é,\n"] + [f"i{i}" for i in range(37)]
    )
    split = make_split(rows, "family", SplitRule(test=0.3, val=0.1, seed=4))
    split.save(tmp_path / "splits" / "default.csv")
    loaded = Split.load(tmp_path / "splits" / "default.csv")
    pd.testing.assert_frame_equal(loaded.table, split.table)
    assert loaded.fractions == {"train": 0.6, "val": 0.1, "test": 0.3}
    assert (loaded.label, loaded.by, loaded.seed, loaded.notes) == ("family", None, 4, ())


@pytest.mark.parametrize(
    "text", ["", "id,split\na,train\n", "id,split,group\na,trian,0\n", "id,split,group\na,test,x\n"]
)
def test_a_damaged_split_names_the_mending_command(tmp_path: Path, text: str) -> None:
    path = tmp_path / "default.csv"
    with pytest.raises(UserError, match="cli split"):
        Split.load(path)
    make_split(collection(["a", "b"] * 5), "family").save(path)
    path.write_text(text)
    with pytest.raises(UserError, match="cli split"):
        Split.load(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test": 1}, "shares of the photos"),
        ({"test": -0.1}, "shares of the photos"),
        ({"test": float("nan")}, "shares of the photos"),
        ({"test": 0.5, "val": 0.5}, "shares of the photos"),
        ({"by": "camra"}, "Did you mean 'camera'"),
        ({"by": "family"}, "No photo is left for the test"),
        ({"label": "famly"}, "Did you mean 'family'"),
        ({"label": "camera"}, "only 'c'"),
    ],
)
def test_wrong_wishes(arguments: dict[str, Any], message: str) -> None:
    rows = collection(["a", "b"] * 20, camera=["c"] * 40)
    label = arguments.pop("label", "family")
    with pytest.raises(UserError, match=message):
        make_split(rows, label, SplitRule(**arguments))


@pytest.mark.parametrize("n_folds", [-1, 0, 1, 5, 100])
def test_wrong_number_of_folds(n_folds: int) -> None:
    with pytest.raises(UserError, match="--folds"):
        make_folds(["a", "b"] * 4, [0, 1, 2, 3] * 2, n_folds, 0)


def test_folds_are_even_and_keep_groups_and_tiny_classes() -> None:
    y = np.repeat(["a", "b", "pair", "single"], [50, 47, 2, 1])
    fold = make_folds(y, np.arange(100), 5, 0)
    assert np.bincount(fold).max() - np.bincount(fold).min() <= 2
    assert len(set(fold[y == "pair"])) == 2
    grouped = make_folds(y, np.arange(100) // 5, 5, 0)
    assert all(len(set(grouped[i : i + 5])) == 1 for i in range(0, 100, 5))


def given_split(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("header", "row", "encoding"),
    [
        ("id,split", "p{i:03},{side}\n", "utf-8-sig"),
        ("Note;ID; Split", "Käfer;p{i:03};{side}\r\n", "latin-1"),
        ("file_path\tsplit", "x/p{i:03}.jpg\t{side}\n", "utf-8"),
        ("rare_species_id,file_path,split", "p{i:03},elsewhere,{side}\n", "utf-8"),
    ],
)
def test_a_given_split_is_read_by_id(tmp_path: Path, header: str, row: str, encoding: str) -> None:
    rows = collection(["a", "b"] * 20)
    sides = ["Training", "valid", "TEST", "dev"] * 9  # 36 of the 40 rows
    lines = [row.format(i=i, side=side) for i, side in enumerate(sides)]
    lines.append(row.format(i=999, side="test"))
    path = given_split(tmp_path / "given.csv", header + "\n" + "".join(lines), encoding)
    split = split_from_csv(path, rows, "family")
    assert split.table["split"].tolist() == ["train", "val", "test", "val"] * 9
    assert split.fractions == {"train": 0.25, "val": 0.5, "test": 0.25}
    report = describe(split, rows)
    assert (report.unplaced, report.leaks) == (4, 0)
    assert any("1 rows of given.csv are no photo" in note for note in report.notes)


def test_identical_photos_across_a_given_split_are_a_leak(tmp_path: Path) -> None:
    rows = collection(["a", "b"] * 4)
    rows.loc[[0, 2, 4, 5], "key"] = ["x", "x", "y", "y"]
    sides = ["train", "train", "test", "test", "train", "test", "train", "train"]
    text = "".join(f"{i},{side}\n" for i, side in zip(rows["id"], sides, strict=True))
    split = split_from_csv(given_split(tmp_path / "g.csv", "id,split\n" + text), rows, "family")
    report = describe(split, rows)
    assert (report.leaks, report.clashes) == (2, 1)
    assert any(line.startswith("LEAK: 2 photos") for line in report.lines())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,part\np000,train\n", "no column 'split'"),
        ("name,split\np000,train\n", "needs a column 'id'"),
        ("id,split\np000,train\np001,holdout\n", "line 3: 'holdout'"),
        ("id,split\np000,train\np000,test\n", "same photo on two sides"),
        ("id,split\nq1,train\nq2,test\n", "names no photo"),
        ("id,split\np000,train\np001,val\n", "no labelled test photo"),
        ("id,split\n", "names no photo"),
        ("", "is empty"),
    ],
)
def test_a_wrong_given_split(tmp_path: Path, text: str, message: str) -> None:
    rows = collection(["a", "b"] * 4)
    with pytest.raises(UserError, match=message):
        split_from_csv(given_split(tmp_path / "g.csv", text), rows, "family")


def test_no_given_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no table"):
        split_from_csv(tmp_path / "g.csv", collection(["a", "b"]), "family")


@needs_shared
def test_rare_species_at_random_and_species_disjoint() -> None:
    rows = rare_species()
    at_random = describe(make_split(rows, "family"), rows)
    assert (at_random.classes["test"] > 0).all()
    assert at_random.photos["test"] == pytest.approx(0.2 * len(rows), abs=10)
    disjoint = describe(make_split(rows, "family", SplitRule(by="eol_page_id")), rows)
    assert (disjoint.groups, disjoint.leaks) == (400, 0)
    assert (disjoint.classes["groups"] > 1).sum() == 84  # the families of several species
    assert 60 < (disjoint.classes["test"] > 0).sum() <= 84
    assert disjoint.photos["test"] == pytest.approx(0.2 * len(rows), rel=0.05)


@needs_shared
def test_rare_species_published_split() -> None:
    assert SHARED
    rows = rare_species()
    path = Path(SHARED) / "data/rare_species/published_split.csv"
    report = describe(split_from_csv(path, rows, "family"), rows)
    assert report.photos == {"train": 9586, "val": 1198, "test": 1199}
    assert report.unplaced == 0
