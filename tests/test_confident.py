"""The finest rank that is sure enough answers, and answers lie within one another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ranks import LIFE, LINEAGES, RANKS, random_predictions, random_taxonomy, some

from classify.confident import CURVE, confident_answers
from classify.ranks import rank_report
from classify.rolled_up import roll_up
from classify.taxonomy import Taxonomy
from embed.errors import UserError

CLASSES = list(LINEAGES)
PHOTOS = [
    [0.95, 0.05, 0.0, 0.0, 0.0],  # a cat
    [0.50, 0.45, 0.05, 0.0, 0.0],  # cat or dog
    [0.40, 0.10, 0.45, 0.0, 0.05],  # some animal
    [0.30, 0.00, 0.20, 0.5, 0.0],  # no idea
]


def test_each_photo_is_answered_at_the_finest_rank_that_is_sure() -> None:
    found = confident_answers(PHOTOS, CLASSES, LIFE, 0.9)
    assert [answer[:2] for answer in found] == [
        ("family", "cat"), ("order", "meat"), ("kingdom", "animals"), ("none", ""),
    ]  # fmt: skip
    assert [p for _, _, p in found] == pytest.approx([0.95, 0.95, 0.95, 0.5])


def test_a_threshold_of_one_is_reached_by_certainty() -> None:
    P = np.full((1, 5), 0.2)
    P[0, :3] = 1 / 3, 1 / 3, 1 - 2 / 3
    P[0, 3:] = 0
    assert confident_answers(P, CLASSES, LIFE, 1.0)[0][:2] == ("kingdom", "animals")


@pytest.mark.parametrize("threshold", [-1, 0, 0.5, 1.01, float("nan")])
def test_a_threshold_must_be_likelier_than_not(threshold: float) -> None:
    with pytest.raises(UserError, match=r"more than 0\.5 .* --confidence 0\.9"):
        confident_answers(PHOTOS, CLASSES, LIFE, threshold)
    with pytest.raises(UserError, match="--confidence"):
        rank_report(some(PHOTOS, CLASSES[:4]), LIFE, threshold)


def test_a_taxon_without_name_is_no_answer() -> None:
    taxonomy = Taxonomy("family", RANKS, LINEAGES | {"duck": ("animals", "", "duck")})
    P = [[0.05, 0.05, 0.9, 0, 0], [0.1, 0.1, 0.8, 0, 0]]
    found = confident_answers(P, CLASSES, taxonomy, 0.9)
    assert [answer[:2] for answer in found] == [("family", "duck"), ("kingdom", "animals")]


@settings(deadline=None, max_examples=60)
@given(
    n_classes=st.integers(2, 25),
    n_ranks=st.integers(1, 5),
    seed=st.integers(0, 9999),
    threshold=st.floats(0.51, 1),
)
def test_no_finer_named_taxon_reaches_the_threshold(
    n_classes: int, n_ranks: int, seed: int, threshold: float
) -> None:
    taxonomy = random_taxonomy(n_classes, n_ranks, seed)
    one = random_predictions(30, taxonomy, seed)
    tree = taxonomy.tree(one.classes.tolist())
    rolled = roll_up(one.P, tree.node)
    found = confident_answers(one.P, one.classes, taxonomy, threshold)
    for i, (rank, taxon, p) in enumerate(found):
        reached = [
            (tree.ranks[r], str(tree.names[r][k]))
            for r in range(taxonomy.shared, n_ranks)
            for k in np.flatnonzero(rolled[r][i] >= threshold - 1e-9)
            if tree.names[r][k]
        ]
        assert (rank, taxon) == (reached[-1] if reached else ("none", ""))
        assert len({at for at, _ in reached}) == len(reached)
        if reached:
            line = next(x for x in taxonomy.lineages.values() if x[tree.ranks.index(rank)] == taxon)
            assert {name for _, name in reached} <= set(line)
            assert p >= threshold - 1e-9


def test_answers_are_counted_by_rank() -> None:
    one = some(PHOTOS, ["cat", "dog", "rose", "rose"])
    report, rows = rank_report(one, LIFE, 0.9, n_boot=100)
    part = report["confident"]
    assert part["answers"] == [
        {"rank": "family", "photos": 1, "right": 1},
        {"rank": "order", "photos": 1, "right": 1},
        {"rank": "kingdom", "photos": 1, "right": 0},
        {"rank": "none", "photos": 1, "right": 0},
    ]
    assert part["correct"][0] == pytest.approx(2 / 3)
    assert part["answered"][0] == 0.75
    assert part["mean_rank_answered"][0] == (3 + 2 + 1 + 0) / 4
    assert part["mean_probability"] == pytest.approx(0.95)
    assert part["hierarchical"]["precision"][0] == (3 + 2 + 0) / 6
    assert part["hierarchical"]["recall"][0] == (3 + 2 + 0 + 0) / 12
    assert part["holds"] is None
    assert [row["right"] for row in rows] == ["yes", "yes", "no", ""]
    assert rows[1] == {
        "id": "p1", "label": "dog", "answer": "meat", "rank": "order", "probability": 0.95,
        "right": "yes", "lineage": "animals|meat|cat",
    }  # fmt: skip


@pytest.mark.parametrize(("sharpened", "holds"), [(1.0, True), (8.0, False)])
def test_it_is_told_whether_the_promise_holds(sharpened: float, holds: bool) -> None:
    """Labels drawn from the probabilities keep it; overconfident probabilities do not."""
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.full(5, 0.4), 3000)
    y = [CLASSES[rng.choice(5, p=p)] for p in P]
    P = P**sharpened
    report, _ = rank_report(some(P / P.sum(axis=1, keepdims=True), y), LIFE, 0.8, n_boot=200)
    assert report["confident"]["holds"] is holds


def test_the_curve_gives_depth_for_certainty() -> None:
    taxonomy = random_taxonomy(20, 4, 5, gaps=0)
    one = random_predictions(200, taxonomy, 5)
    report, _ = rank_report(one, taxonomy, 0.9, n_boot=20)
    curve = report["confident"]["curve"]
    assert [point["threshold"] for point in curve] == list(CURVE)
    assert len(curve) <= 50
    depth = [point["mean_rank_answered"] for point in curve]
    assert depth == sorted(depth, reverse=True)
    assert len(set(depth)) > 10
    at = next(point for point in curve if point["threshold"] == 0.9)
    part = report["confident"]
    assert at["right"] == pytest.approx(part["correct"][0])
    assert at["answered"] == pytest.approx(part["answered"][0])
    assert at["mean_rank_answered"] == pytest.approx(part["mean_rank_answered"][0])


def test_nothing_sure_is_no_answer_and_no_error() -> None:
    report, rows = rank_report(some(np.full((3, 5), 0.2), CLASSES[:3]), LIFE, 1.0, n_boot=20)
    part = report["confident"]
    assert part["correct"] == [None, None, None]
    assert part["holds"] is None
    assert part["answered"][0] == 0
    assert {row["rank"] for row in rows} == {"none"}
