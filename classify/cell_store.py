"""The finished cells of all sweeps of a workspace, each saved by itself, and what a sweep was.

`sweeps/cells/ID.json` has a `CellResult`, `ID.parquet` its out-of-fold predictions; the JSON is
written last and says that the cell is done. `sweeps/NAME/sweep.json` lists the cells of a grid.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classify.cell import Cell, CellResult
from classify.dataset import Dataset
from classify.metrics import HEADLINE
from classify.runs import Predictions, versions
from embed.errors import UserError, did_you_mean
from embed.files import read_json, sha256, write_json
from embed.workspace import Workspace

LIST = "sweep.json"


def cell_id(cell: Cell, train: Dataset) -> str:
    """16 hexadecimal digits: equal for an equal cell on equal photos by the same program."""
    made_by = {
        "vectors": train.inputs_digest(cell.columns),
        "familia": versions()["familia"],
        "metrics": list(HEADLINE),
    }
    text = json.dumps(cell.to_json() | made_by, sort_keys=True)
    return sha256(text.encode())[:16]


def save_result(folder: Path, result: CellResult, predictions: Predictions) -> None:
    """Write a finished cell into `folder`; whole or not at all."""
    predictions.save(folder / f"{result.id}.parquet")
    write_json(folder / f"{result.id}.json", result.to_json())


def load_result(folder: Path, id: str) -> CellResult | None:
    """The finished cell of this id; None where there is none."""
    path = folder / f"{id}.json"
    if not path.exists():
        return None
    try:
        return CellResult.from_json(read_json(path))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"{path} is no finished cell of this program ({error!r}). "
            "Remove it and run `cli sweep` again: only this cell is computed anew."
        ) from error


@dataclass(frozen=True)
class SweepResult:
    """The cells of one sweep, in the order of its grid."""

    name: str
    folder: Path
    """sweeps/NAME, where the answers are written"""
    cells: Path
    """folder of the finished cells"""
    label: str
    results: list[CellResult]
    notes: list[str]
    missing: int = 0
    """cells of the grid that are not computed yet"""

    @property
    def done(self) -> list[CellResult]:
        return [one for one in self.results if not one.error]

    @property
    def failed(self) -> list[CellResult]:
        return [one for one in self.results if one.error]

    def predictions(self, result: CellResult) -> Predictions:
        """The out-of-fold predictions of a finished cell."""
        return Predictions.load(self.cells / f"{result.id}.parquet")


def save_list(
    folder: Path,
    label: str,
    cells: Sequence[tuple[Cell, str]],
    errors: dict[str, str],
    notes: Sequence[str],
) -> None:
    """Write which cells a sweep has: (cell, id) each, and the reasons of those that failed."""
    listed = [{"id": id, "cell": cell.to_json(), "error": errors.get(id, "")} for cell, id in cells]
    write_json(folder / LIST, {"label": label, "notes": list(notes), "cells": listed})


def load_sweep(workspace: Workspace, name: str) -> SweepResult:
    """A sweep by its name; an unknown one is a `UserError` that names those that are there."""
    names = sorted(path.parent.name for path in workspace.sweeps.glob(f"*/{LIST}"))
    if name not in names:
        there = did_you_mean(name, names) if names else "There are none: run `cli sweep GRID.toml`."
        raise UserError(f"There is no sweep '{name}' here. {there}")
    folder, cells = workspace.sweeps / name, workspace.sweeps / "cells"
    about: dict[str, Any] = read_json(folder / LIST)
    results, missing = [], 0
    for one in about["cells"]:
        found = load_result(cells, one["id"])
        if found is None and one["error"]:
            found = CellResult(Cell.from_json(one["cell"]), one["id"], error=one["error"])
        if found is None:
            missing += 1
        else:
            results.append(found)
    return SweepResult(name, folder, cells, about["label"], results, about["notes"], missing)
