"""The forms of a report for print: what they choose, how they escape it, and that they compile."""

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_by_hand import make_workspace

from classify import latex_text
from classify.latex_text import latex, latex_with_code
from classify.report_blocks import Chart, Column, Matrix, ReportTable, Series
from classify.report_csv import report_csvs
from classify.report_data import collect_report
from classify.report_figures import picture
from classify.report_forms import choose_form, write_report
from classify.report_grid import MOST_ROWS, Grid, grid
from classify.report_markdown import paper_markdown
from classify.report_paper import Beside, make_paper
from classify.report_pdf import ENGINES
from classify.report_tex import paper_tex
from embed.errors import UserError
from embed.workspace import Workspace

NASTY = (
    r"\input{/etc/passwd}\write18{touch PWNED}",
    "=cmd|' /C calc'!A0 `\\openin0=/etc/passwd` $\\alpha$ 50% #1 & a_b ^^41 {x}} ~ <b>\"q\"</b>",
    "*[1] -- 中文 😀 ế Þórr, Łódź ,, '' \\end{document}",
    "![x](http://e.org) **b** [a](javascript:x)\n# head",
)
LETTERS = "".join(
    [*map(chr, range(0x20, 0x180)), *latex_text._KNOWN, "ạếȚ", "".join(latex_text._ACCENTS)]
)


def collected(folder, **how):
    runs = make_workspace(folder, **how)
    return collect_report(Workspace(folder), runs)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return collected(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    return collected(tmp_path_factory.mktemp("nasty"), classes=NASTY, says=LETTERS)


def grids(paper):
    for section in paper.sections:
        for part in section.parts:
            columns = part.columns if isinstance(part, Beside) else [[part]]
            yield from (one for column in columns for one in column if isinstance(one, Grid))


# CSV


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


def numbers(value):
    values = value if isinstance(value, tuple) else (value,)
    return [one for one in values if isinstance(one, int | float)]


def test_every_number_of_every_block_is_in_its_csv(data):
    files = {name: rows_of(text) for name, text in report_csvs(data).items()}
    seen = 0
    for block in data.blocks(ReportTable):
        rows = files[f"{block.name}.csv"][1:]
        assert len(rows) == len(block.rows)
        for row, values in zip(rows, block.rows, strict=True):
            wanted = [one for value in values for one in numbers(value)]
            cells = [cell for cell in row if re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)]
            assert [number for number in wanted if repr(number) not in cells] == []
            seen += len(wanted)
    for chart in data.blocks(Chart):
        rows = files[f"{chart.name}.csv"][1:]
        points = [
            (s.name, x, y, *((ends[i] if ends else None) for ends in (s.low, s.high, s.n)))
            for s in chart.series
            for i, (x, y) in enumerate(zip(s.x, s.y, strict=True))
        ]
        assert rows == [["" if c is None else str(c) for c in point] for point in points]
        seen += len(points)
    for matrix in data.blocks(Matrix):
        counts = {
            (matrix.classes[i], matrix.classes[j]): n
            for i, j, n in zip(matrix.truth, matrix.predicted, matrix.n, strict=True)
        }
        rows = files[f"{matrix.name}.csv"][1:]
        assert {(a, b): int(n) for a, b, n in rows} == counts
        seen += len(counts)
    assert seen > 300


def test_the_contents_name_every_file_once(data):
    files = report_csvs(data)
    named = [row[0] for row in rows_of(files["contents.csv"])[1:]]
    assert ["contents.csv", *named] == list(files)
    assert len({name.lower() for name in files}) == len(files)


def test_no_text_cell_of_a_csv_is_a_formula_and_numbers_stay_numbers(nasty):
    for text in report_csvs(nasty).values():
        for cell in (cell for row in rows_of(text) for cell in row):
            if cell.startswith(("=", "+", "-", "@")):
                float(cell)
    assert any("'=cmd|' /C calc'!A0" in text for text in report_csvs(nasty).values())


# LaTeX


@given(st.text())
@example(LETTERS)
@settings(deadline=None)
def test_escaped_text_has_no_command_but_ours_and_closes_its_braces(text):
    said = latex(text)
    assert said.isascii()
    assert "\n" not in said
    ours = {re.match(r"\\([A-Za-z]+|.)", one)[1] for one in latex_text._KNOWN.values()
            if one.startswith("\\")}  # fmt: skip
    ours |= set(latex_text._ACCENTS.values()) | {"-", "allowbreak", "i", "j"}
    maths = {"pm", "times", "div", "cdot", "rightarrow", "leftarrow", "leq", "geq", "neq",
             "approx", "infty", "surd", "frac", *latex_text._GREEK.values()}  # fmt: skip
    assert set(re.findall(r"\\([A-Za-z]+|.)", said)) <= ours | maths
    bare = re.sub(r"\\.", "", said)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not set('%#&_~"`<>|') & set(re.sub(r"[!?]?``?", "", bare) if "`" in bare else bare)


def test_what_cannot_be_typeset_stands_as_its_number():
    assert latex("a中") == "a{[}U+4E2D{]}"
    assert latex("Größe") == r"Gr\"{o}\ss{}e"
    assert latex_with_code("run `a_b --c` now") == r"run \texttt{a\_b -{}-c} now"


def test_columns_match_in_every_row_of_every_table(nasty):
    for one in grids(make_paper(nasty)):
        assert {len(row) for row in one.rows} <= {len(one.header)} == {len(one.wordy)}
        assert all(r < len(one.rows) and c < len(one.header) for r, c in one.bold)
    source = paper_tex(make_paper(nasty), "f")
    tables = re.findall(r"\\toprule\n(.*?)\\bottomrule", source, re.DOTALL)
    assert len(tables) > 10
    for table in tables:
        lines = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1


def test_the_best_is_bold_ties_are_marked_and_long_tables_say_so(data):
    found = {one.name: one for one in grids(make_paper(data))}
    board, table = found["leaderboard"], next(
        one for one in data.blocks(ReportTable) if one.name == "leaderboard"
    )  # fmt: skip
    column = list(board.header).index("macro-F1")
    assert [r for r, c in board.bold if c == column] == [0]
    ties = [row[0] for row in table.rows if row[1] == "tie"]
    assert [row[0] for row in board.rows if "†" in row[0]] == [f"{name} †" for name in ties]
    long = ReportTable("x", "X", [Column("n", "count")], [[i] for i in range(60)])
    assert len(grid(long).rows) == MOST_ROWS
    assert grid(long).note.startswith(f"{MOST_ROWS} of 60 rows")


def test_every_short_citation_has_its_reference(data):
    paper = make_paper(data)
    said = " ".join(line for section in paper.sections if section.title == "Methods"
                    for part in section.parts for line in part.lines)  # fmt: skip
    cited = re.findall(r"[A-Z][\w-]+(?: et al\.| & [A-Z]\w+)? (?:19|20)\d\d", said)
    assert len(cited) > 15
    for one in cited:
        assert any(line.startswith(f"{one}. ") for line in paper.references), one


# Markdown


@pytest.mark.parametrize("which", ["data", "nasty"])
def test_markdown_parses_and_its_pictures_exist(which, request, tmp_path):
    found = request.getfixturevalue(which)
    path = tmp_path / "my report.md"
    written = write_report(found, path, "md")
    assert all(one.exists() for one in written)
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8"))
    inline = [child for token in tokens for child in token.children or []]
    pictures = [child.attrGet("src") for child in inline if child.type == "image"]
    assert len(pictures) == len(make_paper(found).pictures) > 5
    assert all((tmp_path / unquote(src)).is_file() for src in pictures)
    assert not [t for t in [*tokens, *inline] if t.type in ("html_block", "html_inline")]
    assert not [child for child in inline if child.type == "link_open"]
    titles = [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open"]
    assert titles[1:] == [
        *(section.title for section in make_paper(found).sections), "References",
    ]  # fmt: skip
    count = sum(token.type == "table_open" for token in tokens)
    assert count == len(list(grids(make_paper(found))))


def test_a_line_that_begins_like_a_list_is_none(data):
    from classify.report_markdown import _line

    for text in ("- a", "1. a", "+ b", "12) c"):
        assert "<li>" not in MarkdownIt().render(_line(text))


# Pictures


def test_pictures_are_the_same_every_time_and_have_no_date(data):
    for block in make_paper(data).pictures[:3]:
        first = picture(block)
        assert first == picture(block)
        assert b"CreationDate" not in first["pdf"]
        assert b"/FontFile2" in first["pdf"]
        assert b"dc:date" not in first["svg"]
        assert first["svg"].count(b"<image") == 0


def test_a_label_with_dollars_or_unknown_letters_is_drawn_as_it_is():
    names = ["$\\frac{$", "中文", "a" * 90]
    chart = Chart("c", "C", "ranges", "$x$", "", [Series("$s$", names, [0.1, None, 0.3])], "says")
    assert picture(chart)["pdf"].startswith(b"%PDF")
    assert picture(Matrix("m", "M", names, [0, 1], [1, 1], [3, 4]))["svg"].startswith(b"<?xml")
    assert picture(Chart("e", "E", "lines", "x", "y", [], "nothing"))["pdf"]


# PDF


@pytest.fixture(scope="module")
def pdf(nasty, tmp_path_factory):
    if not any(shutil.which(engine) for engine in ENGINES):
        pytest.skip("no LaTeX on the PATH")
    path = tmp_path_factory.mktemp("pdf") / "report.pdf"
    assert write_report(nasty, path, "pdf") == [path]
    return path


def test_hostile_names_compile_and_do_nothing(pdf):
    assert pdf.read_bytes().startswith(b"%PDF")
    assert list(pdf.parent.rglob("*PWNED*")) == []
    assert [one.name for one in pdf.parent.iterdir()] == [pdf.name]


def test_hostile_names_stand_in_the_pdf_as_they_are(pdf):
    if not shutil.which("pdftotext"):
        pytest.skip("no pdftotext on the PATH")
    text = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, check=True).stdout.decode()
    assert r"\input{/etc/passwd}" in text.replace("\n", "")
    assert "[U+4E2D]" in text
    assert "References" in text
    assert "root:" not in text


def test_without_latex_the_error_names_the_way_out(data, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"(?s)Tectonic.*texlive.*--format tex"):
        write_report(data, tmp_path / "r.pdf", "pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_engine_leaves_the_old_pdf_and_says_why(data, tmp_path, monkeypatch):
    engine = tmp_path / "bin" / "pdflatex"
    engine.parent.mkdir()
    engine.write_text("#!/bin/sh\necho '! File lmodern.sty not found.'\nexit 1\n")
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", str(engine.parent), prepend=":")
    monkeypatch.setattr("classify.report_pdf.ENGINES", {"pdflatex": []})
    old = tmp_path / "r.pdf"
    old.write_bytes(b"old")
    with pytest.raises(UserError, match=r"lmodern\.sty not found"):
        write_report(data, old, "pdf")
    assert old.read_bytes() == b"old"


def test_forms_write_what_they_say(data, tmp_path):
    tex = write_report(data, tmp_path / "a b.tex", "tex")
    source = tex[0].read_text("utf-8")
    assert source.isascii()
    used = re.findall(r"\\includegraphics\[.*?\]\{(.*?)\}", source)
    assert used
    assert all((tmp_path / name).is_file() for name in used)
    assert all((tmp_path / name).with_suffix(".svg").is_file() for name in used)
    folder, *tables = write_report(data, tmp_path / "numbers", "csv")
    assert {one.name for one in folder.iterdir()} == {one.name for one in tables}
    with pytest.raises(UserError, match="no form"):
        write_report(data, tmp_path / "x", "docx")
    assert not re.search(r"/(tmp|home|root)/", source + paper_markdown(make_paper(data), "f"))


@pytest.mark.parametrize(
    ("form", "output", "wanted"),
    [
        (None, None, ("html", "report.html")),
        (None, "a.PDF", ("pdf", "a.PDF")),
        ("md", None, ("md", "report.md")),
        ("tex", "text", ("tex", "text")),
        ("csv", None, ("csv", "report_csv")),
        (None, "n.csv", ("csv", "n")),
    ],
)
def test_the_form_is_that_asked_for_or_that_of_the_file(form, output, wanted):
    found, path = choose_form(form, Path(output) if output else None)
    assert (found, str(path)) == wanted


@pytest.mark.parametrize(("form", "output"), [("pdf", "a.html"), ("docx", None), (None, "r.docx")])
def test_a_form_that_is_none_or_contradicts_the_file_is_refused(form, output):
    with pytest.raises(UserError):
        choose_form(form, Path(output) if output else None)
