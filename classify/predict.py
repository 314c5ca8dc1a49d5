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

from classify.confident import confident_answers
from classify.conformal import Conformal
from classify.model import Model
from classify.recalibrate import Evidence, Recalibration
from classify.rolled_up import consistent_lineages
from classify.runs import Run
from embed.collection import Problem, find_photos, read_collection
from embed.encoder import Choice
from embed.engine import Lane, embed_photos, readable_or_error
from embed.errors import UserError
from embed.ingest import HowToEmbed, open_lane, unreadable, write_skipped
from embed.texts import knows_words, text_vectors
from embed.vectors import load_vectors
from embed.workspace import Workspace

SETS = "lac"  # how sets are made: without lots, so a photo has the same set in any folder


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
    answers: list[tuple[str, str, float]] | None = None  # (rank, taxon, probability) of each
    lineages: list[list[tuple[str, str, float]]] | None = None  # the same at every rank
    sets: list[list[str]] | None = None  # the classes of which one is right, as often as asked

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
            return self._csv(k, label)
        widths = [max(map(len, names)) for names in (self.ids, self.paths)]
        lines = (
            f"{id_:{widths[0]}}  {path:{widths[1]}}  {self._sure(i)}"
            + ", ".join(f"{name} {p:.0%}" for name, p in top)
            for i, (id_, path, top) in enumerate(
                zip(self.ids, self.paths, self.top(k), strict=True)
            )
        )
        return "\n".join(lines) + "\n"

    def _sure(self, i: int) -> str:
        """What a photo is said to be, before the likeliest classes."""
        said = ""
        if self.answers is not None:
            rank, taxon, p = self.answers[i]
            said += f"{rank} {taxon} {p:.0%}; " if taxon else "no answer; "
        if self.sets is not None:
            said += f"one of {{{', '.join(self.sets[i])}}}; "
        return said

    def _csv(self, k: int, label: str) -> str:
        buffer = io.StringIO()
        more = ["answer", "answer_rank", "answer_probability"] if self.answers else []
        more += ["lineage"] if self.lineages else []
        more += [] if self.sets is None else ["set"]
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["id", "path", "rank", label, "probability", *more])
        for i, top in enumerate(self.top(k)):
            sure: list[str] = []
            if self.answers is not None:
                rank, taxon, answered = self.answers[i]
                sure += [taxon, rank, f"{answered:.6f}"]
            if self.lineages is not None:
                sure.append("|".join(name for _, name, _ in self.lineages[i]))
            if self.sets is not None:
                sure.append("|".join(self.sets[i]))
            writer.writerows(
                (self.ids[i], self.paths[i], place, name, f"{p:.6f}", *sure)
                for place, (name, p) in enumerate(top, start=1)
            )
        return buffer.getvalue()

    def _nested(self, k: int, label: str) -> list[dict[str, Any]]:
        found = []
        for i, top in enumerate(self.top(k)):
            one: dict[str, Any] = {"id": self.ids[i], "path": self.paths[i]}
            if self.answers is not None:
                rank, taxon, p = self.answers[i]
                one["answer"] = {"rank": rank, "taxon": taxon or None, "probability": round(p, 6)}
            if self.lineages is not None:
                one["lineage"] = [
                    {"rank": rank, "taxon": name, "probability": round(p, 6)}
                    for rank, name, p in self.lineages[i]
                ]
            if self.sets is not None:
                one["set"] = self.sets[i]
            one["predictions"] = [{label: name, "probability": round(p, 6)} for name, p in top]
            found.append(one)
        return found


@dataclass(frozen=True)
class Sureness:
    """How sure answers are to be, judged by the run's out-of-fold predictions."""

    calibrate: str = "none"  # a way of `recalibrate.METHODS`, or the "best" of them
    confidence: float | None = None  # an answer at the finest rank that is at least so likely
    sets: float | None = None  # how often a set of classes is to hold the right one


def predict(
    workspace: Workspace,
    run: Run,
    photos: Path,
    choice: Choice | None = None,
    batch_size: int | None = None,
    table: Path | None = None,
    sureness: Sureness | None = None,
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
    asked = sureness or Sureness()
    P, sets = _calibrated(run, model.predict_proba(X, readable), asked)
    answers, lineages = _by_rank(run, P, model.classes_, asked.confidence)
    return PredictReport(
        ids=readable["id"].tolist(),
        paths=readable["path"].tolist(),
        classes=model.classes_,
        P=P,
        problems=problems,
        skipped=skipped,
        notes=found.notes + _absent_columns(run, model, readable),
        answers=answers,
        lineages=lineages,
        sets=sets,
    )


def _calibrated(run: Run, P: NDArray[np.float64], asked: Sureness) -> tuple[Any, Any]:
    """The probabilities and the sets, None where they were not asked for."""
    if asked.calibrate == "none" and asked.sets is None:
        return P, None
    oof, sets = run.out_of_fold, None
    if asked.sets is not None:
        known = Evidence.of(oof)
        chosen = Conformal.fit(known.P, known.y_index, SETS, asked.sets).sets(P)
        chosen[np.arange(len(P)), P.argmax(axis=1)] = True  # an empty set would help nobody
        sets = [oof.classes[inside].tolist() for inside in chosen]
    if asked.calibrate != "none":
        P = Recalibration.of(oof, asked.calibrate).transform(P)
    return P, sets


def _by_rank(
    run: Run, P: NDArray[np.float64], classes: NDArray[np.str_], confidence: float | None
) -> tuple[Any, Any]:
    """Sure answers and consistent lineages, None where no confidence is asked for."""
    if confidence is None:
        return None, None
    taxonomy = run.taxonomy
    sure = confident_answers(P, classes, taxonomy, confidence)
    return sure, consistent_lineages(P, classes, taxonomy)


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
