"""The real encoder on real photos: stamps where they can be had, `data/species` where it is set."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, needs_shared

import cli
from embed.errors import UserError
from embed.sample import sample
from embed.store import EmbeddingStore

Run = Callable[..., Any]

# What they reach as a mean over many splits, less some 0.02 for the luck of three.
FLOORS = {"logreg": 0.90, "knn": 0.885, "lda": 0.895, "lgbm": 0.90, "centroid": 0.87, "stack": 0.91}
FLOORS |= {"prior": 0.0}


@pytest.fixture(scope="module")
def stamps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "stamps"
    try:
        sample("stamps", folder)
    except UserError as error:
        pytest.skip(f"the stamps cannot be fetched here: {error}")
    return folder


def test_the_real_encoder_sees_families(stamps: Path, run: Run, tmp_path: Path) -> None:
    """Nearest neighbours share their family far more often than photos drawn at random."""
    place = ("-w", tmp_path)
    assert run("embed", stamps, *place).code == 0
    assert "0 encoded, 75 cached" in run("embed", stamps, *place).out
    rows = pd.read_parquet(tmp_path / "collection.parquet")
    X = EmbeddingStore.open(tmp_path / "embeddings" / "efficientnet-lite0").load(list(rows["key"]))
    family = rows["family"].to_numpy()
    similarity = X @ X.T - 2 * np.eye(len(X))
    nearest = family[similarity.argmax(axis=1)]
    chance = sum((family == name).mean() ** 2 for name in np.unique(family))
    assert (nearest == family).mean() > 3 * chance


@pytest.fixture(scope="module")
def species(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("species")
    assert cli.run(["embed", f"{SHARED}/data/species", "-w", str(folder)]) == 0
    return folder


@needs_shared
@pytest.mark.timeout(900)  # two chains of the main job
def test_every_head_reaches_its_floor(species: Path, run: Run) -> None:
    scores: dict[str, list[float]] = {name: [] for name in FLOORS}
    for seed in range(2):
        name = f"seed-{seed}"
        run("split", "--seed", seed, "--name", name, "-w", species)
        # Two folds: they serve the stack alone, and take most of the time.
        fit = ("fit", "--head", "all", "--split", name, "--folds", 2)
        fitted = run(*fit, "--json", "-w", species)
        for one in fitted.json["runs"]:
            found = run("evaluate", one["run"], "--json", "-w", species).json
            scores[one["run"].split("-")[0]].append(found["macro_f1"][0])
    means = {name: statistics.mean(values) for name, values in scores.items()}
    assert all(means[name] >= floor for name, floor in FLOORS.items()), means


@needs_shared
def test_known_near_duplicates_are_found(species: Path, run: Run) -> None:
    """The listed pairs are among each other's five nearest."""
    pairs = pd.read_csv(f"{SHARED}/data/species/near_duplicates.csv")
    ids = pd.read_parquet(species / "collection.parquet").set_index("file_path")["id"]
    for a, b in zip(ids[pairs["a"]], ids[pairs["b"]], strict=True):
        hits = run("search", a, "--k", 5, "--json", "-w", species).json
        assert b in [hit["id"] for hit in hits], (a, b)
