"""What a grid walks through: axes by themselves or zipped, and the points they make."""

import itertools
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from classify.cell import Cell
from classify.fit import MEMBERS
from classify.grid_axes import AXES, read_values
from classify.grid_toml import Setting, Table
from embed.errors import UserError

Point = dict[str, Any]
"""axis -> value"""
Sources = dict[tuple[str, Hashable], tuple[Setting, int | None]]
"""where each value of an axis stands: a setting, and the number in its array"""


@dataclass(frozen=True)
class Factor:
    """Axes that are walked together: one axis, or those of a [[zip]]."""

    axes: tuple[str, ...]
    rows: tuple[Point, ...]
    """the values of these axes, side by side"""

    def of(self, head: str) -> tuple[Point, ...]:
        """The rows without parameters of other heads, each once."""
        rows = (only_of(head, row) for row in self.rows)
        return tuple(dict(items) for items in dict.fromkeys(tuple(row.items()) for row in rows))


def factors(top: Table, grid: Table, usual: Cell, sources: Sources) -> list[Factor]:
    """What a [[grid]] walks through, `top` giving what it leaves open; parameters come last.

    Where each value stands is written to `sources`.
    """
    owner: dict[str, Setting] = {}
    found = []
    for setting in (top.settings | grid.settings).values():
        found.append(_product_of([setting], owner, sources))
    for table in (*top.zip, *grid.zip):
        found.append(_zip_of(table, owner, sources))
    for axis, setting in owner.items():
        if axis.endswith(".pca") and "pca" in owner:
            other = owner["pca"].statement.place()
            raise setting.error(f"'{axis}' is told by 'pca' in {other}, too. Give one of the two.")
    for axis, value in defaults(usual).items():
        if axis not in owner:
            found.append(Factor((axis,), tuple({axis: one} for one in value)))
    places = {axis: i for i, axis in enumerate(AXES)}
    return sorted(found, key=lambda f: min(places.get(axis, len(places)) for axis in f.axes))


def defaults(usual: Cell) -> dict[str, tuple[Any, ...]]:
    """The values of the axes that a grid does not mention."""
    return {
        "encoders": (usual.encoders,),
        "heads": (*MEMBERS, "stack"),
        "balance": (usual.balance,),
        "photos": (usual.photos,),
        "pca": (None,),
        "precision": (usual.precision,),
        "columns": (usual.columns,),
        "splits": (usual.split,),
        "folds": (usual.folds,),
        "seeds": (usual.seed,),
    }


def _product_of(
    settings: Sequence[Setting],
    owner: dict[str, Setting],
    sources: Sources,
) -> Factor:
    """The factor of settings that are walked together."""
    columns = []
    for setting in settings:
        if setting.key in owner:
            other = owner[setting.key].statement.place()
            raise setting.error(f"'{setting.key}' has values in {other} already.")
        owner[setting.key] = setting
        values = read_values(setting)
        for value, element in values:
            sources.setdefault((setting.key, value), (setting, element))
        columns.append([value for value, _ in values])
    axes = tuple(setting.key for setting in settings)
    rows = dict.fromkeys(zip(*columns, strict=True))
    return Factor(axes, tuple(dict(zip(axes, row, strict=True)) for row in rows))


def _zip_of(table: Table, owner: dict[str, Setting], sources: Sources) -> Factor:
    settings = list(table.settings.values())
    if len(settings) < 2:
        place = table.statement.place()
        raise UserError(f"{place}: a [[zip]] walks two axes or more together. Give more.")
    lengths = {setting.key: len(read_values(setting)) for setting in settings}
    first = settings[0]
    for setting in settings[1:]:
        if lengths[setting.key] != lengths[first.key]:
            raise setting.error(
                f"the axes of a [[zip]] are of one length, but '{first.key}' has "
                f"{lengths[first.key]} and '{setting.key}' {lengths[setting.key]}."
            )
    return _product_of(settings, owner, sources)


def points(product: Sequence[Factor]) -> Iterator[Point]:
    """All combinations of the factors' rows; each head goes through its own parameters only."""
    general = [f for f in product if any(axis in AXES for axis in f.axes)]
    special = [f for f in product if f not in general]
    for rows in itertools.product(*(f.rows for f in general)):
        point = joined(rows)
        for more in itertools.product(*(f.of(point["heads"]) for f in special)):
            yield joined([point, *more])


def joined(rows: Iterable[Point]) -> Point:
    """One point of rows of several factors, less what is of other heads than its own."""
    point: Point = {}
    for row in rows:
        point |= row
    return only_of(point["heads"], point)


def only_of(head: str, row: Point) -> Point:
    """`row` without the parameters of other heads."""
    return {axis: value for axis, value in row.items() if is_of(axis, head)}


def is_of(axis: str, head: str) -> bool:
    """Whether the axis means something to a head: those of every head, its own parameters, and
    to a stack those of its heads."""
    owner = axis.rpartition(".")[0]
    return not owner or owner == head or (head == "stack" and owner in MEMBERS)
