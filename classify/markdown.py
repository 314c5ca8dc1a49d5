"""Text that others wrote, made safe to stand in Markdown, and tables of it."""

import re
from collections.abc import Iterable, Sequence

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "|": "&#124;"}
# An underscore between letters and a colon before a space mean nothing; others may.
_MARKS = re.compile(
    r"([\\`*\[\]~#@$^=]|(?<![^\W_])_|_(?![^\W_])|:(?=\S)|(?<=www)\.)", re.IGNORECASE
)
_SPACES = re.compile(r"\s+")


def plain(text: object) -> str:
    """`text` as one line that a Markdown reader shows as it is: no mark-up, HTML or link."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    marked = _MARKS.sub(r"\\\1", _SPACES.sub(" ", line).strip())
    return "".join(_ENTITIES.get(c, c) for c in marked)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of plain cells; numbers stand at the right."""
    body = [list(row) for row in rows]
    right = [all(isinstance(row[i], int | float) for row in body) for i in range(len(header))]
    lines = [header, ["---:" if is_number else "---" for is_number in right]]
    cells = [[plain(cell) for cell in row] for row in body]
    return "\n".join("| " + " | ".join(row) + " |" for row in [*lines, *cells])


def fenced(lines: Iterable[str]) -> str:
    """A block of code, one line each, that none of them can end."""
    shown = [_SPACES.sub(" ", line) for line in lines]
    longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *shown, fence])
