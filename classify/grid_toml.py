"""A grid's TOML, with the line of every key, and with the files that it includes.

tomllib tells no positions. So a text is cut into the smallest pieces of lines that tomllib takes
for whole statements: it is its own scanner, which no string, comment or bracket can fool.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from classify.heads import HEADS
from embed.errors import UserError, did_you_mean

MOST_INCLUDES = 10  # one within the other
SINGULAR = {"encoder": "encoders", "head": "heads", "split": "splits", "seed": "seeds"}
_ENDS = ("]", "}", '"""', "'''")  # one of which stands where a statement of several lines ends
_TABLES = ("grid", "zip", "exclude")

Keys = tuple[str | int, ...]
"""Names of nested tables, and numbers within an array of tables"""


@dataclass(frozen=True)
class Statement:
    """Some lines of a file that TOML takes as one: `key = value`, or the header of a table."""

    path: Path
    line: int
    text: str

    def place(self, element: int | None = None) -> str:
        """`grid.toml:7`, where the statement begins, or where that element of its array ends."""
        line = self.line if element is None else self.line + self._lines_before(element)
        return f"{self.path}:{line}"

    def _lines_before(self, element: int) -> int:
        lines = self.text.split("\n")
        for end in range(1, len(lines)):
            try:
                value = tomllib.loads("\n".join([*lines[:end], "]"]))
            except ValueError:
                continue
            while isinstance(value, dict):
                value = next(iter(value.values()))
            if len(value) > element:
                return end - 1
        return len(lines) - 1


@dataclass(frozen=True)
class Setting:
    """What a file says of one key: `photos`, or `knn.k` of a head's parameter."""

    key: str
    value: Any
    statement: Statement

    def error(self, message: str, element: int | None = None) -> UserError:
        return UserError(f"{self.statement.place(element)}: {message}")


@dataclass(frozen=True)
class Table:
    """The settings of a table by key, and the arrays of tables in it."""

    statement: Statement
    settings: dict[str, Setting] = field(default_factory=dict)
    grid: tuple["Table", ...] = ()
    zip: tuple["Table", ...] = ()
    exclude: tuple["Table", ...] = ()

    def over(self, other: "Table") -> "Table":
        """Both, this one's settings before the other's."""
        return replace(
            self,
            settings=other.settings | self.settings,
            grid=other.grid + self.grid,
            zip=other.zip + self.zip,
            exclude=other.exclude + self.exclude,
        )


def read_tables(path: Path, within: tuple[Path, ...] = ()) -> Table:
    """The tables of a TOML file and of those that it includes, whose settings it overrules.

    Raises `UserError` with file and line for a broken file, for includes that go round in a
    circle, and for tables where none may stand. Keys and values are not looked at.
    """
    text = _text(path)
    value, statements = _parsed(path, text), dict(_statements(path, text))

    def statement(keys: Keys) -> Statement:
        while keys not in statements:
            keys = keys[:-1]
        return statements[keys]

    own = _table(value, (), statement, _TABLES)
    include = own.settings.pop("include", None)
    return own if include is None else own.over(_included(include, (*within, path.resolve())))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        hint = "`cli sweep --init` writes an example."
        raise UserError(f"{path} cannot be read ({error.strerror}). {hint}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8 ({error}). Save it as UTF-8.") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        line = found[1] if found and found[1] else text.count("\n") + 1 if found else 1
        said = str(error).replace(found[0], "") if found else str(error)
        raise UserError(f"{path}:{line}: this is no valid TOML: {said}.") from error


def _statements(path: Path, text: str) -> Iterator[tuple[Keys, Statement]]:
    """The first statement of a valid `text` that speaks of each key, headers of tables too."""
    yield (), Statement(path, 1, "")
    lines = text.split("\n")
    table: Keys = ()
    arrays: dict[Keys, int] = {}
    seen: set[Keys] = set()
    start = 0
    for end in range(1, len(lines) + 1):
        if end - start > 1 and not any(mark in lines[end - 1] for mark in _ENDS):
            continue
        piece = "\n".join(lines[start:end])
        try:
            value = tomllib.loads(piece)
        except ValueError:
            continue  # the statement goes on
        if piece.lstrip(" \t").startswith("["):
            table = _header(value, arrays)
            spoken = [table[:i] for i in range(1, len(table) + 1)]
        else:
            spoken = [table + keys for keys in _nested(value)]
        for keys in spoken:
            if keys not in seen:
                seen.add(keys)
                yield keys, Statement(path, start + 1, piece)
        start = end


def _header(value: Any, arrays: dict[Keys, int]) -> Keys:
    """The table that `[a.b]` or `[[a.b]]` opens; `arrays` counts the tables of each array."""
    keys: Keys = ()
    while value:
        name, value = next(iter(value.items()))
        keys += (name,)
        if isinstance(value, list):
            arrays[keys] = arrays.get(keys, 0) + 1
            value = value[0]
        if keys in arrays:
            keys += (arrays[keys] - 1,)
    return keys


def _nested(value: Mapping[str, Any]) -> Iterator[Keys]:
    for name, inner in value.items():
        yield (name,)
        if isinstance(inner, dict):
            yield from ((name, *keys) for keys in _nested(inner))


def _table(
    value: Mapping[str, Any],
    keys: Keys,
    statement: Callable[[Keys], Statement],
    tables: tuple[str, ...],
) -> Table:
    settings: dict[str, Setting] = {}
    inner: dict[str, tuple[Table, ...]] = {}
    for name, item in value.items():
        here = (*keys, name)
        if name in _TABLES:
            _check_tables(name, item, statement(here), tables)
            within = tuple(t for t in tables if t != "grid") if name == "grid" else ()
            inner[name] = tuple(
                _table(one, (*here, i), statement, within) for i, one in enumerate(item)
            )
            continue
        parts = {name: here}
        if name in HEADS and isinstance(item, dict):
            parts = {f"{name}.{part}": (*here, part) for part in item}
        for key, at in parts.items():
            found = Setting(key, item if at == here else item[at[-1]], statement(at))
            key = SINGULAR.get(key, key)
            if key in settings:
                other = settings[key].statement.line
                raise found.error(f"'{key}' has values in line {other} already.")
            settings[key] = replace(found, key=key)
    return Table(statement(keys), settings, **inner)


def _check_tables(name: str, item: Any, at: Statement, allowed: tuple[str, ...]) -> None:
    if name not in allowed:
        raise UserError(f"{at.place()}: no [[{name}]] can stand within this table.")
    if not isinstance(item, list) or not all(isinstance(one, dict) for one in item):
        raise UserError(f"{at.place()}: '{name}' is a table. Begin it with [[{name}]].")


def _included(include: Setting, within: tuple[Path, ...]) -> Table:
    names = include.value if isinstance(include.value, list) else [include.value]
    found = Table(include.statement)
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise include.error(f"'include' takes names of files, not {name!r}.", i)
        path = include.statement.path.parent / name
        if path.resolve() in within:
            raise include.error(f"{name} includes itself, by way of this line.", i)
        if len(within) > MOST_INCLUDES:
            raise include.error(f"more than {MOST_INCLUDES} files include one another.", i)
        if not path.is_file():
            there = [other.name for other in path.parent.glob("*.toml")] or ["(no TOML is there)"]
            raise include.error(f"there is no file {path}. {did_you_mean(name, there)}", i)
        found = read_tables(path, within).over(found)
    return found
