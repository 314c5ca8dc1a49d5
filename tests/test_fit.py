"""`cli fit` as its user sees it: which heads compete, what balances them, and what is refused."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import photo

import cli
from classify.resources import Meter
from embed.texts import text_vectors
from embed.workspace import Workspace

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def embedded(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with a table: a month that helps, a genus that tells the family, a few gaps."""
    folder = tmp_path_factory.mktemp("fit")
    rng = np.random.default_rng(0)
    rows = []
    for c, family in enumerate(sorted(path.name for path in photos.iterdir())):
        for i in range(12):
            month = "" if i == 0 else str(1 + (2 * c + rng.integers(0, 3)) % 12)
            genus = f"{family}-{i % 2}"
            rows.append((f"{family}/{i:02}.png", family, month, genus))
    table = pd.DataFrame(rows, columns=["file_path", "family", "month", "genus"])
    table.to_csv(folder / "table.csv", index=False)
    command = ["embed", str(photos), "--table", str(folder / "table.csv"), "--encoder", "pixels"]
    assert cli.run([*command, "-w", str(folder)]) == 0
    return folder


@pytest.fixture
def workspace(embedded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(embedded, tmp_path / "workspace"))


def runs(workspace: Path) -> dict[str, dict[str, Any]]:
    """The config of every run by its head."""
    files = sorted(workspace.glob("runs/*/config.json"))
    configs = [json.loads(file.read_text()) for file in files]
    return {config["head"]: config for config in configs}


def test_all_is_every_head_that_needs_no_words_and_their_stack(workspace: Path, run: Run) -> None:
    assert run("fit", "--folds", "3", "-w", workspace).code == 0
    found = runs(workspace)
    assert set(found) == {"prior", "logreg", "lgbm", "knn", "lda", "centroid", "stack"}
    assert found["stack"]["members"] == ["logreg", "lgbm", "knn", "lda", "centroid"]


def test_a_stack_is_made_of_the_heads_named_beside_it(workspace: Path, run: Run) -> None:
    result = run(
        *("fit", "--head", "knn", "--head", "centroid", "--head", "stack"),
        *("--folds", "3", "-w", workspace),
    )
    assert result.code == 0
    assert set(runs(workspace)) == {"knn", "centroid", "stack"}
    assert runs(workspace)["stack"]["members"] == ["knn", "centroid"]
    assert "stack against its best head" in result.err
    assert run("fit", "--head", "knn", "--head", "stack", "-w", workspace).code == 1


def test_lgbm_stands_on_candidates_or_on_columns(workspace: Path, run: Run) -> None:
    for on in ("candidates", "columns"):
        done = run("fit", "--head", "lgbm", "--lgbm-on", on, "--folds", "3", "-w", workspace)
        assert done.code == 0
    assert set(runs(workspace)) == {"lgbm", "lgbm-columns"}


def test_smote_on_pairs_is_refused_when_asked_for_and_left_out_among_all(
    workspace: Path, run: Run
) -> None:
    refused = run("fit", "--head", "lgbm", "--balance", "smote", "-w", workspace)
    assert refused.code == 1
    assert "--lgbm-on columns" in refused.err
    done = run("fit", "--balance", "smote", "--folds", "3", "-w", workspace)
    assert done.code == 0
    assert "smote means nothing to lgbm: fitted without" in done.err
    found = runs(workspace)
    assert found["lgbm"]["balance"] == "none"
    assert found["logreg"]["balance"] == found["stack"]["balance"] == "smote"


def test_a_loss_is_logregs_and_another_run(workspace: Path, run: Run) -> None:
    plain = run("fit", "--head", "logreg", "--folds", "3", "--json", "-w", workspace).json
    focal = run(
        *("fit", "--head", "logreg", "--loss", "focal", "--folds", "3", "--json"),
        *("-w", workspace),
    ).json
    assert plain["runs"][0]["run"] != focal["runs"][0]["run"]
    assert "focal" in focal["runs"][0]["run"]
    assert plain["runs"][0]["log_loss"] != focal["runs"][0]["log_loss"]
    refused = run("fit", "--head", "knn", "--loss", "focal", "-w", workspace)
    assert refused.code == 1
    assert "--head logreg" in refused.err


def test_heads_that_need_words_say_which_encoder_has_them(workspace: Path, run: Run) -> None:
    for head in ("zeroshot", "tip"):
        result = run("fit", "--head", head, "-w", workspace)
        assert result.code == 1
        assert "cli embed PHOTOS --encoder bioclip" in result.err


def test_a_column_is_a_second_input(workspace: Path, photos: Path, run: Run) -> None:
    done = run("fit", "--head", "logreg", "--with", "month", "--folds", "3", "-w", workspace)
    assert done.code == 0, done.err
    (config,) = runs(workspace).values()
    assert config["columns"] == ["month"]
    assert run("evaluate", "-w", workspace).code == 0
    without = run("predict", photos, "--format", "json", "-w", workspace)
    assert "takes month beside the photos" in without.err
    table = workspace / "table.csv"
    given = run("predict", photos, "--table", table, "--format", "json", "-w", workspace)
    assert given.code == 0
    assert len(given.json) == len(without.json) == 60
    assert given.json != without.json


def test_a_column_that_tells_the_label_is_refused_with_the_evidence(
    workspace: Path, run: Run
) -> None:
    command = ("fit", "--head", "knn", "--with", "genus", "--folds", "3", "-w", workspace)
    refused = run(*command)
    assert refused.code == 1
    assert "genus" in refused.err
    assert "--allow-leak" in refused.err
    allowed = run(*command, "--allow-leak")
    assert allowed.code == 0
    assert runs(workspace)["knn"]["allow_leak"]
    assert "genus" in allowed.err


def test_the_command_of_a_run_fits_it_again(workspace: Path, run: Run) -> None:
    from classify.runs import all_runs

    words = (
        *("--head", "logreg", "--head", "lgbm", "--head", "stack", "--lgbm-on", "columns"),
        *("--loss", "balanced-softmax", "--with", "month", "--folds", "3", "--seed", "2"),
    )
    assert run("fit", *words, "-w", workspace).code == 0
    before = {found.name for found in all_runs(Workspace(workspace))}
    for found in all_runs(Workspace(workspace)):
        again = run(*found.config.command.split()[1:], "-w", workspace)
        assert again.code == 0, again.err
        assert "as before" in again.out
    assert {found.name for found in all_runs(Workspace(workspace))} == before


def test_every_run_has_its_costs_and_its_card(workspace: Path, run: Run) -> None:
    run("fit", "--head", "knn", "--folds", "3", "-w", workspace)
    (folder,) = (workspace / "runs").iterdir()
    facts = json.loads((folder / "provenance.json").read_text())
    assert facts["peak_bytes"] >= 0
    assert set(facts["seconds"]) == {"folds", "fit", "predict_1000"}
    assert folder.name in (folder / "model-card.md").read_text()


def test_the_meter_sees_what_an_array_takes() -> None:
    with Meter() as meter:
        block = np.ones(40_000_000)  # 320 MB
        time.sleep(0.2)  # it looks every 20 ms
        del block
    assert 250e6 < meter.peak_bytes < 500e6
    assert meter.seconds > 0


def test_with_an_encoder_that_knows_words_the_names_compete_too(
    bioclip_folder: Path, tmp_path: Path, run: Run
) -> None:
    """Random weights know no animal, so this shows the path; the heads' tests show the rest."""
    for c, family in enumerate(("felidae", "canidae", "anatidae")):
        (tmp_path / "photos" / family).mkdir(parents=True)
        for i in range(4):
            photo((60 * c, 200 - 50 * c, 90), 10 * c + i).save(
                tmp_path / "photos" / family / f"{i}.png"
            )
    place = ("-w", tmp_path / "workspace")
    assert run("embed", tmp_path / "photos", "--encoder", bioclip_folder, *place).code == 0
    done = run("fit", "--folds", "2", *place)
    assert done.code == 0, done.err
    found = runs(tmp_path / "workspace")
    assert {"tip", "zeroshot"} < set(found["stack"]["members"])
    (model,) = (tmp_path / "workspace").glob("runs/zeroshot-*/model.npz")
    with np.load(model) as file:
        names, vectors = file["class_names"], file["class_vectors"]
    texts = text_vectors(
        Workspace(tmp_path / "workspace"), str(bioclip_folder), [f"a photo of {n}." for n in names]
    )
    np.testing.assert_allclose(vectors, texts, atol=1e-6)
