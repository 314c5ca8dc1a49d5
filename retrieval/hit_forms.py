"""The hits of a search as text: a table to read, CSV, JSON or JSON lines, paths or ids alone."""

import csv
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TextIO, get_args

from embed.errors import UserError, did_you_mean

Form = Literal["table", "csv", "jsonl", "json", "paths", "ids"]
FORMS: tuple[Form, ...] = get_args(Form)

_OURS = ("key", "size", "mtime_ns")  # of the collection, not of the table
_DIGITS = {"similarity": 6, "percentile": 4}
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def show_hits(
    hits: Any,
    form: str = "table",
    label: str | None = None,
    *,
    several: bool | None = None,
    null: bool = False,
    screen: bool = False,
) -> str:
    """The hits in one of `FORMS`, for `write_out`.

    hits : as `retrieval.lookalikes` gives them (an Arrow table or a DataFrame); label : the column
    of the labels, which the table shows; several : name each hit's query, by default where there
    are several; null : end each path or id with a NUL, for `xargs -0`; screen : for a terminal:
    what a name could make it do is shown as `\\x1b` and the like.

    CSV and JSON have every column. The text of CSV that a spreadsheet would take for a formula
    has an apostrophe before it; numbers stand as they are. Paths, ids, CSV and JSON keep the bytes
    of a name that are no UTF-8. Raises `UserError` for another form.
    """
    known = next((one for one in FORMS if one == form), None)
    if known is None:
        raise UserError(f"'{form}' is no form of hits. {did_you_mean(form, FORMS)}")
    if null and known not in ("paths", "ids"):
        raise UserError(f"-0 ends paths or ids with a NUL: add --format paths (not {form}).")
    names, found = rows_of(hits)
    if several is None:
        several = len({hit.get("query") for hit in found}) > 1
    if known in ("paths", "ids"):
        return _lines([hit["path" if known == "paths" else "id"] for hit in found], null, screen)
    if known == "table":
        return _table([_row(hit, label, several) for hit in found])
    names = [name for name in names if name not in _OURS and (several or name != "query")]
    found = [{name: hit[name] for name in names} for hit in found]
    if known == "csv":
        return _csv(found, names, screen)
    if known == "json":
        return _json(found, indent=2) + "\n"
    return "".join(_json(hit) + "\n" for hit in found)


def rows_of(hits: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """The names of the columns, and each hit as JSON takes it: what is missing is None.

    hits : an Arrow table, or a DataFrame; pandas is not imported for the first.
    """
    arrow = hasattr(hits, "to_pylist")
    names = list(hits.column_names if arrow else hits.columns)
    found = hits.to_pylist() if arrow else hits.to_dict("records")
    return names, [{name: _plain(name, hit[name]) for name in names} for hit in found]


def write_out(text: str, stream: TextIO | None = None) -> None:
    """Write to `stream` (standard output); bytes of names that are no UTF-8 leave as they came."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    try:
        data = text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:  # a character that this terminal's encoding has not
        data = text.encode(encoding, "backslashreplace")
    stream.flush()
    stream.buffer.write(data)
    stream.buffer.flush()


def harmless(value: object) -> str:
    """`value` on one line, with what is not printable as `\\x1b` and the like."""
    text = str(value)
    return text if text.isprintable() else "".join(map(_shown, text))


def percent(percentile: float) -> str:
    """A percentile with two digits, never rounded up: 100 is only said of all pairs."""
    return f"{int(percentile * 100 + 1e-6) / 100:.2f}"


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii") if code != 0xA0 else " "


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | list | tuple):
        return value
    if value != value or str(value) == "<NA>":
        return None
    return round(float(value), _DIGITS[name]) if name in _DIGITS else value


def _row(hit: Mapping[str, Any], label: str | None, several: bool) -> dict[str, str]:
    """What the table says of a hit."""
    row = {"query": hit["query"]} if several else {}
    row |= {"rank": hit["rank"], "cosine": f"{hit['similarity']:.3f}"}
    if "percentile" in hit:
        row["percentile"] = "" if hit["percentile"] is None else percent(hit["percentile"])
    if "folded" in hit:
        row["folded"] = f"+{hit['folded']}" if hit["folded"] else ""
    if label:
        row[label] = hit[label] or ""
    row |= {"id": hit["id"], "path": hit["path"]}
    return {name: harmless(value) for name, value in row.items()}


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    """Columns as wide as their content: nothing is cut."""
    from rich.cells import cell_len

    if not rows:
        return ""
    lines = [{name: harmless(name) for name in rows[0]}, *rows]
    width = {name: max(cell_len(line[name]) for line in lines) for name in rows[0]}
    return "".join(
        "  ".join(cell + " " * (width[name] - cell_len(cell)) for name, cell in line.items())
        .rstrip() + "\n"
        for line in lines
    )  # fmt: skip


def _csv(found: Sequence[Mapping[str, Any]], names: Sequence[str], screen: bool) -> str:
    rows = [names, *(["" if v is None else v for v in hit.values()] for hit in found)]
    cells = [[_no_formula(harmless(v) if screen else v) for v in row] for row in rows]
    out = io.StringIO()
    returns = any("\r" in str(cell) for row in cells for cell in row)  # csv quotes none of these
    writer = csv.writer(
        out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    )
    writer.writerows(cells)
    return out.getvalue()


def _no_formula(cell: Any) -> Any:
    """A text that begins like a formula, behind an apostrophe (as OWASP advises)."""
    text = cell if isinstance(cell, str) else ""
    return f"'{cell}" if text.startswith(_FORMULAS) and not _NUMBER.fullmatch(text) else cell


def _json(value: Any, indent: int | None = None) -> str:
    """JSON with its own escapes for what is not printable, bytes that are no UTF-8 among it."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _lines(values: Any, null: bool, screen: bool) -> str:
    end = "\0" if null else "\n"
    return "".join((harmless(value) if screen else str(value)) + end for value in values)
