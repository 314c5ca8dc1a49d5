"""The main job through the command line, on synthetic photos with class signal."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cli
from classify.fit import MEMBERS
from embed.encoder import PixelEncoder
from embed.images import decode

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def workspace(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embedded, split, all heads fitted, the best evaluated."""
    folder = tmp_path_factory.mktemp("workspace")
    for command in (
        ["embed", str(photos), "--encoder", "pixels"],
        ["split", "--test", "0.25"],
        ["fit", "--head", "all", "--folds", "3"],
        ["evaluate"],
    ):
        assert cli.run([*command, "-w", str(folder)]) == 0
    return folder


def test_embed_writes_a_collection_that_pandas_reads(workspace: Path, photos: Path) -> None:
    rows = pd.read_parquet(workspace / "collection.parquet")
    assert len(rows) == 60
    assert sorted(rows["family"].unique()) == sorted(p.name for p in photos.iterdir())
    assert (rows["path"] == [str(photos / file) for file in rows["file_path"]]).all()


def test_vectors_belong_to_their_ids(workspace: Path) -> None:
    from embed.store import EmbeddingStore

    rows = pd.read_parquet(workspace / "collection.parquet").sample(20, random_state=0)
    encoder = PixelEncoder()
    pixels = [encoder.spec.transform(decode(Path(path).read_bytes())) for path in rows["path"]]
    X = EmbeddingStore.open(workspace / "embeddings" / "pixels").load(rows["key"].tolist())
    np.testing.assert_array_equal(X, encoder.encode(np.stack(pixels)))


def test_embed_again_computes_nothing(workspace: Path, photos: Path, run: Run) -> None:
    result = run("embed", photos, "--encoder", "pixels", "-w", workspace)
    assert "pixels: 0 encoded, 60 cached" in result.out


def test_heads_learn_the_signal(workspace: Path, run: Run) -> None:
    rows = run("leaderboard", "--json", "-w", workspace).json
    assert {row["head"] for row in rows} == {*MEMBERS, "prior", "stack"}
    for row in rows:
        if row["head"] == "prior":
            continue
        value, low, high = row["macro_f1"]
        assert 0.8 < value <= 1
        assert low <= value <= high


def test_out_of_fold_probabilities_are_probabilities(workspace: Path) -> None:
    files = list(workspace.glob("runs/*/oof.parquet"))
    assert len(files) == len(MEMBERS) + 2
    for file in files:
        table = pd.read_parquet(file)
        P = table.filter(like="p:").to_numpy()
        np.testing.assert_allclose(P.sum(axis=1), 1, atol=1e-6)
        assert (P >= 0).all()
        assert table["fold"].nunique() == 3


def test_no_test_photo_is_in_a_run(workspace: Path) -> None:
    split = pd.read_csv(workspace / "splits" / "default.csv", dtype=str).set_index("id")["split"]
    for file in workspace.glob("runs/*/oof.parquet"):
        assert set(split[pd.read_parquet(file)["id"]]) == {"train"}
    (tested,) = workspace.glob("runs/*/test/predictions.parquet")
    ids = pd.read_parquet(tested)["id"]
    assert set(split[ids]) == {"test"}
    assert len(ids) == (split == "test").sum()


def test_an_identical_run_is_recognised(workspace: Path, run: Run) -> None:
    before = sorted(path.name for path in (workspace / "runs").iterdir())
    result = run("fit", "--head", "all", "--folds", "3", "-w", workspace)
    assert result.out.count("as before") == len(MEMBERS) + 2
    assert sorted(path.name for path in (workspace / "runs").iterdir()) == before


def test_another_seed_is_another_run(workspace: Path, run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    result = run("fit", "--head", "knn", "--folds", "3", "--seed", "1", "--json", "-w", copy)
    assert not result.json["runs"][0]["reused"]


def test_the_stack_says_whether_it_beats_the_best_head(workspace: Path, run: Run) -> None:
    result = run("fit", "--head", "stack", "--folds", "3", "-w", workspace)
    assert "stack against its best head" in result.err
    assert any(reading in result.err for reading in ("no clear difference", ", better", ", worse"))


def test_balance_is_compared_with_none(workspace: Path, run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    result = run("fit", "--head", "logreg", "--balance", "smote", "--folds", "3", "-w", copy)
    assert "smote against no balancing: macro-F1" in result.err


def test_evaluate_writes_all_it_promises(workspace: Path, run: Run) -> None:
    result = run("evaluate", "--json", "-w", workspace)
    folder = next(workspace.glob("runs/*/test"))
    assert {path.name for path in folder.iterdir()} == {
        "predictions.parquet", "metrics.json", "per_class.csv", "sizes.json", "ranks.json",
        "answers.csv", "calibration.json", "conformal.csv", "confusions.json", "confusion.csv",
        "confusion.png", "errors.csv", "errors.html",
    }  # fmt: skip
    confusion = pd.read_csv(folder / "confusion.csv", index_col="label")
    accuracy = np.trace(confusion.to_numpy()) / confusion.to_numpy().sum()
    assert result.json["accuracy"][0] == pytest.approx(accuracy)


def test_evaluate_equals_scikit_learn(workspace: Path) -> None:
    from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

    folder = next(workspace.glob("runs/*/test"))
    table = pd.read_parquet(folder / "predictions.parquet")
    figures = json.loads((folder / "metrics.json").read_text())
    P = table.filter(like="p:")
    predicted = P.columns[P.to_numpy().argmax(axis=1)].str.removeprefix("p:")
    assert figures["macro_f1"][0] == pytest.approx(
        f1_score(table["label"], predicted, average="macro")
    )
    assert figures["weighted_f1"][0] == pytest.approx(
        f1_score(table["label"], predicted, average="weighted")
    )
    assert figures["balanced_accuracy"][0] == pytest.approx(
        balanced_accuracy_score(table["label"], predicted)
    )
    assert figures["log_loss"][0] == pytest.approx(log_loss(table["label"], P.to_numpy()))


def test_evaluate_refuses_when_the_split_moved(workspace: Path, run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    run("split", "--test", "0.25", "--seed", "9", "-w", copy)
    result = run("evaluate", "-w", copy)
    assert result.code == 1
    assert "other training photos" in result.err
    assert "cli fit" in result.err


def test_the_default_run_is_of_the_newest_photos(workspace: Path, run: Run, tmp_path: Path) -> None:
    """A better figure on other training photos does not count."""
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    run("split", "--test", "0.5", "--seed", "9", "-w", copy)
    fitted = run("fit", "--head", "knn", "--folds", "3", "--json", "-w", copy).json["runs"][0]
    assert run("evaluate", "--json", "-w", copy).json["run"] == fitted["run"]


def test_a_saved_model_predicts_as_the_run_did(workspace: Path, photos: Path, run: Run) -> None:
    """Predictions of the test photos by path equal those of `evaluate` by id."""
    tested = pd.read_parquet(next(workspace.glob("runs/*/test/predictions.parquet"))).set_index(
        "id"
    )
    name = next(workspace.glob("runs/*/test")).parent.name
    result = run("predict", photos, "--run", name, "--top", 5, "--format", "json", "-w", workspace)
    found = {row["id"]: row["predictions"] for row in result.json}
    assert set(found) == set(pd.read_parquet(workspace / "collection.parquet")["id"])
    for id_, expected in tested.iterrows():
        for one in found[id_]:
            assert one["probability"] == pytest.approx(expected[f"p:{one['family']}"], abs=1e-5)


def test_predict_formats_agree(workspace: Path, photos: Path, run: Run, tmp_path: Path) -> None:
    folder = photos / "canidae"
    nested = run("predict", folder, "--format", "json", "--top", 2, "-w", workspace).json
    rows = list(
        csv.DictReader(io.StringIO(
            run("predict", folder, "--format", "csv", "--top", 2, "-w", workspace).out
        ))
    )  # fmt: skip
    assert list(rows[0])[:2] == ["id", "path"]
    assert [(row["id"], row["family"]) for row in rows] == [
        (row["id"], one["family"]) for row in nested for one in row["predictions"]
    ]
    file = tmp_path / "deep" / "out.csv"
    run("predict", folder, "--format", "csv", "--top", 2, "--output", file, "-w", workspace)
    assert len(file.read_text().splitlines()) == 1 + len(rows)


def test_search_finds_its_own_class(
    workspace: Path, photos: Path, run: Run, tmp_path: Path
) -> None:
    page = tmp_path / "alike.html"
    by_photo = run(
        "search", photos / "rosaceae" / "03.png", "--k", 5, "--json", "--gallery", page,
        "-w", workspace,
    ).json  # fmt: skip
    assert (by_photo[0]["id"], by_photo[0]["similarity"]) == ("rosaceae/03.png", 1.0)
    by_id = run("search", "rosaceae/03.png", "--k", 4, "--json", "-w", workspace).json
    assert [hit["id"] for hit in by_id] == [hit["id"] for hit in by_photo[1:]]
    assert {hit["family"] for hit in by_photo} == {"rosaceae"}
    assert page.read_text().count("data:image/jpeg;base64") == 6


def test_search_notices_a_changed_collection(photos: Path, run: Run, tmp_path: Path) -> None:
    few = tmp_path / "few"
    shutil.copytree(photos / "canidae", few / "canidae")
    place = ("-w", tmp_path / "w")
    run("embed", few, "--encoder", "pixels", *place)
    run("search", "canidae/00.png", *place)
    shutil.copytree(photos / "rosaceae", few / "rosaceae")
    run("embed", few, "--encoder", "pixels", *place)
    hits = run("search", "rosaceae/00.png", "--json", *place).json
    assert {hit["family"] for hit in hits[:5]} == {"rosaceae"}


def test_encoders_side_by_side(photos: Path, run: Run, tmp_path: Path) -> None:
    """Two copies of one encoder under two names give the very same neighbours and predictions."""
    place = ("-w", tmp_path)
    run("embed", photos, "--encoder", "pixels", *place)
    shutil.copytree(tmp_path / "embeddings" / "pixels", tmp_path / "embeddings" / "again")
    spec = tmp_path / "embeddings" / "again" / "spec.json"
    spec.write_text(spec.read_text().replace('"name": "pixels"', '"name": "again"'))
    run("split", *place)
    one = run("fit", "--head", "knn", "--encoder", "pixels", "--json", *place).json
    both = ("--encoder", "pixels", "--encoder", "again")
    two = run("fit", "--head", "knn", *both, "--json", *place).json
    assert one["runs"][0]["run"] != two["runs"][0]["run"]
    assert two["runs"][0]["log_loss"][0] == pytest.approx(one["runs"][0]["log_loss"][0], abs=1e-4)
    first = run("search", "canidae/00.png", "--encoder", "pixels", "--json", *place).json
    second = run("search", "canidae/00.png", *both, "--json", *place).json
    assert [hit["id"] for hit in first] == [hit["id"] for hit in second]


def test_groups_stay_together_in_split_and_folds(photos: Path, run: Run, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    lines = ["file_path,family,species"]
    for path in sorted(photos.glob("*/*.png")):
        number = int(path.stem) // 3
        lines.append(f"{path.relative_to(photos)},{path.parent.name},{path.parent.name}-{number}")
    table.write_text("\n".join(lines))
    place = ("-w", tmp_path / "w")
    assert run("embed", photos, "--table", table, "--encoder", "pixels", *place).code == 0
    result = run("split", "--by", "species", "--test", "0.25", *place)
    assert "grouped by species: 20 groups" in result.out
    run("fit", "--head", "knn", "--folds", "3", *place)
    rows = pd.read_parquet(tmp_path / "w" / "collection.parquet").set_index("id")
    split = pd.read_csv(tmp_path / "w" / "splits" / "default.csv").set_index("id")
    assert rows.join(split).groupby("species")["split"].nunique().max() == 1
    oof = pd.read_parquet(next((tmp_path / "w").glob("runs/*/oof.parquet"))).set_index("id")
    assert oof.join(rows["species"]).groupby("species")["fold"].nunique().max() == 1


def test_fit_without_a_split_makes_one_and_says_so(photos: Path, run: Run, tmp_path: Path) -> None:
    place = ("-w", tmp_path)
    run("embed", photos, "--encoder", "pixels", *place)
    result = run("fit", "--head", "knn", *place)
    assert result.code == 0
    assert "20% test" in result.err
    split = pd.read_csv(tmp_path / "splits" / "default.csv")
    assert (split["split"] == "test").sum() == 12


def test_info_tells_what_is_there(workspace: Path, run: Run) -> None:
    facts = run("info", "--json", "-w", workspace).json
    assert facts["embeddings"] == ["pixels: 60 vectors of 192, 0.1 MB"]
    assert len(facts["runs"]) == len(MEMBERS) + 2
    assert "5 classes of 12 to 12 photos" in facts["label"]


def test_embed_and_encoders_as_json(photos: Path, run: Run, tmp_path: Path) -> None:
    report = run("embed", photos, "--encoder", "pixels", "--json", "-w", tmp_path).json
    assert (report["photos"], report["classes"], report["problems"]) == (60, 5, [])
    assert run("encoders", "--json", "-w", tmp_path).json["here"] == {"pixels": 60}


def test_encoders_lists_names_and_forms(run: Run, tmp_path: Path) -> None:
    listed = run("encoders", "-w", tmp_path).out
    for name in ("efficientnet-lite0", "bioclip-2", "openclip:MODEL/PRETRAINED", "timm:NAME"):
        assert name in listed


def test_a_sweep_equals_fit_and_is_not_computed_twice(
    workspace: Path, run: Run, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    grid = tmp_path / "grid.toml"
    grid.write_text(
        'heads = ["logreg", "knn", "stack"]\nbalance = ["none", "smote"]\nphotos = ["50%", "all"]\n'
        "seeds = [0]\nfolds = 3\n"
    )
    first = run("sweep", grid, "--json", "--jobs", 2, "-w", copy)
    assert first.code == 0, first.err
    cells = first.json["cells"]
    assert len(cells) == 12
    fitted = {row["head"]: row for row in run("leaderboard", "--json", "-w", copy).json}
    for one in cells:
        cell, figures = one["cell"], one["figures"]
        if cell["balance"] == "none" and cell["photos"] is None:
            for metric in ("macro_f1", "log_loss"):
                expected = fitted[cell["head"]][metric]
                assert figures[metric] == pytest.approx(expected, abs=1e-10)
    again = run("sweep", grid, "-w", copy)
    assert "0 cells computed, 12 as before" in again.out
    assert (copy / "sweeps" / "grid" / "picture.png").stat().st_size > 5000
    assert len(pd.read_csv(copy / "sweeps" / "grid" / "table.csv")) == 12


def test_a_grid_that_names_its_encoder_needs_no_default(
    workspace: Path, run: Run, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    shutil.copytree(copy / "embeddings" / "pixels", copy / "embeddings" / "again")
    (copy / "embeddings" / "latest.json").unlink()  # else the last embed's is the default
    grid = tmp_path / "one.toml"
    grid.write_text('heads = ["knn"]\nfolds = 3\n')
    refused = run("sweep", grid, "-w", copy)
    assert refused.code == 1
    assert 'encoders = ["NAME"]' in refused.err
    grid.write_text('encoders = ["pixels"]\nheads = ["knn"]\nfolds = 3\n')
    assert run("sweep", grid, "-w", copy).code == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('hedas = ["knn"]', "unknown key 'hedas'. Did you mean 'heads'"),
        ('heads = ["kn"]', "Did you mean 'knn'"),
        ("fractions = [0.5]", "photos = ["),
        ("seeds = [-1]", "whole numbers"),
        ("folds = 1", "2 or more"),
        ("heads = []", "'heads' is empty"),
        ("encoders = [3]", "names in quotes"),
        ("heads = [", "no valid TOML"),
        ('encoders = ["efficientnet-lite0"]', "no embeddings of 'efficientnet-lite0'"),
    ],
)
def test_a_wrong_grid_stops_before_anything_runs(
    workspace: Path, run: Run, tmp_path: Path, text: str, expected: str
) -> None:
    grid = tmp_path / "g.toml"
    grid.write_text(text)
    result = run("sweep", grid, "-w", workspace)
    assert result.code == 1
    assert expected in result.err
    assert not (workspace / "sweeps" / "g").exists()
