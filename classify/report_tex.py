"""A report as LaTeX: plain ASCII, tables in booktabs, one pass of pdfLaTeX, LuaLaTeX or Tectonic.

All that comes from tables, labels and file names goes through `latex_text.latex`.
"""

from collections.abc import Sequence

from classify.latex_text import latex, latex_with_code
from classify.report_blocks import Matrix, Sentences
from classify.report_grid import Grid
from classify.report_paper import Beside, Facing, Paper, PaperSection, Part, Picture

_PREAMBLE = r"""\documentclass[10pt,a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage{lmodern,textcomp}
\usepackage[a4paper,margin=20mm]{geometry}
\usepackage{microtype,array,booktabs,graphicx,multicol}
\usepackage[font=small,labelfont=bf,skip=4pt]{caption}
\captionsetup[table]{position=above}
\usepackage[hidelinks,bookmarks=false]{hyperref}
\ifdefined\pdftrailerid\pdftrailerid{}\fi
\raggedbottom
\setlength{\parindent}{0pt}\setlength{\parskip}{4pt plus 1pt}
\setlength{\tabcolsep}{4.5pt}
\sloppy
% A table that is wider than the page is made smaller.
\newsavebox{\tablebox}
\newcommand{\fit}[1]{\sbox{\tablebox}{#1}\ifdim\wd\tablebox>\linewidth
  \resizebox{\linewidth}{!}{\usebox{\tablebox}}\else\usebox{\tablebox}\fi}
\newcolumntype{W}[1]{>{\raggedright\arraybackslash}p{#1}}
"""
_WIDE = 34  # letters: a column of longer words is broken into lines
_LETTERS = 116  # of a line in a table
_GAP = 0.02  # of the line's width, between columns
_ALONE, _MATRIX = 0.5, 0.66  # of the line's width, for a picture that stands alone


def paper_tex(paper: Paper, folder: str) -> str:
    """The source; the pictures are `folder`/NAME.pdf beside it (`folder`: letters, digits, -_.)."""
    parts = [
        _PREAMBLE,
        rf"\title{{\vspace*{{-14mm}}{latex(paper.title)}}}",
        rf"\author{{{latex(paper.subtitle)}}}",
        r"\date{}",
        r"\begin{document}",
        r"\maketitle\vspace{-8mm}",
        r"\begin{abstract}\noindent",
        latex_with_code(" ".join(paper.abstract)),
        r"\end{abstract}",
        *(_section(section, folder) for section in paper.sections),
        *_references(paper.references),
        r"\end{document}",
    ]
    return "\n".join(parts) + "\n"


def _section(section: PaperSection, folder: str) -> str:
    kind = "subsection" if section.sub else "section"
    head = rf"\{kind}{{{latex(section.title)}}}"
    return "\n".join([head, *(_part(part, folder) for part in section.parts)])


def _part(part: Part, folder: str) -> str:
    if isinstance(part, Grid):
        return _box(_grid(part))
    if isinstance(part, Picture):
        width = _MATRIX if isinstance(part.block, Matrix) else _ALONE
        return _box(_picture(part, folder, width))
    if isinstance(part, Beside):
        return _beside(part, folder)
    if isinstance(part, Facing):
        return _facing(part)
    return _sentences(part)


def _sentences(block: Sentences) -> str:
    lines = list(map(latex_with_code, block.lines))
    if not block.bullets:
        return "\n\n".join(lines) + "\n"
    return _list([rf"\item {{}}{line}" for line in lines])


def _list(items: Sequence[str]) -> str:
    space = r"\setlength{\itemsep}{1pt}\setlength{\parskip}{0pt}\raggedright"
    return "\n".join([r"\begin{itemize}" + space, *items, r"\end{itemize}"]) if items else ""


def _facing(block: Facing) -> str:
    return _list(
        [rf"\item {{}}{latex(name)}: {latex_with_code(value)}" for name, value in block.pairs]
    )


def _box(body: str) -> str:
    """Stays together, at the place where it is told of."""
    return "\n".join(
        [
            r"\par\medskip\noindent\begin{minipage}{\linewidth}\centering\small",
            body,
            r"\end{minipage}\par\medskip",
        ]
    )


def _beside(part: Beside, folder: str) -> str:
    widths = [part.left, 1 - part.left]
    columns = []
    for column, share in zip(part.columns, widths, strict=True):
        inner = "\n\\par\\medskip\n".join(
            _picture(one, folder, 1) if isinstance(one, Picture) else _grid(one, share)
            for one in column
        )
        columns.append(
            rf"\begin{{minipage}}[t]{{{share - _GAP / 2:.3g}\linewidth}}\vspace{{0pt}}"
            rf"\centering\small{chr(10)}{inner}{chr(10)}\end{{minipage}}"
        )
    return _box("\\hfill\n".join(columns))


def _grid(grid: Grid, share: float = 1) -> str:
    """A tabular with its title above, for `share` of the line."""
    rows = []
    for i, row in enumerate(grid.rows):
        cells = (_cell(cell, (i, j) in grid.bold) for j, cell in enumerate(row))
        rows.append("\\midrule\n" * (i in grid.breaks) + " & ".join(cells) + r" \\")
    note = rf"\par\vspace{{3pt}}\raggedright\footnotesize {latex_with_code(grid.note)}\par"
    return "\n".join(
        [
            rf"\captionof{{table}}{{{latex(grid.title)}}}",
            rf"\fit{{\begin{{tabular}}{{@{{}}{_columns(grid, share)}@{{}}}}",
            r"\toprule",
            " & ".join(map(latex, grid.header)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            f"{{{note}}}" if grid.note else "",
        ]
    )


def _columns(grid: Grid, share: float) -> str:
    """Long words get what the other columns leave."""
    longest = [max(map(len, column)) for column in zip(grid.header, *grid.rows, strict=True)]
    wide = [words and n > _WIDE for words, n in zip(grid.wordy, longest, strict=True)]
    taken = sum(n for n, is_wide in zip(longest, wide, strict=True) if not is_wide)
    room = (share * _LETTERS - taken - 2 * len(longest)) / max(1, sum(wide))
    width = min(max(room, 22), max(longest)) / (share * _LETTERS)
    return "".join(
        rf"W{{{width:.3f}\linewidth}}" if is_wide else ("l" if words else "r")
        for is_wide, words in zip(wide, grid.wordy, strict=True)
    )


def _cell(words: str, bold: bool) -> str:
    return rf"\textbf{{{latex(words)}}}" if bold and words else latex(words)


def _picture(part: Picture, folder: str, width: float) -> str:
    return "\n".join(
        [
            rf"\includegraphics[width={width:.3g}\linewidth]"
            rf"{{{folder}/{picture_name(part.block.name)}.pdf}}",
            rf"\captionof{{figure}}{{{latex(part.caption)}}}",
        ]
    )


def picture_name(name: str) -> str:
    """A file name that LaTeX takes as it is."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in name)


def _references(lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return [
        r"\section*{References}",
        r"\begin{multicols}{2}\footnotesize\raggedright",
        r"\begin{list}{}{\leftmargin1em\itemindent-1em\itemsep1pt\parsep0pt\topsep0pt}",
        *(rf"\item {{}}{latex(line)}" for line in lines),
        r"\end{list}",
        r"\end{multicols}",
    ]
