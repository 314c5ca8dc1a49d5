"""A report in one of its forms: HTML, Markdown, LaTeX, PDF or CSV."""

import tempfile
from pathlib import Path
from typing import Literal, get_args

from classify.report_blocks import ReportData
from classify.report_csv import write_csvs
from classify.report_figures import picture
from classify.report_markdown import paper_markdown
from classify.report_page import write_report_page
from classify.report_paper import Paper, make_paper
from classify.report_pdf import compile_pdf, latex_engine
from classify.report_tex import paper_tex, picture_name
from embed.errors import UserError, did_you_mean
from embed.files import write_bytes, write_text
from embed.workspace import slug

Form = Literal["html", "md", "tex", "pdf", "csv"]
FORMS: tuple[Form, ...] = get_args(Form)


def choose_form(form: str | None, output: Path | None) -> tuple[Form, Path]:
    """The form and where it is written, from what the user said of either.

    Without a form it is that of the file's ending, else html; without a file it is `report.html`
    and the like, or the folder `report_csv`. Raises `UserError` where the two contradict.
    """
    ending = output.suffix.lower().lstrip(".") if output else ""
    wanted = form or ending or "html"
    known = next((one for one in FORMS if one == wanted), None)
    if known is None:
        raise UserError(f"'{wanted}' is no form. {did_you_mean(wanted, FORMS)}")
    if ending in FORMS and ending != known:
        raise UserError(
            f"{output} ends as {ending}, and --format says {known}. Change one of them."
        )
    if known == "csv":
        return known, output.with_suffix("") if output else Path("report_csv")
    return known, output or Path(f"report.{known}")


def write_report(data: ReportData, path: Path, form: Form) -> list[Path]:
    """Write a report and give what was written, `path` first.

    html : one page. md, tex : a text of some five pages, and beside it a folder NAME_files with
    the pictures (SVG, for tex PDF too) and the CSV files. pdf : the same text, compiled.
    csv : `path` is a folder, with a CSV file for each table, chart and matrix.
    Raises `UserError` where a PDF is asked for and no LaTeX is there.
    """
    if form == "html":
        write_report_page(data, path)
        return [path]
    if form == "csv":
        return [path, *write_csvs(data, path)]
    if form == "pdf":
        write_bytes(path, _compiled(data))
        return [path]
    if form not in FORMS:
        raise UserError(f"'{form}' is no form. {did_you_mean(form, FORMS)}")
    folder = path.with_name(f"{slug(path.stem)}_files")
    paper = make_paper(data)
    text = (paper_tex if form == "tex" else paper_markdown)(paper, folder.name)
    pictures = _write_pictures(paper, folder, ["svg", "pdf"] if form == "tex" else ["svg"])
    tables = write_csvs(data, folder)
    write_text(path, text)
    return [path, *pictures, *tables]


def _write_pictures(paper: Paper, folder: Path, forms: list[str]) -> list[Path]:
    written = []
    for block in paper.pictures:
        for form, made in picture(block, forms).items():
            written.append(folder / f"{picture_name(block.name)}.{form}")
            write_bytes(written[-1], made)
    return written


def _compiled(data: ReportData) -> bytes:
    engine, paper = latex_engine(), make_paper(data)
    with tempfile.TemporaryDirectory(prefix="report-") as place:
        source = Path(place) / "report.tex"
        _write_pictures(paper, source.with_name("report_files"), ["pdf"])
        write_text(source, paper_tex(paper, "report_files"))
        return compile_pdf(source, engine)
