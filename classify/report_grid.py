"""Tables as they are printed: some columns, the first rows, the best values bold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from classify.report_blocks import Column, ReportTable, Value, shown

MOST_ROWS, MOST_LETTERS = 10, 90  # of a table and of a cell; the CSV files have all
ALL = "`cli report --format csv` writes all of them"
COMPETE = ("leaderboard", "calibration", "unknown")  # tables whose rows compete
_LESS = {"log-loss", "Brier score", "calibration error", "ms a photo"}
_MORE = {"macro-F1", "accuracy", "AUROC"}


@dataclass(frozen=True)
class Grid:
    """A table as it is printed."""

    name: str
    title: str
    header: Sequence[str]
    wordy: Sequence[bool]  # columns of words, at the left
    rows: Sequence[Sequence[str]]
    bold: frozenset[tuple[int, int]] = frozenset()
    breaks: frozenset[int] = frozenset()  # rows with a rule above
    note: str = ""


def grid(
    table: ReportTable,
    drop: Iterable[str] = (),
    most: int = MOST_ROWS,
    marks: Mapping[int, str] | None = None,
) -> Grid:
    """A table without some columns, cut to `most` rows, with the best values bold.

    marks : row -> what stands behind its first cell
    """
    left = [i for i, column in enumerate(table.columns) if column.name not in set(drop)]
    columns = [table.columns[i] for i in left]
    rows = [[row[i] for i in left] for row in table.rows]
    words = [
        [_cut(shown(value, column.kind)) for value, column in zip(row, columns, strict=True)]
        for row in rows[:most]
    ]
    for i, mark in (marks or {}).items():
        if i < most:
            words[i][0] += mark
    bold = {(i, 0) for i in table.marked if i < most}
    if table.name in COMPETE:
        bold |= _best(columns, rows[:most], words)
    cut = f"{most} of {len(rows):,} rows: {ALL}. " if len(rows) > most else ""
    return Grid(
        table.name,
        table.title,
        [column.name for column in columns],
        [column.kind == "text" for column in columns],
        words,
        frozenset(bold),
        note=(cut + table.note).strip(),
    )


def _best(
    columns: Sequence[Column], rows: Sequence[Sequence[Value]], words: Sequence[Sequence[str]]
) -> set[tuple[int, int]]:
    """The best value of each column that has a best, and those that are printed the same."""
    found = set()
    for j, column in enumerate(columns):
        sign = -1 if column.name in _LESS else 1
        known = [(sign * value_of(row[j]), i) for i, row in enumerate(rows) if row[j] is not None]
        if column.name in _LESS | _MORE and len(known) > 1:
            best = words[max(known)[1]][j]
            found |= {(i, j) for _, i in known if words[i][j] == best}
    return found


def value_of(value: Value) -> float:
    """A number or the middle of an interval; what is unknown is below all."""
    if isinstance(value, tuple):
        value = value[0]
    return value if isinstance(value, int | float) else float("-inf")


def _cut(words: str) -> str:
    return words if len(words) <= MOST_LETTERS else f"{words[: MOST_LETTERS - 1]}…"
