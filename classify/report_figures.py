"""The charts and matrices of a report as pictures for print: SVG and PDF, the same every time.

The colours are Okabe and Ito's, told apart by colour-blind eyes; shapes and dashes tell them apart
in grey. Nothing in a label is a formula or a command.
"""

import io
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from classify.latex_text import one_line, placeholder
from classify.report_blocks import Chart, Matrix, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.35  # inches: of half a page, so that the letters are as large as said below
MATRIX = 4.25
MOST_LABELS = 50  # classes whose names can be read at that width
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
_RIGHT, _WRONG = (0.0, 0.447, 0.698), (0.835, 0.369, 0.0)
SHAPES = ("o", "s", "^", "D", "v", "P")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), "-.", (0, (7, 2, 1, 2)), ":")
_MOST_DOTS = 40  # a line through more has none
_BESIDE = 16  # letters of a name that stands left of its dots; a longer one stands above
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "text.usetex": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "familia",
}


def picture(block: Chart | Matrix, forms: Iterable[str] = ("svg", "pdf")) -> dict[str, bytes]:
    """The block as `svg` and as `pdf`: vectors, with embedded letters and without a date."""
    with styled():
        figure = _matrix(block) if isinstance(block, Matrix) else _chart(block)
        says = block.note if isinstance(block, Matrix) else block.says
        about: dict[str, dict[str, Any]] = {
            "svg": {"Title": one_line(block.title), "Description": one_line(says), "Date": None},
            "pdf": {"CreationDate": None},
        }
        return {form: _saved(figure, form, about[form]) for form in forms}


@contextmanager
def styled() -> Iterator[None]:
    """Letters and lines of all pictures for print; letters are embedded in PDF (type 42)."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _saved(figure: "Figure", form: str, metadata: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=form, metadata=metadata)
    return out.getvalue()


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _chart(chart: Chart) -> "Figure":
    if chart.kind == "reliability":
        return _reliability(chart)
    height = _ranges_height(chart) if chart.kind == "ranges" else 2.1
    figure = _figure(WIDTH, height)
    axes = figure.add_subplot()
    (_ranges if chart.kind == "ranges" else _lines)(axes, chart)
    axes.set_xlabel(_wrapped(chart.x, 50), parse_math=False)
    _legend(axes, chart.series)
    return figure


def _names(chart: Chart) -> list[str]:
    return [printable(name, 52) for name in chart.series[0].x] if chart.series else []


def _ranges_height(chart: Chart) -> float:
    names, k = _names(chart), len(chart.series)
    above = max(map(len, names), default=0) > _BESIDE
    return 0.62 + 0.2 * (k > 1) + len(names) * (0.13 * k + (0.19 if above else 0.07))


def _ranges(axes: "Axes", chart: Chart) -> None:
    """A name, and beside or below it a dot on its interval for each series."""
    names, k = _names(chart), len(chart.series)
    above = max(map(len, names), default=0) > _BESIDE
    step = k + (1.5 if above else 0.6)
    first = 0.9 if above else 0.0
    for s, series in enumerate(chart.series):
        for i in range(len(names)):
            _range(axes, series, i, s, i * step + first + s)
    middles = [i * step + (k - 1) / 2 for i in range(len(names))]
    if above:
        axes.set_yticks([])
        for i, name in enumerate(names):
            axes.text(
                0, i * step, name, transform=axes.get_yaxis_transform(), parse_math=False,
                va="center", fontsize=7.5,
            )  # fmt: skip
    else:
        axes.set_yticks(middles, names, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) * step - 0.5, -0.8)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="0.88", linewidth=0.5)
    axes.set_axisbelow(True)
    low, high = axes.get_xlim()
    if low < 0 < high:
        axes.axvline(0, color="0.4", linewidth=0.7)


def _range(axes: "Axes", series: Series, i: int, s: int, y: float) -> None:
    value, low, high = series.y[i], _at(series.low, i), _at(series.high, i)
    if value is None:
        return
    hue = HUES[s % len(HUES)]
    if low is not None and high is not None:
        axes.plot([low, high], [y, y], color=hue, linewidth=1.1)
    axes.plot([value], [y], SHAPES[s % len(SHAPES)], color=hue)


def _lines(axes: "Axes", chart: Chart) -> None:
    for s, series in enumerate(chart.series):
        _line(axes, series, s)
    known = [x for series in chart.series for x in series.x if isinstance(x, int | float)]
    if chart.log_x and known and min(known) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(lambda *_: "")
    axes.set_ylabel(_wrapped(chart.y, 30), parse_math=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axes.grid(color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)


def _line(axes: "Axes", series: Series, s: int) -> None:
    points = [
        (float(x), y, _at(series.low, i), _at(series.high, i))
        for i, (x, y) in enumerate(zip(series.x, series.y, strict=True))
        if y is not None
    ]
    hue, shape = HUES[s % len(HUES)], SHAPES[s % len(SHAPES)]
    dots = shape if len(points) <= _MOST_DOTS else ""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    axes.plot(xs, ys, marker=dots, color=hue, linestyle=_DASHES[s % len(_DASHES)])
    for x, _, low, high in points:
        if low is not None and high is not None:
            axes.plot([x, x], [low, high], color=hue, linewidth=0.7)


def _reliability(chart: Chart) -> "Figure":
    """The unit square with its diagonal; below it how many photos lie where."""
    figure = _figure(WIDTH, 3.3)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
    above.plot([0, 1], [0, 1], color="0.55", linewidth=0.7, linestyle=(0, (4, 3)))
    _lines(above, chart)
    above.set(xlim=(0, 1), ylim=(0, 1.02))
    _legend(above, chart.series)
    first = chart.series[0] if chart.series else Series("", [], [])
    places = [float(x) for x, _ in zip(first.x, first.n, strict=False)]
    below.bar(places, list(first.n)[: len(places)], width=0.025, color="0.45")
    below.set_ylabel("photos")
    below.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    below.set_xlabel(_wrapped(chart.x, 50), parse_math=False)
    return figure


def _legend(axes: "Axes", series: Sequence[Series]) -> None:
    if len(series) < 2:
        return
    from matplotlib.lines import Line2D

    ranged = all(isinstance(x, str) for x in series[0].x)
    marks = [
        Line2D(
            [], [], color=HUES[s % len(HUES)], marker=SHAPES[s % len(SHAPES)],
            linestyle="-" if ranged else _DASHES[s % len(_DASHES)],
        )
        for s in range(len(series))
    ]  # fmt: skip
    names = [" " + printable(one.name, 30) for one in series]
    columns = max(1, 44 // (max(map(len, names)) + 7))
    legend = axes.legend(
        marks, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False,
        borderaxespad=0.1, handlelength=2.2, columnspacing=1,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _matrix(matrix: Matrix) -> "Figure":
    """Blue where right, orange where wrong: the stronger, the larger the share of the row."""
    from matplotlib.collections import PolyCollection

    n = len(matrix.classes)
    named = n <= MOST_LABELS
    figure = _figure(MATRIX, MATRIX)
    axes = figure.add_subplot()
    photos = matrix.photos
    cells = [
        (i, j, count, (count / photos[i]) ** 0.5)  # the root lifts a few per cent off the white
        for i, j, count in zip(matrix.truth, matrix.predicted, matrix.n, strict=True)
        if count
    ]
    squares = [[(j, i), (j + 1, i), (j + 1, i + 1), (j, i + 1)] for i, j, _, _ in cells]
    hues = [_shade(_RIGHT if i == j else _WRONG, share) for i, j, _, share in cells]
    axes.add_collection(PolyCollection(squares, facecolors=hues, linewidths=0))
    axes.set(xlim=(0, n), ylim=(n, 0), aspect="equal", xlabel="answer", ylabel="true class")
    axes.spines[["top", "right"]].set_visible(True)
    size = min(7.5, 150 / max(n, 1) + 1.6)
    if named:
        names = [printable(name, 26) for name in matrix.classes]
        places = [i + 0.5 for i in range(n)]
        axes.set_xticks(places, names, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(places, names, fontsize=size, parse_math=False)
        axes.tick_params(length=0, pad=2)
        for i, j, count, share in cells:
            ink = "white" if share > 0.6 else "black"
            axes.text(j + 0.5, i + 0.53, str(count), ha="center", va="center", color=ink,
                      fontsize=0.8 * size)  # fmt: skip
    axes.set_axisbelow(True)
    if n <= MOST_LABELS:
        for edge in range(1, n):
            axes.axhline(edge, color="0.9", linewidth=0.3, zorder=0)
            axes.axvline(edge, color="0.9", linewidth=0.3, zorder=0)
    return figure


def _shade(full: tuple[float, float, float], share: float) -> tuple[float, ...]:
    return tuple(1 - (0.2 + 0.8 * share) * (1 - part) for part in full)


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(printable(text, 2 * width), width))


def printable(text: object, longest: int) -> str:
    """One line that the letters of the pictures can print; others stand as [U+4E2D]."""
    line = one_line(text)
    line = line if len(line) <= longest else f"{line[: longest - 1]}…"
    has = _letters()
    return "".join(c if ord(c) in has else placeholder(c) for c in line)


def _letters() -> Any:
    """The code points in the font of the pictures."""
    from matplotlib.font_manager import findfont, get_font

    return get_font(findfont("DejaVu Sans")).get_charmap()


def _at(values: Sequence[float | None], i: int) -> float | None:
    return values[i] if i < len(values) else None
