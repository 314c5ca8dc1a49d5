"""New photos through a run's encoder and model."""

import csv
import io
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.class_texts import knows_words
from classify.model import Model
from classify.runs import Run
from embed.collection import Problem, find_photos, read_collection
from embed.encoder import Choice
from embed.engine import Lane, embed_photos, readable_or_error
from embed.errors import UserError
from embed.ingest import HowToEmbed, open_lane, unreadable, write_skipped
from embed.texts import text_vectors
from embed.vectors import load_vectors
from embed.workspace import Workspace


@dataclass(frozen=True)
class PredictReport:
    """Probabilities for the readable photos, and what was left out."""

    ids: list[str]
    paths: list[str]
    classes: NDArray[np.str_]
    P: NDArray[np.float64]  # (n, C)
    problems: list[Problem]
    skipped: Path
    notes: list[str]

    def top(self, k: int) -> list[list[tuple[str, float]]]:
        """For each photo its `k` likeliest classes with their probabilities, best first."""
        order = np.argsort(-self.P, axis=1, kind="stable")[:, :k]
        return [
            [(str(self.classes[c]), float(self.P[i, c])) for c in row]
            for i, row in enumerate(order)
        ]

    def as_text(self, form: str, k: int, label: str) -> str:
        """The `k` likeliest classes as a `table`, `csv` or `json`; ids and paths come first."""
        if form == "json":
            return json.dumps(self._nested(k, label), indent=2, ensure_ascii=False) + "\n"
        if form == "csv":
            buffer = io.StringIO()
            header = ["id", "path", "rank", label, "probability"]
            writer = csv.writer(buffer, lineterminator="\n")
            writer.writerow(header)
            for id_, path, top in zip(self.ids, self.paths, self.top(k), strict=True):
                writer.writerows(
                    (id_, path, rank, name, f"{p:.6f}")
                    for rank, (name, p) in enumerate(top, start=1)
                )
            return buffer.getvalue()
        widths = [max(map(len, names)) for names in (self.ids, self.paths)]
        lines = (
            f"{id_:{widths[0]}}  {path:{widths[1]}}  "
            + ", ".join(f"{name} {p:.0%}" for name, p in top)
            for id_, path, top in zip(self.ids, self.paths, self.top(k), strict=True)
        )
        return "\n".join(lines) + "\n"

    def _nested(self, k: int, label: str) -> list[dict[str, Any]]:
        return [
            {
                "id": id_,
                "path": path,
                "predictions": [{label: name, "probability": round(p, 6)} for name, p in top],
            }
            for id_, path, top in zip(self.ids, self.paths, self.top(k), strict=True)
        ]


def predict(
    workspace: Workspace,
    run: Run,
    photos: Path,
    choice: Choice | None = None,
    batch_size: int | None = None,
    table: Path | None = None,
) -> PredictReport:
    """Encode `photos` (a file or a folder) as the run's training photos were, and predict.

    Vectors go to the store, so asking again costs no forward pass. A run that was fitted with
    columns takes them from `table`; without, they count as missing. Raises `UserError` where
    an encoder is missing or is not the one the run was fitted with.
    """
    model = run_model(workspace, run)
    lanes = run_lanes(workspace, run, choice)
    found = find_photos(photos) if table is None else read_collection(photos, table)
    paths = found.rows["path"].tolist()
    done = embed_photos(paths, lanes, batch_size=batch_size)
    readable = found.rows[done.readable]
    problems = found.problems + unreadable(found.rows, done)
    skipped = workspace.folder / "predict-skipped.csv"
    write_skipped(skipped, problems)
    readable_or_error(done, skipped)
    X = load_vectors([lane.store for lane in lanes], done.keys)
    return PredictReport(
        ids=readable["id"].tolist(),
        paths=readable["path"].tolist(),
        classes=model.classes_,
        P=model.predict_proba(X, readable),
        problems=problems,
        skipped=skipped,
        notes=found.notes + _absent_columns(run, model, readable),
    )


def run_model(workspace: Workspace, run: Run) -> Model:
    """What the run predicts with; columns in words go through its encoder's text side."""
    spec = next((spec for spec in run.specs if knows_words(spec)), None)
    texts = partial(text_vectors, workspace, spec.source) if spec else None
    return Model.load(run.model_file, texts)


def _absent_columns(run: Run, model: Model, rows: Any) -> list[str]:
    absent = [] if model.columns is None else model.columns.absent(rows)
    if not absent:
        return []
    return [
        f"{run.name} takes {', '.join(absent)} beside the photos, which count as missing here: "
        "give them with --table"
    ]


def run_lanes(workspace: Workspace, run: Run, choice: Choice | None = None) -> list[Lane]:
    """The run's encoders, each checked to be the one that made its training vectors."""
    lanes = []
    for spec in run.specs:
        try:
            lane = open_lane(workspace, spec.source, HowToEmbed(choice or Choice()))
        except UserError as error:
            raise UserError(f"{run.name} needs the encoder it was fitted with. {error}") from error
        if lane.encoder.spec.digest != spec.digest:
            raise UserError(
                f"{run.name} was fitted on vectors of another '{spec.name}' "
                f"({'; '.join(spec.differences(lane.encoder.spec))}). "
                "Run `cli fit` again, or use the encoder of then."
            )
        lanes.append(lane)
    return lanes
