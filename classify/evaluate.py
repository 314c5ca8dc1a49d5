"""The held-out photos, read here alone: figures, tables, pictures and the worst errors."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from classify.bootstrap import few_witnesses
from classify.confident import check_threshold
from classify.confusions import confusion_report
from classify.dataset import Dataset, load_dataset
from classify.errors import write_errors
from classify.figures import confusion_picture
from classify.metrics import ALL_METRICS, confusion, intervals, per_class
from classify.model_card import write_card
from classify.predict import run_model
from classify.ranks import ANSWER_COLUMNS, rank_report
from classify.robustness import robustness_report
from classify.runs import Predictions, Run, all_runs
from classify.scored import size_of
from classify.sizes import by_size
from classify.sureness import CONFORMAL_COLUMNS, calibration_report
from classify.unknown import unknown_report
from embed.encoder import Choice
from embed.errors import UserError, did_you_mean
from embed.files import write_json, write_rows
from embed.words import counted
from embed.workspace import Workspace

N_BOOT = 10_000
ON_DEMAND = ("robustness", "unknown")


@dataclass(frozen=True)
class Questions:
    """What `evaluate` is asked beside the figures that it always gives."""

    part: str = "test"  # or val
    confidence: float = 0.9  # an answer at the finest rank that is at least so sure
    perturb: tuple[str, ...] = ()  # what is done to the photos, to see what that costs
    unknown: bool = False  # whether families that nobody taught are told
    draws: int = N_BOOT


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found and where it wrote it."""

    run: Run
    folder: Path
    part: str
    photos: int
    figures: dict[str, Any]  # name -> [value, low, high]
    table: Any  # DataFrame, one row a class
    reports: dict[str, Any]  # ranks, calibration, confusions …: what their JSON files hold
    notes: list[str] = field(default_factory=list)
    left_out: int = 0  # photos that could not be made worse

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The most confident errors, worst first."""
        found: list[dict[str, Any]] = self.reports["confusions"]["errors"]
        return found

    def hardest(self, k: int) -> list[tuple[str, float, int]]:
        """(class, F1, photos) of the `k` classes with the lowest F1, of those that were tested."""
        tested = self.table[self.table["n"] > 0].sort_values("f1", kind="stable").head(k)
        return list(zip(tested["class"], tested["f1"], tested["n"], strict=True))


def evaluate(
    workspace: Workspace,
    run: Run,
    questions: Questions | None = None,
    choice: Choice | None = None,
    batch_size: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Predict the test (or val) photos with `run` and write all figures to its folder.

    Raises `UserError` where the split has no such photos or its training photos are not those
    the run was fitted on: a photo once trained on must not be tested.
    """
    asked = questions or Questions()
    _check_questions(asked)
    dataset, notes = load_dataset(workspace, list(run.config.encoders), run.config.split)
    dataset, corrected = run.corrections.apply(dataset)
    train, held_out = dataset.part("train"), dataset.part(asked.part)
    _check_untouched(run, train, held_out, asked.part)
    model = run_model(workspace, run)
    P = model.predict_proba(held_out.X, held_out.rows)
    found = Predictions(held_out.ids, held_out.y, P, model.classes_, group=held_out.group)
    notes += few_witnesses(len(np.unique(held_out.group)), len(held_out))
    notes += corrected + _unseen_classes(found) + _looked_before(workspace, run, asked.part)
    folder = run.folder / asked.part
    _save(found, folder)
    oof, taxonomy = run.out_of_fold, run.taxonomy
    trained = _trained(train, found)
    table = per_class(found.y_index, P, found.classes, groups=found.group)
    table = table.assign(trained=trained, size=[size_of(n) for n in trained])
    write_rows(folder / "per_class.csv", list(table.columns), table.to_dict("records"))
    ranks, answers = rank_report(found, taxonomy, asked.confidence)
    write_rows(folder / "answers.csv", list(ANSWER_COLUMNS), answers)
    calibration, sets = calibration_report(oof, found)
    write_rows(folder / "conformal.csv", list(CONFORMAL_COLUMNS), sets)
    reports = {
        "sizes": by_size(found.y_index, P, trained, found.group, asked.draws),
        "ranks": ranks,
        "calibration": calibration,
        "confusions": confusion_report(found, train, held_out, taxonomy.lineages),
    }
    write_errors(reports["confusions"]["errors"], train.label, folder, run.name)
    _write_confusion(found, folder)
    if asked.perturb:
        reports["robustness"] = robustness_report(
            workspace, run, model, held_out, found, asked.perturb, choice, batch_size
        )
        notes += _left_out(reports["robustness"], len(held_out), folder)
    if asked.unknown:
        reports["unknown"] = unknown_report(model, train, held_out, say=say)
    for name, report in reports.items():
        write_json(folder / f"{name}.json", plain(report))
    drawn = intervals(found.y_index, P, ALL_METRICS, asked.draws, groups=found.group)
    figures = {name: drawn[name] for name in ALL_METRICS}
    write_json(folder / "metrics.json", plain(figures))  # last: it says that the rest is there
    write_card(run.folder)
    left_out = len(held_out) - reports.get("robustness", {}).get("photos", len(held_out))
    return Evaluation(
        run, folder, asked.part, len(held_out), figures, table, reports, notes, left_out
    )


def plain(value: Any) -> Any:
    """For JSON: what has no value (NaN) is null, tuples and numpy's numbers are Python's."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value


def _check_untouched(run: Run, train: Dataset, held_out: Dataset, part: str) -> None:
    name = run.config.split
    if not len(held_out):
        raise UserError(
            f"The split '{name}' has no {part} photos. Make one that has: "
            f"`cli split --{part} 0.2`, then `cli fit` again."
        )
    if run.provenance["vectors"] != train.inputs_digest(run.config.columns):
        raise UserError(
            f"{run.name} was fitted on other training photos than the split '{name}' has now "
            "(the split, the collection or the embeddings changed), so its test would not be "
            f"honest. Run `{run.config.command}` again."
        )


def _unseen_classes(predictions: Predictions) -> list[str]:
    unseen = sorted(set(predictions.y[predictions.y_index < 0].tolist()))
    if not unseen:
        return []
    return [
        f"{len(unseen)} classes among these photos have no training photo and count as errors: "
        + ", ".join(unseen[:8])
    ]


def _looked_before(workspace: Workspace, run: Run, part: str) -> list[str]:
    data = run.provenance["data"]
    others = [
        other
        for other in all_runs(workspace)
        if other.name != run.name and other.evaluated(part) and other.provenance["data"] == data
    ]
    if part != "test" or not others:
        return []
    return [
        f"{counted(len(others), 'other run')} had a look at these test photos: choose by the "
        "out-of-fold figures, or the best test figure is too good by the choosing"
    ]


def _save(found: Predictions, folder: Path) -> None:
    """Write the predictions; what was found of others is removed."""
    path = folder / "predictions.parquet"
    if path.exists():
        before = Predictions.load(path)
        if before.ids != found.ids or not np.array_equal(before.P, found.P):
            for name in ON_DEMAND:
                (folder / f"{name}.json").unlink(missing_ok=True)
    found.save(path)


def _left_out(worse: dict[str, Any], photos: int, folder: Path) -> list[str]:
    if worse["photos"] == photos:
        return []
    missing = counted(photos - worse["photos"], "photo")
    where = folder / "robustness.json"
    return [*worse["notes"][:5], f"{missing} left out of --perturb; with reasons in {where}"]


def _check_questions(asked: Questions) -> None:
    if asked.part not in ("test", "val"):
        raise UserError(f"'{asked.part}' is no part. {did_you_mean(asked.part, ('test', 'val'))}")
    check_threshold(asked.confidence)


def _trained(train: Dataset, found: Predictions) -> Any:
    """(C,) training photos of each class."""
    names, counts = np.unique(train.y, return_counts=True)
    known = dict(zip(names.tolist(), counts.tolist(), strict=True))
    return np.array([known.get(name, 0) for name in found.classes.tolist()])


def _write_confusion(predictions: Predictions, folder: Path) -> None:
    """The whole matrix as CSV (rows are the truth), the worst classes as a picture."""
    seen = predictions.y_index >= 0
    classes = predictions.classes.tolist()
    counts = confusion(predictions.y_index[seen], predictions.P[seen].argmax(axis=1), len(classes))
    rows = [
        {"label": name} | dict(zip(classes, map(int, row), strict=True))
        for name, row in zip(classes, counts, strict=True)
    ]
    write_rows(folder / "confusion.csv", ["label", *classes], rows)
    confusion_picture(counts, classes, folder / "confusion.png")
