"""Columns that tell the label are refused with the evidence; those that only help are not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, needs_shared
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.columns import ColumnSpec
from classify.leaks import find_leaks, refuse_leaks
from embed.errors import UserError

FAMILIES = ("felidae", "canidae", "ursidae", "anatidae", "corvidae", "rosaceae")
N = 180
rng = np.random.default_rng(0)
Y = rng.permutation(np.repeat(FAMILIES, N // 6))
INDEX = np.array([FAMILIES.index(name) for name in Y])


def leaks(column: Sequence[Any], y: Any = Y, groups: Any = None) -> list[str]:
    rows = pd.DataFrame({"column": column}, dtype="str")
    found = find_leaks(rows, y, [ColumnSpec("column")], "family", groups)
    return [leak.evidence for leak in found]


NUMBERED = np.argsort(np.argsort(INDEX, kind="stable")) + 5000
GENUS = [f"{name[:4]}{k % 5}" for name, k in zip(Y, NUMBERED, strict=True)]
WHEN = pd.Timestamp("2024-03-01") + pd.to_timedelta(NUMBERED - 5000, unit="h")
TELLING = {
    "the label again": (Y, "with its value"),
    "the label in capitals": ([name.upper() for name in Y], "with its value"),
    "genus": (GENUS, "30 such values, each in only one family"),
    "genus for a third": (np.where(np.arange(N) % 3 == 0, GENUS, None), "each in only one family"),
    "a camera for each family": ([f"CAM{i}" for i in INDEX], "6 such values"),
    "paths": ([f"aves_{y}/{i}.jpg" for i, y in enumerate(Y)], "the family named in it"),
    "ids numbered by family": (NUMBERED, "the values next to it"),
    "taken family by family": (WHEN.strftime("%Y-%m-%d %H:%M"), "the values next to it"),
    "a genus in words": (
        [f"{g} seen by observer {k}" for g, k in zip(GENUS, rng.permutation(N), strict=True)],
        "by one word in it",
    ),
}
HELPING = {
    "nothing": [None] * N,
    "one value": ["x"] * N,
    "unique ids": [f"id{k:04}" for k in rng.permutation(N)],
    "random numbers": rng.normal(size=N),
    "random cameras": [f"CAM{k}" for k in rng.integers(0, 9, N)],
    "dates": [f"2024-{m:02}-{d:02}" for m, d in rng.integers(1, 13, (N, 2))],
    "order": np.where(INDEX < 3, "carnivora", "others"),
    "a rank that tells a sixth": np.where(INDEX == 5, "plantae", "animalia"),
    "place, right for 80%": np.where(rng.random(N) < 0.8, INDEX, rng.integers(0, 6, N)),
    "size, overlapping": INDEX + 0.7 * rng.normal(size=N),
    "remarks": [" ".join(rng.choice(["in", "sun", "rain", "snow", "fog", "wood"], 4)) for _ in Y],
    "names of other families": [f"not {FAMILIES[k]}" for k in rng.integers(0, 6, N)],
}


@pytest.mark.parametrize("name", TELLING)
def test_what_determines_the_label_is_found(name: str) -> None:
    column, says = TELLING[name]
    (evidence,) = leaks(column)
    assert says in evidence
    assert evidence.startswith("column tells the family by itself")


@pytest.mark.parametrize("name", HELPING)
def test_what_only_helps_is_not(name: str) -> None:
    assert leaks(HELPING[name]) == []


def test_the_order_of_the_table_is_no_evidence() -> None:
    """Many equal numbers in a table that is sorted by family."""
    assert leaks(rng.integers(0, 3, N), np.sort(Y)) == []


def test_the_same_rank_leaks_for_two_classes_and_not_for_six() -> None:
    kingdom = np.where(Y == "rosaceae", "plantae", "animalia")
    two = np.isin(Y, ["rosaceae", "felidae"])
    assert leaks(kingdom) == []
    assert "2 such values" in leaks(kingdom[two], Y[two])[0]


def test_a_commonest_class_is_no_evidence() -> None:
    """Of 99% felidae any column is right for 99%."""
    y = np.where(np.arange(1000) < 990, "felidae", "canidae")
    assert leaks(rng.integers(0, 5, 1000).astype(str), y) == []


def test_a_few_wrong_labels_do_not_hide_a_leak() -> None:
    noisy = np.array(GENUS)
    noisy[0] = next(genus for genus in GENUS if genus[:4] != GENUS[0][:4])
    (evidence,) = leaks(noisy)
    assert "in more than one family" in evidence


def test_where_the_gaps_are_may_tell_it_too() -> None:
    two = np.isin(Y, ["rosaceae", "felidae"])
    length = np.where(Y == "felidae", rng.normal(size=N).round(2).astype(str), None)
    (evidence,) = leaks(length[two], Y[two])
    assert evidence.startswith("whether column is given tells")


def test_photos_of_one_group_are_no_witnesses() -> None:
    """A burst shares its place and minute; only other bursts can tell."""
    burst = np.arange(N) // 3
    y = np.repeat(rng.choice(FAMILIES, N // 3), 3)
    place = [f"tree {k}" for k in burst]
    minutes = np.repeat(rng.permutation(N // 3) * 60, 3) + np.arange(N) % 3
    for column in (place, minutes):
        assert leaks(column, y)
        assert leaks(column, y, groups=burst) == []
    assert leaks([name[:3] for name in y], y, groups=burst)


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_by_value_equals_the_naive_version(data: Any) -> None:
    """Leave one out: the others with the value, where nine in ten agree, name the class."""
    size = data.draw(st.integers(12, 40))
    value = data.draw(st.lists(st.sampled_from("abcd"), min_size=size, max_size=size))
    told = data.draw(st.lists(st.integers(0, 9), min_size=size, max_size=size))
    y = np.array([ord(v) % 2 if k else 2 for v, k in zip(value, told, strict=True)])
    said, right = [], []
    for i in range(size):
        others = [y[j] for j in range(size) if j != i and value[j] == value[i]]
        classes, counts = np.unique(others, return_counts=True)
        if len(others) and counts.max() >= 0.9 * len(others):
            said.append(y[i])
            right.append(y[i] == classes[counts.argmax()])
    enough = len(said) >= max(10, size / 2)
    blind = 1 - np.bincount(said).max() / len(said) if enough else 0
    leak = bool(blind) and 1 - np.mean(right) <= 0.02 * blind
    assert bool(leaks(value, np.array([f"class {c}" for c in y]))) == leak


# --- refused or allowed

ROWS = pd.DataFrame(
    {"id": np.arange(N), "family": Y, "genus": GENUS, "order": INDEX // 3}, dtype="str"
)


def test_a_leak_is_refused_with_evidence_and_the_way_out() -> None:
    with pytest.raises(UserError) as refused:
        refuse_leaks(ROWS, Y, ["order", "genus"], "family")
    message = str(refused.value)
    for part in ("genus tells the family", "100% of 180 photos", "->", "--allow-leak"):
        assert part in message
    assert "order" not in message
    assert refuse_leaks(ROWS, Y, ["order"], "family") == []
    assert refuse_leaks(ROWS, Y, [], "family") == []


def test_a_leak_that_is_meant_becomes_a_note() -> None:
    (note,) = refuse_leaks(ROWS, Y, ["order", "genus"], "family", allow_leak=True)
    assert note.startswith("allowed by --allow-leak: genus tells")


def test_the_label_is_refused_even_then() -> None:
    for name, says in (("family", "is the label"), ("id", "which photo"), ("gneus", "Did you")):
        with pytest.raises(UserError, match=says):
            refuse_leaks(ROWS, Y, [name], "family", allow_leak=True)


def test_the_evidence_stays_short_and_printable() -> None:
    (evidence,) = leaks([f"{name}\x1b[2J" + "x" * 500 for name in Y])
    assert evidence.isprintable()
    assert len(evidence) < 400


@needs_shared
def test_the_ranks_of_real_species() -> None:
    path = Path(SHARED or "") / "data" / "rare_species" / "catalog.csv"
    rows = pd.read_csv(path, dtype="str").rename(columns={"file_path": "place"})
    names = [name for name in rows if name != "family"]
    found = find_leaks(rows, rows["family"].to_numpy(str), [ColumnSpec(n) for n in names], "family")
    free = {"rare_species_id", "kingdom", "phylum", "class_", "order"}
    assert [leak.column for leak in found] == [name for name in names if name not in free]
