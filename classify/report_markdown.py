"""A report as Markdown, for a repository or a note book."""

import re
from collections.abc import Sequence

from classify.markdown import plain
from classify.report_blocks import Chart, Matrix
from classify.report_grid import Grid
from classify.report_paper import Beside, Facing, Paper, PaperSection, Part, Picture
from classify.report_tex import picture_name

_CODE = re.compile("`([^`]+)`")
_START = re.compile(r"^([-+]|\d+[.)])(?=\s|$)")  # would begin a list


def paper_markdown(paper: Paper, folder: str) -> str:
    """The text; the pictures are `folder`/NAME.svg beside it."""
    parts = [
        f"# {plain(paper.title)}",
        _line(paper.subtitle),
        *map(_line, paper.abstract),
        *(_section(section, folder) for section in paper.sections),
        *(["## References", _list(paper.references)] if paper.references else []),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(section: PaperSection, folder: str) -> str:
    head = f"{'###' if section.sub else '##'} {plain(section.title)}"
    return "\n\n".join([head, *(_part(part, folder) for part in section.parts)])


def _part(part: Part, folder: str) -> str:
    if isinstance(part, Grid):
        return _grid(part)
    if isinstance(part, Picture):
        return _picture(part.block, part.caption, folder)
    if isinstance(part, Beside):
        return "\n\n".join(_part(one, folder) for column in part.columns for one in column)
    if isinstance(part, Facing):
        return "\n".join(f"- {plain(name)}: {_code(value)}" for name, value in part.pairs)
    return _list(part.lines) if part.bullets else "\n\n".join(map(_line, part.lines))


def _grid(grid: Grid) -> str:
    lines = [
        [plain(name) for name in grid.header],
        ["---" if words else "---:" for words in grid.wordy],
        *(
            [_cell(cell, (i, j) in grid.bold) for j, cell in enumerate(row)]
            for i, row in enumerate(grid.rows)
        ),
    ]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n\n".join(
        [f"**{plain(grid.title)}**", table, *([_line(grid.note)] if grid.note else [])]
    )


def _cell(words: str, bold: bool) -> str:
    return f"**{plain(words)}**" if bold and words else plain(words)


def _picture(block: Chart | Matrix, caption: str, folder: str) -> str:
    says = block.note if isinstance(block, Matrix) else block.says
    alt = plain(f"{block.title}: {says}")
    return f"![{alt}]({folder}/{picture_name(block.name)}.svg)\n\n{_line(caption)}"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_line(line)}" for line in lines)


def _line(text: str) -> str:
    """A paragraph that is no list."""
    return _START.sub(lambda m: f"{m[1][:-1]}\\{m[1][-1]}", _code(text))


def _code(text: str) -> str:
    """Plain text; what stands in backticks is code."""
    one_line = " ".join(text.split())
    parts = _CODE.split(one_line)
    return "".join(
        f"`{part}`" if i % 2 and part.strip() else _plain(part) for i, part in enumerate(parts)
    )


def _plain(part: str) -> str:
    """`plain`, with the blanks at the ends."""
    if not part.strip():
        return part
    return " " * part[0].isspace() + plain(part) + " " * part[-1].isspace()
