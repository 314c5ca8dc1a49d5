"""The cells of a sweep, read from a TOML file and checked before anything runs."""

import itertools
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from classify.cell import Cell, balance_of
from classify.fit import MEMBERS
from classify.grid_axes import parameters, read_values
from classify.grid_factors import Factor, Point, Sources, factors, is_of, points
from classify.grid_one_factor import around
from classify.grid_toml import Table, read_tables
from embed.errors import UserError

MOST_CELLS = 100_000
MOST_POINTS = 1_000_000  # looked at, those that are left out or equal to others among them


@dataclass(frozen=True)
class Grid:
    """What a sweep is to compute."""

    path: Path
    cells: list[Cell]
    """each once, in the order of the axes"""
    notes: list[str]
    """what was left out as meaningless, and what has no effect"""
    sources: Sources = field(default_factory=dict, repr=False)

    def place(self, axis: str, value: Hashable) -> str:
        """`grid.toml:7`, where the file gives that value to an axis; else the file alone."""
        if (axis, value) not in self.sources:
            return str(self.path)
        setting, element = self.sources[axis, value]
        return setting.statement.place(element)


@dataclass(eq=False)
class _Condition:
    """An [[exclude]]: the values that all have to be met for a cell to be dropped."""

    table: Table
    values: dict[str, set[Any]]
    dropped: int = 0

    def meets(self, point: Point) -> bool:
        head = point["heads"]
        met = all(
            is_of(axis, head) and point.get(axis) in wanted for axis, wanted in self.values.items()
        )
        self.dropped += met
        return met


def read_grid(path: Path, usual: Cell, one_factor: str | None = None) -> Grid:
    """The cells that a TOML file asks for; `docs/sweep.md` says what it may hold.

    usual : gives every axis that the file does not mention; but heads are then those that `fit`
        has compete, and their stack
    one_factor : `first`, or `head=knn,photos=all`: only the cells around this base that differ
        from it in one axis (see `classify.grid_one_factor`)

    Raises `UserError` with file and line for all that is wrong: broken TOML, unknown keys, values
    out of range, zips of unequal lengths, too many cells, none.
    """
    top = read_tables(path)
    for setting in top.settings.values():  # those that every [[grid]] overrules, too
        read_values(setting)
    sources: Sources = {}
    grids = top.grid or (Table(top.statement),)
    products = [factors(top, grid, usual, sources) for grid in grids]
    shared = [_condition(table) for table in top.exclude]
    conditions = [[*shared, *map(_condition, grid.exclude)] for grid in grids]
    walks = around(products, one_factor) if one_factor else [points(each) for each in products]
    notes: dict[str, None] = {}
    cells: dict[Cell, None] = {}
    count = itertools.count(1)
    for walk, excluded in zip(walks, conditions, strict=True):
        for i, point in enumerate(walk):
            why = meaningless(point)
            if why:
                notes[f"{why}: these cells are left out"] = None
            # no any(): each condition counts the points that meet it
            elif sum(condition.meets(point) for condition in excluded):
                why = "it is excluded"
            else:
                cells[cell_of(point)] = None
            if why and one_factor and i == 0:
                raise UserError(f"--one-factor: there is no such base: {why}. Choose another.")
            if len(cells) > MOST_CELLS or next(count) > MOST_POINTS:
                raise UserError(
                    f"{path}: more than {MOST_CELLS:,} cells, or {MOST_POINTS:,} before some are "
                    "left out. Take fewer values of some axes."
                )
    if not cells:
        said = "; ".join(notes) or "everything is excluded"
        raise UserError(f"{path}: no cell is left ({said}). Take other values of some axes.")
    for condition in dict.fromkeys(itertools.chain(*conditions)):
        if not condition.dropped and not one_factor:
            notes[f"{condition.table.statement.place()}: this [[exclude]] drops no cell"] = None
    notes |= dict.fromkeys(_idle(products, cells))
    return Grid(path, list(cells), list(notes), sources)


def _condition(table: Table) -> _Condition:
    if not table.settings:
        raise UserError(f"{table.statement.place()}: this [[exclude]] says nothing.")
    values = {s.key: {value for value, _ in read_values(s)} for s in table.settings.values()}
    return _Condition(table, values)


def meaningless(point: Point) -> str | None:
    """Why there is no such cell, if so."""
    head, balance = point["heads"], point["balance"]
    if balance_of(head, balance) != balance:
        return f"{balance} means nothing to {head}"
    takes_pca = any("pca" in parameters(one) for one in _fitted(head))
    return None if point["pca"] is None or takes_pca else f"pca means nothing to {head}"


def _fitted(head: str) -> tuple[str, ...]:
    return MEMBERS if head == "stack" else (head,)


def cell_of(point: Point) -> Cell:
    """The cell at a point; parameters at their default are not mentioned."""
    head = point["heads"]
    options = {
        axis if head == "stack" else axis.rpartition(".")[2]: value
        for axis, value in point.items()
        if "." in axis and value is not None
    }
    if point["pca"] is not None:
        takers = [one for one in _fitted(head) if "pca" in parameters(one)]
        options |= {f"{one}.pca" if head == "stack" else "pca": point["pca"] for one in takers}
    return Cell(
        encoders=point["encoders"],
        head=head,
        balance=point["balance"],
        photos=point["photos"],
        split=point["splits"],
        seed=point["seeds"],
        folds=point["folds"],
        precision=point["precision"],
        columns=point["columns"],
        options=tuple(sorted(options.items())),
    )


def _idle(products: Sequence[Sequence[Factor]], cells: Iterable[Cell]) -> list[str]:
    """Notes on parameters that no cell takes."""
    heads = {one for cell in cells for one in (cell.head, *_fitted(cell.head))}
    axes = dict.fromkeys(axis for product in products for f in product for axis in f.axes)
    return [
        f"'{axis}' has no effect: no cell is of {axis.rpartition('.')[0]}"
        for axis in axes
        if "." in axis and axis.rpartition(".")[0] not in heads
    ]
