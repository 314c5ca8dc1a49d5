"""Charts as SVG inside a page: they print, need no script, and take the page's colours.

A series has a colour and a shape or a dash of its own (`.s0` to `.s5` in report.css, after Okabe
and Ito), so that colour is never alone in telling them apart.
"""

import math
from collections.abc import Callable, Sequence

from classify.report_blocks import Chart, Series, as_number
from retrieval.page import text

WIDTH = 440  # units of the drawing: about pixels, so that it is read on a phone
_LEFT, _RIGHT = 52, 14
_LETTER = 6.3  # units that a letter takes
_MOST_DOTS = 40  # a line through more has none
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
Scale = Callable[[float], float]


def chart_svg(chart: Chart) -> str:
    """The chart as one `<svg>` with its title and description."""
    draw = {"ranges": _ranges, "lines": _lines, "reliability": _reliability}[chart.kind]
    height, body = draw(chart)
    mark = f"c-{chart.name}"
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'aria-labelledby="{text(mark)}-t {text(mark)}-d">'
        f'<title id="{text(mark)}-t">{text(chart.title)}</title>'
        f'<desc id="{text(mark)}-d">{text(chart.says)}</desc>{body}</svg>'
    )


def _ranges(chart: Chart) -> tuple[float, str]:
    """A name, and below it a dot on its interval for each series."""
    names = [str(name) for name in chart.series[0].x] if chart.series else []
    low, high = _span(chart.series)
    x = _scale(low, high, _RIGHT, WIDTH - _RIGHT)
    row = 19 + 11 * len(chart.series)
    top, legend = _legend(chart.series)
    bottom = top + row * len(names)
    parts = [legend, _x_axis(chart.x, x, _ticks(low, high), top, bottom)]
    if low < 0 < high:
        parts.append(f'<path class="zero" d="M{x(0):.1f} {top}V{bottom}"/>')
    for i, name in enumerate(names):
        y = top + row * i + 12
        parts.append(f'<text x="{_RIGHT}" y="{y}">{text(_short(name, 64))}</text>')
        for s, series in enumerate(chart.series):
            parts.append(_range(series, i, s, x, y + 8 + 11 * s, name))
    return bottom + 42, "".join(parts)


def _range(series: Series, i: int, s: int, x: Scale, y: float, name: str) -> str:
    value, low, high = series.y[i], _at(series.low, i), _at(series.high, i)
    if value is None:
        return ""
    bar = "" if low is None or high is None else f'<path d="M{x(low):.1f} {y}H{x(high):.1f}"/>'
    said = f"{name}, {series.name}: {_words(value, low, high)}"
    return f'<g class="s{s % 6}"><title>{text(said)}</title>{bar}{_dot(s, x(value), y)}</g>'


def _lines(chart: Chart) -> tuple[float, str]:
    points = [as_number(value) for series in chart.series for value in series.x]
    known = [value for value in points if value is not None]
    if not known:
        return 20, ""
    left, right = min(known), max(known)
    log = chart.log_x and left > 0
    low, high = _span(chart.series)
    top, legend = _legend(chart.series)
    bottom = top + 210
    x = _scale(left, right, _LEFT + 6, WIDTH - _RIGHT - 6, log)
    y = _scale(low, high, bottom, top + 4)
    marks = _log_ticks(left, right) if log else _ticks(left, right)
    parts = [
        legend,
        _x_axis(chart.x, x, marks, top, bottom),
        _y_axis(chart.y, y, _ticks(low, high), bottom),
        *(_line(series, s, x, y) for s, series in enumerate(chart.series)),
    ]
    return bottom + 42, "".join(parts)


def _line(series: Series, s: int, x: Scale, y: Scale) -> str:
    points = [
        (x(float(a)), y(b), i)
        for i, (a, b) in enumerate(zip(series.x, series.y, strict=True))
        if b is not None
    ]
    path = "L".join(f"{a:.1f} {b:.1f}" for a, b, _ in points)
    dash = f' stroke-dasharray="{_DASHES[s % 4]}"' if s % 4 else ""
    parts = [f'<path fill="none" d="M{path}"{dash}/>' if len(points) > 1 else ""]
    for a, b, i in points if len(points) <= _MOST_DOTS else ():
        low, high = _at(series.low, i), _at(series.high, i)
        bar = (
            ""
            if low is None or high is None
            else f'<path class="bar" d="M{a:.1f} {y(low):.1f}V{y(high):.1f}"/>'
        )
        said = f"{series.name} at {float(series.x[i]):g}: {_words(series.y[i], low, high)}"
        parts.append(f"<g><title>{text(said)}</title>{bar}{_dot(s, a, b)}</g>")
    return f'<g class="s{s % 6}">{"".join(parts)}</g>'


def _reliability(chart: Chart) -> tuple[float, str]:
    """The unit square; below it how many photos lie where."""
    top, legend = _legend(chart.series)
    side = WIDTH - _LEFT - _RIGHT - 60
    bottom = top + side
    x = _scale(0, 1, _LEFT, _LEFT + side)
    y = _scale(0, 1, bottom, top)
    fifths = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    base = bottom + 96
    most = max((n for series in chart.series for n in series.n), default=0)
    bars = [
        f'<path class="count" d="M{x(float(a)):.1f} {base}v-{42 * n / most:.1f}">'
        f"<title>{n:,} photos at {float(a):.0%}</title></path>"
        for a, n in zip(chart.series[0].x, chart.series[0].n, strict=False)
        if most
    ]
    parts = [
        legend,
        _x_axis(chart.x, x, fifths, top, bottom, _LEFT + side),
        _y_axis(chart.y, y, fifths, bottom, _LEFT + side),
        f'<path class="zero" d="M{x(0)} {y(0)}L{x(1)} {y(1)}" stroke-dasharray="4 4"/>',
        *(_line(series, s, x, y) for s, series in enumerate(chart.series)),
        f'<text class="soft" x="{_LEFT}" y="{base + 14}">photos ({most:,} at the highest)</text>'
        if bars
        else "",
        f'<path class="axis" d="M{_LEFT} {base}H{_LEFT + side}"/>' if bars else "",
        *bars,
    ]
    return (base + 22 if bars else bottom + 42), "".join(parts)


def _legend(series: Sequence[Series]) -> tuple[float, str]:
    """(where the plot begins, the legend above it); one series needs none."""
    if len(series) < 2:
        return 8, ""
    parts, x, y = [], float(_RIGHT) + 6, 12.0
    for s, one in enumerate(series):
        name = _short(one.name, 40)
        room = 22 + _LETTER * len(name)
        if x + room > WIDTH and x > 2 * _RIGHT:
            x, y = float(_RIGHT) + 6, y + 16
        parts.append(f'<g class="s{s % 6}">{_dot(s, x, y - 4)}</g>')
        parts.append(f'<text x="{x + 9:.0f}" y="{y:.0f}">{text(name)}</text>')
        x += room
    return y + 12, "".join(parts)


def _x_axis(
    title: str,
    x: Scale,
    ticks: Sequence[float],
    top: float,
    bottom: float,
    right: float = WIDTH - _RIGHT,
) -> str:
    words = _alike(ticks)
    marks = "".join(
        f'<path class="grid" d="M{x(t):.1f} {top}V{bottom}"/>'
        f'<text class="soft" text-anchor="middle" x="{x(t):.1f}" y="{bottom + 15}">{word}</text>'
        for t, word in zip(ticks, words, strict=True)
    )
    return marks + (
        f'<text class="soft" text-anchor="end" x="{right}" y="{bottom + 33}">{text(title)}</text>'
    )


def _y_axis(
    title: str, y: Scale, ticks: Sequence[float], bottom: float, right: float = WIDTH - _RIGHT
) -> str:
    words = _alike(ticks)
    marks = "".join(
        f'<path class="grid" d="M{_LEFT} {y(t):.1f}H{right}"/>'
        f'<text class="soft" text-anchor="end" x="{_LEFT - 6}" y="{y(t) + 4:.1f}">{word}</text>'
        for t, word in zip(ticks, words, strict=True)
    )
    middle = (y(ticks[0]) + y(ticks[-1])) / 2 if ticks else bottom
    return marks + (
        f'<text class="soft" text-anchor="middle" transform="translate(11 {middle:.0f}) '
        f'rotate(-90)">{text(title)}</text>'
    )


def _dot(s: int, x: float, y: float) -> str:
    """A shape of its own for each series: circle, square, triangle, diamond."""
    a, b = f"{x:.1f}", f"{y:.1f}"
    return (
        f'<circle cx="{a}" cy="{b}" r="4"/>',
        f'<path class="dot" d="M{x - 3.5:.1f} {y - 3.5:.1f}h7v7h-7z"/>',
        f'<path class="dot" d="M{a} {y - 4.8:.1f}l4.6 8h-9.2z"/>',
        f'<path class="dot" d="M{a} {y - 5:.1f}l5 5l-5 5l-5 -5z"/>',
    )[s % 4]


def _span(series: Sequence[Series]) -> tuple[float, float]:
    """From the lowest to the highest end, with some air."""
    values = [
        value for one in series for each in (one.y, one.low, one.high) for value in each
        if value is not None
    ]  # fmt: skip
    low, high = min(values, default=0.0), max(values, default=1.0)
    air = 0.04 * (high - low) or 0.05
    inside = low >= 0 and high <= 1
    low, high = low - air, high + air
    return (max(low, 0.0), min(high, 1.0)) if inside else (low, high)


def _scale(low: float, high: float, start: float, end: float, log: bool = False) -> Scale:
    turn: Scale = math.log if log else float
    width = turn(high) - turn(low)

    def place(value: float) -> float:
        share = (turn(value) - turn(low)) / width if width else 0.5
        return start + share * (end - start)

    return place


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between the ends."""
    if high <= low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for k in (1, 2, 5, 10) if (step := k * power) >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [k * 10.0**power for power in powers for k in (1, 2, 5)]
    return [value for value in found if low <= value <= high] or [low]


def _alike(ticks: Sequence[float]) -> list[str]:
    """All with as many decimals as the one that needs most."""
    decimals = max((len(f"{t:.6g}".partition(".")[2]) for t in ticks), default=0)
    return [f"{t:,.{decimals}f}" for t in ticks]


def _words(value: float | None, low: float | None, high: float | None) -> str:
    between = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return f"{value:.3f}{between}"


def _at(values: Sequence[float | None], i: int) -> float | None:
    return values[i] if i < len(values) else None


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
