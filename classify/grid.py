"""The axes of a sweep, read from TOML and checked before anything runs."""

import itertools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from classify.balance import BALANCES
from classify.fit import BASE_HEADS
from embed.errors import UserError, did_you_mean

SWEPT_HEADS = (*BASE_HEADS, "stack")


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
    heads: tuple[str, ...] = SWEPT_HEADS
    balance: tuple[str, ...] = ("none",)
    fractions: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0,)
    folds: int = 5
    path: Path = field(default=Path(), compare=False)

    def cells(self) -> list[Cell]:
        """Every cell, in the order of the axes."""
        axes = (self.encoders, self.heads, self.balance, self.fractions, self.seeds)
        return [Cell(*values, folds=self.folds) for values in itertools.product(*axes)]


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
