"""Ablations over cached vectors: every cell of a grid, out of fold, each saved as it ends."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.dataset import Dataset, load_dataset
from classify.figures import sweep_picture
from classify.fit import MEMBERS
from classify.folds import held_out_folds, out_of_fold, pooled_out_of_fold
from classify.grid import Cell, Grid, balance_of, read_grid
from classify.heads import make_head
from classify.metrics import HEADLINE, intervals
from classify.model import Model
from classify.runs import Predictions, versions
from embed.errors import UserError
from embed.files import read_json, sha256, write_json, write_rows, write_text
from embed.progress import progress
from embed.vectors import open_stores
from embed.workspace import Workspace, slug


@dataclass(frozen=True)
class SweepReport:
    """The cells of a grid with their figures, and what was computed for them."""

    cells: list[tuple[Cell, dict[str, Any]]]  # the figures, or {"error": reason}
    computed: int
    reused: int
    table: Path
    picture: Path
    notes: list[str]

    @property
    def failed(self) -> int:
        return sum("error" in figures for _, figures in self.cells)

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(cell) | figures for cell, figures in self.cells]

    def lines(self) -> list[dict[str, str]]:
        """One row a configuration, best first: means over its seeds."""
        return [
            {
                "encoders": row["encoders"],
                "head": row["head"],
                "balance": row["balance"],
                "photos": f"{row['fraction']:.0%}",
                "macro-F1": f"{row['macro_f1']:.3f} [{row['macro_f1_low']:.3f}, "
                f"{row['macro_f1_high']:.3f}]",
                "accuracy": f"{row['accuracy']:.3f}",
                "seeds": f"{row['seeds']}",
                "spread": f"{row['macro_f1_spread']:.3f}",
            }
            for row in summarise(self.cells)
        ]


def sweep(workspace: Workspace, grid_file: Path, jobs: int, split: str = "default") -> SweepReport:
    """Compute the missing cells of the grid, `jobs` at a time, and write its table and picture.

    A cell that fails is recorded with its reason and the rest goes on. Only training photos
    take part. Raises `UserError` for what is wrong with the grid, before anything runs.
    """
    grid = read_grid(grid_file)
    if not grid.encoders:
        default = [store.folder.name for store in open_stores(workspace, None)]
        grid = replace(grid, encoders=(tuple(default),))
    trains: dict[tuple[str, ...], Dataset] = {}
    notes: list[str] = []
    for encoders in grid.encoders:
        dataset, said = load_dataset(workspace, encoders, split)
        trains[encoders] = dataset.part("train")
        notes += [note for note in said if note not in notes]
    cache = workspace.sweeps / "cells"
    computed, errors = _compute(grid, trains, cache, jobs)
    cells = [(cell, _figures(cache, cell, trains, errors)) for cell in grid.cells()]
    folder = workspace.sweeps / slug(grid_file.stem)
    rows = summarise(cells)
    if not rows:
        raise UserError(f"Every cell of {grid_file} failed. The first: {cells[0][1]['error']}")
    write_text(folder / "grid.toml", grid_file.read_text(encoding="utf-8-sig"))
    write_rows(folder / "table.csv", list(rows[0]), rows)
    _draw(rows, folder / "picture.png")
    notes += grid.left_out
    notes += [f"{_cell_name(cell)} failed: {f['error']}" for cell, f in cells if "error" in f]
    return SweepReport(
        cells, computed, len(cells) - computed - len(errors), folder / "table.csv",
        folder / "picture.png", notes,
    )  # fmt: skip


def summarise(cells: Sequence[tuple[Cell, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Means over the seeds of each configuration (interval ends too), best macro-F1 first.

    `macro_f1_spread` is the standard deviation over seeds.
    """
    groups: dict[Cell, list[dict[str, Any]]] = {}
    for cell, figures in cells:
        if "error" not in figures:
            groups.setdefault(replace(cell, seed=0), []).append(figures)
    rows = []
    for cell, found in groups.items():
        means = {name: np.mean([f[name] for f in found], axis=0) for name in HEADLINE}
        row: dict[str, Any] = {
            "encoders": "+".join(cell.encoders),
            "head": cell.head,
            "balance": cell.balance,
            "fraction": cell.fraction,
            "folds": cell.folds,
            "seeds": len(found),
        }
        for name, (value, low, high) in means.items():
            row |= {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
        row["macro_f1_spread"] = float(np.std([f["macro_f1"][0] for f in found]))
        rows.append(row)
    return sorted(rows, key=lambda row: -row["macro_f1"])


def _compute(
    grid: Grid, trains: dict[tuple[str, ...], Dataset], cache: Path, jobs: int
) -> tuple[int, dict[Cell, str]]:
    """Compute what is not cached: first the heads, then the stacks made of them."""
    from joblib import Parallel, delayed, parallel_config

    wanted = grid.cells()
    members = [member for cell in wanted if cell.head == "stack" for member in _members(cell)]
    errors: dict[Cell, str] = {}
    missing = [
        cell
        for cell in dict.fromkeys(members + wanted)
        if not _path(cache, cell, trains[cell.encoders]).exists()
    ]
    heads = [cell for cell in missing if cell.head != "stack"]
    with progress(len(missing), "Cells") as advance:
        with parallel_config("loky", inner_max_num_threads=1):
            outcomes = Parallel(n_jobs=min(jobs, max(1, len(heads))), return_as="generator")(
                delayed(_try)(cell, trains[cell.encoders], cache) for cell in heads
            )
            for cell, error in zip(heads, outcomes, strict=True):
                errors |= {cell: error} if error else {}
                advance(1)
        for cell in missing:
            if cell.head == "stack":
                error = _try(cell, trains[cell.encoders], cache)
                errors |= {cell: error} if error else {}
                advance(1)
    shown = set(wanted)
    return sum(cell in shown and cell not in errors for cell in missing), {
        cell: error for cell, error in errors.items() if cell in shown
    }


def _try(cell: Cell, train: Dataset, cache: Path) -> str | None:
    """Compute and save a cell; the reason where that fails."""
    try:
        _compute_cell(cell, train, cache)
    except Exception as error:  # one cell must not stop the others
        return f"{type(error).__name__}: {error}"
    return None


def _compute_cell(cell: Cell, train: Dataset, cache: Path) -> None:
    path = _path(cache, cell, train)
    if cell.head == "stack":
        files = [_path(cache, member, train).with_suffix(".parquet") for member in _members(cell)]
        sizes = np.unique(train.y, return_counts=True)[1]
        predictions = pooled_out_of_fold([Predictions.load(file) for file in files], sizes)
    else:
        head = make_head(cell.head, cell.balance, cell.seed)
        kept = drawn(train.y, cell.fraction, cell.seed)
        fold = held_out_folds(train, cell.folds, cell.seed)
        predictions = out_of_fold(Model(head), train, fold, kept)
    predictions.save(path.with_suffix(".parquet"))
    figures = intervals(predictions.y_index, predictions.P, HEADLINE, groups=predictions.group)
    write_json(path, asdict(cell) | figures)  # last: it says that the cell is done


def _members(cell: Cell) -> list[Cell]:
    """The cells of the heads that a stack is made of."""
    return [replace(cell, head=head, balance=balance_of(head, cell.balance)) for head in MEMBERS]


def drawn(y: NDArray[np.str_], fraction: float, seed: int) -> NDArray[np.bool_]:
    """(n,) which rows may train: `fraction` of each class, at least one; larger hold smaller."""
    order = np.random.default_rng(seed).permutation(len(y))
    kept = np.zeros(len(y), dtype=bool)
    for name in np.unique(y):
        members = order[y[order] == name]
        kept[members[: max(1, round(fraction * len(members)))]] = True
    return kept


def _path(cache: Path, cell: Cell, train: Dataset) -> Path:
    made_by = {
        "vectors": train.vectors_digest,
        "familia": versions()["familia"],
        "metrics": HEADLINE,
    }
    text = json.dumps(asdict(cell) | made_by, sort_keys=True)
    return cache / f"{sha256(text.encode())[:16]}.json"


def _figures(
    cache: Path, cell: Cell, trains: dict[tuple[str, ...], Dataset], errors: dict[Cell, str]
) -> dict[str, Any]:
    if cell in errors:
        return {"error": errors[cell]}
    value = read_json(_path(cache, cell, trains[cell.encoders]))
    return {name: value[name] for name in HEADLINE}


def _cell_name(cell: Cell) -> str:
    encoders = "+".join(cell.encoders)
    return f"{encoders} {cell.head} {cell.balance} {cell.fraction:g} seed {cell.seed}"


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    import pandas as pd

    table = pd.DataFrame(
        {
            "name": f"{row['encoders']}, {row['balance']}, {row['fraction']:.0%} of the photos",
            "value": row["macro_f1"],
            "low": row["macro_f1_low"],
            "high": row["macro_f1_high"],
            "group": row["head"],
        }
        for row in rows
    )
    sweep_picture(table, path)
