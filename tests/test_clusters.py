"""Planted clusters are found by either method, whatever the order, and also from a sample."""

import csv

import numpy as np
import pytest
from conftest import embeddings
from sklearn.metrics import adjusted_rand_score

from classify.base import unit_rows
from classify.cluster_agreement import agreement
from classify.cluster_report import cluster_collection
from embed.errors import UserError
from embed.workspace import Workspace
from retrieval.clusters import METHODS, central_rows, cluster_rows

SIZES = (60, 40, 30, 20)


@pytest.mark.parametrize("method", METHODS)
def test_planted_clusters_are_found_and_numbered_by_size(method):
    X, y = embeddings(SIZES, dim=30, spread=0.25)
    found = cluster_rows(X, method)
    inside = found.cluster > 0
    assert inside.mean() > 0.9
    assert adjusted_rand_score(y[inside], found.cluster[inside]) == 1
    assert found.n_clusters == 4
    assert [len(set(y[found.cluster == i])) for i in (1, 2, 3, 4)] == [1, 1, 1, 1]
    sizes = np.bincount(found.cluster, minlength=5)[1:]
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)
    assert ((found.membership >= 0) & (found.membership <= 1)).all()
    assert min(found.stability) > 0.85
    if method == "kmeans":
        assert max(found.silhouettes, key=lambda n: found.silhouettes[n]) == 4


@pytest.mark.parametrize("method", METHODS)
def test_the_rest_joins_a_sample(method):
    X, y = embeddings(SIZES, dim=30, spread=0.25)
    found = cluster_rows(X, method, sample=75)
    assert found.sampled == 75
    inside = found.cluster > 0
    assert inside.mean() > 0.8
    assert adjusted_rand_score(y[inside], found.cluster[inside]) == 1


def on_the_sphere(n, dim, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return unit_rows(rows)


def test_what_lies_between_belongs_to_none_or_hardly():
    X, _ = embeddings(SIZES, dim=10, spread=0.15)
    found = cluster_rows(np.vstack([X, on_the_sphere(20, 10)]), "hdbscan")
    assert (found.cluster[:150] > 0).all()
    assert (found.cluster[150:] == 0).mean() > 0.5
    assert (found.membership[found.cluster == 0] == 0).all()
    assert found.membership[150:].mean() < 0.3 < found.membership[:150].mean()


def test_clusters_of_nothing_are_not_stable():
    X, _ = embeddings(SIZES, dim=10, spread=0.15)
    none = cluster_rows(on_the_sphere(150, 10), "kmeans", 8)
    assert max(none.stability) < 0.7 < min(cluster_rows(X, "kmeans", 4).stability)


@pytest.mark.parametrize("method", METHODS)
def test_an_equal_seed_gives_equal_clusters(method):
    X, _ = embeddings(SIZES, dim=12, spread=0.6)
    first, again = (cluster_rows(X, method, seed=3, sample=100) for _ in range(2))
    np.testing.assert_array_equal(first.cluster, again.cluster)
    np.testing.assert_array_equal(first.membership, again.membership)
    assert first.stability == again.stability


def test_central_photos_are_those_nearest_the_mean():
    X, y = embeddings(SIZES, dim=12, spread=0.5)
    cluster = np.unique(y, return_inverse=True)[1] + 1
    rows = central_rows(X, cluster, 2, 5)
    own = np.flatnonzero(cluster == 2)
    cosines = X[own] @ X[own].mean(axis=0)
    assert rows.tolist() == own[np.argsort(-cosines)[:5]].tolist()


def test_agreement_by_hand():
    labels = ["cat", "cat", "cat", "dog", "dog", "", "owl"]
    said = agreement(labels, np.array([1, 1, 2, 2, 2, 1, 0]))
    assert (said.photos, said.clustered) == (6, 5)
    assert said.figures["purity"] == pytest.approx(4 / 5)
    assert [m.labels for m in said.mixtures] == [[("cat", 2)], [("dog", 2), ("cat", 1)]]
    assert [m.photos for m in said.mixtures] == [3, 3]
    assert said.mixtures[1].purity == pytest.approx(2 / 3)
    assert said.mixtures[1].words() == "dog 2, cat 1"
    assert said.everything["purity"] == pytest.approx(5 / 6)  # the owl is alone in none


def test_agreement_is_1_for_the_classes_and_about_0_for_chance():
    rng = np.random.default_rng(0)
    y = rng.choice(["a", "b", "c"], 600)
    same = agreement(y.tolist(), np.unique(y, return_inverse=True)[1] + 1).figures
    assert set(same.values()) == {1.0}
    chance = agreement(y.tolist(), rng.integers(1, 4, 600)).figures
    assert abs(chance["adjusted_rand"]) < 0.02
    assert abs(chance["adjusted_mutual_information"]) < 0.02
    assert agreement([""] * 4, np.ones(4, int)).figures == {}


@pytest.fixture
def workspace(photos, tmp_path, run):
    assert run("embed", photos, "--encoder", "pixels", "-w", tmp_path).code == 0
    return Workspace(tmp_path)


def test_the_command_writes_clusters_and_compares_them_with_the_labels(workspace):
    found = cluster_collection(workspace, clusters=5)
    assert found.agreement.figures["adjusted_rand"] > 0.8  # colours are families here
    with (workspace.folder / "cluster" / "cluster.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["id", "file_path", "cluster", "membership", "label"]
    assert [row["id"] for row in rows] == found.photos.ids
    assert [row["cluster"] for row in rows] == [str(c) for c in found.found.cluster]
    assert sum(found.to_json()["sizes"]) == 60
    assert "adjusted Rand" in "\n".join(found.lines())
    assert len(found.lines()) < 25


def test_test_labels_are_not_compared(workspace, run):
    assert run("split", "--test", "0.25", "-w", workspace.folder).code == 0
    found = cluster_collection(workspace, clusters=5)
    assert found.agreement.photos == 45
    assert (found.labels[found.photos.side == "test"] == "").all()
    assert "15 test photos" in "\n".join(found.lines())


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"clusters": 1}, "from 2"),
        ({"clusters": 99}, "60 photos"),
        ({"clusters": 4, "method": "hdbscan"}, "itself"),
        ({"min_size": 1}, "from 2"),
        ({"min_size": 5, "method": "kmeans"}, "--clusters"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(workspace, asked, why):
    with pytest.raises(UserError, match=why):
        cluster_collection(workspace, **asked)


def test_no_cluster_is_said(workspace):
    found = cluster_collection(workspace, min_size=60)
    assert found.found.n_clusters == 0
    assert "no cluster was found" in "\n".join(found.lines())
