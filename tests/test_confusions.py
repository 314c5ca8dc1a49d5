"""Confusions: counts are scikit-learn's, and the evidence is the nearest by brute force."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score

from classify.confusions import confused_pairs, confusion_report, order_of_classes, worst_classes
from classify.dataset import Dataset
from classify.errors import confident_errors
from classify.runs import Predictions


def dataset(X: Any, y: Any, name: str) -> Dataset:
    ids = [f"{name}{i:03}" for i in range(len(y))]
    paths = [f"/photos/{i}.jpg" for i in ids]
    rows = pd.DataFrame({"id": ids, "path": paths, "file_path": ids, "key": ids})
    return Dataset(rows, X, y, np.full(len(y), name), np.array(ids), "family", ())


def world(seed: int = 0, unseen: bool = False) -> tuple[Predictions, Dataset, Dataset]:
    """Six classes, told by their nearest mean; `unseen` gives the tested ones a class more."""
    X, y = embeddings((12,) * 7, dim=8, spread=1.4, seed=seed)
    tested = np.arange(len(y)) % 3 == 0
    last = y == "family 6"
    train = dataset(X[~tested & ~last], y[~tested & ~last], "train")
    held = tested if unseen else tested & ~last
    held_out = dataset(X[held], y[held], "test")
    classes = np.unique(train.y)
    means = np.stack([train.X[train.y == name].mean(axis=0) for name in classes])
    logits = 4 * held_out.X @ means.T
    P = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(held_out.ids, held_out.y, P, classes), train, held_out


def matrix(report: dict[str, Any]) -> np.ndarray:
    """The whole matrix from its triplets."""
    C = len(report["order"])
    counts = np.zeros((C, C), dtype=int)
    cells = report["counts"]
    counts[cells["truth"], cells["predicted"]] = cells["n"]
    return counts


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 99), st.booleans())
def test_counts_are_scikit_learns(seed: int, unseen: bool) -> None:
    predictions, train, held_out = world(seed, unseen)
    report = confusion_report(predictions, train, held_out)
    expected = confusion_matrix(predictions.y, predictions.predicted, labels=report["order"])
    np.testing.assert_array_equal(matrix(report), expected)
    assert sorted(report["order"]) == sorted({*predictions.classes, *predictions.y})
    assert bool(report["notes"]) == unseen
    assert all(n > 0 for n in report["counts"]["n"])


def test_pairs_are_the_heaviest_cells_off_the_diagonal() -> None:
    order = ["a", "b", "c"]
    counts = np.array([[5, 3, 0], [1, 9, 3], [0, 2, 0]])
    pairs = confused_pairs(counts, order)
    found = [(p["truth"], p["predicted"], p["n"], p["share"], p["back"]) for p in pairs]
    assert found == [
        ("a", "b", 3, 3 / 8, 1),  # as many as the next, of fewer photos
        ("b", "c", 3, 3 / 13, 2),
        ("c", "b", 2, 1.0, 3),
        ("b", "a", 1, 1 / 13, 3),
    ]
    assert confused_pairs(counts, order, most=1) == pairs[:1]
    assert confused_pairs(np.diag([3, 4]), ["a", "b"]) == []


def test_evidence_is_the_nearest_by_brute_force() -> None:
    predictions, train, held_out = world()
    report = confusion_report(predictions, train, held_out)
    cosines = held_out.X.astype(float) @ train.X.astype(float).T
    row_of = {name: i for i, name in enumerate(predictions.ids)}
    assert report["pairs"]
    for pair in report["pairs"]:
        asked = (predictions.y == pair["truth"]) & (predictions.predicted == pair["predicted"])
        assert asked.sum() == pair["n"]
        assert len(pair["examples"]) == min(3, pair["n"])
        sure = [e["probability"] for e in pair["examples"]]
        assert sure == sorted(predictions.P[asked].max(axis=1), reverse=True)[:3]
        for example in pair["examples"]:
            i = row_of[example["id"]]
            assert asked[i]
            assert example["path"] == held_out.rows["path"][i]
            rows = np.flatnonzero(train.y == pair["predicted"])
            best = rows[np.argsort(-cosines[i, rows])][:3]
            assert [p["id"] for p in example["pulled_by"]] == [train.ids[j] for j in best]
            assert {p["label"] for p in example["pulled_by"]} == {pair["predicted"]}
            for near, j in zip(example["pulled_by"], best, strict=True):
                assert near["similarity"] == pytest.approx(cosines[i, j], abs=1e-6)
            own = cosines[i, train.y == pair["truth"]].max()
            assert example["own"]["similarity"] == pytest.approx(own, abs=1e-6)
            assert example["own"]["label"] == pair["truth"]


def test_a_class_without_a_training_photo_has_no_own_one() -> None:
    predictions, train, held_out = world(unseen=True)
    report = confusion_report(predictions, train, held_out)
    examples = [e for p in report["pairs"] if p["truth"] == "family 6" for e in p["examples"]]
    assert examples
    assert all(e["own"] is None and e["pulled_by"] for e in examples)
    assert "family 6" not in [w["class"] for w in report["worst"]]


def test_worst_classes_have_scikit_learns_f1() -> None:
    predictions, train, held_out = world()
    report = confusion_report(predictions, train, held_out)
    f1 = f1_score(predictions.y, predictions.predicted, labels=report["order"], average=None)
    values = dict(zip(report["order"], f1, strict=True))
    worst = report["worst"]
    assert [w["f1"] for w in worst] == pytest.approx(sorted(v for v in f1 if v < 1))
    for one in worst:
        assert one["f1"] == pytest.approx(values[one["class"]])
        wrong = predictions.y[predictions.y != predictions.predicted]
        assert sum(n for _, n in one["taken_for"]) == (wrong == one["class"]).sum()


def test_worst_names_what_a_class_is_taken_for() -> None:
    counts = np.array([[1, 2, 4, 0], [0, 9, 0, 0], [0, 0, 8, 0], [0, 0, 3, 0]])
    worst = worst_classes(counts, ["a", "b", "c", "d"], {"a", "b", "c"})
    assert [w["class"] for w in worst] == ["a", "c", "b"]  # d was never trained
    assert worst[0]["taken_for"] == [["c", 4], ["b", 2]]
    assert worst[1]["taken_for"] == []


def test_order_by_taxonomy() -> None:
    predictions, train, _ = world()
    lineage = {
        "family 0": ("plants", "roses"),
        "family 1": ("animals", None),
        "family 2": ("animals", "cats"),
        "family 3": ("plants", "lilies"),
        "family 4": ("animals", "cats"),
    }
    order, by = order_of_classes(predictions, train, lineage)
    assert by == "taxonomy"
    assert set(order[:2]) == {"family 2", "family 4"}
    assert order[2:] == [f"family {i}" for i in (1, 3, 0, 5)]
    clusters, _ = order_of_classes(predictions, train)
    assert order[:2] == [name for name in clusters if name in order[:2]]
    as_list = [lineage.get(name, (float("nan"), None)) for name in predictions.classes.tolist()]
    assert order_of_classes(predictions, train, as_list) == (order, "taxonomy")
    with_own = {name: (*ranks, name) for name, ranks in lineage.items()}
    assert order_of_classes(predictions, train, with_own) == (order, "taxonomy")


def test_a_lineage_that_says_nothing_is_none() -> None:
    predictions, train, _ = world()
    plain = order_of_classes(predictions, train)
    assert plain[1] == "clustering"
    assert order_of_classes(predictions, train, [(None,)] * 6) == plain
    assert order_of_classes(predictions, train, {}) == plain
    own = [("animals", name) for name in predictions.classes.tolist()]
    assert order_of_classes(predictions, train, own) == plain


def test_clustering_puts_like_beside_like() -> None:
    """Classes in three far corners, named so that the alphabet tears them apart."""
    corners = np.eye(3, 10).repeat(2, axis=0)
    X = np.repeat(corners, 5, axis=0) + 0.05 * np.random.default_rng(0).normal(size=(30, 10))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    y = np.repeat(np.array(["a", "d", "b", "e", "c", "f"]), 5)
    train = dataset(X.astype(np.float32), y, "train")
    classes = np.unique(y)
    predictions = Predictions(train.ids, y, np.full((30, 6), 1 / 6), classes)
    order, by = order_of_classes(predictions, train)
    assert by == "clustering"
    place = {name: i for i, name in enumerate(order)}
    for a, b in ("ad", "be", "cf"):
        assert abs(place[a] - place[b]) == 1


def test_hubs_count_what_they_pulled() -> None:
    predictions, train, held_out = world()
    report = confusion_report(predictions, train, held_out)
    cosines = held_out.X.astype(float) @ train.X.astype(float).T
    near = np.argsort(-cosines, axis=1)[:, :10]
    row_of = {name: i for i, name in enumerate(train.ids)}
    wrong = predictions.predicted != predictions.y
    assert report["hubness"]["k"] == 10
    assert len(report["hubs"]) == 20
    for hub in report["hubs"] + report["pullers"]:
        j = row_of[hub["id"]]
        by = (near == j).any(axis=1)
        assert hub["tested"] == by.sum()
        assert hub["wrong"] == (by & wrong & (predictions.predicted == train.y[j])).sum()
    times = [hub["times"] for hub in report["hubs"]]
    assert times == sorted(times, reverse=True)
    pulled = [one["wrong"] for one in report["pullers"]]
    assert pulled == sorted(pulled, reverse=True)
    assert pulled[-1] > 0


def test_errors_have_their_photos_and_the_nearest() -> None:
    predictions, train, held_out = world()
    errors = confident_errors(predictions, train, held_out)
    assert errors == confusion_report(predictions, train, held_out)["errors"]
    cosines = held_out.X.astype(float) @ train.X.astype(float).T
    for error in errors:
        best = np.argsort(-cosines[error["row"]])[:3]
        assert [n["id"] for n in error["neighbours"]] == [train.ids[j] for j in best]
        assert [n["path"] for n in error["neighbours"]] == train.rows["path"][best].tolist()
        assert error["path"] == held_out.rows["path"][error["row"]]
        assert error["label"] != error["predicted"]


def test_nothing_wrong_is_no_confusion() -> None:
    _, train, held_out = world()
    classes = np.unique(train.y)
    P = (held_out.y[:, None] == classes).astype(float)
    report = confusion_report(Predictions(held_out.ids, held_out.y, P, classes), train, held_out)
    assert report["pairs"] == report["worst"] == report["errors"] == report["pullers"] == []
    assert np.trace(matrix(report)) == len(held_out)
    json.dumps(report, allow_nan=False)


def test_a_report_is_plain_json() -> None:
    json.dumps(confusion_report(*world(unseen=True)), allow_nan=False)
