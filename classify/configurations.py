"""The configurations of a sweep: equal cells of several seeds taken together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from classify.cell import Cell, CellResult, Figure


@dataclass(frozen=True)
class Configuration:
    """The finished cells that differ in nothing but the seed."""

    cell: Cell
    """with seed 0, whatever the seeds were"""
    results: tuple[CellResult, ...]
    """by seed, rising"""

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(one.cell.seed for one in self.results)

    def figure(self, metric: str) -> Figure:
        """Means over the seeds: of the value and of the ends of its interval."""
        value, low, high = np.mean([one.figures[metric] for one in self.results], axis=0)
        return float(value), float(low), float(high)

    def spread(self, metric: str) -> float:
        """The standard deviation over the seeds (0 for one seed)."""
        return float(np.std([one.figures[metric][0] for one in self.results]))

    def mean(self, name: str) -> float:
        """The mean over the seeds of `seconds`, `peak_bytes`, `model_bytes` or `train_photos`."""
        return float(np.mean([getattr(one, name) for one in self.results]))

    def settings(self) -> dict[str, Any]:
        """Every axis by its name, the head's parameters among them (`pca`, `k`, …)."""
        cell = self.cell
        return {
            "encoders": "+".join(cell.encoders),
            "head": cell.head,
            "balance": cell.balance,
            "photos": cell.photos,
            "split": cell.split,
            "precision": cell.precision,
            "columns": "+".join(cell.columns),
            "folds": cell.folds,
            **dict(cell.options),
        }


def configurations(results: Sequence[CellResult], metric: str = "macro_f1") -> list[Configuration]:
    """Those of the finished `results`, best mean of `metric` first."""
    groups: dict[Cell, list[CellResult]] = {}
    for one in results:
        if not one.error:
            groups.setdefault(replace(one.cell, seed=0), []).append(one)
    found = [
        Configuration(cell, tuple(sorted(same, key=lambda one: one.cell.seed)))
        for cell, same in groups.items()
    ]
    sign = 1 if metric == "log_loss" else -1
    return sorted(found, key=lambda one: sign * one.figure(metric)[0])


def varied(found: Sequence[Configuration]) -> list[str]:
    """The names of the settings that differ between configurations, in their order."""
    settings = [one.settings() for one in found]
    names = dict.fromkeys(name for each in settings for name in each)
    return [name for name in names if len({repr(each.get(name)) for each in settings}) > 1]
