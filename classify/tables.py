"""A table as plain text, CSV, JSON, Markdown or LaTeX."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from classify.markdown import plain as markdown_plain

FORMS = ("table", "csv", "json", "markdown", "latex")

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}",
    '"': r"\textquotedbl{}",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; `bold` are (row, column) of those that stand out."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: frozenset[tuple[int, int]] = frozenset()
    left: int = 1  # columns of words, at the left; numbers follow, set to the right
    title: str = ""

    def as_text(self, form: str) -> str:
        """In the form `table`, `markdown` or `latex`; no line feed at the end."""
        return {"table": _plain, "markdown": _markdown, "latex": _latex}[form](self)

    @property
    def _sides(self) -> list[str]:
        return ["l" if i < self.left else "r" for i in range(len(self.header))]


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Records, made `flat`, as CSV (comma, LF, a header); numbers come back as they were."""
    flattened = [flat(record) for record in records]
    header = list(dict.fromkeys(name for record in flattened for name in record))
    out = io.StringIO()
    writer = csv.DictWriter(out, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flattened)
    return out.getvalue()


def json_text(value: Any) -> str:
    """Indented JSON; NaN is refused, being none."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def page(parts: Sequence["Table | Sequence[str]"], form: str) -> str:
    """Tables and lines of text one below the other; LaTeX has the lines as comments."""
    before = {"table": "", "markdown": "- ", "latex": "% "}[form]
    escape = markdown_plain if form == "markdown" else _one_line
    shown = [
        part.as_text(form)
        if isinstance(part, Table)
        else "\n".join(before + escape(line) for line in part)
        for part in parts
    ]
    return "\n\n".join(shown) + "\n"


def latex_escape(text: object) -> str:
    """`text` as one line that LaTeX prints as it is."""
    return "".join(_LATEX.get(c, c) for c in _one_line(text))


def _one_line(text: object) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A list of three becomes NAME, NAME_low and NAME_high, another list one cell with `; `."""
    made: dict[str, Any] = {}
    for name, value in record.items():
        if not isinstance(value, list | tuple):
            made[name] = value
        elif len(value) == 3 and all(isinstance(each, float) for each in value):
            made |= zip((name, f"{name}_low", f"{name}_high"), value, strict=True)
        else:
            made[name] = "; ".join(map(str, value))
    return made


def _plain(table: Table) -> str:
    """Columns as wide as their content: nothing is cut, so that it can be piped."""
    lines = [table.header, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = [
        "  ".join(
            cell.ljust(width) if side == "l" else cell.rjust(width)
            for cell, width, side in zip(line, widths, table._sides, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n".join([table.title, *shown] if table.title else shown)


def _markdown(table: Table) -> str:
    def cell(text: str, bold: bool) -> str:
        return f"**{markdown_plain(text)}**" if bold and text else markdown_plain(text)

    sides = ["---" if side == "l" else "---:" for side in table._sides]
    lines = [[cell(name, False) for name in table.header], sides, *_cells(table, cell)]
    shown = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([f"**{markdown_plain(table.title)}**", "", *shown] if table.title else shown)


def _latex(table: Table) -> str:
    """A tabular with the rules of booktabs."""

    def cell(text: str, bold: bool) -> str:
        return rf"\textbf{{{latex_escape(text)}}}" if bold and text else latex_escape(text)

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cells) + r" \\"

    shown = [
        rf"\begin{{tabular}}{{{''.join(table._sides)}}}",
        r"\toprule",
        line([latex_escape(name) for name in table.header]),
        r"\midrule",
        *(line(cells) for cells in _cells(table, cell)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join([f"% {_one_line(table.title)}", *shown] if table.title else shown)


def _cells(table: Table, cell: Any) -> list[list[str]]:
    return [
        [cell(text, (r, c) in table.bold) for c, text in enumerate(row)]
        for r, row in enumerate(table.rows)
    ]


def bracketed(value: Sequence[float | None], per_cent: bool = False) -> str:
    """A figure with its interval; some photos give no figure, or one without an interval."""
    shown = [None if v is None or v != v else f"{v:.1%}" if per_cent else f"{v:.3f}" for v in value]
    if shown[0] is None:
        return "none"
    return shown[0] + ("" if None in shown else f" [{shown[1]}, {shown[2]}]")
