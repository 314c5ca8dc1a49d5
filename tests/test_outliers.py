"""Distances to neighbours are scikit-learn's, and what was planted apart comes first."""

import csv

import numpy as np
import pytest
from conftest import COLOURS, embeddings, photo
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from classify.base import unit_rows
from classify.class_outliers import LEAST
from classify.outlier_report import HEADER, find_outliers
from embed.errors import UserError
from embed.workspace import Workspace
from retrieval.outliers import isolation, percentile


def keys(n):
    return [f"{i:04}" for i in range(n)]


@given(n=st.integers(12, 80), k=st.integers(1, 10), seed=st.integers(0, 500))
@settings(deadline=None, max_examples=25)
def test_distances_and_factors_are_those_of_scikit_learn(n, k, seed):
    X = unit_rows(np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32))
    found = isolation(X, keys(n), k)
    X64 = X.astype(np.float64)
    distances, _ = NearestNeighbors(n_neighbors=k + 1).fit(X64).kneighbors(X64)
    np.testing.assert_allclose(found.distance, distances[:, -1], atol=1e-5)
    lof = LocalOutlierFactor(n_neighbors=k).fit(X64)
    np.testing.assert_allclose(found.lof, -lof.negative_outlier_factor_, rtol=1e-4)


def test_copies_of_an_odd_photo_do_not_hide_it():
    X, _ = embeddings((40, 40), dim=8, spread=0.2)
    odd = unit_rows(np.random.default_rng(5).normal(size=(1, 8)).astype(np.float32))
    alone = isolation(np.vstack([X, odd]), keys(81), 5)
    copied = isolation(np.vstack([X, *[odd] * 20]), keys(80) + ["odd"] * 20, 5)
    assert alone.distance.argmax() == 80
    np.testing.assert_array_equal(copied.distance[80:], alone.distance[80])
    np.testing.assert_array_equal(copied.lof[80:], alone.lof[80])
    assert (copied.near[80:] < 80).all()  # a copy is no neighbour


def test_two_photos_of_one_content_have_no_neighbours():
    X = np.ones((2, 3), np.float32) / np.sqrt(np.float32(3))
    found = isolation(X, ["a", "a"])
    assert found.k == 0
    assert found.distance.tolist() == [0, 0]


def test_percentiles_are_ranks():
    assert percentile(np.array([3.0, 1.0, 2.0])).tolist() == [100, 0, 50]
    assert percentile(np.array([1.0, 1.0])).tolist() == [50, 50]


@pytest.fixture
def workspace(tmp_path, run):
    """Two families of 15 photos, one black and white one under a wrong family, 3 of a third."""
    for family, colour, n in (("felidae", COLOURS["felidae"], 15),
                              ("rosaceae", COLOURS["rosaceae"], 15),
                              ("tiny", COLOURS["anatidae"], 3)):  # fmt: skip
        (tmp_path / "p" / family).mkdir(parents=True)
        for i in range(n):
            photo(colour, 100 + i, noise=10).save(tmp_path / "p" / family / f"{i:02}.png")
    photo(COLOURS["rosaceae"], 999, noise=10).save(tmp_path / "p" / "felidae" / "wrong.png")
    image = photo((120, 120, 120), 1, noise=0)
    image.paste((255, 255, 255), (0, 0, 20, 40))
    image.paste((0, 0, 0), (20, 0, 48, 40))
    image.save(tmp_path / "p" / "rosaceae" / "odd.png")
    assert run("embed", tmp_path / "p", "--encoder", "pixels", "-w", tmp_path).code == 0
    return Workspace(tmp_path)


def test_planted_odd_ones_come_first_overall_and_in_their_class(workspace):
    found = find_outliers(workspace, k=2)
    names = found.photos.rows["file_path"]
    assert names.iloc[found.order[0]] == "rosaceae/odd.png"
    within = [names.iloc[row] for row in found.within.table["row"]]
    assert set(within[:2]) == {"felidae/wrong.png", "rosaceae/odd.png"}
    assert found.within.unjudged == 3 < LEAST
    rank = {names.iloc[row]: i for i, row in enumerate(found.order)}
    assert rank["felidae/wrong.png"] > 5  # among all it has its like


def test_the_table_has_every_photo_once(workspace):
    found = find_outliers(workspace, k=5, by="lof")
    with (workspace.folder / "outliers" / "outliers.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == HEADER
    assert [int(row["rank"]) for row in rows] == list(range(1, len(found.photos) + 1))
    assert {row["id"] for row in rows} == set(found.photos.ids)
    lof = [float(row["lof"]) for row in rows]
    assert lof == sorted(lof, reverse=True)
    assert rows[0]["lof_percentile"] == "100.00"


def test_labels_of_test_photos_are_not_read(workspace, run):
    assert run("split", "--test", "0.3", "-w", workspace.folder).code == 0
    found = find_outliers(workspace, k=5)
    tested = np.flatnonzero(found.photos.side == "test")
    assert len(tested)
    assert not set(tested) & set(found.within.table["row"])
    assert all(row["label"] == "" for row in found.rows() if row["side"] == "test")
    assert "test photos" in "\n".join(found.lines())


def test_without_labels_only_the_whole_is_looked_at(tmp_path, run):
    (tmp_path / "p").mkdir()
    for i in range(8):
        photo(COLOURS["canidae"], i).save(tmp_path / "p" / f"{i}.png")
    assert run("embed", tmp_path / "p", "--encoder", "pixels", "-w", tmp_path).code == 0
    found = find_outliers(Workspace(tmp_path))
    assert found.within is None
    assert found.apart.k == 7  # as many as there are
    assert found.to_json()["within_class"] is None
    with pytest.raises(UserError, match="--k"):
        find_outliers(Workspace(tmp_path), k=0)
