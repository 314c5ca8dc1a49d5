"""A planted species effect is found, none is found where there is none, on equal terms."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, needs_shared

from classify.base import unit_rows
from classify.dataset import Dataset
from classify.heads import make_head
from classify.leak_report import LeakReport, _widening, leak_report, measure
from classify.model import Model
from embed.errors import UserError
from embed.workspace import Workspace


def planted(
    family: Any, species: Any, effect: float, seed: int = 0, dim: int = 24, noise: float = 0.7
) -> Dataset:
    """Vectors with a direction of their family, one of their species, and noise."""
    rng = np.random.default_rng(seed)
    parts = [
        rng.normal(size=(len(set(names)), dim))[np.unique(names, return_inverse=True)[1]]
        for names in (family, species)
    ]
    X = parts[0] + effect * parts[1] + noise * rng.normal(size=(len(family), dim))
    rows = pd.DataFrame({"id": [f"{i:05}" for i in range(len(family))], "species": species})
    rows["key"] = "hash of " + rows["id"]
    n = len(family)
    return Dataset(
        rows, unit_rows(X.astype(np.float32)), np.array(family), np.full(n, "train"),
        np.arange(n).astype(str), "family", (),
    )  # fmt: skip


def names(families: int, species: int, photos: int) -> tuple[list[str], list[str]]:
    family = [f"f{f:02}" for f in range(families) for _ in range(species * photos)]
    kind = [f"s{i // photos:03}" for i in range(len(family))]
    return family, kind


def leak(data: Dataset, head: str = "centroid", seed: int = 0, folds: int = 5) -> LeakReport:
    return measure(data, data.rows["species"], Model(make_head(head)), "species", folds, seed)


@pytest.mark.parametrize("head", ["knn", "centroid"])
def test_a_species_effect_is_found(head: str) -> None:
    found = leak(planted(*names(8, 4, 10), effect=1.0), head, folds=4)
    value, low, high = found.difference["macro_f1"]
    assert 0.05 < low < value < high
    random, held_out = found.random["macro_f1"][0], found.held_out["macro_f1"][0]
    assert value == pytest.approx(random - held_out)
    assert found.sentence.startswith("A random split flatters this collection by ")
    assert "new species" in found.sentence
    assert (found.testable, found.photos, found.groups) == (8, 320, 32)


def test_without_one_none_is_found() -> None:
    found = leak(planted(*names(8, 4, 10), effect=0.0, noise=1.0))
    _, low, high = found.difference["macro_f1"]
    assert low <= 0 <= high
    assert found.sentence.startswith("No leak that these photos could show")


def test_the_interval_covers_what_is_not_there() -> None:
    covered = 0
    for seed in range(12):
        data = planted(*names(5, 3, 5), effect=0.0, seed=seed, noise=2.0)
        found = leak(data, seed=seed, folds=3)
        _, low, high = found.difference["macro_f1"]
        covered += low <= 0 <= high
        if low <= 0 <= high:
            assert found.sentence.startswith("These photos cannot show") == (high - low > 0.1)
    assert covered >= 10


def test_the_interval_is_stretched_where_groups_are_few() -> None:
    y = np.repeat(["a", "b"], 6)
    group = np.repeat([0, 1, 2, 3, 4], [3, 3, 2, 2, 2])
    wide = _widening(y, group)  # two groups in a, three in b
    assert wide["macro_f1"] == pytest.approx(np.sqrt((2 + 1.5) / 2))
    assert wide["accuracy"] == pytest.approx(np.sqrt(5 / 4))


def test_both_train_on_as_many_photos_of_each_class() -> None:
    family, species = names(5, 3, 8)
    data = planted([*family, *["lone"] * 6], [*species, *["only"] * 6], effect=1.0)
    seen: list[dict[str, int]] = []

    class Counting(Model):
        def unfitted(self) -> "Counting":
            return Counting(self.head)

        def fit(self, train: Dataset, rows: Any = None) -> Any:
            labels, counts = np.unique(train.y[rows], return_counts=True)
            seen.append(dict(zip(labels.tolist(), counts.tolist(), strict=True)))
            return super().fit(train, rows)

    found = measure(data, data.rows["species"], Counting(make_head("centroid")), "species", 3)
    assert seen[:3] == seen[3:]
    assert all(fit["lone"] == 6 for fit in seen)
    assert found.not_testable == ("lone",)
    assert found.photos == len(family)
    assert any("1 class of one species only" in line for line in found.lines())


def test_copies_never_help_and_unknown_species_train() -> None:
    data = planted(*names(4, 3, 6), effect=0.0, noise=8.0)  # nothing but noise to learn
    copies = data.rows.index % 2 == 1
    data.X[1::2] = data.X[::2]
    data.rows.loc[copies, "key"] = data.rows["key"].to_numpy()[::2]
    found = leak(data, "knn")
    assert found.random["accuracy"][0] < 0.6  # with the copy in training it would be 1
    unknown = data.rows["species"].astype(object)
    unknown[:2] = None
    found = measure(data, unknown, Model(make_head("centroid")), "species")
    assert found.photos == len(data) - 2
    assert "2 photos without a species: in training, not scored" in found.notes


def test_a_class_that_would_lie_in_one_fold_is_not_scored() -> None:
    # the cameras p and q hold all but one class, and one of them is far larger
    family = ["a"] * 20 + ["b"] * 20 + ["c"] * 20
    camera = (["p"] * 15 + ["q"] * 5) * 2 + ["r", "s"] * 10
    found = measure(
        planted(family, camera, 1.0), np.array(camera), Model(make_head("centroid")), "camera", 2
    )
    assert found.testable + len(found.not_testable) == 3


def test_nothing_to_measure_is_said() -> None:
    data = planted(*names(3, 1, 5), effect=1.0)
    with pytest.raises(UserError, match="two or more species"):
        leak(data)


@needs_shared
def test_rare_species_with_a_planted_effect() -> None:
    assert SHARED
    table = pd.read_csv(Path(SHARED) / "data/rare_species/metadata.csv", dtype=str)
    table = table.groupby("eol_page_id").head(4)
    family, species = table["family"].tolist(), table["eol_page_id"].tolist()
    found = leak(planted(family, species, effect=1.0, dim=64))
    assert (found.testable, len(found.not_testable)) == (84, 118)
    assert found.groups == 400 - 118
    assert found.difference["macro_f1"][1] > 0.1
    none = leak(planted(family, species, effect=0.0, dim=64, noise=2.0))
    _, low, high = none.difference["macro_f1"]
    assert low <= 0 <= high


def test_on_a_workspace_it_is_written_as_promised(run: Any, photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.glob("*/*.png"))
    lines = [f"{p.parent.name}/{p.name},{p.parent.name},{i % 3}" for i, p in enumerate(files)]
    table = tmp_path / "table.csv"
    table.write_text("file_path,family,camera\n" + "\n".join(lines) + "\n")
    place = tmp_path / "w"
    embed = ("embed", photos, "-w", place, "--table", table, "--encoder", "pixels")
    assert run(*embed).code == 0
    report = leak_report(Workspace(place), "camera", "centroid", folds=3)
    assert report.path is not None
    assert report.path.parent == place / "leaks"
    assert report.path.name.startswith("camera-centroid-")
    saved = json.loads(report.path.read_text())
    assert {"by", "head", "encoders", "random", "held_out", "difference", "testable",
            "not_testable", "photos", "sentence", "notes"} <= set(saved)  # fmt: skip
    assert saved["sentence"] == report.sentence
    assert len(saved["random"]["macro_f1"]) == 3
    again = leak_report(Workspace(place), "camera", "centroid", folds=3)
    assert (again.path, again.difference) == (report.path, report.difference)
    with pytest.raises(UserError, match="Did you mean 'camera'"):
        leak_report(Workspace(place), "camra")
    with pytest.raises(UserError, match="several heads"):
        leak_report(Workspace(place), "camera", "stack")
    with pytest.raises(UserError, match="is no head"):
        leak_report(Workspace(place), "camera", "svm")
    near = leak_report(Workspace(place), "near-duplicates", "centroid", folds=3)
    assert near.path is not None
    assert near.photos == 48
