"""The curve rises where there is something to learn, and ends at the plain figures."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import embeddings

from classify.dataset import Dataset
from classify.folds import held_out_folds, out_of_fold
from classify.heads import make_head
from classify.learning_curve import chosen_sizes, learning_curve, measure_curve
from classify.metrics import intervals
from classify.model import Model
from classify.power_law import outlook
from embed.errors import UserError
from embed.workspace import Workspace


def training(sizes: tuple[int, ...], spread: float = 1.6, group_of: int = 1) -> Dataset:
    X, y = embeddings(sizes, spread=spread)
    n = len(y)
    rows = pd.DataFrame({"id": [f"{i:04}" for i in range(n)], "key": [f"k{i}" for i in range(n)]})
    group = (np.arange(n) // group_of).astype(str)
    return Dataset(rows, X, y, np.full(n, "train"), group, "family", ())


@pytest.mark.parametrize("group_of", [1, 4])
def test_it_rises_and_ends_at_the_plain_figures(group_of: int) -> None:
    train = training((40,) * 8, group_of=group_of)
    model = Model(make_head("centroid"))
    curve = measure_curve(train, model, (2, 5, 20, None), repeats=2)
    scores = [point.macro_f1[0] for point in curve.points]
    assert scores[0] + 0.1 < scores[-1]
    assert all(a < b + 0.02 for a, b in pairwise(scores))
    plain = out_of_fold(model, train, held_out_folds(train, 5, 0))
    expected = intervals(plain.y_index, plain.P, ("macro_f1", "accuracy"), groups=plain.group)
    assert curve.points[-1].macro_f1 == pytest.approx(expected["macro_f1"])
    assert curve.points[-1].accuracy == pytest.approx(expected["accuracy"])
    assert [p.photos_per_class for p in curve.points] == [2, 5, 20, None]
    assert [p.photos for p in curve.points] == pytest.approx([16, 40, 160, 256])


def test_no_photo_or_group_is_predicted_by_its_own() -> None:
    train = training((12, 12), group_of=3)
    seen: list[tuple[set[str], set[str]]] = []

    class Watched(Model):
        def unfitted(self) -> "Watched":
            return Watched(self.head)

        def fit(self, train: Dataset, rows: Any = None) -> Any:
            self.groups = set(train.group[rows])
            counts = np.unique(train.y[rows], return_counts=True)[1]
            assert (counts <= 4).all()
            return super().fit(train, rows)

        def predict_proba(self, X: Any, table: Any = None) -> Any:
            seen.append((self.groups, {train.group[int(i)] for i in table["id"]}))
            return super().predict_proba(X, table)

    measure_curve(train, Watched(make_head("centroid")), (1, 4), folds=4, repeats=2)
    assert len(seen) == 2 * 2 * 4
    assert not any(trained & tested for trained, tested in seen)


def test_small_classes_keep_what_they_have_and_sizes_beyond_all_are_left_out() -> None:
    curve = measure_curve(training((5, 30, 30)), Model(make_head("centroid")), (2, 10, 90, None))
    assert [p.photos_per_class for p in curve.points] == [2, 10, None]
    assert [p.complete for p in curve.points] == [3, 2, 3]
    assert curve.points[1].photos == pytest.approx(24)
    text = "\n".join(curve.lines())
    assert "at 10 a class, 1 of 3 classes have fewer and keep what they have" in text
    assert "90 photos a class left out: the largest class has 24" in text


@pytest.mark.parametrize(("sizes", "repeats"), [((0, None), 3), ((), 3), ((2, None), 0)])
def test_wrong_sizes(sizes: tuple[int | None, ...], repeats: int) -> None:
    with pytest.raises(UserError, match="--sizes 2,5,10,all"):
        measure_curve(training((9, 9)), Model(make_head("centroid")), sizes, repeats=repeats)


def test_sizes_as_they_are_written() -> None:
    assert chosen_sizes("2, 10,ALL") == (2, 10, None)
    for text in ("", "2,,5", "0", "-1", "2.5", "some"):
        with pytest.raises(UserError, match="--sizes 2,5,10,all"):
            chosen_sizes(text)


PHOTOS = [2.0, 5.0, 10.0, 20.0, 40.0]


def scores(errors: Any, noise: float = 0.005) -> Any:
    """(k, 1 + 500) scores whose resamples are off together and each by itself."""
    rng = np.random.default_rng(0)
    k = len(errors)
    off = noise * (rng.normal(size=500) + 0.3 * rng.normal(size=(k, 500)))
    return np.column_stack([1 - np.asarray(errors), 1 - np.asarray(errors)[:, None] + off])


def test_a_power_law_is_carried_on_with_its_interval() -> None:
    said = outlook(PHOTOS, scores(0.5 * np.array(PHOTOS) ** -0.5))
    gain = 100 * 0.5 * (40**-0.5 - 80**-0.5)
    assert f"would bring {gain:.1f} points [" in said
    assert "guess" in said


@pytest.mark.parametrize(
    ("photos", "errors", "noise", "message"),
    [
        (PHOTOS, [0.5, 0.3, 0.2, 0.15, 0.15], 0.002, "No power law fits"),  # it has ended
        (PHOTOS, [0.5, 0.45, 0.4, 0.1, 0.09], 0.002, "No power law fits"),
        (PHOTOS, [0.5, 0.3, 0.1, 0.02, 0.004], 0.0005, "Nearly all is right"),
        (PHOTOS[-3:], [0.3, 0.25, 0.2], 0.005, "Too few points"),
        (PHOTOS, [0.4, 0.4, 0.4, 0.4, 0.4], 0.005, "too uncertain"),
        (PHOTOS, 0.5 * np.array(PHOTOS) ** -0.5, 0.12, "too uncertain"),
        (PHOTOS[:1], [0.4], 0.005, "One point is no curve"),
    ],
)
def test_else_nothing_is_foretold(photos: Any, errors: Any, noise: float, message: str) -> None:
    said = outlook(photos, scores(errors, noise))
    assert message in said
    assert "would bring" not in said.replace("what more photos would bring", "")


def test_on_a_workspace_it_is_written_as_promised(run: Any, photos: Path, tmp_path: Path) -> None:
    assert run("embed", photos, "-w", tmp_path, "--encoder", "pixels").code == 0
    curve = learning_curve(Workspace(tmp_path), "centroid", sizes=(2, 5, None), folds=3)
    assert curve.path is not None
    assert curve.path.parent == tmp_path / "curves"
    saved = json.loads(curve.path.read_text())
    assert {"head", "encoders", "metric", "points", "sentence", "notes"} <= set(saved)
    assert set(saved["points"][0]) >= {
        "photos_per_class", "photos", "classes", "macro_f1", "accuracy",
    }  # fmt: skip
    assert saved["points"][-1]["photos_per_class"] is None
    run("fit", "--head", "centroid", "--folds", 3, "-w", tmp_path)
    plain = run("leaderboard", "-w", tmp_path, "--json")
    assert saved["points"][-1]["macro_f1"][0] == pytest.approx(
        plain.json[0]["macro_f1"][0], abs=1e-9
    )
