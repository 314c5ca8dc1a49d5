"""The answers of a sweep as pictures for print: SVG, PDF and PNG."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classify.metrics import LESS_IS_BETTER
from classify.pareto_picture import pareto_picture
from classify.picture_parts import DPI, LETTER, legend, log_x, look, new_figure, short, title
from classify.report_figures import HUES, SHAPES, printable, styled
from classify.sweep_answers import METRICS, Answers, Effect, LearningCurve
from classify.sweep_text import LEVEL, short_value, value_in_words
from embed.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 60
_MOST_CURVES = 6
_FORMS: dict[str, dict[str, Any]] = {
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
    "png": {"dpi": DPI},
}
_ROW = 0.2


def write_pictures(found: Answers, folder: Path | None = None) -> list[Path]:
    """Draw all that there is something to draw of, by default into sweeps/NAME/pictures.

    configurations (dots on their intervals), effects (forest plot), pareto, curves and heat-map,
    each as SVG, PDF with embedded letters and PNG of 300 dots an inch.
    """
    place = folder or found.folder / "pictures"
    written = []
    for i, part in enumerate((found, *found.elsewhere)):
        for name, draw in PICTURES.items():
            with styled():
                figure = draw(part)
                if figure is None:
                    continue
                figure.draw_without_rendering()  # once for all forms: the layout takes longest
                figure.set_layout_engine("none")
                for form, how in _FORMS.items():
                    path = place / f"{name}{f'-{i + 1}' * (i > 0)}.{form}"
                    out = io.BytesIO()
                    figure.savefig(out, format=form, **how)
                    write_bytes(path, out.getvalue())
                    written.append(path)
    return written


def configurations_picture(found: Answers) -> "Figure | None":
    """A dot with its interval for each of the best; full where it may be the best."""
    rows = found.rows[:MOST_ROWS]
    names = [short(row.name) for row in rows]
    figure = new_figure(3.4 + LETTER * max(map(len, names)), 1.15 + _ROW * len(rows))
    axes = figure.add_subplot()
    looks = [(*look(found, row), row.standing in ("best", "tie")) for row in rows]
    _ranges(axes, [row.figures[found.metric] for row in rows], range(len(rows)), looks)
    _rows_axis(axes, names)
    axes.set_xlabel(f"{METRICS[found.metric]} (line: 95% interval)")
    more = f"the {len(rows)} best of {len(found.rows):,} configurations; " * (
        len(rows) < len(found.rows)
    )
    title(figure, f"{more}full: the best, or not significantly worse")
    legend(figure, found)
    return figure


def effects_picture(found: Answers) -> "Figure | None":
    """A forest plot: each value of each axis against its reference."""
    if not found.effects:
        return None
    widest = sorted(found.effects, key=lambda one: -abs(one.figures[found.metric][0]))[:MOST_ROWS]
    lines: list[tuple[str, Effect | None]] = []
    for axis in dict.fromkeys(one.axis for one in found.effects):
        mine = [one for one in found.effects if one.axis == axis and one in widest]
        if mine:
            against = value_in_words(axis, mine[0].reference)
            lines.append((short(f"{axis}, against {against}"), None))
            lines += [(short(value_in_words(axis, one.value)), one) for one in mine]
    names = [name for name, _ in lines]
    figure = new_figure(3.4 + LETTER * max(map(len, names)), 0.95 + _ROW * len(lines))
    axes = figure.add_subplot()
    unit = 1 if found.metric == "log_loss" else 100
    axes.axvline(0, color="0.4", linewidth=0.7)
    places = [y for y, (_, effect) in enumerate(lines) if effect]
    shown = [effect for _, effect in lines if effect]
    ends = [effect.figures[found.metric] for effect in shown]
    better = [(value > 0) != (found.metric in LESS_IS_BETTER) for value, _, _ in ends]
    looks = [
        (HUES[1 - good], SHAPES[1 - good], effect.p_holm < LEVEL)
        for good, effect in zip(better, shown, strict=True)
    ]
    _ranges(axes, [(unit * v, unit * low, unit * high) for v, low, high in ends], places, looks)
    _rows_axis(axes, names)
    for label, (_, effect) in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if effect is None else "normal")
    points = "" if unit == 1 else ", points"
    axes.set_xlabel(f"difference of {METRICS[found.metric]}{points} (line: 95% interval)")
    title(figure, "blue dot: better, orange square: worse; full: clear after Holm's correction")
    return figure


def curves_picture(found: Answers) -> "Figure | None":
    """The metric over photos a class; the band is a power law carried on."""
    shown = _different(found)
    if not shown:
        return None
    names = [short(one.name) for one in shown]
    width = max(4.6, 0.7 + LETTER * max(map(len, names)))
    figure = new_figure(width, 2.9 + 0.18 * len(shown))
    axes = figure.add_subplot()
    for s, curve in enumerate(shown):
        hue, shape = HUES[s % len(HUES)], SHAPES[s % len(SHAPES)]
        x = np.array([point.per_class for point in curve.points]) * 1.012 ** (s - len(shown) / 2)
        value, low, high = np.array([point.figure for point in curve.points]).T
        axes.plot(x, value, marker=shape, color=hue, label=names[s])
        axes.vlines(x, low, high, color=hue, linewidth=0.7)
        if curve.law:
            at, middle, bottom, top = np.array(curve.law).T
            axes.plot(at, middle, color=hue, linestyle=(0, (3, 2)))
            axes.fill_between(at, bottom, top, color=hue, alpha=0.15, linewidth=0)
    log_x(axes)
    axes.set_xlabel("training photos of a class, on average (bars: 95% interval)")
    axes.set_ylabel(METRICS[found.metric])
    axes.grid(color="0.9", linewidth=0.5)
    if any(curve.law for curve in shown):
        title(figure, "dashed: errors carried on as a power of the photos, 95%")
    below = figure.legend(loc="outside lower left", ncols=1, frameon=False)
    for text in below.get_texts():
        text.set_parse_math(False)
    return figure


def _different(found: Answers) -> list[LearningCurve]:
    """The best curve of each head, then the best others."""
    heads = [found.rows[curve.ranks[0] - 1].cell.head for curve in found.curves]
    firsts = [heads.index(head) for head in dict.fromkeys(heads)]
    others = [i for i in range(len(heads)) if i not in firsts]
    return [found.curves[i] for i in sorted([*firsts, *others][:_MOST_CURVES])]


def heat_map(found: Answers) -> "Figure | None":
    """The best value of each pair of settings of the two axes that change most."""
    chosen = _widest_axes(found)
    if chosen is None:
        return None
    down, across = chosen
    sign = -1 if found.metric in LESS_IS_BETTER else 1
    downwards, sideways = (_rising(found.axes[name]) for name in chosen)
    table = np.full((len(downwards), len(sideways)), np.nan)
    for row in found.rows:
        i = _place(downwards, row.settings[down])
        j = _place(sideways, row.settings[across])
        if i is None or j is None:
            continue
        value = row.figures[found.metric][0]
        if not np.isfinite(table[i, j]) or sign * value > sign * table[i, j]:
            table[i, j] = value
    rows = [printable(short_value(down, value), 40) for value in downwards]
    columns = [printable(short_value(across, value), 40) for value in sideways]
    turned = max(map(len, columns)) > 9
    room = LETTER * max(map(len, columns)) if turned else 0.2
    figure = new_figure(
        max(1.9 + LETTER * max(map(len, rows)) + 0.5 * len(columns), 3.6),
        1.1 + room + 0.3 * len(rows),
    )
    axes = figure.add_subplot()
    image = axes.imshow(table, cmap="cividis" if sign > 0 else "cividis_r", aspect="auto")
    middle = (np.nanmin(table) + np.nanmax(table)) / 2
    best = np.nanmax(sign * table)
    for (i, j), value in np.ndenumerate(table):
        if np.isfinite(value):
            ink = "white" if sign * value < sign * middle else "black"
            weight = "bold" if sign * value == best else "normal"
            axes.text(
                j, i, f"{value:.3f}", ha="center", va="center", color=ink, fontsize=7,
                fontweight=weight,
            )  # fmt: skip
    axes.set_xticks(range(len(columns)), columns, rotation=90 if turned else 0, parse_math=False)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(across, parse_math=False)
    axes.set_ylabel(down, parse_math=False)
    figure.colorbar(image, ax=axes, label=METRICS[found.metric])
    title(figure, f"best {METRICS[found.metric]} of each pair of settings")
    return figure


def _widest_axes(found: Answers) -> tuple[str, str] | None:
    """Two axes by which the metric changes most; the one of more values goes down."""
    spans: dict[str, float] = {}
    for one in found.effects:
        own = abs(one.figures[found.metric][0])
        spans[one.axis] = max(spans.get(one.axis, 0.0), own)
    if len(spans) < 2:
        return None
    first, second = sorted(spans, key=lambda name: -spans[name])[:2]
    if len(found.axes[first]) < len(found.axes[second]):
        first, second = second, first
    return first, second


def _rising(values: Sequence[Any]) -> list[Any]:
    """Numbers in their order, shares before counts, and what stands for all or as usual last."""
    if all(value is None or isinstance(value, int | float) for value in values):
        return sorted(values, key=lambda v: (v is None, isinstance(v, int), v or 0))
    return list(values)


def _place(values: Sequence[Any], value: Any) -> int | None:
    return next((i for i, one in enumerate(values) if repr(one) == repr(value)), None)


PICTURES: dict[str, Callable[[Answers], "Figure | None"]] = {
    "configurations": configurations_picture,
    "effects": effects_picture,
    "pareto": pareto_picture,
    "curves": curves_picture,
    "heat-map": heat_map,
}


def _rows_axis(axes: "Axes", names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="0.88", linewidth=0.5)
    axes.set_axisbelow(True)


def _ranges(
    axes: "Axes",
    ends: Sequence[tuple[float, float, float]],
    places: Sequence[int],
    looks: Sequence[tuple[str, str, bool]],
) -> None:
    """Dots on their intervals; each looks (colour, shape, whether it is full)."""
    value, low, high = np.array(ends).T
    axes.hlines(places, low, high, colors=[hue for hue, _, _ in looks], linewidth=1)
    for one in dict.fromkeys(looks):
        hue, shape, full = one
        mine = [i for i, its in enumerate(looks) if its == one]
        face = hue if full else "white"
        axes.plot(value[mine], np.array(places)[mine], shape, color=hue, markerfacecolor=face)
