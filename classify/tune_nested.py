"""The whole search again inside each outer fold: an estimate that no choice has touched."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.bootstrap import Figure
from classify.cell import Cell
from classify.dataset import Dataset
from classify.folds import held_out_folds
from classify.outcomes import Outcomes
from classify.tune_honest import nested_estimate
from classify.tune_search import Budget, Search, cell_of
from classify.tune_space import Space
from classify.tune_trial import Trials
from embed.errors import UserError
from embed.workspace import Workspace

Watch = Callable[[Budget, str], AbstractContextManager[Callable[[Search], None]]]


@dataclass(frozen=True)
class Nested:
    """What the search is worth on photos that it never saw."""

    folds: int
    trials: list[int]
    """of the search in each outer fold"""
    chosen: list[Cell]
    value: Figure
    """of the configurations that the searches chose"""
    gain: Figure
    """over the best default configurations of the same searches, paired"""


def nested(
    workspace: Workspace,
    folder: Path,
    storage: Path,
    space: Space,
    metric: str,
    folds: int,
    trials: int | None,
    minutes: float | None,
    jobs: int,
    watch: Watch,
) -> Nested:
    """Search in each of the outer folds' training parts and predict the fold by what was chosen.

    Each search has `trials` trials and a share of `minutes`. Outer folds keep groups together;
    photos that always train are not scored.
    """
    seed, cells = space.usual.seed, folder / "nested"
    everything = Trials(workspace, cells, metric).data(space.usual)
    outer = held_out_folds(everything, folds, seed)
    numbers = np.unique(outer[outer >= 0])
    if len(numbers) < 2:
        raise UserError(
            f"--nested {folds} needs photos of two groups or more to hold out one by one."
        )
    classes = np.unique(everything.y)
    P = {name: np.zeros((len(outer), len(classes))) for name in ("tuned", "default")}
    counts, chosen = [], []
    for nth, number in enumerate(numbers):
        part = _without(outer, int(number))
        inside = Trials(workspace, cells, metric, part)
        search = Search(storage, f"fold {nth + 1} of {len(numbers)}", space, inside)
        share = None if minutes is None else minutes / len(numbers)
        budget = Budget(trials, share)
        with watch(budget, f"Outer fold {nth + 1} of {len(numbers)}") as on_trial:
            search.run(budget, seed, jobs, on_trial)
        complete = [cell_of(one) for one in search.complete]
        usual = [cell for cell in complete if cell in space.defaults()]
        counts.append(len(search.all))
        search.close()
        if not usual:
            raise UserError(f"Every default configuration failed in outer fold {nth + 1}.")
        held_out = outer == number
        for name, cell in (("tuned", complete[0]), ("default", usual[0])):
            new = Trials(workspace, cells, metric).data(cell).some(held_out)
            columns = np.searchsorted(classes, np.unique(inside.data(cell).y))
            P[name][np.ix_(held_out, columns)] = inside.fitted(cell)(new)
        chosen.append(complete[0])
    shutil.rmtree(cells, ignore_errors=True)
    scored = outer >= 0
    y = np.searchsorted(classes, everything.y[scored])
    tuned, default = (Outcomes.of(y, P[name][scored]) for name in ("tuned", "default"))
    value, gain = nested_estimate(tuned, default, metric, everything.group[scored])
    return Nested(len(numbers), counts, chosen, value, gain)


def _without(outer: Any, number: int) -> Callable[[Dataset], NDArray[np.bool_]]:
    return lambda train: outer != number
