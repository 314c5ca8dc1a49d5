"""What an evaluation says of a run, through the command line, on synthetic photos."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import cli

Run = Callable[..., Any]

LINEAGE = {
    "felidae": "animalia,chordata",
    "canidae": "animalia,chordata",
    "anatidae": "animalia,chordata",
    "nautilidae": "animalia,mollusca",
    "rosaceae": "plantae,tracheophyta",
}


@pytest.fixture(scope="module")
def workspace(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with a taxonomy, split, two heads."""
    folder = tmp_path_factory.mktemp("workspace")
    lines = ["file_path,kingdom,phylum,family"]
    for path in sorted(photos.glob("*/*.png")):
        family = path.parent.name
        lines.append(f"{family}/{path.name},{LINEAGE[family]},{family}")
    (folder / "table.csv").write_text("\n".join(lines))
    for command in (
        ["embed", str(photos), "--table", str(folder / "table.csv"), "--encoder", "pixels"],
        ["split", "--test", "0.25"],
        ["fit", "--head", "logreg", "--head", "knn", "--folds", "3"],
    ):
        assert cli.run([*command, "-w", str(folder)]) == 0
    return folder


@pytest.fixture
def copy(workspace: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(workspace, tmp_path / "copy"))


def test_everything_asked_for_is_said_and_written(copy: Path, run: Run) -> None:
    result = run("evaluate", "logreg", "--perturb", "grey,blur", "--unknown", "-w", copy)
    assert result.code == 0, result.err
    for said in (
        "macro_f1", "Accuracy by rank: kingdom", "at least 90% sure", "Calibration error",
        "hold the right one in 90%", "Photos grey: accuracy", "Classes it never saw: AUROC",
    ):  # fmt: skip
        assert said in result.out, said
    (folder,) = copy.glob("runs/logreg*/test")
    robustness = json.loads((folder / "robustness.json").read_text())
    assert [one["name"] for one in robustness["perturbations"]] == ["grey", "blur"]
    ranks = json.loads((folder / "ranks.json").read_text())
    assert [one["rank"] for one in ranks["ranks"]] == ["kingdom", "phylum", "family"]
    answers = pd.read_csv(folder / "answers.csv")
    assert len(answers) == 15
    assert (answers.loc[answers["rank"] != "none", "probability"] >= 0.9).all()


def test_reports_of_other_predictions_do_not_stay(copy: Path, run: Run) -> None:
    run("evaluate", "knn", "--unknown", "-w", copy)
    (folder,) = copy.glob("runs/knn*/test")
    run("evaluate", "knn", "-w", copy)
    assert (folder / "unknown.json").exists(), "the predictions are the same"
    table = pd.read_parquet(folder / "predictions.parquet")
    table[::-1].to_parquet(folder / "predictions.parquet", index=False)
    run("evaluate", "knn", "-w", copy)
    assert not (folder / "unknown.json").exists()


def test_a_photo_that_is_gone_is_named_and_strict_refuses(copy: Path, run: Run) -> None:
    split = pd.read_csv(copy / "splits" / "default.csv", dtype=str)
    gone = split.loc[split["split"] == "test", "id"].iloc[0]
    rows = pd.read_parquet(copy / "collection.parquet").set_index("id")
    photo = Path(rows.loc[gone, "path"])
    kept = photo.rename(photo.with_suffix(".away"))
    try:
        found = run("evaluate", "knn", "--perturb", "grey", "-w", copy)
        strict = run("evaluate", "knn", "--perturb", "grey", "--strict", "-w", copy)
    finally:
        kept.rename(photo)
    assert (found.code, strict.code) == (0, 1)
    assert gone in found.err
    assert "1 photo left out of --perturb" in found.err


def test_mistakes_are_named_before_anything_is_computed(copy: Path, run: Run) -> None:
    for option, value, said in (
        ("--perturb", "blurr", "blur"),
        ("--confidence", "1.5", "--confidence"),
    ):
        result = run("evaluate", "knn", option, value, "-w", copy)
        assert result.code in (1, 2), option
        assert said in result.err
    assert not list(copy.glob("runs/knn*/test"))


def test_predict_answers_with_a_rank_and_a_set(workspace: Path, photos: Path, run: Run) -> None:
    asked = ("--confidence", 0.9, "--sets", 0.8, "--calibrate", "best", "-w", workspace)
    one = run("predict", photos, "--run", "logreg", "--format", "json", *asked).json
    assert len(one) == 60
    for photo in one:
        assert set(photo) == {"id", "path", "answer", "lineage", "set", "predictions"}
        assert [one["rank"] for one in photo["lineage"]] == ["kingdom", "phylum", "family"]
        kingdom, phylum, family = (one["taxon"] for one in photo["lineage"])
        assert LINEAGE[family] == f"{kingdom},{phylum}"
        chances = [one["probability"] for one in photo["lineage"]]
        assert chances == sorted(chances, reverse=True)
        if photo["answer"]["rank"] != "none":
            assert photo["answer"]["probability"] >= 0.9
    right = [photo["id"].split("/")[0] in photo["set"] for photo in one]
    assert sum(right) >= 48, "four fifths are wanted, and most of these were trained on"
    text = run("predict", photos, "--run", "logreg", "--format", "csv", "--top", 1, *asked).out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["set"].split("|") if row["set"] else [] for row in rows] == [
        photo["set"] for photo in one
    ]
    assert "one of {" in run("predict", photos, "--run", "logreg", *asked).out


def test_a_confident_answer_is_never_below_its_family(
    workspace: Path, photos: Path, run: Run
) -> None:
    found = run(
        "predict", photos, "--run", "knn", "--format", "json", "--confidence", 0.6, "-w", workspace
    ).json
    for photo in found:
        if photo["answer"]["rank"] == "phylum":
            assert photo["answer"]["probability"] >= photo["predictions"][0]["probability"] - 1e-6


def test_inspect_leads_to_a_corrected_fit(copy: Path, run: Run) -> None:
    """The whole way: doubts, decisions in the table, a fit with them, a test that knows them."""
    assert run("inspect", "-w", copy).code == 0
    split = pd.read_csv(copy / "splits" / "default.csv", dtype=str)
    train = split.loc[split["split"] == "train", "id"].tolist()
    test = split.loc[split["split"] == "test", "id"].tolist()
    table = copy / "decisions.csv"
    table.write_text(
        "id,decision,new_label\n"
        f"{train[0]},exclude,\n{train[1]},relabel,rosaceae\n{test[0]},exclude,\n"
    )
    given = ("--exclude", table, "--relabel", table, "--folds", 3, "-w", copy)
    result = run("fit", "--head", "knn", *given)
    assert result.code == 0, result.err
    assert "excluded: 1 photo" in result.err
    assert "relabelled: 1 photo" in result.err
    assert "test" in result.err
    (corrected,) = {path.parent for path in copy.glob("runs/knn*/corrections.csv")}
    oof = pd.read_parquet(corrected / "oof.parquet").set_index("id")["label"]
    assert train[0] not in oof.index
    assert oof[train[1]] == "rosaceae"
    evaluated = run("evaluate", corrected.name, "--json", "-w", copy)
    assert evaluated.code == 0, evaluated.err
    assert evaluated.json["photos"] == len(test)
    plain = next(path for path in copy.glob("runs/knn*") if path != corrected)
    run("evaluate", plain.name, "-w", copy)
    board = run("leaderboard", "--test", "-w", copy)
    assert board.out.count("run  ") == 1, "on the same test photos they stand in one table"
    assert board.out.count("knn-") >= 2


def test_leak_and_curve_say_a_sentence(copy: Path, run: Run) -> None:
    leak = run("leak", "--by", "near-duplicates", "--folds", 3, "-w", copy)
    assert leak.code in (0, 1), leak.err  # so few photos may hold no copies
    curve = run("curve", "--head", "knn", "--sizes", "2,5,all", "--folds", 3, "-w", copy)
    assert curve.code == 0, curve.err
    (file,) = (copy / "curves").glob("*.json")
    points = json.loads(file.read_text())["points"]
    assert [point["photos_per_class"] for point in points] == [2, 5, None]


def test_a_report_of_it_all(copy: Path, run: Run) -> None:
    run("evaluate", "logreg", "-w", copy)
    page = copy / "report.html"
    result = run("report", "logreg", "knn", "-o", page, "-w", copy)
    assert result.code == 0, result.err
    text = page.read_text()
    assert "felidae" in text
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_few_groups_are_a_warning_wherever_their_intervals_stand(copy: Path, run: Run) -> None:
    """Of three species held out an interval knows nothing, however many photos there are."""
    result = run("evaluate", "knn", "-w", copy)
    assert "bootstrap over only 15 photos" in result.err
    run("report", "knn", "-o", copy / "r.html", "-w", copy)
    assert "bootstrap over only 15 photos" in (copy / "r.html").read_text()
