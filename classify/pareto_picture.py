"""The metric of a sweep's configurations against what they cost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from classify.metrics import LESS_IS_BETTER
from classify.picture_parts import legend, log_x, look, new_figure, short
from classify.sweep_answers import COSTS, METRICS, Answers, Row
from classify.sweep_text import cost_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NAMED = 14


def pareto_picture(found: Answers) -> "Figure | None":
    """The metric against each cost; the line joins those that none beats at less cost."""
    costs = [cost for cost in COSTS if any(cost in row.front for row in found.rows)]
    rows = [row for row in found.rows if row.standing != "incomplete"]
    if not costs or len(rows) < 2:
        return None
    named = [row for row in rows if row.front][:_MOST_NAMED]
    names = [f"{row.rank}: {short(row.name)}" for row in named]
    figure = new_figure(2.9 * len(costs) + 0.4, 2.9 + 0.17 * len(names))
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    for axes, cost in zip(panels, costs, strict=True):
        _pareto_panel(axes, found, rows, cost, named)
    panels[0].set_ylabel(METRICS[found.metric])
    legend(figure, found, "outside upper center")
    figure.supxlabel("\n".join(names), x=0.01, ha="left", fontsize=7.5, parse_math=False)
    return figure


def _pareto_panel(
    axes: "Axes", found: Answers, rows: Sequence[Row], cost: str, named: Sequence[Row]
) -> None:
    unit, word = (1.0, "seconds of all folds") if cost == "seconds" else (1e6, f"{COSTS[cost]}, MB")
    on_it = sorted((r for r in rows if cost in r.front), key=lambda r: cost_of(r, cost))
    axes.plot(
        [cost_of(r, cost) / unit for r in on_it],
        [r.figures[found.metric][0] for r in on_it],
        color="0.55",
        drawstyle="steps-post",
        linewidth=0.9,
        zorder=1,
    )
    looks: dict[tuple[str, str, bool], list[Row]] = {}
    for row in rows:
        looks.setdefault((*look(found, row), cost in row.front), []).append(row)
    for (hue, shape, front), mine in looks.items():
        axes.plot(
            [cost_of(row, cost) / unit for row in mine],
            [row.figures[found.metric][0] for row in mine],
            shape,
            color=hue,
            alpha=1 if front else 0.45,
            markersize=5 if front else 3,
            zorder=3 if front else 2,
        )
    log_x(axes)
    axes.set_xlabel(word)
    axes.grid(color="0.92", linewidth=0.5)
    axes.margins(0.12)
    _numbers(axes, found, [row for row in on_it if row in named], cost, unit)


def _numbers(axes: "Axes", found: Answers, rows: Sequence[Row], cost: str, unit: float) -> None:
    """Ranks beside the dots of the front, those of dots at one place together."""
    if not rows:
        return
    up = -1 if found.metric in LESS_IS_BETTER else 1
    x = np.log([max(cost_of(row, cost) / unit, 1e-12) for row in rows])
    y = np.array([row.figures[found.metric][0] for row in rows])
    wide, high = float(np.ptp(np.log(axes.get_xlim()))), float(np.ptp(axes.get_ylim()))
    groups: list[list[int]] = [[0]]
    for i in range(1, len(rows)):
        last = groups[-1][-1]
        near = (x[i] - x[last]) / wide < 0.1 and abs(y[i] - y[last]) / high < 0.05
        groups[-1].append(i) if near else groups.append([i])
    for group in groups:
        top = group[-1]
        at_the_left = x[top] - np.log(axes.get_xlim()[0]) < 0.2 * wide
        axes.annotate(
            ", ".join(str(rows[i].rank) for i in group),
            (cost_of(rows[top], cost) / unit, y[top]),
            xytext=(0 if at_the_left else -4, 4 * up),
            textcoords="offset points",
            ha="left" if at_the_left else "right",
            va="bottom" if up > 0 else "top",
            fontsize=7,
        )
