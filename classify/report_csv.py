"""Every number of a report as CSV: a file for each table, chart and matrix."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from classify.report_blocks import (
    Chart,
    Facts,
    Gallery,
    Matrix,
    Photo,
    ReportData,
    ReportTable,
    Sentences,
    Value,
)
from embed.files import write_text
from embed.workspace import slug

Cell = str | int | float | None
_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last ones are wide

_PHOTO = ["gallery", "item", "which", "photo", "label", "said", "cosine", "same class"]


def report_csvs(data: ReportData) -> dict[str, str]:
    """File name -> CSV (comma, LF, a header), `contents.csv` first.

    Numbers stand at full precision, those of an interval in NAME, `NAME low` and `NAME high`.
    A text that a spreadsheet would take for a formula has an apostrophe before it. What is said
    in words is in `sentences.csv` and `facts.csv`, photos are in `photos.csv`.
    """
    found: dict[str, str] = {}
    contents: list[list[Cell]] = []
    for title, name, header, rows in _tables(data):
        file = _free(slug(name), found)
        found[file] = _csv(header, rows)
        contents.append([file, title, len(rows)])
    return {"contents.csv": _csv(["file", "title", "rows"], contents), **found}


def write_csvs(data: ReportData, folder: Path) -> list[Path]:
    """Write the files of `report_csvs` into `folder`."""
    files = report_csvs(data)
    for name, text in files.items():
        write_text(folder / name, text)
    return [folder / name for name in files]


def _tables(data: ReportData) -> Iterator[tuple[str, str, list[str], list[list[Cell]]]]:
    """Title, name, header and rows of each file."""
    for section in data.sections:
        for block in section.blocks:
            if isinstance(block, ReportTable):
                yield block.title, block.name, *_table(block)
            elif isinstance(block, Chart):
                yield block.title, block.name, *_chart(block)
            elif isinstance(block, Matrix):
                yield block.title, block.name, *_matrix(block)
    yield "Photos and what explains their answers", "photos", _PHOTO, _photos(data)
    yield "Facts", "facts", ["chapter", "what", "value"], _facts(data)
    yield "Sentences", "sentences", ["chapter", "sentence"], _sentences(data)


def _table(table: ReportTable) -> tuple[list[str], list[list[Cell]]]:
    wide = [any(isinstance(row[i], tuple) for row in table.rows) for i in range(len(table.columns))]
    header = [
        name
        for column, is_wide in zip(table.columns, wide, strict=True)
        for name in _with_ends(column.name, is_wide)
    ]
    return header, [
        [cell for value, is_wide in zip(row, wide, strict=True) for cell in _spread(value, is_wide)]
        for row in table.rows
    ]


def _with_ends(name: str, wide: bool) -> list[str]:
    return [name, f"{name} low", f"{name} high"] if wide else [name]


def _spread(value: Value, wide: bool) -> list[Cell]:
    if isinstance(value, tuple):
        return list(value)
    return [value, None, None] if wide else [value]


def _chart(chart: Chart) -> tuple[list[str], list[list[Cell]]]:
    header = ["series", chart.x or "x", chart.y or "value", "low", "high", "photos"]
    if chart.kind == "ranges":
        header = ["series", chart.y or "name", chart.x or "value", *header[3:]]
    return header, [
        [one.name, x, y, _at(one.low, i), _at(one.high, i), _at(one.n, i)]
        for one in chart.series
        for i, (x, y) in enumerate(zip(one.x, one.y, strict=True))
    ]


def _matrix(matrix: Matrix) -> tuple[list[str], list[list[Cell]]]:
    rows: list[list[Cell]] = [
        [matrix.classes[i], matrix.classes[j], n]
        for i, j, n in zip(matrix.truth, matrix.predicted, matrix.n, strict=True)
    ]
    return ["truth", "answer", "photos"], rows


def _photos(data: ReportData) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for gallery in data.blocks(Gallery):
        for i, item in enumerate(gallery.items, start=1):
            rows.append([gallery.title, i, "photo", *_photo(item.photo)])
            rows += [[gallery.title, i, "near", *_photo(photo)] for photo in item.near]
    return rows


def _photo(photo: Photo) -> list[Cell]:
    same = None if photo.match is None else ("yes" if photo.match else "no")
    return [photo.name, photo.label, photo.caption, photo.similarity, same]


def _facts(data: ReportData) -> list[list[Cell]]:
    return [
        [section.title, name, value]
        for section in data.sections
        for block in section.blocks
        if isinstance(block, Facts)
        for name, value in block.pairs
    ]


def _sentences(data: ReportData) -> list[list[Cell]]:
    rows: list[list[Cell]] = [["Headline", line] for line in data.headline]
    for section in data.sections:
        for block in section.blocks:
            if isinstance(block, Sentences):
                rows += [[section.title, line] for line in block.lines]
            elif isinstance(block, ReportTable | Gallery) and block.note:
                rows.append([section.title, f"{block.title}: {block.note}"])
    return rows


def _csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_harmless, header))
    writer.writerows(map(_harmless, row) for row in rows)
    return out.getvalue()


def _harmless(cell: Cell) -> Cell:
    """A text that begins like a formula, behind an apostrophe (as OWASP advises)."""
    if isinstance(cell, str):
        cell = " ".join("".join(c if c.isprintable() else " " for c in cell).split())
        return f"'{cell}" if cell.startswith(_FORMULAS) else cell
    return cell


def _free(name: str, taken: dict[str, str]) -> str:
    """A file name that no other table has, on a disk that knows no case either."""
    others = {one.lower() for one in taken} | {"contents.csv"}
    tries = (f"{name}{f'-{i}' if i else ''}.csv" for i in range(len(others) + 1))
    return next(one for one in tries if one.lower() not in others)


def _at(values: Sequence[Any], i: int) -> Any:
    return values[i] if i < len(values) else None
