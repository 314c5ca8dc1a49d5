"""The held-out photos, read here alone: figures, tables, pictures and the worst errors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classify.dataset import Dataset, load_dataset
from classify.figures import confusion_picture
from classify.metrics import ALL_METRICS, confusion, intervals, per_class
from classify.model_card import write_card
from classify.predict import run_model
from classify.runs import Predictions, Run, all_runs
from embed.errors import UserError, did_you_mean
from embed.files import write_json, write_rows
from embed.words import counted
from embed.workspace import Workspace
from retrieval.gallery import Section, Tile, write_gallery
from retrieval.index import Index

N_ERRORS = 20
N_NEIGHBOURS = 3


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found and where it wrote it."""

    run: Run
    folder: Path
    photos: int
    figures: dict[str, Any]  # name -> [value, low, high]
    table: Any  # DataFrame, one row a class
    errors: list[dict[str, Any]]  # the most confident errors, worst first
    notes: list[str]

    def hardest(self, k: int) -> list[tuple[str, float, int]]:
        """(class, F1, photos) of the `k` classes with the lowest F1, of those that were tested."""
        tested = self.table[self.table["n"] > 0].sort_values("f1", kind="stable").head(k)
        return list(zip(tested["class"], tested["f1"], tested["n"], strict=True))


def evaluate(workspace: Workspace, run: Run, part: str = "test") -> Evaluation:
    """Predict the `part` (test or val) photos with `run` and write all figures to its folder.

    Raises `UserError` where the split has no such photos or its training photos are not those
    the run was fitted on: a photo once trained on must not be tested.
    """
    if part not in ("test", "val"):
        raise UserError(f"'{part}' is no part. {did_you_mean(part, ('test', 'val'))}")
    config = run.config
    dataset, notes = load_dataset(workspace, list(config.encoders), config.split)
    train, held_out = dataset.part("train"), dataset.part(part)
    _check_untouched(run, train, held_out, part)
    model = run_model(workspace, run)
    P = model.predict_proba(held_out.X, held_out.rows)
    predictions = Predictions(held_out.ids, held_out.y, P, model.classes_, group=held_out.group)
    notes += _unseen_classes(predictions) + _looked_before(workspace, run, part)
    figures = intervals(predictions.y_index, predictions.P, ALL_METRICS, groups=held_out.group)
    table = per_class(predictions.y_index, predictions.P, predictions.classes)
    errors = confident_errors(predictions, train, held_out)
    folder = run.folder / part
    predictions.save(folder / "predictions.parquet")
    write_rows(folder / "per_class.csv", list(table.columns), table.to_dict("records"))
    _write_confusion(predictions, folder)
    _write_errors(errors, train, held_out, folder, run)
    write_json(folder / "metrics.json", figures)  # last: it says that the rest is there
    write_card(run.folder)
    return Evaluation(run, folder, len(held_out), figures, table, errors, notes)


def confident_errors(
    predictions: Predictions, train: Dataset, held_out: Dataset
) -> list[dict[str, Any]]:
    """The errors with the highest probability, each with its nearest training photos."""
    predicted = predictions.predicted
    wrong = np.flatnonzero(predicted != predictions.y)
    confidence = predictions.P.max(axis=1)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:N_ERRORS]
    if not len(worst):
        return []
    index = Index.build(train.X, train.ids, kind="flat")
    rows, similarities = index.query_rows(held_out.X[worst], N_NEIGHBOURS)
    return [
        {
            "row": int(i),
            "id": predictions.ids[i],
            "file_path": held_out.rows["file_path"].iloc[i],
            "label": str(predictions.y[i]),
            "predicted": str(predicted[i]),
            "probability": float(confidence[i]),
            "neighbours": [
                {"row": int(row), "id": train.ids[row], "label": str(train.y[row]),
                 "similarity": float(similarity)}
                for row, similarity in zip(near, near_similarities, strict=True)
            ],
        }
        for i, near, near_similarities in zip(worst, rows, similarities, strict=True)
    ]  # fmt: skip


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


def _write_errors(
    errors: list[dict[str, Any]], train: Dataset, held_out: Dataset, folder: Path, run: Run
) -> None:
    header = ["id", "file_path", "label", "predicted", "probability"]
    places = range(1, N_NEIGHBOURS + 1)
    for place in places:
        header += [
            f"neighbour_{place}",
            f"neighbour_{place}_label",
            f"neighbour_{place}_similarity",
        ]
    write_rows(folder / "errors.csv", header, [_error_row(error) for error in errors])
    sections = [_error_section(error, train, held_out) for error in errors]
    write_gallery(
        folder / "errors.html",
        f"The {len(errors)} most confident errors of {run.name}",
        sections,
        label=train.label,
    )


def _error_row(error: dict[str, Any]) -> dict[str, Any]:
    row = dict(error)
    for place, near in enumerate(error["neighbours"], start=1):
        row[f"neighbour_{place}"] = near["id"]
        row[f"neighbour_{place}_label"] = near["label"]
        row[f"neighbour_{place}_similarity"] = round(near["similarity"], 4)
    row["probability"] = round(error["probability"], 4)
    return row


def _error_section(error: dict[str, Any], train: Dataset, held_out: Dataset) -> Section:
    query = Tile(
        path=held_out.rows["path"].iloc[error["row"]],
        label=error["label"],
        caption=f"predicted {error['predicted']} ({error['probability']:.0%})",
    )
    tiles = [
        Tile(
            path=train.rows["path"].iloc[near["row"]],
            label=near["label"],
            similarity=near["similarity"],
            match=near["label"] == error["label"],
        )
        for near in error["neighbours"]
    ]
    return Section(query, tiles)
