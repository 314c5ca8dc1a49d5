"""What a finished sweep says, as plain data: `classify.sweep_show.show` makes it.

Figures are of the out-of-fold predictions. A `Figure` is (value, low, high) with the ends of its
95% interval; differences are in the unit of the metric (0.01 is a point of macro-F1).
"""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from classify.cell import Cell, Figure

METRICS = {
    "macro_f1": "macro-F1",
    "accuracy": "accuracy",
    "top_5": "top-5",
    "log_loss": "log-loss",
}
COSTS = {"seconds": "seconds", "peak_bytes": "memory", "model_bytes": "model size"}


@dataclass(frozen=True)
class Row:
    """One configuration: equal cells of several seeds taken together."""

    rank: int
    """1 is the best"""
    name: str
    """in words, what differs within the sweep only"""
    settings: dict[str, Any]
    """the axes that vary, by name; None where the head has no such parameter, or all photos"""
    cell: Cell
    """with seed 0"""
    ids: tuple[str, ...]
    """of its finished cells, by seed"""
    seeds: tuple[int, ...]
    figures: dict[str, Figure]
    """of `METRICS`, mean over the seeds"""
    by_size: dict[str, float]
    """macro-F1 of the classes of each size, by its name in `scored.SIZES`"""
    spread: float
    """standard deviation of the metric over the seeds"""
    standing: str
    """best, tie (not significantly worse), worse, or incomplete (lacks a seed: not compared)"""
    difference: Figure | None
    """the metric of this one less that of the best, paired; None where it is not compared"""
    p: float | None
    """that this one is the best of all, corrected for the number of configurations"""
    probability_best: float | None
    """share of the draws in which it has the best value"""
    seconds: float
    """of all folds, as if it had been computed alone"""
    peak_bytes: float
    model_bytes: float
    train_photos: float
    front: tuple[str, ...] = ()
    """of `COSTS`: those for which no other is as good and cheaper"""


@dataclass(frozen=True)
class Effect:
    """What a value of an axis changes against the reference, all else being equal."""

    axis: str
    value: Any
    reference: Any
    pairs: int
    """settings of all else in which both are there"""
    figures: dict[str, Figure]
    """of `METRICS`: mean difference, value less reference"""
    by_size: dict[str, Figure]
    """the same of macro-F1 for the classes of each size"""
    by_head: dict[str, Figure]
    """the same of the metric with each head, where there are several"""
    p: float
    """of the metric"""
    p_holm: float
    """corrected for the number of effects (Holm 1979)"""


@dataclass(frozen=True)
class Interaction:
    """How much more (or less) a value brings in one setting of another axis than in another."""

    axis: str
    value: Any
    reference: Any
    other_axis: str
    other_value: Any
    other_reference: Any
    settings: int
    """of all else, in which all four are there"""
    difference: Figure
    """(value less reference) at `other_value`, less the same at `other_reference`"""
    p: float
    p_holm: float
    """corrected for the number of interactions that can be asked about"""


@dataclass(frozen=True)
class CurvePoint:
    photos: int | float | None
    """as the grid has it: most photos of a class, a share, or all"""
    per_class: float
    """training photos of a class, on average"""
    train_photos: float
    figure: Figure


@dataclass(frozen=True)
class LearningCurve:
    """Configurations that differ in the training photos alone, fewest first."""

    name: str
    """all else, in words"""
    ranks: tuple[int, ...]
    """of its `Row`s"""
    points: tuple[CurvePoint, ...]
    sentence: str
    """what may be said of more photos, or why nothing is"""
    more: int | None = None
    """photos of a class beyond the last point that `gain` is about"""
    gain: Figure | None = None
    law: tuple[tuple[float, float, float, float], ...] = ()
    """(photos of a class, value, low, high) along the curve and beyond it, to be drawn"""


@dataclass(frozen=True)
class Stability:
    """Whether the order of the configurations is a matter of luck."""

    seeds: int
    best_in_seeds: int
    """seeds by which the best of all is the best"""
    tau_seeds: float | None
    """Kendall's tau-b between the orders of two seeds, mean over all pairs of seeds"""
    probability_best: float
    """share of the draws in which the best of all is the best"""
    tau_draws: float | None
    """mean tau-b between the order in a draw and the one shown"""


@dataclass(frozen=True)
class Answers:
    """What `cli sweep show` says of the cells that were scored on the same photos."""

    name: str
    folder: Path
    """sweeps/NAME"""
    label: str
    metric: str
    """by which the configurations stand in order"""
    draws: int
    photos: int
    units: int
    """that are drawn: groups, or photos where each is one of its own"""
    classes: int
    seeds: tuple[int, ...]
    axes: dict[str, tuple[Any, ...]]
    """the axes that vary, with their values in the order of the grid; the reference is the first"""
    rows: tuple[Row, ...]
    """best first; those that are not compared last"""
    optimism: float
    """by how much the best value is too good for having been chosen, in the metric's unit"""
    corrected: Figure
    """the best's figure without it"""
    effects: tuple[Effect, ...]
    interactions: tuple[Interaction, ...]
    """all that can be asked about, least p first"""
    curves: tuple[LearningCurve, ...]
    """that of the best configuration first"""
    stability: Stability
    command: str
    """that fits the best configuration"""
    failed: tuple[tuple[str, str], ...] = ()
    """cell in words, reason"""
    missing: int = 0
    """cells that are not computed yet"""
    notes: tuple[str, ...] = ()
    elsewhere: tuple["Answers", ...] = field(default=())
    """the same of cells that were scored on other photos (another split): never compared"""

    @property
    def best(self) -> Row:
        return self.rows[0]

    @property
    def ties(self) -> tuple[Row, ...]:
        """Those that are not significantly worse than the best."""
        return tuple(row for row in self.rows if row.standing == "tie")

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not known (NaN) is None."""
        found: dict[str, Any] = _plain(self)
        return found | {"folder": str(self.folder)}

    def lines(self) -> list[str]:
        """For the terminal."""
        from classify.sweep_text import answer_lines

        return answer_lines(self)


def _plain(value: Any) -> Any:
    if isinstance(value, Cell):
        return value.to_json()
    if isinstance(value, Row | Effect | Interaction | CurvePoint | LearningCurve | Stability):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Answers):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
