"""Picks cover what no label covers yet, are no copies, and reach an accuracy with fewer labels."""

import csv
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import COLOURS, photo
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.base import unit_rows
from classify.pick import pick
from classify.unsure import margin_uncertainty
from embed.errors import UserError
from embed.workspace import Workspace
from retrieval.coverage import cover, nearest_cosine, spread

NONE = np.empty((0, 5), np.float32)


def random_rows(n, seed, dim=5):
    return unit_rows(np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32))


@given(
    n=st.integers(1, 25), known=st.integers(0, 3), seed=st.integers(0, 500), weighted=st.booleans()
)
@settings(deadline=None, max_examples=40)
def test_coverage_takes_what_brings_most_at_every_step(n, known, seed, weighted):
    X, K = random_rows(n, seed), random_rows(known, seed + 1)
    w = np.random.default_rng(seed).random(n) + 0.1 if weighted else np.ones(n)
    chosen = cover(X, 6, K, w if weighted else None)
    assert len(set(chosen.rows.tolist())) == min(6, n)
    best, w = nearest_cosine(X, K), w / w.sum()
    for row, gain in zip(chosen.rows, chosen.gains, strict=True):
        brings = np.maximum(X @ X.T - best, 0) @ w
        assert gain == pytest.approx(brings.max(), abs=1e-5)
        assert brings[row] == pytest.approx(brings.max(), abs=1e-5)
        best = np.maximum(best, X @ X[row])


@given(n=st.integers(3, 9), seed=st.integers(0, 500))
@settings(deadline=None, max_examples=30)
def test_spread_is_within_twice_the_best(n, seed):
    from itertools import combinations

    X, K = random_rows(n, seed), random_rows(1, seed + 1)
    D = np.sqrt(np.maximum(2 - 2 * X @ np.vstack([K, X]).T, 0))

    def radius(rows):
        return D[:, [0, *(r + 1 for r in rows)]].min(axis=1).max()

    best = min(radius(rows) for rows in combinations(range(n), 2))
    assert radius(spread(X, 2, K).rows.tolist()) <= 2 * best + 1e-3


def test_nearest_cosine_is_brute_force_and_0_where_nothing_is_known():
    X, K = random_rows(2500, 0), random_rows(9000, 1)
    np.testing.assert_allclose(
        nearest_cosine(X, K), np.maximum((X @ K.T).max(axis=1), 0), atol=1e-6
    )
    assert nearest_cosine(X, NONE).tolist() == [0] * 2500


def test_the_margin_is_1_for_a_tie_and_0_when_sure():
    P = np.array([[0.5, 0.5, 0], [1, 0, 0], [0.2, 0.7, 0.1]])
    np.testing.assert_allclose(margin_uncertainty(P), [1, 0, 0.5])
    assert margin_uncertainty(np.ones((2, 1))).tolist() == [0, 0]


def accuracy(X, y, rows):
    """Of the nearest labelled photo's label, on all others."""
    rest = np.setdiff1d(np.arange(len(X)), rows)
    near = np.asarray(rows)[(X[rest] @ X[rows].T).argmax(axis=1)]
    return (y[near] == y[rest]).mean()


@pytest.mark.parametrize("choose", [cover, spread])
def test_picks_reach_an_accuracy_that_chance_reaches_later(choose):
    rng = np.random.default_rng(0)
    sizes = np.array([400, 200, 100, 50, 25, 25, 15, 15, 10, 10])
    y = np.repeat(np.arange(10), sizes)
    X = unit_rows(
        (rng.normal(size=(10, 16))[y] + 0.45 * rng.normal(size=(len(y), 16))).astype("f4")
    )
    labels = 12
    picked = accuracy(X, y, choose(X, labels, np.empty((0, 16), np.float32)).rows)
    chance = {
        n: np.mean([accuracy(X, y, rng.permutation(len(X))[:n]) for _ in range(20)])
        for n in (labels, 3 * labels)
    }
    assert picked > 0.95
    assert chance[labels] < 0.9
    assert chance[3 * labels] < picked  # not even with three times the labels


@pytest.fixture
def half(photos, tmp_path, run):
    """60 photos of five families, a table that labels half of them (none of rosaceae) and two
    unlabelled copies of a labelled photo; embedded."""
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    rows = []
    for path in sorted(folder.rglob("*.png")):
        family = path.parent.name
        known = family != "rosaceae" and int(path.stem) % 2 == 0
        name = path.relative_to(folder).as_posix()
        rows.append({"file_path": name, "family": family if known else "", "note": "x,y"})
    for name in ("copy 1.png", "copy 2.png"):
        shutil.copy(folder / "felidae" / "00.png", folder / name)
        rows.append({"file_path": name, "family": "", "note": ""})
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    embed = ("embed", folder, "--table", tmp_path / "table.csv", "--encoder", "pixels")
    assert run(*embed, "-w", tmp_path).code == 0
    return Workspace(tmp_path)


def families(picked):
    return [name.split("/")[0] for name in picked.photos.rows["file_path"].iloc[picked.rows]]


@pytest.mark.parametrize("by", ["coverage", "spread"])
def test_an_unlabelled_family_is_picked_first_and_never_a_copy(half, by):
    picked = pick(half, 3, by)
    assert families(picked)[0] == "rosaceae"
    everything = pick(half, 1000, by)
    assert everything.candidates == len(everything.rows) == 36
    assert everything.copies == 2
    assert everything.after > everything.before
    names = set(everything.photos.rows["file_path"].iloc[everything.rows])
    assert not names & {"copy 1.png", "copy 2.png"}
    assert (everything.photos.y[everything.rows] == "").all()
    assert "only 36 photos" in "\n".join(everything.lines())


def test_no_copy_of_a_test_photo_is_picked(half, run):
    rows = pd.read_parquet(half.collection)
    rows = rows[rows["family"].notna()]
    side = np.where(rows["file_path"] == "felidae/00.png", "test", "train")
    given = half.folder / "given.csv"
    pd.DataFrame({"id": rows["id"], "split": side}).to_csv(given, index=False)
    assert run("split", "--from", given, "-w", half.folder).code == 0
    picked = pick(half, 1000)
    assert len(picked.rows) == 36
    assert picked.labelled == 23
    names = picked.photos.rows["file_path"].iloc[picked.rows]
    assert not names.str.contains("copy").any()


def test_the_table_to_fill_in_is_one_that_embed_takes(half, run):
    picked = pick(half, 4)
    path = half.folder / "pick" / "pick.csv"
    table = pd.read_csv(path, dtype=str)
    assert table.columns.tolist()[:3] == ["id", "file_path", "family"]
    assert table["family"].isna().all()
    assert table["id"].tolist() == [picked.photos.ids[row] for row in picked.rows]
    table["family"] = families(picked)
    table.to_csv(path, index=False)
    embed = ("embed", half.folder / "photos", "--table", path, "--encoder", "pixels")
    again = run(*embed, "-w", half.folder / "second", "--json").json
    assert (again["photos"], again["label"]) == (4, "family")

    whole = half.folder / "pick" / "table.csv"
    with whole.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["id"] for row in rows[:4]] == table["id"].tolist()
    for row, family in zip(rows, families(picked), strict=False):
        row["family"] = family
    pd.DataFrame(rows).to_csv(whole, index=False)
    before = pd.read_parquet(half.collection).set_index("id")
    embed = ("embed", half.folder / "photos", "--table", whole, "--encoder", "pixels")
    assert run(*embed, "-w", half.folder).code == 0
    after = pd.read_parquet(half.collection).set_index("id")
    assert set(after.index) == set(before.index)
    assert after["family"].notna().sum() == before["family"].notna().sum() + 4
    assert (after.loc[before.index, "note"].fillna("") == before["note"].fillna("")).all()


def test_fit_takes_the_picks_as_new_labels(photos, tmp_path, run):
    assert run("embed", photos, "--encoder", "pixels", "-w", tmp_path).code == 0
    assert run("split", "--test", "0.2", "-w", tmp_path).code == 0
    picked = pick(Workspace(tmp_path), 6, everything=True)
    assert not (picked.photos.side[picked.rows] == "test").any()
    path = tmp_path / "pick" / "pick.csv"
    table = pd.read_csv(path, dtype=str)
    table["family"] = "felidae"
    table.to_csv(path, index=False)
    done = run("fit", "--head", "centroid", "--relabel", path, "-w", tmp_path)
    assert done.code == 0
    assert "relabelled" in done.out + done.err


def test_uncertainty_asks_about_photos_between_two_families(tmp_path, run):
    rows = []
    (tmp_path / "p").mkdir()
    for family in ("felidae", "anatidae"):
        for i in range(8):
            name = f"{family} {i}.png"
            photo(COLOURS[family], len(rows), noise=15).save(tmp_path / "p" / name)
            rows.append({"file_path": name, "family": family})
    middle = tuple((np.array(COLOURS["felidae"]) + COLOURS["anatidae"]) // 2)
    for i, colour in enumerate([COLOURS["felidae"]] * 3 + [middle] * 3 + [COLOURS["anatidae"]] * 3):
        name = f"{'between' if colour == middle else 'plain'} {i}.png"
        photo(colour, 100 + i, noise=15).save(tmp_path / "p" / name)
        rows.append({"file_path": name, "family": ""})
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    embed = ("embed", tmp_path / "p", "--table", tmp_path / "t.csv", "--encoder", "pixels")
    assert run(*embed, "-w", tmp_path).code == 0
    workspace = Workspace(tmp_path)
    with pytest.raises(UserError, match="cli fit"):
        pick(workspace, 3, "uncertainty")
    assert run("fit", "--head", "logreg", "-w", tmp_path).code == 0
    picked = pick(workspace, 3, "uncertainty")
    assert {name.split()[0] for name in picked.photos.rows["file_path"].iloc[picked.rows]} == {
        "between"
    }
    assert picked.scores.tolist() == sorted(picked.scores, reverse=True)
    both = pick(workspace, 1, "both")
    assert both.photos.rows["file_path"].iloc[both.rows[0]].startswith("between")
    assert both.run == picked.run


def test_what_there_is_nothing_to_do_about_is_said(photos, tmp_path, run):
    assert run("embed", photos, "--encoder", "pixels", "-w", tmp_path).code == 0
    workspace = Workspace(tmp_path)
    with pytest.raises(UserError, match="--all"):
        pick(workspace, 5)
    with pytest.raises(UserError, match="1 or more"):
        pick(workspace, 0)
    with pytest.raises(UserError, match="asks no run"):
        pick(workspace, 5, run="knn")
