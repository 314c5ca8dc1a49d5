"""Commands that explore a collection, through the command line, on synthetic photos."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cli

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def workspace(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos with one exact copy among them."""
    folder = tmp_path_factory.mktemp("workspace")
    shutil.copytree(photos, folder / "photos")
    shutil.copy(photos / "felidae" / "03.png", folder / "photos" / "felidae" / "copy.png")
    given = ["--encoder", "pixels", "-w", str(folder / "w")]
    assert cli.run(["embed", str(folder / "photos"), *given]) == 0
    return folder / "w"


def test_duplicates_finds_the_copy_and_removes_nothing(workspace: Path, run: Run) -> None:
    found = run("duplicates", "-w", workspace)
    assert found.code == 0, found.err
    assert "1 exact" in found.out
    (redundant,) = run(
        "duplicates", "--threshold", 0.999999, "--paths", "-w", workspace
    ).out.split()
    assert Path(redundant).name in ("copy.png", "03.png")
    assert Path(redundant).exists()


def test_outliers_and_clusters_are_written(workspace: Path, run: Run) -> None:
    assert run("outliers", "--k", 5, "-w", workspace).code == 0
    assert run("cluster", "--clusters", 5, "-w", workspace).code == 0
    with (workspace / "cluster" / "cluster.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 61
    assert len({row["cluster"] for row in rows}) == 5


def test_pick_wants_something_to_pick_from(workspace: Path, run: Run) -> None:
    refused = run("pick", 5, "-w", workspace)
    assert refused.code == 1
    assert "--all" in refused.err
    assert run("pick", 5, "--all", "-w", workspace).code == 0


def test_map_is_a_page(workspace: Path, run: Run, tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    found = run("map", "--method", "pca", "-o", page, "-w", workspace)
    assert found.code == 0, found.err
    assert page.stat().st_size > 10_000
