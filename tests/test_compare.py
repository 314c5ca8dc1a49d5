"""Two runs against each other: tests that equal the textbooks', and files that add up."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs_by_hand import CLASSES, guesses, make_run
from sklearn.metrics import f1_score, recall_score

from classify.compare import Comparison, compare, p_text
from classify.metrics import paired_difference
from classify.paired import Pair, holm, sign_test
from classify.runs import Predictions
from embed.collection import save_collection
from embed.errors import UserError
from embed.workspace import Workspace

SIZES = (4, 8, 30, 100)
Y = np.repeat(np.arange(4), SIZES)
N = len(Y)
EACH = np.arange(N).astype(str)
RNG = np.random.default_rng(0)
RIGHT_A, RIGHT_B = RNG.random(N) < 0.9, RNG.random(N) < 0.7
P_A, P_B = guesses(Y, RIGHT_A, 0.8), guesses(Y, RIGHT_B, 0.6)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make_run(tmp_path, "knn-a", Y, P_A)
    make_run(tmp_path, "lda-b", Y, P_B)
    return tmp_path


def compared(place: Path, part: str = "oof") -> Comparison:
    from classify.runs import named_run

    workspace = Workspace(place)
    return compare(workspace, named_run(workspace, "knn"), named_run(workspace, "lda"), part)


# ---- the tests


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_sign_test_is_twice_the_smaller_tail(more: int, less: int) -> None:
    n = more + less
    tail = sum(math.comb(n, k) for k in range(min(more, less) + 1)) / 2**n
    assert sign_test(more, less) == pytest.approx(min(1, 2 * tail))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_the_step_down_procedure(p: list[float]) -> None:
    """A claim stands at a level where it and all smaller ones pass p <= level / (how many left)."""
    corrected = holm(p)
    assert ((corrected >= np.array(p)) & (corrected <= 1)).all()
    for level in (0.01, 0.05, 0.3):
        stands = set()
        for step, i in enumerate(np.argsort(p, kind="stable").tolist()):
            if p[i] * (len(p) - step) > level:
                break
            stands.add(i)
        assert set(np.flatnonzero(corrected <= level).tolist()) == stands


def test_mcnemar_counts_photos_that_only_one_gets_right(place: Path) -> None:
    figures = compared(place).figures
    only_a, only_b = int((RIGHT_A & ~RIGHT_B).sum()), int((RIGHT_B & ~RIGHT_A).sum())
    assert (figures["only_a"], figures["only_b"]) == (only_a, only_b)
    assert figures["both_right"] == (RIGHT_A & RIGHT_B).sum()
    assert figures["both_wrong"] == (~RIGHT_A & ~RIGHT_B).sum()
    assert figures["p_mcnemar"] == sign_test(only_a, only_b)
    assert figures["p_groups"] is None


def test_p_over_groups_counts_a_group_once() -> None:
    """Ten frames of one animal prove no more than one."""
    y, group = np.zeros(20, dtype=int), np.repeat(["x", "y"], 10)
    ids = [f"{i:02}" for i in range(20)]
    a, b = (
        Predictions(ids, CLASSES[y], guesses(y, right), CLASSES, group=group)
        for right in (np.ones(20, dtype=bool), np.arange(20) >= 10)
    )
    pair = Pair(a, b)
    assert pair.p_mcnemar < 0.01
    assert pair.p_groups == 1


def test_a_pair_of_other_labels_is_a_bug() -> None:
    ids = ["0", "1"]
    one, two = (
        Predictions(ids, CLASSES[y], guesses(y, True), CLASSES)
        for y in (np.array([0, 1]), np.array([0, 2]))
    )
    with pytest.raises(ValueError, match="same labels"):
        Pair(one, two)


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0004, "p < .001"), (0.0049, "p = .005"), (0.25, "p = .250"), (1, "p = 1.000")],
)
def test_p_in_words(p: float, shown: str) -> None:
    assert p_text(p) == shown


# ---- what compare finds


def test_differences_are_those_of_the_paired_bootstrap(place: Path) -> None:
    metrics = {one["metric"]: one for one in compared(place).figures["metrics"]}
    assert list(metrics) == ["macro_f1", "accuracy", "top_5", "log_loss", "brier", "ece"]
    for name, one in metrics.items():
        expected = paired_difference(Y, P_A, P_B, name, groups=EACH)
        assert one["difference"] == pytest.approx(list(expected))
        assert one["a"][0] - one["b"][0] == pytest.approx(one["difference"][0])
    for name in ("macro_f1", "accuracy", "brier"):
        assert metrics[name]["reading"] == "A is better"  # of the Brier score less is
    assert metrics["top_5"]["reading"] == "no clear difference"


def test_classes_equal_scikit_learns_and_add_up(place: Path) -> None:
    found = compared(place)
    table = pd.read_csv(found.folder / "classes.csv").set_index("class")
    assert table.index.tolist() == CLASSES.tolist()
    assert table["photos"].tolist() == list(SIZES)
    assert table["size"].tolist() == [
        "under 10 photos", "under 10 photos", "10 to 49 photos", "50 photos or more"
    ]  # fmt: skip
    for side, P in (("a", P_A), ("b", P_B)):
        answer = P.argmax(axis=1)
        np.testing.assert_allclose(table[f"{side}_recall"], recall_score(Y, answer, average=None))
        np.testing.assert_allclose(table[f"{side}_f1"], f1_score(Y, answer, average=None))
        assert table[f"only_{side}"].sum() == found.figures[f"only_{side}"]
    for _, row in table.iterrows():
        assert row["p"] == pytest.approx(sign_test(int(row["only_a"]), int(row["only_b"])))
    np.testing.assert_allclose(table["p_holm"], holm(table["p"].tolist()))


def test_holm_counts_only_classes_that_differ(tmp_path: Path) -> None:
    """Elsewhere nothing could be found, so nothing has to be paid for looking."""
    right = np.ones(N, dtype=bool)
    less = right & ~((Y == 3) & (np.arange(N) % 8 == 0))
    make_run(tmp_path, "knn-a", Y, guesses(Y, right))
    make_run(tmp_path, "lda-b", Y, guesses(Y, less))
    found = compared(tmp_path)
    table = {one["class"]: one for one in found.classes}
    assert table["rosaceae"]["p_holm"] == table["rosaceae"]["p"] < 0.01
    assert table["felidae"]["p_holm"] == 1
    assert "for the 1 that differ: rosaceae (A)" in found.as_text()


def test_sizes_add_up(place: Path) -> None:
    found = compared(place)
    sizes = found.figures["sizes"]
    assert [one["size"] for one in sizes] == [
        "under 10 photos", "10 to 49 photos", "50 photos or more"
    ]  # fmt: skip
    assert [one["classes"] for one in sizes] == [2, 1, 1]
    assert sum(one["photos"] for one in sizes) == N
    assert sum(one["only_a"] for one in sizes) == found.figures["only_a"]
    rare = [one["a_f1"] for one in found.classes[:2]]
    assert sizes[0]["a_f1"] == pytest.approx(np.mean(rare))
    for one in sizes:
        value, low, high = one["difference"]
        assert value == pytest.approx(one["a_f1"] - one["b_f1"])
        assert low <= value <= high


def test_photos_that_get_two_answers_are_listed(place: Path) -> None:
    found = compared(place)
    table = pd.read_csv(found.folder / "photos.csv", dtype={"id": str})
    answer_a, answer_b = CLASSES[P_A.argmax(axis=1)], CLASSES[P_B.argmax(axis=1)]
    differ = np.flatnonzero(answer_a != answer_b)
    assert sorted(table["id"]) == [f"{i:04}.jpg" for i in differ]
    rows = table["id"].str[:4].astype(int).to_numpy()
    assert (table["label"] == CLASSES[Y[rows]]).all()
    assert (table["a_answer"] == answer_a[rows]).all()
    assert (table["b_answer"] == answer_b[rows]).all()
    assert (table["a_probability"] == 0.8).all()
    right = np.where(RIGHT_A[rows], "a", np.where(RIGHT_B[rows], "b", "neither"))
    assert (table["right"] == right).all()
    assert table["right"].tolist() == sorted(right)
    assert table["file_path"].isna().all()  # no collection here


def test_photos_have_their_paths_where_the_collection_is_there(place: Path) -> None:
    ids = [f"{i:04}.jpg" for i in range(N)]
    rows = pd.DataFrame({"id": ids, "family": CLASSES[Y], "key": "k", "path": "/p"})
    rows["file_path"] = "folder/" + rows["id"]
    save_collection(rows, "family", place, Workspace(place).collection)
    table = pd.read_csv(compared(place).folder / "photos.csv")
    assert (table["file_path"] == "folder/" + table["id"]).all()


def test_files_are_where_the_answer_says(place: Path) -> None:
    found = compared(place)
    assert found.folder == place / "comparisons" / "knn-a--lda-b"
    assert {path.name for path in found.folder.iterdir()} == {
        "photos.csv", "classes.csv", "figures.json"
    }  # fmt: skip
    assert json.loads((found.folder / "figures.json").read_text()) == found.figures
    assert str(found.folder / "photos.csv") in found.as_text()


def test_long_names_make_a_folder_all_the_same(tmp_path: Path) -> None:
    one = make_run(tmp_path, "knn-" + "a" * 200, Y, P_A)
    two = make_run(tmp_path, "lda-" + "b" * 200, Y, P_B)
    other = make_run(tmp_path, "lda-" + "b" * 201, Y, P_B)
    workspace = Workspace(tmp_path)
    assert compare(workspace, one, two).folder != compare(workspace, one, other).folder


def test_swapping_the_runs_swaps_the_answer(place: Path) -> None:
    from classify.runs import named_run

    workspace = Workspace(place)
    a, b = named_run(workspace, "knn"), named_run(workspace, "lda")
    one, two = compare(workspace, a, b), compare(workspace, b, a)
    assert one.figures["only_a"] == two.figures["only_b"]
    assert one.figures["p_mcnemar"] == two.figures["p_mcnemar"]
    for x, y in zip(one.figures["metrics"], two.figures["metrics"], strict=True):
        value, low, high = x["difference"]
        assert y["difference"] == pytest.approx([-value, -high, -low])
    assert len(one.photos) == len(two.photos)


# ---- notes


def test_groups_get_a_note_and_a_p_of_their_own(tmp_path: Path) -> None:
    group = np.arange(N) // 3
    make_run(tmp_path, "knn-a", Y, P_A, group=group)
    make_run(tmp_path, "lda-b", Y, P_B, group=group)
    found = compared(tmp_path)
    assert "no independent witnesses" in found.notes[0]
    assert found.figures["groups"] == 48
    net = np.bincount(group, RIGHT_A.astype(float) - RIGHT_B)
    expected = sign_test(int((net > 0).sum()), int((net < 0).sum()))
    assert found.figures["p_groups"] == pytest.approx(expected)
    assert f"over groups {p_text(expected)}" in found.as_text()


def test_other_folds_get_a_note(tmp_path: Path) -> None:
    make_run(tmp_path, "knn-a", Y, P_A)
    make_run(tmp_path, "lda-b", Y, P_B, fold=np.arange(N) % 4)
    (note,) = compared(tmp_path).notes
    assert "other folds" in note
    assert compared(tmp_path).figures["notes"] == [note]


# ---- refusals


def test_one_run_is_no_pair(place: Path) -> None:
    from classify.runs import named_run

    run = named_run(Workspace(place), "knn")
    with pytest.raises(UserError, match="Both names mean knn-a"):
        compare(Workspace(place), run, run)


@pytest.mark.parametrize("change", ["photos", "labels", "groups", "data"])
def test_other_photos_are_refused_with_what_to_do(tmp_path: Path, change: str) -> None:
    make_run(tmp_path, "knn-a", Y, P_A)
    wide: dict[str, Any] = {"split": "wide"}
    if change == "photos":
        make_run(tmp_path, "lda-b", Y[1:], P_B[1:], **wide)
    elif change == "labels":
        make_run(tmp_path, "lda-b", Y[::-1], P_B, **wide)
    elif change == "groups":
        make_run(tmp_path, "lda-b", Y, P_B, group=np.arange(N) // 2, **wide)
    else:
        make_run(tmp_path, "lda-b", Y, P_B, facts={"data": "0ther"}, **wide)
    with pytest.raises(UserError) as caught:
        compared(tmp_path)
    assert "did not have the same photos, labels and groups" in str(caught.value)
    assert "split 'default'" in str(caught.value)
    assert "`cli fit --head lda --encoder pixels --split wide`" in str(caught.value)
    assert not (tmp_path / "comparisons").exists()


def test_test_photos_need_both_to_be_evaluated(tmp_path: Path) -> None:
    y = np.repeat(np.arange(4), 10)
    right = np.arange(40) % 4 > 0
    make_run(tmp_path, "knn-a", Y, P_A, test=(y, guesses(y, right)))
    make_run(tmp_path, "lda-b", Y, P_B)
    with pytest.raises(UserError, match="Run `cli evaluate lda-b` first"):
        compared(tmp_path, "test")
    make_run(tmp_path, "lda-b", Y, P_B, test=(y, guesses(y, ~right)))
    found = compared(tmp_path, "test")
    assert found.folder == tmp_path / "comparisons" / "knn-a--lda-b" / "test"
    assert (found.figures["only_a"], found.figures["only_b"]) == (30, 10)
    assert [one["classes"] for one in found.figures["sizes"]] == [2, 1, 1]  # as in training
    assert "test photos" in found.as_text()


def test_a_label_without_a_column_counts_as_wrong_for_both(tmp_path: Path) -> None:
    a, b = (
        Predictions(["0", "1"], np.array(["new", "canidae"]), P, CLASSES)
        for P in (guesses(np.array([0, 1]), True), guesses(np.array([1, 1]), False))
    )
    pair = Pair(a, b)
    assert [one["class"] for one in pair.classes({})] == ["canidae"]
    assert (pair.only_a.sum(), pair.only_b.sum()) == (1, 0)
    assert [one["right"] for one in pair.photos({})] == ["a", "neither"]


# ---- forms


def test_forms(place: Path) -> None:
    found = compared(place)
    only_a, only_b = found.figures["only_a"], found.figures["only_b"]
    for form in ("table", "markdown"):
        text = found.as_text(form)
        assert f"A gets {only_a} photos right that B gets wrong, B {only_b} the other way" in text
    assert "% A gets" in found.as_text("latex")
    assert found.as_text("latex").count(r"\toprule") == 3
    assert json.loads(found.as_text("json")) == found.figures | {"folder": str(found.folder)}
    rows = list(csv.DictReader(io.StringIO(found.as_text("csv"))))
    for row, one in zip(rows, found.figures["metrics"], strict=True):
        assert [float(row[f"difference{end}"]) for end in ("", "_low", "_high")] == one[
            "difference"
        ]
