"""Tables as people save them, every cell as text: CSV of any usual kind, and Parquet."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path

from embed.errors import UserError, near_path
from embed.parquet import text_columns

_DELIMITERS = ",;\t|"
_HOW_TO_SAVE = "Save it as CSV (UTF-8): a header line, then one line a photo."


@dataclass(frozen=True)
class Table:
    """The sound rows of a table; blanks around cells are gone, empty cells are ''."""

    path: Path
    columns: list[str]  # as the header names them; an empty name is ''
    rows: list[list[str]]  # each as long as `columns`
    lines: list[int]  # where in the file each row starts, from 1
    bad: list[tuple[int, str]]  # lines that are no row, and why
    notes: list[str]
    unit: str = "line"  # what `lines` counts: a Parquet file has rows

    def find(self, names: Sequence[str]) -> int | None:
        """The column called by the first of `names` that there is, in any case."""
        return find_name(self.columns, names)


def find_name(columns: Sequence[str], names: Sequence[str]) -> int | None:
    """The place in `columns` of the first of `names` that is there; exact, else in any case."""
    folded = [column.casefold() for column in columns]
    for name in names:
        if name in columns:
            return columns.index(name)
        if name.casefold() in folded:
            return folded.index(name.casefold())
    return None


def read_table(path: Path, expected: Sequence[str]) -> Table:
    """Read the CSV or Parquet file at `path`; raises `UserError` where it is no such table."""
    try:
        with path.open("rb") as handle:
            if handle.read(4) == b"PAR1":
                return _from_parquet(path)
            handle.seek(0)
            return csv_table(path, handle.read(), expected)
    except FileNotFoundError as error:
        raise UserError(f"There is no table {path}.{near_path(path)}") from error
    except OSError as error:  # a folder too
        raise UserError(f"The table {path} cannot be read ({error.strerror}).") from error


def csv_table(path: Path, data: bytes, expected: Sequence[str]) -> Table:
    """The table in `data`, the content of the CSV file at `path`.

    UTF-8 (with BOM or not), UTF-16 with BOM, else Windows-1252 with a note. The delimiter (comma,
    semicolon, tab, bar) is the one that finds a column of `expected` in the header, then the
    one that gives most columns. A line with too many or too few fields is left out as `bad`.
    Raises `UserError` where the file is no such table.
    """
    text, notes = _text(path, data)
    lines = list(StringIO(text, newline=""))
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise UserError(f"{path} is empty. {_HOW_TO_SAVE}")
    if "\0" in lines[first]:
        raise UserError(f"{path} is no text (it holds zero bytes). {_HOW_TO_SAVE}")
    delimiter = _delimiter(lines[first:], expected)
    records = _records(lines, first, delimiter)
    header = next(records)
    if isinstance(header[1], str):
        raise UserError(f"The header of {path} cannot be read: {header[1]}. {_HOW_TO_SAVE}")
    table = Table(path, _stripped(header[1]), [], [], [], notes)
    for line, record in records:
        cells = record if isinstance(record, str) else _stripped(record)
        problem = _problem(cells, len(table.columns))
        if problem:
            table.bad.append((line, problem))
        elif any(cells):
            table.rows.append(list(cells))
            table.lines.append(line)
    return table


def _from_parquet(path: Path) -> Table:
    """Its columns of single values; photos and lists are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = text_columns(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: Parquet that cannot be read ({error}).") from error
    cells = [list(row) for row in zip(*columns.values(), strict=True)]
    rows = {line: row for line, row in enumerate(cells, start=1) if any(row)}
    return Table(path, list(columns), [*rows.values()], [*rows], [], [], unit="row")


def _text(path: Path, data: bytes) -> tuple[str, list[str]]:
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise UserError(f"{path} is a spreadsheet, not a CSV table. {_HOW_TO_SAVE}")
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig"), []
    except UnicodeDecodeError as error:
        if utf16:
            raise UserError(f"{path} is damaged: broken UTF-16. {_HOW_TO_SAVE}") from error
    note = f"{path.name} is not UTF-8: read as Windows-1252, so check names with accents"
    try:
        return data.decode("cp1252"), [note]
    except UnicodeDecodeError:  # it leaves five bytes undefined
        return data.decode("latin-1"), [note.replace("Windows-1252", "Latin-1")]


def _delimiter(lines: Sequence[str], expected: Sequence[str]) -> str:
    def score(delimiter: str) -> tuple[bool, int]:
        _, header = next(_records(lines, 0, delimiter))
        names = [] if isinstance(header, str) else _stripped(header)
        return find_name(names, expected) is not None, len(names)

    return max(_DELIMITERS, key=score)


def _records(
    lines: Sequence[str], start: int, delimiter: str
) -> Iterator[tuple[int, list[str] | str]]:
    """(line from 1, fields) of every record, or (line, reason); a bad quote costs its line only."""
    while start < len(lines):
        reader = csv.reader(
            islice(lines, start, None), delimiter=delimiter, strict=True, skipinitialspace=True
        )
        base = start
        try:
            for fields in reader:
                if fields:
                    yield start + 1, fields
                start = base + reader.line_num
        except csv.Error as error:
            yield start + 1, f"a quote that does not close properly ({error})"
            start += 1


def _problem(cells: Sequence[str], width: int) -> str | None:
    if isinstance(cells, str):
        return cells
    if not any(cells):
        return None
    if len(cells) != width:
        return f"{len(cells)} fields, where the header has {width}"
    if any("\0" in cell for cell in cells):
        return "a zero byte in the line"
    return None


def _stripped(fields: Sequence[str]) -> list[str]:
    return [field.strip() for field in fields]
