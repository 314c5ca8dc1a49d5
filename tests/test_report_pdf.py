"""What LaTeX may do when it makes a report: nothing outside its own folder."""

import shutil

import pytest

from classify.report_pdf import compile_pdf
from embed.errors import UserError

pytestmark = pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex on the PATH")


def test_a_document_cannot_read_outside_its_folder_or_start_a_program(tmp_path):
    secret = tmp_path / "secret.tex"
    secret.write_text("top secret")
    source = tmp_path / "in" / "report.tex"
    source.parent.mkdir()
    source.write_text(
        r"\documentclass{article}\begin{document}\immediate\write18{touch PWNED}"
        rf"\input{{{secret}}}\end{{document}}"
    )
    with pytest.raises(UserError, match="not found"):
        compile_pdf(source, "pdflatex")
    assert not (source.parent / "PWNED").exists()


def test_a_document_without_an_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("classify.report_pdf.SECONDS", 2)
    source = tmp_path / "report.tex"
    source.write_text(r"\def\x{\x}\x")
    with pytest.raises(UserError, match="more than 2 seconds"):
        compile_pdf(source, "pdflatex")
