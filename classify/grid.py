"""The axes of a sweep, read from TOML and checked before anything runs."""

import itertools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from classify.balance import BALANCES
from classify.fit import MEMBERS
from classify.heads import HEADS, NEED_TEXTS
from embed.errors import UserError, did_you_mean

SWEPT_HEADS = (*(name for name in HEADS if name not in NEED_TEXTS), "stack")


@dataclass(frozen=True)
class Cell:
    """One configuration of a sweep."""

    encoders: tuple[str, ...]
    head: str
    balance: str
    fraction: float  # of each class's training photos in every fold
    seed: int  # of the folds, the drawn fraction, balancing and the head
    folds: int


@dataclass(frozen=True)
class Grid:
    """The product of these axes. `encoders` may hold lists: several encoders side by side."""

    encoders: tuple[tuple[str, ...], ...] = ()  # empty: the workspace's own
    heads: tuple[str, ...] = (*MEMBERS, "stack")
    balance: tuple[str, ...] = ("none",)
    fractions: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0,)
    folds: int = 5
    path: Path = field(default=Path(), compare=False)

    def cells(self) -> list[Cell]:
        """Every cell that has a meaning, in the order of the axes."""
        axes = (self.encoders, self.heads, self.balance, self.fractions, self.seeds)
        cells = [Cell(*values, folds=self.folds) for values in itertools.product(*axes)]
        return [cell for cell in cells if cell.balance == balance_of(cell.head, cell.balance)]

    @property
    def left_out(self) -> list[str]:
        """Which heads go without which balance, in words."""
        pairs = itertools.product(self.heads, self.balance)
        return [
            f"{balance} means nothing to {head}: these cells are left out"
            for head, balance in pairs
            if balance_of(head, balance) != balance
        ]


def balance_of(head: str, balance: str) -> str:
    """`balance`, or none where it means nothing to the head; a stack takes any."""
    return balance if head == "stack" or balance in HEADS[head].balances else "none"


def read_grid(path: Path) -> Grid:
    """The grid in a TOML file.

    Raises `UserError` for a missing or broken file, unknown keys, and values out of range.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). See docs/sweep.md.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no valid TOML: {error}. See docs/sweep.md.") from error
    known = [axis.name for axis in fields(Grid) if axis.name != "path"]
    for key in table:
        if key not in known:
            raise UserError(f"{path}: unknown key '{key}'. {did_you_mean(key, known)}")
    axes: dict[str, Any] = {}
    for key, value in table.items():
        axes[key] = value if key == "folds" else _axis(path, key, value)
    grid = Grid(**axes, path=path)
    _check(grid)
    return grid


def _axis(path: Path, key: str, value: Any) -> tuple[Any, ...]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UserError(f"{path}: '{key}' is empty. Give at least one value.")
    if key == "encoders":
        values = [tuple(v) if isinstance(v, list) else (v,) for v in values]
    return tuple(dict.fromkeys(values))


def _check(grid: Grid) -> None:
    checks: tuple[tuple[str, Sequence[Any], Any, str], ...] = (
        ("encoders", [n for group in grid.encoders for n in group], _is_text, "names in quotes"),
        ("heads", grid.heads, SWEPT_HEADS, "heads"),
        ("balance", grid.balance, BALANCES, "ways to balance"),
        ("fractions", grid.fractions, _is_fraction, "numbers above 0 and at most 1"),
        ("seeds", grid.seeds, _is_seed, "whole numbers, 0 or more"),
        ("folds", [grid.folds], _is_folds, "a whole number of at least 2"),
    )
    for key, values, allowed, expected in checks:
        for value in values:
            if isinstance(allowed, tuple):
                if value not in allowed:
                    hint = did_you_mean(str(value), allowed)
                    raise UserError(f"{grid.path}: '{value}' under '{key}'. {hint}")
            elif not allowed(value):
                raise UserError(f"{grid.path}: '{key}' takes {expected}, not {value!r}.")
    if len(grid.left_out) == len(grid.heads) * len(grid.balance):
        raise UserError(f"{grid.path}: no cell is left: {'; '.join(grid.left_out)}.")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_seed(value: Any) -> bool:
    return _is_whole(value) and value >= 0


def _is_folds(value: Any) -> bool:
    return _is_whole(value) and value >= 2


def _is_fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
