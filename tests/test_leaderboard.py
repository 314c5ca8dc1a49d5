"""The leaderboard: paired, honest about ties, and the same in every form."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from runs_by_hand import guesses, make_run
from sklearn.metrics import f1_score

from classify.leaderboard import leaderboard
from classify.metrics import ALL_METRICS, intervals, paired_difference
from classify.scored import scored
from classify.verdicts import balance_verdict, paired_verdict
from embed.errors import UserError
from embed.workspace import Workspace

SIZES = (4, 8, 30, 100)  # photos of the four classes
Y = np.repeat(np.arange(4), SIZES)
N = len(Y)
EACH = np.arange(N).astype(str)  # the groups of runs where each photo is one of its own


def right(share: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(N) < share


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A good run, one that differs from it in a single photo, and a bad one."""
    good = right(0.9)
    nearly = good.copy()
    nearly[-1] ^= True
    make_run(tmp_path, "knn-good", Y, guesses(Y, good))
    make_run(tmp_path, "lda-nearly", Y, guesses(Y, nearly))
    make_run(tmp_path, "prior-bad", Y, guesses(Y, right(0.3, 1)))
    return tmp_path


def test_rows_are_ordered_by_macro_f1_with_ties_marked(place: Path) -> None:
    rows = leaderboard(Workspace(place)).rows
    assert [row["macro_f1"][0] for row in rows] == sorted(
        (row["macro_f1"][0] for row in rows), reverse=True
    )
    assert [row["standing"] for row in rows] == ["best", "tie", ""]
    assert {rows[0]["run"], rows[1]["run"]} == {"knn-good", "lda-nearly"}
    for row in rows:
        _, low, high = row["difference_to_best"]
        assert (low <= 0 <= high) == (row["standing"] != "")
    assert sum(row["probability_best"] for row in rows) == pytest.approx(1)
    assert rows[2]["probability_best"] == 0


def test_figures_are_those_of_the_predictions_whatever_was_saved(place: Path) -> None:
    (place / "runs" / "knn-good" / "metrics.json").write_text("{}")  # as by an older version
    rows = {row["run"]: row for row in leaderboard(Workspace(place)).rows}
    P = guesses(Y, right(0.9))
    expected = intervals(Y, P, ALL_METRICS, groups=EACH)
    for name in ALL_METRICS:
        assert rows["knn-good"][name] == pytest.approx(list(expected[name])), name
    f1 = f1_score(Y, P.argmax(axis=1), average="macro")
    assert rows["knn-good"]["macro_f1"][0] == pytest.approx(f1)


def test_the_difference_to_the_best_is_the_paired_one(place: Path) -> None:
    rows = leaderboard(Workspace(place)).rows
    best, worst = guesses(Y, right(0.9)), guesses(Y, right(0.3, 1))
    expected = paired_difference(Y, worst, best, groups=EACH)
    assert rows[0]["run"] == "knn-good"
    assert rows[2]["difference_to_best"] == pytest.approx(list(expected))


@pytest.mark.parametrize("photos", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_a_difference_of_few_photos_is_a_tie(tmp_path: Path, photos: int, seed: int) -> None:
    """A resample misses three photos in one of twenty cases, and then there is no difference."""
    good = right(0.8, seed)
    worse = good.copy()
    worse[np.flatnonzero(good)[-photos:]] = False
    make_run(tmp_path, "a-1", Y, guesses(Y, good))
    make_run(tmp_path, "b-2", Y, guesses(Y, worse))
    rows = leaderboard(Workspace(tmp_path)).rows
    assert [(row["run"], row["standing"]) for row in rows] == [("a-1", "best"), ("b-2", "tie")]


def test_equal_runs_tie_and_share_the_wins(tmp_path: Path) -> None:
    P = guesses(Y, right(0.8))
    for name in ("a-1", "b-2", "c-3"):
        make_run(tmp_path, name, Y, P)
    rows = leaderboard(Workspace(tmp_path)).rows
    assert [row["standing"] for row in rows] == ["best", "tie", "tie"]
    assert [row["probability_best"] for row in rows] == pytest.approx([1 / 3] * 3)


def test_the_order_of_the_photos_in_a_file_does_not_matter(tmp_path: Path) -> None:
    P = guesses(Y, right(0.8))
    order = np.random.default_rng(0).permutation(N)
    ids = np.array([f"{i:04}.jpg" for i in range(N)])
    group = np.arange(N) // 2
    make_run(tmp_path, "a-1", Y, P, group=group)
    make_run(tmp_path, "b-2", Y[order], P[order], ids=ids[order], group=group[order])
    one, two = leaderboard(Workspace(tmp_path)).rows
    for name in ALL_METRICS:
        assert one[name] == pytest.approx(two[name])
    assert two["difference_to_best"] == pytest.approx([0, 0, 0])


def test_groups_are_drawn_whole(tmp_path: Path) -> None:
    group = np.arange(N) // 4
    P = guesses(Y, right(0.8)[group * 4])
    make_run(tmp_path / "photos", "a-1", Y, P)
    make_run(tmp_path / "groups", "a-1", Y, P, group=group)
    widths = []
    for name in ("photos", "groups"):
        board = leaderboard(Workspace(tmp_path / name))
        _, low, high = board.rows[0]["accuracy"]
        widths.append(high - low)
    assert widths[1] > 1.5 * widths[0]
    assert board.rows[0]["drawn"] == N // 4 + 1
    assert "36 groups of 142 photos" in board.as_text()


def test_runs_on_other_data_do_not_compete(place: Path) -> None:
    """Other training data, other photos, other labels: each a table of its own."""
    perfect = guesses(Y, right(1.1))
    make_run(place, "other-data", Y, perfect, facts={"data": "0ther"})
    make_run(place, "other-photos", Y[1:], perfect[1:])
    newest = make_run(place, "other-labels", Y[::-1], guesses(Y[::-1], right(0.5)))
    os.utime(newest.folder / "config.json", (2e9, 2e9))
    board = leaderboard(Workspace(place))
    assert sorted(len(group) for group in board.groups) == [1, 1, 1, 3]
    assert [row["run"] for row in board.groups[0]] == ["other-labels"]  # the newest first
    assert all(group[0]["standing"] == "best" for group in board.groups)
    assert "compare only within one table" in board.notes[0]
    assert board.as_text().count("Data ") == 4


def test_few_photos_get_a_warning(tmp_path: Path) -> None:
    y = np.repeat(np.arange(4), 2)
    make_run(tmp_path, "a-1", y, guesses(y, np.arange(8) > 1))
    (note,) = leaderboard(Workspace(tmp_path)).notes
    assert "8 photos or groups" in note


def test_an_old_run_without_a_memory_figure_is_shown(tmp_path: Path) -> None:
    P = guesses(Y, right(0.8))
    run = make_run(tmp_path, "a-1", Y, P, facts={"peak_bytes": None})
    facts = json.loads((run.folder / "provenance.json").read_text())
    del facts["peak_bytes"]
    (run.folder / "provenance.json").write_text(json.dumps(facts))
    assert leaderboard(Workspace(tmp_path)).rows[0]["peak_bytes"] is None
    assert leaderboard(Workspace(tmp_path)).as_text().splitlines()[1].rstrip().endswith("0.002")


# ---- the test photos


def test_test_photos_have_their_own_board(place: Path) -> None:
    with pytest.raises(UserError, match="Run `cli evaluate` first"):
        leaderboard(Workspace(place), "test")
    y = np.repeat(np.arange(4), 10)
    P = guesses(y, np.arange(40) % 10 > 0)
    make_run(place, "stack-tested", Y, guesses(Y, right(0.5)), test=(y, P))
    board = leaderboard(Workspace(place), "test")
    (row,) = board.rows
    assert row["accuracy"][0] == pytest.approx(0.9)
    assert row["scored"] == 40
    assert board.as_text().count("Test photos") == 1
    assert len(leaderboard(Workspace(place)).rows) == 4


def test_no_run_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cli fit --head all"):
        leaderboard(Workspace(tmp_path))


# ---- what is kept


def test_resamples_are_computed_once_and_again_for_other_predictions(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import classify.scored as module

    first = leaderboard(Workspace(place)).rows
    monkeypatch.setattr(module, "resampled", lambda *a, **k: pytest.fail("computed again"))
    assert leaderboard(Workspace(place)).rows == first
    monkeypatch.undo()
    make_run(place, "lda-nearly", Y, guesses(Y, right(0.5)))
    changed = {row["run"]: row for row in leaderboard(Workspace(place)).rows}
    assert changed["lda-nearly"]["accuracy"][0] == pytest.approx(right(0.5).mean())


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY"])
def test_damaged_resamples_are_computed_again(place: Path, damage: bytes) -> None:
    first = leaderboard(Workspace(place)).rows
    (place / "runs" / "knn-good" / "resamples.npz").write_bytes(damage)
    assert leaderboard(Workspace(place)).rows == first


def test_a_run_that_cannot_be_written_to_is_read(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import classify.scored as module

    def refuse(path: Path) -> None:
        raise UserError(f"{path} cannot be written")

    monkeypatch.setattr(module, "whole_file", refuse)
    assert len(leaderboard(Workspace(place)).rows) == 3
    assert not (place / "runs" / "knn-good" / "resamples.npz").exists()


# ---- verdicts


def helped(rare_only: bool) -> tuple[np.ndarray, np.ndarray]:
    """What is right without balancing, and with it: more of the rare classes, no other."""
    plain = np.concatenate([np.arange(n) % 2 == 0 for n in SIZES])
    balanced = plain | (Y < 2 if rare_only else Y >= 0)
    return plain, balanced


def test_balance_verdict_says_which_classes_it_helps(tmp_path: Path) -> None:
    plain, balanced = helped(rare_only=True)
    without = make_run(tmp_path, "logreg-1", Y, guesses(Y, plain))
    run = make_run(tmp_path, "logreg-smote-1", Y, guesses(Y, balanced), balance="smote")
    said = balance_verdict(run, without)
    assert said.startswith("smote against no balancing: macro-F1 +")
    assert ", better; it helps classes of under 10 photos (+" in said
    assert "50 photos or more" in said
    difference, low, high = paired_difference(
        Y, guesses(Y, balanced), guesses(Y, plain), groups=EACH
    )
    assert f"{100 * difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]" in said
    assert ", worse; " in balance_verdict(without, run)


def test_the_board_gives_a_verdict_where_the_twin_is_there(tmp_path: Path) -> None:
    plain, balanced = helped(rare_only=False)
    same = {"facts": {"vectors": "v1"}}
    make_run(tmp_path, "logreg-1", Y, guesses(Y, plain), **same)
    make_run(tmp_path, "logreg-smote-1", Y, guesses(Y, balanced), balance="smote", **same)
    focal = {"loss": "focal"}
    make_run(tmp_path, "logreg-focal-1", Y, guesses(Y, plain), options=focal, **same)
    both = {"options": focal, "balance": "smote"}
    make_run(tmp_path, "logreg-focal-smote-1", Y, guesses(Y, plain), **both, **same)
    make_run(tmp_path, "logreg-place-1", Y, guesses(Y, balanced), columns=("place",), **same)
    make_run(tmp_path, "knn-weights-1", Y, guesses(Y, plain), balance="weights", **same)
    make_run(tmp_path, "knn-1", Y, guesses(Y, plain), facts={"vectors": "v2"})
    board = leaderboard(Workspace(tmp_path))
    said = {row["run"]: row["verdicts"] for row in board.rows}
    assert said["logreg-1"] == said["knn-weights-1"] == []  # knn without weights saw other vectors
    assert said["logreg-smote-1"][0].startswith("smote against no balancing: macro-F1 +")
    assert ", better" in said["logreg-smote-1"][0]
    assert said["logreg-focal-1"] == [
        "focal against cross-entropy: macro-F1 +0.0 points [+0.0, +0.0], no clear difference; "
        "no clear difference for any size of class"
    ]
    assert [words.split(":")[0] for words in said["logreg-focal-smote-1"]] == [
        "smote against no balancing",
        "focal against cross-entropy",
    ]
    assert said["logreg-place-1"][0].startswith("with place against without: macro-F1 +")
    assert f"logreg-smote-1: {said['logreg-smote-1'][0]}" in board.as_text()


def test_paired_verdict_of_runs_on_other_photos_is_a_bug(tmp_path: Path) -> None:
    one = make_run(tmp_path, "a-1", Y, guesses(Y, right(0.5)))
    two = make_run(tmp_path, "b-2", Y[1:], guesses(Y[1:], right(0.5)[1:]))
    with pytest.raises(ValueError, match="different photos"):
        paired_verdict(one, two, "a against b")
    assert paired_verdict(one, one, "a against a").endswith(
        "macro-F1 +0.0 points [+0.0, +0.0], no clear difference"
    )


def test_sizes_of_classes_are_those_of_the_training_photos(tmp_path: Path) -> None:
    """In the test the frequent class has one photo, and is still a frequent one."""
    y = np.array([3, 2, 1, 0])
    P = guesses(y, np.array([True, False, False, False]))
    run = make_run(tmp_path, "a-1", Y, guesses(Y, right(0.5)), test=(y, P))
    (one,) = scored([run], "test")
    assert one.samples["50 photos or more"][0] > 0
    assert one.samples["under 10 photos"][0] == one.samples["10 to 49 photos"][0] == 0


# ---- forms


def test_every_form_tells_the_same(place: Path) -> None:
    board = leaderboard(Workspace(place))
    assert json.loads(board.as_text("json")) == board.rows
    for row, cells in zip(
        board.rows, csv.DictReader(io.StringIO(board.as_text("csv"))), strict=True
    ):
        assert cells["run"] == row["run"]
        for name in ALL_METRICS:
            found = [float(cells[f"{name}{end}"]) for end in ("", "_low", "_high")]
            assert found == row[name]
    for form in ("table", "markdown", "latex"):
        text = board.as_text(form)
        shown = "{:.3f}".format(board.rows[0]["macro_f1"][0])
        assert shown in text
        assert "tie" in text
        assert "15 bins of equal mass" in text.replace("\\", "")
        assert text.endswith("\n")


def test_latex_has_the_best_in_bold_and_ties_marked(place: Path) -> None:
    lines = leaderboard(Workspace(place)).as_text("latex").splitlines()
    _, first, second, third = (line for line in lines if line.endswith(r" \\"))
    assert r"knn-good & best" in first
    assert first.count(r"\textbf{") >= 3
    assert "& tie &" in second
    assert third.count(r"\textbf") == 1  # top-5 of four classes is 1 for everybody
    assert r"\toprule" in lines
