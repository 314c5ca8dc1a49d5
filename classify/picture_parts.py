"""What the pictures of a sweep have in common: colours of heads, names that fit, axes."""

from typing import TYPE_CHECKING, Any

from classify.report_figures import HUES, SHAPES, printable
from classify.sweep_answers import Answers, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 300
LETTER = 0.062  # inches
_LONGEST = 92  # letters of a name


def new_figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def look(found: Answers, row: Row) -> tuple[str, str]:
    """Colour and shape of a configuration: its head."""
    nth = heads(found).index(row.cell.head)
    return HUES[nth % len(HUES)], SHAPES[(nth + nth // len(HUES)) % len(SHAPES)]


def heads(found: Answers) -> list[str]:
    if "head" in found.axes:
        return list(found.axes["head"])
    return list(dict.fromkeys(row.cell.head for row in found.rows))


def legend(figure: "Figure", found: Answers, place: Any = "outside lower center") -> None:
    names = heads(found)
    if len(names) < 2:
        return
    from matplotlib.lines import Line2D

    first = {row.cell.head: row for row in reversed(found.rows)}
    marks = [
        Line2D([], [], color=hue, marker=shape, linestyle="")
        for hue, shape in (look(found, first[head]) for head in names)
    ]
    letters = max(map(len, names)) + 4
    width = figure.get_size_inches()[0]
    columns = max(1, min(len(names), int(width / (LETTER * letters + 0.2))))
    figure.legend(marks, names, loc=place, ncols=columns, frameon=False)


def short(name: str) -> str:
    """One line that the pictures can print; of a long one the beginning and the end."""
    half = _LONGEST // 2
    cut = name if len(name) <= _LONGEST else f"{name[: half - 1]}…{name[-half:]}"
    return printable(cut, 2 * _LONGEST)


def title(figure: "Figure", text: str) -> None:
    figure.suptitle(text, fontsize=7.5)


def log_x(axes: "Axes") -> None:
    """Numbers at the powers of ten, and between them where there is room."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    digits = "123456789" if high < 12 * low else "125" if high < 200 * low else "1"

    def named(value: float, _: object) -> str:
        return f"{value:,.6g}" if f"{value:e}"[0] in digits else ""

    axes.xaxis.set_major_formatter(named)
    axes.xaxis.set_minor_formatter(named)
