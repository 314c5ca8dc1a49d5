"""Splits that ask of new species, new times and new places, and training sides cut short."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, needs_shared
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.dates import newest, read_dates
from classify.grouping import EARTH_KM, place_cells, together
from classify.hold_out import held_groups
from classify.splits import Split, SplitRule, describe, make_split
from classify.stratify import per_class_subset
from embed.errors import UserError


def collection(labels: list[str], **columns: Any) -> pd.DataFrame:
    ids = [f"p{i:03}" for i in range(len(labels))]
    keys = [f"hash of {i}" for i in ids]
    given = {name: pd.Series(values, dtype="str") for name, values in columns.items()}
    return pd.DataFrame({"id": ids, "key": keys, "family": labels, **given}, dtype="str")


def sides(split: Split) -> dict[str, str]:
    return dict(zip(split.table["id"], split.table["split"], strict=True))


pairs_of_family_and_species = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=2, max_size=80
)


@settings(deadline=None)
@given(pairs_of_family_and_species, st.sampled_from([0.05, 0.2, 0.9]), st.integers(0, 9))
def test_a_family_of_several_species_has_whole_ones_on_both_sides(
    rows: list[tuple[int, int]], share: float, seed: int
) -> None:
    family = np.array([f for f, _ in rows])
    species = np.array([10 * f + s for f, s in rows])
    held = held_groups(family, species, share, seed)
    for one in np.unique(species):
        assert len(set(held[species == one])) == 1
    for name in np.unique(family):
        mine = family == name
        sizes = np.unique(species[mine], return_counts=True)[1]
        if len(sizes) == 1:
            assert not held[mine].any()
            continue
        possible = [
            sum(chosen) for k in range(1, len(sizes)) for chosen in combinations(sizes.tolist(), k)
        ]
        nearest = min(abs(n - share * mine.sum()) for n in possible)
        assert abs(held[mine].sum() - share * mine.sum()) == pytest.approx(nearest)
    np.testing.assert_array_equal(held, held_groups(family, species, share, seed))


@settings(deadline=None)
@given(pairs_of_family_and_species, st.sampled_from([0.2, 0.9]), st.integers(0, 9))
def test_where_groups_cross_families_none_loses_its_last(
    rows: list[tuple[int, int]], share: float, seed: int
) -> None:
    family, camera = np.array(rows).T
    held = held_groups(family, camera, share, seed)
    for one in np.unique(camera):
        assert len(set(held[camera == one])) == 1
    for name in np.unique(family):
        assert not held[family == name].all()


@pytest.mark.parametrize("seed", range(12))
def test_two_groups_that_another_family_needs_do_not_both_go(seed: int) -> None:
    photos = {("b", "1"): 10, ("b", "2"): 1, ("b", "3"): 1, ("a", "1"): 1}
    photos |= {("a", camera): 5 for camera in "234"}
    family, camera = np.repeat(np.array(list(photos)), list(photos.values()), axis=0).T
    held = held_groups(family, camera, 0.8, seed)
    assert held[camera == "1"].all()
    assert not held[family == "b"].all()


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("uvwxyz")), min_size=12, max_size=60
    ),
    val=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 5),
)
def test_hold_out_says_which_families_are_testable_in_any_order(
    rows: list[tuple[str, str]], val: float, seed: int
) -> None:
    table = collection(
        ["single"] * 3 + [f for f, _ in rows] + ["c"] * 2,
        species=["s"] * 3 + [f"{f} {s}" for f, s in rows] + ["c 1", "c 2"],
    )
    rule = SplitRule(hold_out="species", val=val, seed=seed)
    split = make_split(table, "family", rule)
    shuffled = make_split(table.sample(frac=1, random_state=seed), "family", rule)
    assert sides(split) == sides(shuffled)
    joined = table.merge(split.table, on="id")
    assert joined.groupby("species")["split"].nunique().max() == 1
    several = table.groupby("family")["species"].nunique() > 1
    tested = set(joined["family"][joined["split"] == "test"])
    assert tested == set(several.index[several])
    assert set(joined["family"][joined["split"] == "train"]) == set(table["family"])
    assert set(split.not_testable) == set(several.index[~several])


def test_photos_of_unknown_species_train_and_are_counted() -> None:
    species = ["a 1"] * 10 + [None] * 5 + ["b 1"] * 5 + ["b 2"] * 5
    table = collection(["a"] * 15 + ["b"] * 10, species=species)
    split = make_split(table, "family", SplitRule(hold_out="species"))
    assert split.not_testable == ("a",)
    assert all(sides(split)[f"p{i:03}"] == "train" for i in range(15))
    lines = describe(split, table).lines()
    assert "5 photos without a species: training only" in lines
    assert any("1 of 2 classes: of one species only" in line for line in lines)
    assert any(
        "can it tell the family in photos of a species that it has never seen" in line
        for line in lines
    )


@needs_shared
def test_rare_species_held_out_inside_families() -> None:
    assert SHARED
    rows = pd.read_csv(Path(SHARED) / "data/rare_species/metadata.csv", dtype=str)
    rows = rows.assign(id=rows["rare_species_id"], key=rows["file_path"])
    split = make_split(rows, "family", SplitRule(hold_out="eol_page_id"))
    report = describe(split, rows)
    assert len(split.not_testable) == 118
    assert (report.classes["test"] > 0).sum() == 84
    assert (report.classes["train"] > 0).all()
    assert report.leaks == 0
    assert any("118 of 202 classes: of one eol_page_id only" in line for line in report.lines())


FORMS = {
    "2020": "2020-01-01", "2020.0": "2020-01-01", "2020-06": "2020-06-01",
    "2020-06-07": "2020-06-07", "2020/6/7": "2020-06-07", "20200607": "2020-06-07",
    "2020:01:02 10:11:12": "2020-01-02T10:11:12", "2020-01-02T10:11": "2020-01-02T10:11:00",
    "2020-01-02T10:11:12.345Z": "2020-01-02T10:11:12", "2020-01-02/2020-02-03": "2020-01-02",
    "2020-01-02 10:11:12+02:00": "2020-01-02T10:11:12", "31.12.2020": "2020-12-31",
    "12/31/2020": "2020-12-31", "12/31/2020 23:59": "2020-12-31T23:59:00",
}  # fmt: skip
NONE = ["", "0000:00:00 00:00:00", "2020-13-01", "spring", "2020-02-30", "20", "1e3"]


@pytest.mark.parametrize(("text", "date"), FORMS.items())
def test_dates_of_many_forms(text: str, date: str) -> None:
    dates, notes = read_dates(pd.Series([text, None], dtype="str"), "date")
    assert dates[0] == np.datetime64(date)
    assert np.isnat(dates[1])
    assert notes == []


def test_what_is_no_date_is_counted_with_an_example() -> None:
    dates, notes = read_dates(pd.Series(NONE), "eventDate")
    assert np.isnat(dates).all()
    assert notes == ["6 photos with a eventDate that is no date, as '0000:00:00 00:00:00'"]


def test_days_and_months_are_told_by_the_column_or_asked_for() -> None:
    days = read_dates(pd.Series(["03/04/2020", "31/04/2020", "30/04/2020"]), "d")[0]
    assert days[0] == np.datetime64("2020-04-03")
    assert np.isnat(days[1])
    months = read_dates(pd.Series(["03/04/2020", "04/30/2020"]), "d")[0]
    assert months[0] == np.datetime64("2020-03-04")
    with pytest.raises(UserError, match=r"days and months.*2020-12-31"):
        read_dates(pd.Series(["03/04/2020", "04/05/2020"]), "d")


@settings(deadline=None)
@given(
    days=st.lists(st.one_of(st.none(), st.integers(0, 30)), min_size=8, max_size=80),
    test=st.sampled_from([0.1, 0.2, 0.5]),
    val=st.sampled_from([0.0, 0.2]),
)
def test_the_newest_test_and_no_training_photo_is_as_new(
    days: list[int | None], test: float, val: float
) -> None:
    dates = [None if day is None else f"2020-01-{day + 1:02}" for day in days]
    table = collection(["a", "b"] * (len(days) // 2) + ["a"] * (len(days) % 2), when=dates)
    rule = SplitRule(test=test, val=val, after="when")
    try:
        split = make_split(table, "family", rule)
    except UserError:
        return  # all on one day, or no class has older photos
    joined = table.merge(split.table, on="id")
    newest_of = joined.groupby("split")["when"].max()
    oldest_of = joined.groupby("split")["when"].min()
    for older, newer in (("train", "val"), ("val", "test"), ("train", "test")):
        if {older, newer} <= set(joined["split"]):
            assert not newest_of[older] >= oldest_of[newer]
    assert set(joined["split"][joined["when"].isna()]) <= {"train"}
    assert joined.groupby("when")["split"].nunique().max() <= 1
    shuffled = make_split(table.sample(frac=1, random_state=1), "family", rule)
    assert sides(split) == sides(shuffled)


def test_about_the_newest_share_with_ties_on_one_side() -> None:
    dates = read_dates(pd.Series(["2001"] * 6 + ["2002"] + ["2003"] * 3), "d")[0]
    assert newest(dates, 0.3) == np.datetime64("2003-01-01")
    assert newest(dates, 0.9) == np.datetime64("2002-01-01")
    assert newest(dates[:6], 0.3) is None
    table = collection(["a", "b"] * 10, year=["2001"] * 12 + ["2002"] * 2 + ["2003"] * 6)
    for rule in (SplitRule(test=0.3, after="year"), SplitRule(after="year", since="2003")):
        tested = {
            k for k, side in sides(make_split(table, "family", rule)).items() if side == "test"
        }
        assert tested == {f"p{i:03}" for i in range(14, 20)}


def test_since_a_year_and_classes_of_one_time_are_named() -> None:
    table = collection(
        ["a"] * 6 + ["b"] * 6 + ["gone"] * 3 + ["come"] * 2,
        year=["2018", "2019", "2020", "2021", "2021", None] * 2 + ["2019"] * 3 + ["2021"] * 2,
    )
    table.loc[[1, 4], "key"] = "the same photo"  # one old, one new copy of it
    split = make_split(table, "family", SplitRule(after="year", since="2020-06"))
    report = describe(split, table)
    assert report.photos == {"train": 4 * 2 + 3, "val": 0, "test": 3}
    assert split.not_testable == ("come", "gone")
    text = "\n".join(report.lines())
    assert "2 photos without a year: training only" in text
    assert "3 photos on no side" in text
    assert "from 2020-06-01 on, newer than all dated ones" in text
    assert "1 of 4 classes: without photos on both sides of the date" in text
    assert "was asked for" not in text


def test_cells_keep_near_places_together_and_far_ones_apart() -> None:
    rng = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, 4000))), rng.uniform(-180, 180, 4000)
    north = lat + np.degrees(1 / EARTH_KM)
    two = [
        place_cells(pd.DataFrame({"y": y.astype(str), "x": lon.astype(str)}), "y,x", 10)
        for y in (lat, np.minimum(north, 90))
    ]
    assert 0.85 < (two[0] == two[1]).mean() < 0.95  # 1 km of 10 crosses a border in one of ten
    assert two[0].nunique() > 3990
    wide = place_cells(pd.DataFrame({"y": lat.astype(str), "x": lon.astype(str)}), "y,x", 1000)
    counts = wide.value_counts()
    assert counts.std() / counts.mean() < 0.45  # of equal area: chance alone gives 0.36


@pytest.mark.parametrize("cell_km", [0.01, 10, 3000, 5000])
def test_poles_and_the_date_line(cell_km: float) -> None:
    points = [("90", "0"), ("90", "179"), ("-90", "-180"), ("10", "180"), ("10", "-180"),
              ("10", "360"), ("10", "0")]  # fmt: skip
    table = pd.DataFrame(points, columns=["lat", "lon"])
    cells = place_cells(table, "lat,lon", cell_km)
    assert cells.notna().all()
    assert cells[3] == cells[4]
    assert cells[5] == cells[6]
    assert cells[0] != cells[2]


def test_a_place_that_is_none_trains() -> None:
    lat = ["47,37", "46.0", "45", "44", "91", "nan", "", "x"] * 4
    table = collection(["a", "b"] * 16, lat=lat, lon=["8.5"] * 32)
    split = make_split(table, "family", SplitRule(test=0.25, place="lat,lon"))
    joined = table.merge(split.table, on="id")
    assert set(joined["split"][joined["lat"].isin(["91", "nan", "", "x"])]) == {"train"}
    assert joined[joined["split"] == "test"]["lat"].nunique() >= 1
    assert joined.groupby("lat")["split"].nunique().max() == 1
    assert any("16 photos without a place" in note for note in split.notes)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (SplitRule(hold_out="specis"), "Did you mean 'species'"),
        (SplitRule(hold_out="species", after="year"), "two splits"),
        (SplitRule(since="2020"), "--since means nothing without --after"),
        (SplitRule(cell=10), "--cell means nothing without --place"),
        (SplitRule(after="year", since="soon"), "takes a year or a date"),
        (SplitRule(after="year", since="1999"), "2018-01-01 to 2021-01-01. Choose a --since"),
        (SplitRule(after="species"), "No photo has a date in 'species'"),
        (SplitRule(after="year", test=0), "needs a test"),
        (SplitRule(place="lat"), "as in --place lat,lon"),
        (SplitRule(place="lat,year"), "No photo has degrees"),
        (SplitRule(place="lat,lon", cell=0), "in kilometres"),
        (SplitRule(place="lat,lon", cell=float("nan")), "in kilometres"),
        (SplitRule(per_class=0), "1 photo or more"),
        (SplitRule(hold_out="lat"), "No photo is left for the test"),
    ],
)
def test_wrong_wishes(rule: SplitRule, message: str) -> None:
    table = collection(
        ["a", "b"] * 4, species=["s", "t"] * 4, year=["2018", "2021"] * 4, lat=["1"] * 8,
        lon=["1"] * 8,
    )  # fmt: skip
    with pytest.raises(UserError, match=message):
        make_split(table, "family", rule)


def test_near_duplicates_join_groups_at_second_hand() -> None:
    table = collection(["a", "b"] * 20, camera=[f"c{i // 4}" for i in range(40)])
    near = {"p000": "one", "p039": "one", "p020": "two", "p036": "two"}
    split = make_split(table, "family", SplitRule(by="camera", near_duplicates=True), near)
    joined = table.merge(split.table, on="id")
    assert joined["split"][[0, 3, 20, 23, 36, 39]].nunique() == 1
    assert joined.groupby("camera")["split"].nunique().max() == 1
    assert split.by == "camera and near-duplicates"


def test_together_is_of_second_hand_and_missing_values_join_nothing() -> None:
    group = together([["x", None, "x", None, "y"], [None, "p", "q", None, "q"]], 5)
    assert (group == group[0]).tolist() == [True, False, True, False, True]
    assert group[1] != group[3]


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=80),
    seed=st.integers(0, 9),
)
def test_subsets_are_nested_and_take_whole_groups(rows: list[tuple[int, int]], seed: int) -> None:
    y, group = np.array(rows).T
    smaller = np.zeros(len(y), dtype=bool)
    for n in (1, 5, 10, 20, None):
        keep = per_class_subset(y, group, n, seed)
        assert not (smaller & ~keep).any()
        smaller = keep
        for name in np.unique(y):
            mine = y == name
            assert keep[mine].sum() == min(n or len(y), mine.sum())
            cut = [
                one for one in np.unique(group[mine]) if len(set(keep[mine & (group == one)])) == 2
            ]
            assert len(cut) <= 1
    assert smaller.all()


def test_subsets_of_training_have_one_test() -> None:
    table = collection(["a", "b", "c"] * 40)
    made = [make_split(table, "family", SplitRule(per_class=n)) for n in (2, 5, 10)]
    trained = [{k for k, side in sides(one).items() if side == "train"} for one in made]
    assert [len(one) for one in trained] == [6, 15, 30]
    assert trained[0] < trained[1] < trained[2]
    tested = [{k for k, side in sides(one).items() if side == "test"} for one in made]
    assert tested[0] == tested[1] == tested[2]
    assert made[0].notes == ("90 photos on no side: 2 of each class train",)


def test_what_made_a_split_is_saved_beside_it(tmp_path: Path) -> None:
    table = collection(["a"] * 10 + ["b"] * 10 + ["c"], species=[*"1234554321" * 2, "c"])
    table["species"] = table["family"] + table["species"]
    split = make_split(table, "family", SplitRule(hold_out="species", seed=3))
    split.save(tmp_path / "new.csv")
    loaded = Split.load(tmp_path / "new.csv")
    assert loaded.rule == split.rule
    assert (loaded.question, loaded.not_testable) == (split.question, ("c",))
    facts = json.loads((tmp_path / "new.json").read_text())
    assert (facts["rule"]["hold_out"], facts["rule"]["seed"]) == ("species", 3)
    for name in ("rule", "question", "not_testable"):  # as splits were saved before
        del facts[name]
    (tmp_path / "new.json").write_text(json.dumps(facts))
    assert Split.load(tmp_path / "new.csv").question == ""
