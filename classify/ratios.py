"""Shares and means over photos with bootstrap intervals: ratios of sums that are drawn together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from classify.bootstrap import N_BOOT, figure
from classify.outcomes import F64

_CELLS = 4_000_000  # kinds × resamples held in memory at once
Figure = list[float | None]  # value, low, high; None three times where there is nothing to divide


@dataclass(frozen=True)
class Sums:
    """Sums over n photos: first of all photos, then of each resample of photos or groups."""

    samples: Mapping[str, F64]  # name -> (1 + B,)
    units: int  # photos or groups that are drawn

    @classmethod
    def of(
        cls,
        values: Mapping[str, Any],
        n_boot: int = N_BOOT,
        seed: int = 0,
        groups: ArrayLike | None = None,
    ) -> Self:
        """values : name -> (n,) what each photo adds; groups : (n,), drawn whole where given."""
        table = np.stack([np.asarray(column, dtype=float) for column in values.values()], axis=1)
        if groups is not None:
            group = np.unique(groups, return_inverse=True)[1]
            sums = np.zeros((int(group.max()) + 1, table.shape[1]))
            np.add.at(sums, group, table)
            table = sums
        drawn = np.concatenate([table.sum(axis=0, keepdims=True), _drawn(table, n_boot, seed)])
        return cls(dict(zip(values, drawn.T, strict=True)), len(table))

    def share(self, part: str, whole: str, most: float = 1.0) -> Figure:
        """[value, low, high] of the sum `part` over the sum `whole`, which lies in 0 to `most`.

        Resamples with nothing to divide by are left out.
        """
        return self.interval(self.samples[part], self.samples[whole], most)

    def f1(self, part: str, one: str, other: str) -> Figure:
        """The same of the harmonic mean of part / one and part / other."""
        return self.interval(2 * self.samples[part], self.samples[one] + self.samples[other])

    def interval(self, part: F64, whole: F64, most: float = 1.0) -> Figure:
        """The same of two sums (1 + B,)."""
        if whole[0] == 0:
            return [None, None, None]
        ratios = part[whole > 0] / whole[whole > 0] / most
        units = max(1, min(self.units, int(whole[0])))
        return as_figure([most * end for end in figure("share", ratios, units)])


def as_figure(values: Sequence[float | None]) -> Figure:
    """The same three numbers for JSON: None in the place of NaN."""
    return [None if value is None or math.isnan(value) else float(value) for value in values]


def _drawn(table: F64, n_boot: int, seed: int) -> F64:
    """(n_boot, k) sums of as many rows of `table` (n, k) as it has, drawn with replacement.

    Photos differ in a few whole numbers only. So it is drawn how often each kind of them comes,
    which is multinomial: the same chances for a hundredth of the time.
    """
    kinds, n = np.unique(table, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // len(kinds))
    sizes = [min(step, n_boot - done) for done in range(0, n_boot, step)]
    parts = [rng.multinomial(len(table), n / len(table), size) @ kinds for size in sizes]
    return np.concatenate(parts)
