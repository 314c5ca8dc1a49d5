"""Probabilities of taxa are exact sums, and the figures of every rank are those of the sums."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.bootstrap import resamples
from classify.metrics import intervals
from classify.ranks import ANSWER_COLUMNS, rank_report
from classify.ratios import Sums
from classify.rolled_up import Ranked, expected_ranks, roll_up
from classify.runs import Predictions
from classify.severity import distance
from classify.taxonomy import Taxonomy

RANKS = ("kingdom", "order", "family")
LINEAGES = {
    "cat": ("animals", "meat", "cat"),
    "dog": ("animals", "meat", "dog"),
    "duck": ("animals", "geese", "duck"),
    "rose": ("plants", "roses", "rose"),
    "apple": ("plants", "roses", "apple"),
}
LIFE = Taxonomy("family", RANKS, LINEAGES)


def some(
    P: Any, y: Any, taxonomy: Taxonomy = LIFE, group: Any = None, classes: Any = None
) -> Predictions:
    classes = np.array(list(taxonomy.lineages) if classes is None else classes)
    ids = [f"p{i}" for i in range(len(y))]
    return Predictions(ids, np.array(y, dtype=str), np.array(P, dtype=float), classes, group=group)


def random_taxonomy(n_classes: int, n_ranks: int, seed: int, gaps: float = 0.2) -> Taxonomy:
    """Every taxon has one parent, a share of the names is missing."""
    rng = np.random.default_rng(seed)
    node = np.arange(n_classes)
    lines = [[f"c{i}" for i in node]]
    for r in range(n_ranks - 1):
        parent = rng.integers(0, max(1, n_classes // (2 + r)), n_classes)
        node = parent[node]
        missing = rng.random(n_classes) < gaps
        lines.append(["" if missing[i] else f"r{r}t{i}" for i in node])
    lineages = {line[-1]: line for line in zip(*lines[::-1], strict=True)}
    return Taxonomy("c", tuple(f"rank {r}" for r in range(n_ranks)), lineages)


def random_predictions(n: int, taxonomy: Taxonomy, seed: int, sure: float = 1.0) -> Predictions:
    rng = np.random.default_rng(seed)
    classes = sorted(taxonomy.lineages)
    P = rng.dirichlet(np.full(len(classes), 0.3), n)
    y = rng.choice(classes, n)
    P[np.arange(n), [classes.index(name) for name in y]] += sure * rng.random(n)
    return some(P / P.sum(axis=1, keepdims=True), y, classes=classes)


sizes = {
    "n_classes": st.integers(1, 30),
    "n_ranks": st.integers(1, 5),
    "seed": st.integers(0, 9999),
}


@settings(deadline=None, max_examples=60)
@given(**sizes)
def test_a_taxon_has_exactly_the_sum_of_what_is_within_it(
    n_classes: int, n_ranks: int, seed: int
) -> None:
    taxonomy = random_taxonomy(n_classes, n_ranks, seed)
    predictions = random_predictions(20, taxonomy, seed)
    node = taxonomy.tree(predictions.classes.tolist()).node
    rolled = roll_up(predictions.P, node)
    assert np.abs(rolled[-1] - predictions.P).max() < 1.2e-16
    for r in range(n_ranks):
        assert rolled[r].sum(axis=1) == pytest.approx(1, abs=1e-12)
        for finer in range(r, n_ranks):
            taxa = np.unique(node[:, [r, finer]], axis=0)
            for taxon in range(rolled[r].shape[1]):
                within = rolled[finer][:, taxa[taxa[:, 0] == taxon, 1]]
                assert (rolled[r][:, taxon] == within.sum(axis=1)).all()
                assert (rolled[r][:, taxon] >= within.max(axis=1)).all()


@settings(deadline=None, max_examples=60)
@given(**sizes)
def test_the_order_of_classes_changes_no_bit(n_classes: int, n_ranks: int, seed: int) -> None:
    taxonomy = random_taxonomy(n_classes, n_ranks, seed)
    one = random_predictions(20, taxonomy, seed)
    order = np.random.default_rng(seed).permutation(n_classes)
    other = some(one.P[:, order], one.y, classes=one.classes[order])
    a, b = Ranked.of(one, taxonomy), Ranked.of(other, taxonomy)
    where = np.argsort(order)
    for r in range(n_ranks):
        assert (a.P[r][:, a.node[:, r]] == b.P[r][:, b.node[where, r]]).all()
    assert (distance(a.truth, a.likeliest) == distance(b.truth, b.likeliest)).all()
    assert (a.on_one_line == b.on_one_line).all()


@settings(deadline=None, max_examples=40)
@given(**sizes)
def test_the_consistent_class_has_the_least_expected_distance(
    n_classes: int, n_ranks: int, seed: int
) -> None:
    taxonomy = random_taxonomy(n_classes, n_ranks, seed)
    predictions = random_predictions(20, taxonomy, seed)
    ranked = Ranked.of(predictions, taxonomy)
    far = (ranked.node[:, None] != ranked.node[None]).sum(axis=2)
    expected = predictions.P @ far
    assert n_ranks - expected_ranks(ranked.P, ranked.node) == pytest.approx(expected)
    chosen = (ranked.consistent[:, None] != ranked.node[None]).sum(axis=2)
    assert (predictions.P * chosen).sum(axis=1) == pytest.approx(expected.min(axis=1))


def test_a_rank_may_contradict_the_likeliest_class() -> None:
    P = [[0.3, 0.3, 0.0, 0.4, 0.0]]  # a rose, but rather an animal
    report, _ = rank_report(some(P, ["cat"]), LIFE, n_boot=20)
    kingdom, order, family = report["ranks"]
    assert (kingdom["accuracy"][0], order["accuracy"][0], family["accuracy"][0]) == (1, 1, 0)
    assert report["inconsistent"][0] == 1
    assert family["consistent_accuracy"][0] == 1
    assert "consistent_accuracy" not in kingdom
    assert report["severity"]["mean_distance"][0] == 3
    assert report["consistent"]["mean_distance"][0] == 0


def test_ranks_are_scored_like_labels_of_their_own() -> None:
    taxonomy = random_taxonomy(12, 4, 3, gaps=0)
    one = random_predictions(300, taxonomy, 1)
    group = np.repeat(np.arange(100), 3).astype(str)
    one = some(one.P, one.y, classes=one.classes, group=group)
    report, _ = rank_report(one, taxonomy, n_boot=200)
    assert [row["rank"] for row in report["ranks"]] == list(taxonomy.ranks)
    for r, row in enumerate(report["ranks"]):
        name = {c: line[r] for c, line in taxonomy.lineages.items()}
        taxa = sorted(set(name.values()))
        P = np.stack(
            [one.P[:, [name[c] == t for c in one.classes]].sum(axis=1) for t in taxa], axis=1
        )
        y = np.array([taxa.index(name[c]) for c in one.y])
        expected = intervals(y, P, ["accuracy", "macro_f1", "log_loss"], 200, groups=group)
        assert (row["classes"], row["photos"]) == (len(taxa), 300)
        for metric, figure in expected.items():
            assert row[metric] == pytest.approx(figure, abs=1e-9)


def test_a_class_without_training_photos_can_be_right_above_the_label() -> None:
    model = ["cat", "duck", "rose"]
    P = [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8]]
    yeti = some(P, ["dog", "apple", "yeti"], classes=model)
    report, rows = rank_report(yeti, LIFE, threshold=0.75, n_boot=20)
    kingdom, order, family = report["ranks"]
    assert kingdom["photos"] == 2  # nobody knows where a yeti belongs
    assert (kingdom["accuracy"][0], order["accuracy"][0], family["accuracy"][0]) == (1, 1, 0)
    assert family["classes"] == 3
    assert report["severity"]["errors_by_common_ancestor"] == {"order": 2, "kingdom": 0, "life": 1}
    assert [row["right"] for row in rows] == ["no", "no", "no"]
    assert "3 classes without a training photo" in report["notes"][0]
    assert "1 error beside an empty rank" in report["notes"][1]


def test_an_empty_rank_is_not_scored_and_joins_nobody() -> None:
    lineages = LINEAGES | {"dog": ("animals", "", "dog"), "duck": ("animals", "", "duck")}
    taxonomy = Taxonomy("family", RANKS, lineages)
    one = some(np.eye(5)[[0, 2, 1]], ["cat", "dog", "duck"], taxonomy)
    report, _ = rank_report(one, taxonomy, n_boot=20)
    order = report["ranks"][1]
    assert (order["photos"], order["classes"], order["accuracy"][0]) == (1, 2, 1)
    assert report["severity"]["errors_by_common_ancestor"] == {"order": 0, "kingdom": 2, "life": 0}


def test_one_rank_is_enough() -> None:
    taxonomy = Taxonomy("what", ("what",), {"a": ("a",), "b": ("b",)})
    report, rows = rank_report(some([[0.9, 0.1], [0.6, 0.4]], ["a", "b"], taxonomy), taxonomy)
    assert [row["rank"] for row in report["ranks"]] == ["what"]
    assert report["severity"]["errors_by_common_ancestor"] == {"life": 1}
    assert report["severity"]["average_mistake"][0] == 1
    assert report["inconsistent"][0] == 0
    assert [row["rank"] for row in rows] == ["what", "none"]


def test_what_all_share_counts_for_nothing() -> None:
    animals = {c: line for c, line in LINEAGES.items() if line[0] == "animals"}
    taxonomy = Taxonomy("family", RANKS, animals)
    one = some([[0.4, 0.2, 0.4]], ["duck"], taxonomy)
    report, rows = rank_report(one, taxonomy, n_boot=20)
    assert report["ranks"][0]["accuracy"][0] == 1
    assert (rows[0]["rank"], rows[0]["answer"]) == ("none", "")
    assert report["hierarchical"]["precision"][0] == 0
    assert report["severity"]["errors_by_common_ancestor"] == {"order": 0, "kingdom": 1}
    assert report["severity"]["average_mistake"] == [2, pytest.approx(0.41, abs=0.01), 2]


def test_the_report_is_json_and_its_rows_are_the_columns() -> None:
    taxonomy = random_taxonomy(20, 5, 0)
    report, rows = rank_report(random_predictions(50, taxonomy, 0), taxonomy, n_boot=50)
    json.dumps(report, allow_nan=False)
    assert list(rows[0]) == ANSWER_COLUMNS
    assert len(rows) == 50
    perfect = some(np.eye(5), list(LINEAGES))
    report, _ = rank_report(perfect, LIFE, n_boot=50)
    assert report["severity"]["average_mistake"] == [None, None, None]
    value, low, high = report["severity"]["mean_distance"]
    assert (value, low) == (0, 0)
    assert 0 < high < 3


def test_intervals_of_a_mean_hold_it_as_often_as_they_say() -> None:
    """Mean distance of 100 photos, drawn 300 times from known chances."""
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        far = rng.choice(4, 100, p=[0.6, 0.2, 0.1, 0.1])
        sums = Sums.of({"far": far, "photos": np.ones(100)}, n_boot=300, seed=seed)
        _, low, high = sums.share("far", "photos", most=3)
        assert low is not None
        assert high is not None
        held += low <= 0.7 <= high
    assert held / 300 == pytest.approx(0.95, abs=0.03)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 9999), grouped=st.booleans())
def test_sums_of_kinds_are_spread_as_those_of_photos(seed: int, grouped: bool) -> None:
    """Mean and spread of the drawn sums are those of drawing each photo or group by itself."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 3, (2, 60))
    groups = rng.integers(0, 20, 60) if grouped else None
    sums = Sums.of({"a": values[0], "b": values[1]}, 4000, seed, groups)
    weights = np.hstack(list(resamples(60, 4000, seed, groups))[1:])
    for name, one in zip("ab", values, strict=True):
        drawn, plain = sums.samples[name][1:], one @ weights
        assert sums.samples[name][0] == one.sum()
        assert drawn.mean() == pytest.approx(plain.mean(), abs=0.1 * plain.std())
        assert drawn.std() == pytest.approx(plain.std(), rel=0.08)


def test_whole_groups_are_drawn() -> None:
    far = np.repeat([0, 1], 50)
    values = {"far": far, "photos": np.ones(100)}
    alone = Sums.of(values).share("far", "photos")
    together = Sums.of(values, groups=np.repeat(np.arange(4), 25)).share("far", "photos")
    assert together[0] == alone[0] == 0.5
    assert together[1] == 0
    assert alone[1] == pytest.approx(0.4, abs=0.02)
