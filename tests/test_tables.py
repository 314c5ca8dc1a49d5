"""Tables that their readers read back: CSV, JSON, Markdown, LaTeX."""

import csv
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from classify.tables import Table, csv_text, json_text, latex_escape, page

TABLE = Table(
    header=["run", "standing", "macro-F1"],
    rows=[["knn_a & b", "best", "0.921 [0.900, 0.940]"], ["50%#2", "tie", "0.9"]],
    bold=frozenset({(0, 2)}),
    left=2,
    title="Data 1_2",
)
SPECIAL = "&%$#_{}~^\\<>|\"['`*"
words = st.text(st.sampled_from(SPECIAL + "aé 1,;\n\t\r\"'"), max_size=12)


def printed(latex: str) -> str:
    """What LaTeX prints of an escaped text; a bare special sign is an error."""
    signs = {
        "textbackslash{}": "\\", "textasciitilde{}": "~", "textasciicircum{}": "^",
        "textless{}": "<", "textgreater{}": ">", "textbar{}": "|", "textquotedbl{}": '"',
    }  # fmt: skip
    out = ""
    while latex:
        if latex.startswith("{[}"):
            out, latex = out + "[", latex[3:]
        elif latex[0] == "\\":
            name = next((name for name in signs if latex.startswith(name, 1)), latex[1])
            assert name in signs or name in "&%$#_{}"
            out, latex = out + signs.get(name, name), latex[1 + len(name) :]
        else:
            assert latex[0] not in '&%$#_{}~^<>|"['
            out, latex = out + latex[0], latex[1:]
    return out


@settings(deadline=None)
@given(words)
def test_latex_prints_any_text_as_it_is(text: str) -> None:
    assert printed(latex_escape(text)) == " ".join(text.split())


def test_latex_table_is_booktabs() -> None:
    lines = TABLE.as_text("latex").splitlines()
    assert lines == [
        "% Data 1_2",
        r"\begin{tabular}{llr}",
        r"\toprule",
        r"run & standing & macro-F1 \\",
        r"\midrule",
        r"knn\_a \& b & best & \textbf{0.921 {[}0.900, 0.940]} \\",
        r"50\%\#2 & tie & 0.9 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_a_row_that_begins_with_a_bracket_is_no_argument_of_the_line_before() -> None:
    text = Table(["a"], [["x"], ["[y]"]]).as_text("latex")
    assert not re.search(r"\\\\\s*\[", text)


def test_markdown_shows_the_cells() -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(TABLE.as_text("markdown"))
    shown = [
        "".join(child.content for child in token.children or [])
        for token in tokens
        if token.type == "inline"
    ]
    assert shown == ["Data 1_2", *TABLE.header, *TABLE.rows[0], *TABLE.rows[1]]
    (cell,) = (token for token in tokens if token.type == "inline" and "0.921" in token.content)
    assert "strong_open" in {child.type for child in cell.children or []}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(words, min_size=2, max_size=2), min_size=1, max_size=4))
def test_no_cell_breaks_a_table(rows: list[list[str]]) -> None:
    table = Table(["a", "b"], rows)
    html = MarkdownIt("commonmark").enable("table").render(table.as_text("markdown"))
    assert html.count("<tr>") == len(rows) + 1
    assert html.count("<td>") + html.count("<td ") == 2 * len(rows)
    latex = table.as_text("latex").splitlines()
    assert len(latex) == len(rows) + 6
    for line in latex[4:-2]:
        assert len(re.findall(r"(?<!\\)&", line)) == 1
        assert line.endswith(r" \\")


def test_plain_columns_stand_under_one_another() -> None:
    lines = TABLE.as_text("table").splitlines()
    assert lines[0] == "Data 1_2"
    assert {line.index(word) for line, word in zip(lines[2:], ("best", "tie"), strict=True)} == {
        lines[1].index("standing")
    }
    assert lines[2].endswith("0.940]")
    assert lines[3].endswith("  0.9")
    assert len(lines[3]) == len(lines[2])


names = words.map(lambda text: text.replace("\r", ""))  # alone it ends a line for csv.reader
numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(st.lists(st.tuples(names, numbers, st.lists(numbers, min_size=3, max_size=3)), min_size=1))
def test_csv_round_trips(values: list[tuple[str, float, list[float]]]) -> None:
    records = [{"run": name, "x": x, "f1": f1} for name, x, f1 in values]
    rows = list(csv.DictReader(io.StringIO(csv_text(records), newline="")))
    assert [row["run"] for row in rows] == [name for name, _, _ in values]
    assert [float(row["x"]) for row in rows] == [x for _, x, _ in values]
    found = [[float(row[f"f1{end}"]) for end in ("", "_low", "_high")] for row in rows]
    assert found == [f1 for _, _, f1 in values]


def test_csv_of_records_with_lists_and_gaps() -> None:
    text = csv_text([{"a": ["x", "y"], "b": None}, {"a": [], "c": 1}])
    assert text == "a,b,c\nx; y,,\n,,1\n"


def test_json_is_strict() -> None:
    assert json.loads(json_text({"é": [1.5, None]})) == {"é": [1.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        json_text(float("nan"))


def test_a_page_ends_its_lines_in_every_form() -> None:
    below = ["a_b | c", "50% of #2"]
    assert page([TABLE, below], "table").endswith("\n\na_b | c\n50% of #2\n")
    assert page([TABLE, below], "latex").endswith("\n\n% a_b | c\n% 50% of #2\n")
    html = MarkdownIt("commonmark").render(page([below], "markdown"))
    assert "<li>a_b | c</li>" in html
