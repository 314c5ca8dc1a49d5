"""Ablations over cached vectors: every cell of a grid, out of fold, each saved as it ends."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classify.cell import Cell, CellResult
from classify.cell_data import data_key
from classify.cell_store import cell_id, load_result, save_list
from classify.configurations import Configuration, configurations
from classify.grid import Grid
from classify.sweep_backends import workers
from classify.sweep_estimate import built_in_seconds, class_sizes
from classify.sweep_inputs import Inputs, load_inputs
from classify.sweep_memory import MemoryPlan, cell_bytes, plan_memory
from classify.sweep_progress import Progress, shown
from classify.sweep_run import run_tasks
from classify.sweep_table import draw_picture, short_rows, table_rows, write_table
from classify.sweep_tasks import make_tasks
from classify.sweep_work import Job, Task, forget
from embed.errors import UserError
from embed.files import write_text
from embed.words import counted
from embed.workspace import Workspace, slug

SHOWN = 20
WORTH_WORKERS = 10  # seconds of work: to start them takes some


@dataclass(frozen=True)
class SweepReport:
    """The cells of a grid with their figures, and what was computed for them."""

    name: str
    folder: Path
    """sweeps/NAME, with sweep.json, table.csv, picture.png and the grid"""
    results: list[CellResult]
    """in the order of the grid; with `error` where a cell failed"""
    computed: int
    """cells of the grid that this run computed; the others were there or failed"""
    seconds: float
    """that this run took"""
    alone: float
    """seconds of the computed cells, one after the other, had nothing been shared"""
    notes: list[str]

    @property
    def failed(self) -> int:
        return sum(bool(one.error) for one in self.results)

    @property
    def reused(self) -> int:
        return len(self.results) - self.computed - self.failed

    @property
    def table(self) -> Path:
        return self.folder / "table.csv"

    @property
    def picture(self) -> Path:
        return self.folder / "picture.png"

    @property
    def configurations(self) -> list[Configuration]:
        """The finished cells, those of several seeds taken together, best macro-F1 first."""
        return configurations(self.results)

    def lines(self) -> list[dict[str, str]]:
        """The best configurations, a row each."""
        return short_rows(self.configurations, SHOWN)

    def summary(self) -> list[str]:
        """What was computed, how long it took, and where it lies."""
        words = [f"{counted(self.computed, 'cell')} computed, {self.reused:,} as before"]
        words += [f"{self.failed:,} failed"] * bool(self.failed)
        words.append(f"{self.seconds:,.1f} s")
        if self.computed:
            words.append(f"{self.alone:,.1f} s one by one with nothing shared")
        more = len(self.configurations) - SHOWN
        rest = f" ({more:,} more configurations)" if more > 0 else ""
        return [", ".join(words), f"Table: {self.table}{rest}", f"Picture: {self.picture}"]

    def to_json(self) -> dict[str, Any]:
        """Plain values: `cells` as their files have them, `configurations` as table.csv."""
        return {
            "name": self.name,
            "total": len(self.results),
            "computed": self.computed,
            "reused": self.reused,
            "failed": self.failed,
            "seconds": self.seconds,
            "seconds_with_nothing_shared": self.alone,
            "notes": self.notes,
            "table": str(self.table),
            "picture": str(self.picture),
            "configurations": table_rows(self.configurations),
            "cells": [one.to_json() for one in self.results],
        }


def sweep(
    workspace: Workspace,
    grid: Grid,
    jobs: int = 1,
    memory: int | None = None,
    backend: str = "loky",
    cluster: str | None = None,
) -> SweepReport:
    """Compute the missing cells of the grid and write its table and picture.

    Each finished cell is saved at once, so that a sweep that was stopped goes on where it was. A
    cell that fails is recorded with its reason and the rest goes on. Only training photos take
    part, and the figures of a cell are those that `fit` gives.

    jobs : tasks at a time, each on one core; fewer where more do not fit into the memory
    memory : bytes that all processes may take together, by default most of what is free
    backend, cluster : see `classify.sweep_backends.workers`

    Raises `UserError` for all that is wrong with the grid, before anything runs.
    """
    start, told = time.perf_counter(), workspace
    workspace = Workspace(workspace.folder.resolve())  # workers may have another current folder
    inputs = load_inputs(workspace, grid)
    wanted = [(cell, cell_id(cell, inputs.train(cell))) for cell in grid.cells]
    store, folder = workspace.sweeps / "cells", workspace.sweeps / slug(grid.path.stem)
    there = {id: result for _, id in wanted if (result := load_result(store, id))}
    missing = _missing(store, wanted, inputs)
    plan = _plan(missing, inputs, memory, jobs)
    notes = inputs.notes + grid.notes
    notes += [f"{jobs} jobs do not fit: {plan.describe()}"] if plan.jobs < jobs else []
    notes += [plan.describe()] if memory is not None and plan.jobs == jobs else []
    write_text(folder / "grid.toml", grid.path.read_text(encoding="utf-8-sig"))
    save_list(folder, inputs.label, wanted, {}, notes)
    errors: dict[str, str] = {}
    if missing:
        progress = Progress(store, missing, list(there.values()), _seconds_of(inputs))
        parent = os.getpid() if backend == "loky" else None
        job = Job(workspace, store, plan.memo_bytes, parent=parent)
        little = sum(map(progress.seconds, missing.values())) < WORTH_WORKERS
        at_a_time = 1 if little and backend == "loky" else plan.jobs
        errors = _compute(job, inputs, missing, at_a_time, backend, cluster, progress)
    results = [there.get(id) or _result(store, cell, id, errors) for cell, id in wanted]
    failed = [one for one in results if one.error]
    notes += [f"{one.cell.describe()} failed: {one.error}" for one in failed]
    save_list(folder, inputs.label, wanted, {one.id: one.error for one in failed}, notes)
    if len(failed) == len(results):
        raise UserError(f"Every cell of {grid.path} failed. The first: {failed[0].error}")
    new = [one for one in results if not one.error and one.id not in there]
    seconds, alone = time.perf_counter() - start, sum(one.seconds for one in new)
    folder = told.sweeps / folder.name  # as it was named to us
    report = SweepReport(folder.name, folder, results, len(new), seconds, alone, notes)
    write_table(report.configurations, report.table)
    draw_picture(report.configurations, report.picture)
    return report


def _result(store: Path, cell: Cell, id: str, errors: dict[str, str]) -> CellResult:
    found = load_result(store, id)
    return found or CellResult(cell, id, error=errors.get(id, "it was not computed"))


def _plan(missing: dict[str, Cell], inputs: Inputs, memory: int | None, jobs: int) -> MemoryPlan:
    sizes = class_sizes(inputs.trains)
    needs = [
        cell_bytes(cell, inputs.train(cell), len(sizes[data_key(cell)]))
        for cell in missing.values()
    ]
    return plan_memory(memory, jobs, inputs.trains.values(), max(needs, default=0))


def _seconds_of(inputs: Inputs) -> Callable[[Cell], float]:
    sizes = class_sizes(inputs.trains)
    return lambda cell: built_in_seconds(cell, inputs.train(cell), sizes[data_key(cell)])


def _missing(store: Path, wanted: Task, inputs: Inputs) -> dict[str, Cell]:
    """The cells to compute, by id: first the heads that stacks are made of."""
    members = [one for cell, id in wanted if not _is_there(store, id) for one in cell.members]
    needed = [(one, cell_id(one, inputs.train(one))) for one in members] + list(wanted)
    return {id: cell for cell, id in needed if not _is_there(store, id)}


def _is_there(store: Path, id: str) -> bool:
    return (store / f"{id}.json").exists()


def _compute(
    job: Job,
    inputs: Inputs,
    missing: dict[str, Cell],
    jobs: int,
    backend: str,
    cluster: str | None,
    progress: Progress,
) -> dict[str, str]:
    """Compute and save what is missing; the reasons of those that failed, by id."""
    errors: dict[str, str] = {}
    heads = [(cell, id) for id, cell in missing.items() if cell.head != "stack"]
    try:
        with workers(backend, jobs, cluster) as at_a_time, shown(progress):

            def run(cells: Task) -> None:
                tasks = make_tasks(cells, at_a_time, progress.seconds)
                for failed in run_tasks(job, inputs, tasks, at_a_time, backend):
                    errors.update(failed)
                    progress.fail(failed)

            run(heads)
            without = {id: _without(cell, errors, inputs) for id, cell in missing.items()}
            errors |= {id: why for id, why in without.items() if why}
            run(
                [
                    (cell, id)
                    for id, cell in missing.items()
                    if (cell.head, without[id]) == ("stack", "")
                ]
            )
    finally:
        forget()
    return errors


def _without(stack: Cell, errors: dict[str, str], inputs: Inputs) -> str:
    """Why a stack cannot be made, where one of its heads failed."""
    for member in stack.members:
        if why := errors.get(cell_id(member, inputs.train(member))):
            return f"{member.head} failed: {why}"
    return ""
