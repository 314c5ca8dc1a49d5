"""The history of a search: every trial's figure, the best so far, and what is honestly left."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from classify.bootstrap import Figure
from classify.figures import DPI, HUES, SHAPES, new_figure
from embed.files import write_bytes


class Dot(NamedTuple):
    """A trial in the picture."""

    number: int
    """from 1"""
    value: float
    """the metric; of a pruned one, over the folds that it had"""
    head: str
    pruned: bool


def history_picture(
    dots: Sequence[Dot],
    metric: str,
    lower: bool,
    default: Figure | None,
    honest: Figure | None,
    folder: Path,
) -> Path:
    """Write `history.png` and `history.svg` into `folder`; the PNG.

    A dot is a finished trial (colour and shape by head), a small cross one that was given up. The
    line is the best so far, the dashed one the best default configuration, and at the right stands
    the honest estimate with its 95% interval.
    """
    from matplotlib import rc_context
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(8, 4.6)
    axes = figure.add_subplot(xlabel="trial", ylabel=metric)
    finished = [dot for dot in dots if not dot.pruned]
    heads = list(dict.fromkeys(dot.head for dot in finished))
    for dot in dots:
        if dot.pruned:
            axes.plot(dot.number, dot.value, "x", color="0.7", markersize=4, zorder=1)
    for nth, head in enumerate(heads):
        mine = [dot for dot in finished if dot.head == head]
        hue, shape = HUES[nth % len(HUES)], SHAPES[nth % len(SHAPES)]
        axes.plot(
            [dot.number for dot in mine], [dot.value for dot in mine], shape,
            color=hue, markersize=5, label=f" {head}", zorder=3,
        )  # fmt: skip
    best, steps = None, []
    for dot in finished:
        best = dot.value if best is None else (min if lower else max)(best, dot.value)
        steps.append((dot.number, best))
    axes.step(*zip(*steps, strict=True), where="post", color="black", linewidth=1, zorder=2)
    if default is not None:
        axes.axhline(default[0], color="0.4", linestyle="--", linewidth=1, label=" best default")
    last = max(dot.number for dot in dots)
    if honest is not None:
        value, low, high = honest
        ends = [[value - low], [high - value]] if low == low else None
        axes.errorbar(
            [last * 1.04 + 1], [value], yerr=ends, fmt="*", color="black", markersize=9,
            capsize=3, label=" honest estimate of the best",
        )  # fmt: skip
    _show_the_upper_part(axes, [dot.value for dot in finished], honest, lower)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("line: the best so far; crosses: given up after some folds", fontsize=9)
    figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    for form in ("svg", "png"):
        image = BytesIO()
        about = {"Date": None} if form == "svg" else None  # equal searches give equal files
        with rc_context({"svg.hashsalt": "familia"}):
            figure.savefig(image, format=form, dpi=DPI, metadata=about)
        write_bytes(folder / f"history.{form}", image.getvalue())
    return folder / "history.png"


def _show_the_upper_part(
    axes: Any, values: Sequence[float], honest: Figure | None, lower: bool
) -> None:
    """Leave out what is far worse than half of the trials: the best are told apart then."""
    middle, best = float(np.median(values)), (min if lower else max)(values)
    ends = [value for value in honest or () if np.isfinite(value)]
    reach = 3 * abs(best - middle) or 0.01
    shown = [best, *ends, *(value for value in values if abs(value - best) <= reach)]
    room = 0.06 * (max(shown) - min(shown)) or 0.01
    axes.set_ylim(min(shown) - room, max(shown) + room)
