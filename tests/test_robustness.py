"""Robustness: figures of worse photos are those computed by hand, and nothing is made twice."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COLOURS, photo
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score

from classify.dataset import Dataset, load_dataset
from classify.metrics import intervals, paired_difference
from classify.predict import run_model
from classify.robustness import robustness_report
from classify.runs import Predictions, Run, named_run
from embed.encoder import PixelEncoder
from embed.encoders import open_encoder
from embed.errors import UserError
from embed.perturb import PERTURBATIONS
from embed.store import EmbeddingStore
from embed.vectors import open_stores
from embed.workspace import Workspace


class World:
    """A run on `pixels` with its test photos and their predictions."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(folder)
        self.run: Run = named_run(self.workspace, None)
        dataset, _ = load_dataset(self.workspace, ["pixels"], "default")
        self.held_out: Dataset = dataset.part("test")
        self.model = run_model(self.workspace, self.run)
        P = self.model.predict_proba(self.held_out.X, self.held_out.rows)
        ids, y = self.held_out.ids, self.held_out.y
        self.predictions = Predictions(ids, y, P, self.model.classes_, group=self.held_out.group)

    def report(self, *names: str, **how: Any) -> dict[str, Any]:
        return robustness_report(
            self.workspace, self.run, self.model, self.held_out, self.predictions, names,
            n_boot=50, **how,
        )  # fmt: skip

    def by_hand(self, name: str, first: int = 0) -> np.ndarray:
        """(n, C) probabilities of the test photos made worse, from the photo `first` on."""
        encoder = open_encoder(f"pixels@{name}")
        rows = self.held_out.rows.iloc[first:]
        images = [Image.open(path).convert("RGB") for path in rows["path"]]
        X = encoder.encode(np.stack([encoder.spec.transform(image) for image in images]))
        return np.asarray(self.model.predict_proba(X, rows))


@pytest.fixture
def world(tmp_path: Path, run: Callable[..., Any]) -> World:
    """Colours that tell five families, and one family of grey photos."""
    for c, (family, colour) in enumerate({**COLOURS, "ursidae": (90, 90, 90)}.items()):
        (tmp_path / "photos" / family).mkdir(parents=True)
        for i in range(20):
            one = photo(colour, 100 * c + i)
            one = one.convert("L") if family == "ursidae" else one
            one.save(tmp_path / "photos" / family / f"{i:02}.png")
    place = tmp_path / "ws"
    assert run("embed", tmp_path / "photos", "-w", place, "--encoder", "pixels").code == 0
    assert run("fit", "--head", "centroid", "-w", place).code == 0
    return World(place)


def test_figures_are_those_by_hand(world: World) -> None:
    names = list(PERTURBATIONS)
    report = world.report(*names)
    assert [one["name"] for one in report["perturbations"]] == names
    y, group = world.predictions.y_index, world.held_out.group
    for one in report["perturbations"]:
        P = world.by_hand(one["name"])
        answers = world.predictions.classes[P.argmax(axis=1)]
        accuracy = accuracy_score(world.held_out.y, answers)
        macro_f1 = f1_score(world.held_out.y, answers, average="macro", zero_division=0)
        assert one["figures"]["accuracy"][0] == pytest.approx(accuracy)
        assert one["figures"]["macro_f1"][0] == pytest.approx(macro_f1)
        same = intervals(y, P, ("accuracy", "macro_f1"), n_boot=50, groups=group)
        for metric in ("accuracy", "macro_f1"):
            assert one["figures"][metric] == pytest.approx(same[metric])
            apart = paired_difference(y, P, world.predictions.P, metric, n_boot=50, groups=group)
            assert one["difference"][metric] == pytest.approx(apart)
        assert one["agreement"] == np.mean(answers == world.predictions.predicted)
        assert one["what"] == PERTURBATIONS[one["name"]].what
    json.dumps(report, allow_nan=False)


def test_a_model_that_reads_colours_fails_without_them(world: World) -> None:
    (grey,) = world.report("grey")["perturbations"]
    assert grey["difference"]["accuracy"][0] < -0.3
    assert grey["difference"]["accuracy"][2] < 0
    lost = {one["class"]: one for one in grey["classes"]}
    assert lost
    assert "ursidae" not in lost  # those photos are what they were
    assert grey["unmoved"] == (world.held_out.y == "ursidae").sum() > 0
    drops = [one["right_before"] - one["right_after"] for one in grey["classes"]]
    assert drops == sorted(drops, reverse=True)
    assert drops[-1] > 0


def test_examples_are_answers_that_changed(world: World) -> None:
    (grey,) = world.report("grey")["perturbations"]
    answers = dict(zip(world.predictions.ids, world.predictions.predicted.tolist(), strict=True))
    P = world.by_hand("grey")
    after = dict(zip(world.predictions.ids, P.argmax(axis=1), strict=True))
    assert 0 < len(grey["examples"]) <= 5
    for example in grey["examples"]:
        assert example["before"] == answers[example["id"]]
        assert example["after"] == world.predictions.classes[after[example["id"]]]
        assert example["before"] != example["after"]
        assert Path(example["path"]).parent.name == example["label"]
    right = [example["before"] == example["label"] for example in grey["examples"]]
    assert right == sorted(right, reverse=True)


def test_photos_that_a_perturbation_cannot_change_cost_nothing(world: World) -> None:
    grey = np.flatnonzero(world.held_out.y == "ursidae")
    part, p = world.held_out, world.predictions
    world.held_out = replace(
        part, rows=part.rows.iloc[grey].reset_index(drop=True), X=part.X[grey], y=part.y[grey],
        side=part.side[grey], group=part.group[grey],
    )  # fmt: skip
    world.predictions = replace(p, ids=[p.ids[i] for i in grey], y=p.y[grey], P=p.P[grey])
    (one,) = world.report("grey")["perturbations"]
    assert one["agreement"] == 1
    assert one["difference"] == {"accuracy": (0, 0, 0), "macro_f1": (0, 0, 0)}
    assert one["similarity"] == pytest.approx(1, abs=1e-6)
    assert one["examples"] == one["classes"] == []


def test_only_the_test_photos_are_embedded_and_only_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.report("blur", "crop")
    for name in ("blur", "crop"):
        store = EmbeddingStore.open(world.workspace.store(f"pixels@{name}"))
        assert sorted(store.missing(world.held_out.rows["key"].tolist())) == []
        assert len(store) == world.held_out.rows["key"].nunique()
    assert [store.spec.name for store in open_stores(world.workspace, None)] == ["pixels"]

    def refuse(*_: object) -> None:
        raise AssertionError("a vector is computed again")

    monkeypatch.setattr(PixelEncoder, "start", refuse)
    monkeypatch.setattr("embed.sources.read", refuse)
    assert world.report("blur", "crop") == first


def test_a_photo_that_is_gone_or_another_is_left_out(world: World) -> None:
    paths = world.held_out.rows["path"].tolist()
    Path(paths[0]).unlink()
    photo((1, 2, 3), 7).save(paths[1])
    report = world.report("dark")
    assert report["photos"] == len(paths) - 2
    gone, changed = report["notes"]
    assert gone == f"left out: {world.held_out.rows['file_path'][0]} (does not exist)"
    assert changed.startswith("left out: 1 photo changed since")
    P = world.by_hand("dark", 2)
    accuracy = np.mean(world.predictions.classes[P.argmax(axis=1)] == world.held_out.y[2:])
    assert report["perturbations"][0]["figures"]["accuracy"][0] == pytest.approx(accuracy)


def test_without_the_photos_it_is_an_error(world: World) -> None:
    for path in world.held_out.rows["path"]:
        Path(path).unlink()
    with pytest.raises(UserError, match="Not one of the 24 photos"):
        world.report("dark")
