"""Photos of classes that nobody taught: told where they can be, and only there."""

from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import embeddings
from scipy.special import softmax

from classify.base import unit_rows
from classify.dataset import Dataset
from classify.heads import make_head
from classify.model import Model
from classify.stack import Stack, fit_pool
from classify.unknown import KEPT, Nearness, unknown_report


def dataset(X: Any, y: Any) -> Dataset:
    rows = pd.DataFrame({"id": [f"{i:04}.jpg" for i in range(len(y))]})
    return Dataset(rows, X, y, np.repeat("train", len(y)), rows["id"].to_numpy(str), "family", ())


def sides(X: Any, y: Any) -> tuple[Dataset, Dataset]:
    """Every third photo tests."""
    test = np.arange(len(y)) % 3 == 0
    return dataset(X[~test], y[~test]), dataset(X[test], y[test])


def fitted(train: Dataset, head: str = "logreg") -> Model:
    return Model(make_head(head)).fit(train)


@pytest.fixture(scope="module")
def apart() -> tuple[Dataset, Dataset]:
    """Ten classes, each far from all others."""
    return sides(*embeddings((36,) * 10, dim=60, spread=0.25))


def test_classes_far_from_all_others_are_told(apart: tuple[Dataset, Dataset]) -> None:
    train, test = apart
    found = unknown_report(fitted(train), train, test, n_boot=100)
    for name in ("max_probability", "max_logit", "energy", "knn"):
        assert found["scores"][name]["auroc"][0] > 0.97, name
    assert found["scores"]["knn"]["told"][0] > 0.9
    assert found["scores"]["knn"]["fpr95"][0] < 0.1


def test_every_class_is_left_out_once(apart: tuple[Dataset, Dataset]) -> None:
    train, test = apart
    found = unknown_report(fitted(train, "centroid"), train, test, n_boot=20)
    assert sorted(chain.from_iterable(found["left_out"])) == sorted(set(train.y))


def test_classes_like_the_known_ones_are_not_told() -> None:
    """Pairs of classes that lie in one place: a stranger looks like its twin."""
    X, y = embeddings((72,) * 6, dim=40, spread=0.5)
    twins = np.array([f"{name} {'ab'[i % 2]}" for i, name in enumerate(y)])
    train, test = sides(X[np.argsort(twins, kind="stable")], np.sort(twins))
    # one twin is left out at a time, its other half is known
    found = unknown_report(fitted(train, "knn"), train, test, rounds=6, seed=1, n_boot=100)
    assert 0.3 < found["scores"]["knn"]["auroc"][0] < 0.75


def test_the_threshold_keeps_the_known(apart: tuple[Dataset, Dataset]) -> None:
    X, y = embeddings((150,) * 6, dim=30, spread=0.8)
    train, test = sides(X, y)
    found = unknown_report(fitted(train, "lda"), train, test, n_boot=200)
    for name, score in found["scores"].items():
        assert abs(score["kept"][0] - KEPT) < 0.04, name
        low, high = score["kept"][1:]
        assert low <= score["kept"][0] <= high


def test_photos_of_a_class_without_training_photos_are_unknown_in_every_round(
    apart: tuple[Dataset, Dataset],
) -> None:
    train, test = apart
    gone = train.some(train.y != "family 3")
    found = unknown_report(fitted(gone, "knn"), gone, test, n_boot=20)
    assert "family 3" not in chain.from_iterable(found["left_out"])
    assert found["scores"]["knn"]["told"][0] > 0.9


def test_a_stack_is_fitted_anew_too(apart: tuple[Dataset, Dataset]) -> None:
    train, test = apart
    heads = {name: make_head(name).fit(train.X, train.y) for name in ("knn", "centroid")}
    P = [head.predict_proba(train.X) for head in heads.values()]
    index = np.unique(train.y, return_inverse=True)[1]
    pool = fit_pool(P, index, np.arange(len(index)) % 5, np.bincount(index))
    found = unknown_report(Model(Stack(heads, pool)), train, test, n_boot=20)
    assert set(found["scores"]) == {"max_probability", "knn"}
    assert found["scores"]["max_probability"]["auroc"][0] > 0.9


def test_nearness_is_the_mean_cosine_to_the_nearest() -> None:
    X, _ = embeddings((20, 20), dim=12)
    near = Nearness(X[:30])
    rows, new = (unit_rows(part - X[:30].mean(axis=0)) for part in (X[:30], X[30:]))
    expected = np.sort(new @ rows.T, axis=1)[:, -3:].mean(axis=1)
    np.testing.assert_allclose(near(X[30:]), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["logreg", "lda", "centroid", "knn"])
def test_logits_are_those_of_the_probabilities(name: str) -> None:
    X, y = embeddings((12, 9, 15))
    head = make_head(name).fit(X, y)
    logits = head.logits(X)
    if name == "knn":
        assert logits is None
        return
    np.testing.assert_allclose(softmax(logits, axis=1), head.predict_proba(X), atol=1e-5)
