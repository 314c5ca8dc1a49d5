"""The axes of a grid: what each is called, which values it takes, and how they are read."""

import math
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Any, get_args, get_type_hints

from classify.balance import BALANCES
from classify.cell import PRECISIONS
from classify.fit import MEMBERS
from classify.grid_ranges import expand
from classify.grid_toml import Setting
from classify.heads import HEADS
from embed.errors import UserError, did_you_mean

AUTO = "auto"
"""the word for what a head does by itself"""
_NOT_SWEPT = ("balance", "random_state", "layout")
_KINDS = {int: "whole numbers", float: "numbers", str: "words in quotes", bool: "true or false"}


@dataclass(frozen=True)
class Axis:
    """One way in which cells differ."""

    name: str
    """`photos`, or `knn.k` of a head's parameter"""
    read: Callable[[Any], Any]
    """a value of TOML as a cell has it; raises ValueError that says what is wrong"""
    whole: bool | None = None
    """whether a range gives whole numbers; None: there are no ranges"""


def axis_of(setting: Setting) -> Axis:
    """The axis that a key names; an unknown one is a `UserError` with its line."""
    key = setting.key
    if key in AXES:
        return AXES[key]
    head, _, name = key.partition(".")
    if name:
        known = parameters(head)
        if name in known:
            return known[name]
        if name in AXES:
            raise setting.error(
                f"'{name}' stands below [{head}], so it is taken for a parameter of {head}. Move "
                "it up, above the first line in brackets."
            )
        there = did_you_mean(name, known) if known else "It has none."
        raise setting.error(f"'{name}' is no parameter of {head}. {there}")
    if key == "fractions":
        given = setting.value if isinstance(setting.value, list) else [setting.value]
        numbers = [v for v in given if isinstance(v, int | float)] or [0.25]
        shares = ", ".join(f'"{100 * v:g}%"' for v in numbers)
        raise setting.error(f"'fractions' is now a part of 'photos': photos = [{shares}].")
    if key in HEADS:
        names = ", ".join(f"{key}.{name}" for name in parameters(key)) or "it has none"
        raise setting.error(
            f"'{key}' is a head: name it under 'heads'; values go to its parameters ({names})."
        )
    if key == "stack":
        raise setting.error(
            f"a stack has no parameters but those of its heads: {', '.join(MEMBERS)}."
        )
    if owners := [f"{head}.{key}" for head in HEADS if key in parameters(head)]:
        raise setting.error(f"'{key}' is a parameter of a head: write {' or '.join(owners)}.")
    known_keys = [*AXES, *HEADS, "grid", "zip", "exclude", "include"]
    raise setting.error(f"unknown key '{key}'. {did_you_mean(key, known_keys)}")


def read_values(setting: Setting) -> list[tuple[Any, int | None]]:
    """The values of an axis in their order, ranges expanded, each with its number in the array.

    Raises `UserError` with the line of the value that is wrong.
    """
    axis = axis_of(setting)
    many = isinstance(setting.value, list)
    given = setting.value if many else [setting.value]
    if not given:
        raise setting.error(f"'{setting.key}' is empty. Give at least one value.")
    found: list[tuple[Any, int | None]] = []
    for i, value in enumerate(given):
        at = i if many else None
        try:
            found += [(axis.read(one), at) for one in _each(axis, value)]
        except (ValueError, UserError) as error:
            raise setting.error(f"'{setting.key}': {str(error).rstrip('.')}.", at) from error
    return found


def _each(axis: Axis, value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return [value]
    if axis.whole is None:
        raise ValueError("ranges are for numbers")
    return expand(value, axis.whole)


def in_words(axis: str, value: Any) -> str:
    """A value as a grid or `--one-factor` writes it: all, 25%, none, auto, 0.1; a+b of several."""
    if axis == "photos":
        share = isinstance(value, float)
        return "all" if value is None else f"{100 * value:g}%" if share else str(value)
    if value is None:
        return "none" if axis.rpartition(".")[2] == "pca" else AUTO
    if isinstance(value, tuple):
        return "+".join(value) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


@cache
def parameters(head: str) -> dict[str, Axis]:
    """The parameters of a head that a file can give, by their names in its constructor.

    A value is None where it is the head's own default.
    """
    found = {}
    hints = get_type_hints(HEADS[head].__init__)
    for name, default in HEADS[head]().get_params().items():
        hint = hints.get(name, Any)
        kinds = [
            kind
            for kind in (get_args(hint) if isinstance(hint, UnionType) else [hint])
            if kind in _KINDS
        ]
        if name in _NOT_SWEPT or not kinds:
            continue
        whole = int in kinds if {int, float} & set(kinds) else None
        read = _pca if name == "pca" else _parameter_reader(head, name, kinds, default)
        found[name] = Axis(f"{head}.{name}", read, whole and float not in kinds)
    return found


def _parameter_reader(
    head: str, name: str, kinds: Collection[type], default: Any
) -> Callable[[Any], Any]:
    expected = " or ".join(_KINDS[kind] for kind in kinds)

    def read(value: Any) -> Any:
        if value == AUTO:
            return None
        kind = type(value)
        if kind is int and int not in kinds and float in kinds:
            kind, value = float, float(value)
        if kind not in kinds or (kind is float and not math.isfinite(value)):
            raise ValueError(f'takes {expected}, or "{AUTO}", not {value!r}')
        try:
            HEADS[head](**{name: value}).check()
        except ValueError as error:
            raise ValueError(str(error).replace("None", f'"{AUTO}"')) from error
        return None if value == default else value

    return read


def _names(value: Any) -> Iterator[str]:
    for name in value if isinstance(value, list) else [value]:
        if not isinstance(name, str) or not name:
            raise ValueError(f"takes names in quotes, not {name!r}")
        yield name


def _encoders(value: Any) -> tuple[str, ...]:
    from embed.encoders import encoder_name

    if value == []:
        raise ValueError("a list of encoders side by side has one or more")
    return tuple(dict.fromkeys(encoder_name(name) for name in _names(value)))


def _columns(value: Any) -> tuple[str, ...]:
    return () if value == "none" else tuple(dict.fromkeys(_names(value)))


def _split(value: Any) -> str:
    if isinstance(value, list):
        raise ValueError(f"takes names in quotes, not {value!r}")
    return next(_names(value))


def _one_of(choices: Collection[str]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"there is no '{value}'. {did_you_mean(str(value), choices)}")
        return value

    return read


def _photos(value: Any) -> int | float | None:
    if value == "all":
        return None
    share = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", value) if isinstance(value, str) else None
    if share and 0 < float(share[1]) <= 100:
        return None if float(share[1]) == 100 else float(share[1]) / 100
    if type(value) is int and value > 0:
        return value
    hint = f' (did you mean "{100 * value:g}%"?)' if type(value) is float and 0 < value <= 1 else ""
    raise ValueError(f'takes photos of a class (1 or more), "25%" or "all", not {value!r}{hint}')


def _pca(value: Any) -> int | None:
    if value == "none":
        return None
    if type(value) is not int or value < 1:
        raise ValueError(f'takes numbers of dimensions, 1 or more, or "none", not {value!r}')
    return value


def _at_least(least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or value < least:
            raise ValueError(f"takes whole numbers of {least} or more, not {value!r}")
        return value

    return read


AXES = {
    axis.name: axis
    for axis in (
        Axis("encoders", _encoders),
        Axis("heads", _one_of((*HEADS, "stack"))),
        Axis("balance", _one_of(BALANCES)),
        Axis("photos", _photos, whole=True),
        Axis("pca", _pca, whole=True),
        Axis("precision", _one_of(PRECISIONS)),
        Axis("columns", _columns),
        Axis("splits", _split),
        Axis("folds", _at_least(2), whole=True),
        Axis("seeds", _at_least(0), whole=True),
    )
}
"""Those that every head has, in the order in which cells run through them."""
