"""`cli tune`: search the configurations, say honestly how good the best is, and if it is worth it.

tune/NAME/study.db      Optuna's SQLite file: the finished trials
tune/NAME/search.json   what is searched, on which photos
tune/NAME/trials.csv, tune.json, history.png, history.svg   what came of it
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classify.balance import BALANCES
from classify.cell import Cell
from classify.class_texts import text_encoder
from classify.dataset import Dataset
from classify.fit import MEMBERS
from classify.heads import HEADS, NEED_TEXTS
from classify.outcomes import Outcomes
from classify.runs import versions
from classify.tune_honest import Honest, bias_corrected
from classify.tune_importance import LEAST, importance
from classify.tune_nested import nested
from classify.tune_progress import search_progress
from classify.tune_report import Row, TuneReport
from classify.tune_search import CELL, ERROR, ID, SECONDS, Budget, Search, cell_of
from classify.tune_space import Space, together
from classify.tune_trial import Trials
from embed.errors import UserError, did_you_mean
from embed.files import read_json, sha256, write_json
from embed.vectors import open_stores
from embed.words import counted
from embed.workspace import Workspace, slug

METRICS = ("macro_f1", "accuracy", "top_5", "log_loss", "brier")
TUNED = (*MEMBERS, "stack")  # by default
CHOICES = (*HEADS, "stack")
MINUTES = 5.0  # where neither a time nor a number of trials is named


@dataclass(frozen=True)
class Request:
    """What `tune` is to search, and for how long."""

    minutes: float | None = None
    """from now on; with neither this nor `trials`: `MINUTES`"""
    trials: int | None = None
    """in all, those of earlier calls among them"""
    heads: tuple[str, ...] = TUNED
    encoders: Sequence[str] | None = None
    """alone and side by side; by default those of the last `embed`"""
    balances: tuple[str, ...] = BALANCES
    """ways to balance to try; none is always tried"""
    metric: str = "macro_f1"
    folds: int = 5
    seed: int = 0
    split: str = "default"
    name: str | None = None
    """of the folder; by default one for these settings and photos"""
    jobs: int = 1
    nested: int = 0
    """outer folds that the whole search is repeated in; 0: BBC-CV alone"""


def tune(workspace: Workspace, request: Request) -> TuneReport:
    """Search until the budget is spent, and write and return what is to be thought of it.

    Only training photos take part. The same request goes on where an earlier one ended. Raises
    `UserError` for unknown names, other photos under a name that is there, and where everything
    failed.
    """
    start = time.monotonic()
    _check(request)
    names = [store.spec.name for store in open_stores(workspace, request.encoders)]
    usual = Cell(
        tuple(names), "", split=request.split, seed=request.seed, folds=request.folds
    )  # of no head yet
    trials = Trials(workspace, workspace.sweeps / "cells", request.metric)
    train = trials.data(usual)
    _check_photos(request, train)
    space = Space(
        usual=usual,
        encoders=together(names),
        heads=request.heads,
        balances=tuple(dict.fromkeys(("none", *request.balances))),
        most_pca=_most_pca(train, request.folds),
    )
    folder = _folder(workspace, request, space, train)
    minutes = request.minutes
    if minutes is None and request.trials is None:
        minutes = MINUTES
    budget = Budget(request.trials, minutes)
    storage = folder / "study.db"
    search = Search(storage, "search", space, trials)
    try:
        with search_progress(budget) as on_trial:
            search.run(budget, request.seed, request.jobs, on_trial)
        rows = [_row(i + 1, one) for i, one in enumerate(search.all)]
        complete = [cell_of(one) for one in search.complete]
        if not complete:
            why = next((row.error for row in rows if row.error), "no trial came to its end")
            raise UserError(f"Every configuration failed. The first: {why}.")
        inner = None
        if request.nested:
            inner = nested(
                workspace, folder, storage, space, request.metric, request.nested,
                request.trials, minutes, request.jobs, search_progress,
            )  # fmt: skip
        by_cell = {row.cell: row for row in rows}
        usual_ones = [cell for cell in complete if cell in space.defaults()]
        found = trials.predictions(complete[0])
        report = TuneReport(
            name=folder.name,
            folder=folder,
            metric=request.metric,
            label=train.label,
            rows=rows,
            computed=search.computed,
            seconds=time.monotonic() - start,
            best=by_cell[complete[0]],
            default=by_cell[usual_ones[0]] if usual_ones else None,
            honest=_honest(trials, complete, usual_ones, found.group),
            nested=inner,
            importance=importance(search.study),
            units=len(np.unique(np.asarray(found.group))),
            photos=len(found.ids),
            notes=_notes(rows, complete, space),
        )
    finally:
        search.close()
    report.save()
    return report


def _honest(trials: Trials, complete: list[Cell], usual: list[Cell], groups: Any) -> Honest | None:
    """None where no default configuration is there to compare with."""
    if not usual:
        return None
    outcomes = [_outcomes(trials, cell) for cell in complete]
    defaults = [complete.index(cell) for cell in usual]
    return bias_corrected(outcomes, trials.metric, defaults, groups)


def _outcomes(trials: Trials, cell: Cell) -> Outcomes:
    found = trials.predictions(cell)
    return Outcomes.of(found.y_index, found.P)


def _row(number: int, one: Any) -> Row:
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(one.state.name, "failed")
    steps = [one.intermediate_values[step] for step in sorted(one.intermediate_values)]
    return Row(
        number=number,
        state=state,
        value=None if state == "failed" else float(steps[-1]),
        seconds=float(one.user_attrs[SECONDS]),
        cell=Cell.from_json(one.user_attrs[CELL]),
        id=one.user_attrs[ID],
        error=one.user_attrs.get(ERROR, ""),
    )


def _notes(rows: list[Row], complete: list[Cell], space: Space) -> list[str]:
    notes = []
    for row in rows:
        if row.error:
            notes.append(f"{row.cell.describe()} failed: {row.error}")
    if len(notes) > 3:
        notes = [*notes[:3], f"{len(notes) - 3} more failed: see trials.csv"]
    missing = [cell.head for cell in space.defaults() if cell not in {row.cell for row in rows}]
    if missing:
        notes.append(
            f"the time was up before {', '.join(missing)} could be tried as they come: run the "
            "same command again, it goes on from there"
        )
    if len(complete) < LEAST:
        notes.append(
            f"which parameters matter cannot be said of {counted(len(complete), 'complete trial')}"
            f", only of {LEAST} or more"
        )
    return notes


def _folder(workspace: Workspace, request: Request, space: Space, train: Dataset) -> Path:
    """tune/NAME; a `UserError` where it holds another search."""
    identity: dict[str, Any] = {
        "space": space.to_json(),
        "metric": request.metric,
        "photos": train.vectors_digest,
        "familia": versions()["familia"],
    }
    digest = sha256(repr(identity).encode())[:6]
    name = slug(request.name) if request.name else f"{request.metric}-{digest}"
    folder = workspace.folder / "tune" / name
    about = folder / "search.json"
    if not about.exists():
        write_json(about, identity)
    elif (known := read_json(about)) != identity:
        differs = [key for key in identity if known.get(key) != identity[key]]
        what = "other photos or vectors" if differs == ["photos"] else "something else"
        raise UserError(
            f"'{request.name}' searched {what} before ({', '.join(differs)} differ). "
            f"Choose another --name, or remove {folder}."
        )
    return folder


def _most_pca(train: Dataset, folds: int) -> int:
    """Dimensions that the vectors of every encoder have in every fold."""
    widths = train.layout or (train.X.shape[1],)
    return int(min(*widths, len(train) * (folds - 1) // folds - 1, train.X.shape[1]))


def _check(request: Request) -> None:
    for what, words, choices in (
        ("head", request.heads, CHOICES),
        ("way to balance", request.balances, BALANCES),
        ("metric to tune", (request.metric,), METRICS),
    ):
        for word in words:
            if word not in choices:
                raise UserError(f"'{word}' is no {what}. {did_you_mean(word, choices)}")
    if request.nested == 1:
        raise UserError("--nested takes 2 outer folds or more, or 0 for none.")


def _check_photos(request: Request, train: Dataset) -> None:
    if len(np.unique(train.y)) < 2:
        raise UserError(
            f"Expected at least two classes of '{train.label}' among the training photos. "
            "Check the column with `cli info`, or choose another: "
            "`cli embed PHOTOS --label COLUMN`."
        )
    needy = [name for name in request.heads if name in NEED_TEXTS]
    if needy and text_encoder(train) is None:
        raise UserError(
            f"{needy[0]} compares photos with the names of their classes, which takes an encoder "
            "that knows words. Run `cli embed PHOTOS --encoder bioclip` first."
        )
