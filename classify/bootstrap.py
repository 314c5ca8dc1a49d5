"""Figures of photos that are drawn again and again: intervals, and who wins how often."""

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from classify.counts import Subsets, figures
from classify.outcomes import F64, Outcomes

N_BOOT = 1000
_CELLS = 4_000_000  # photos × resamples held in memory at once
_SAME = 1e-12  # figures nearer than this are equal: sums in another order


def resampled(
    several: Sequence[Outcomes],
    names: Sequence[str],
    n_boot: int = N_BOOT,
    seed: int = 0,
    groups: ArrayLike | None = None,
    subsets: Subsets | None = None,
) -> list[dict[str, F64]]:
    """For each of several outcomes of the same photos, name -> (1 + n_boot,).

    First the value itself, then those of the resamples, which are the same for all (Efron 1979).

    groups : (n,) where given, whole groups are drawn
    subsets : name -> (C,) bool, classes whose mean F1 is a figure of that name
    """
    if any(not np.array_equal(one.y, several[0].y) for one in several):
        raise ValueError("expected outcomes of the same photos in the same order")
    found: list[dict[str, list[F64]]] = [{} for _ in several]
    for weights in resamples(len(several[0].y), n_boot, seed, groups):
        for one, samples in zip(several, found, strict=True):
            for name, values in figures(one, names, weights, subsets or {}).items():
                samples.setdefault(name, []).append(values)
    return [{name: np.concatenate(parts) for name, parts in samples.items()} for samples in found]


def resamples(n: int, n_boot: int, seed: int, groups: ArrayLike | None) -> Iterator[F64]:
    """(n, B) how often each photo is drawn, some resamples at a time; first every photo once."""
    yield np.ones((n, 1))
    group = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(group.max()) + 1
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // n)
    for done in range(0, n_boot, step):
        width = min(step, n_boot - done)
        drawn = rng.integers(0, n_groups, size=(n_groups, width)) * width + np.arange(width)
        times = np.bincount(drawn.ravel(), minlength=n_groups * width)
        yield times.reshape(n_groups, width)[group].astype(float)


def interval(values: F64, level: float = 0.95) -> tuple[float, float, float]:
    """(value, low, high) of a value and its resamples, (1 + B,) as `resampled` gives them.

    The interval is that of the percentiles, moved so that the resamples' mean lies on the value:
    a resample of few photos misses some of a class, so its macro-F1 is too low.
    """
    value, low, high = _percentiles(values, level)
    shift = value - values[1:].mean()
    return value, float(low + shift), float(high + shift)


def difference(a: F64, b: F64, level: float = 0.95) -> tuple[float, float, float]:
    """(a - b, low, high) of two figures of the same resamples.

    The interval reaches as far as the plain percentiles do and as `interval` does. Where a few
    photos make the whole difference one end is 0, and must not be moved off it by luck.
    """
    value, low, high = interval(a - b, level)
    _, plain_low, plain_high = _percentiles(a - b, level)
    return value, min(low, plain_low), max(high, plain_high)


def figure(name: str, values: F64, n: int, level: float = 0.95) -> tuple[float, float, float]:
    """The same within the scale of the metric `name`; n counts the photos or groups drawn.

    Where all photos are right (or all wrong) every resample is the same, and would claim
    certainty from a handful: the interval is then Wilson's of a share.
    """
    value, low, high = interval(values, level)
    most = {"log_loss": np.inf, "brier": 2.0}.get(name, 1.0)
    if most == 1.0 and name != "ece" and values.min() == values.max():
        ends = wilson(np.array(value), np.array(n), level)
        return value, min(float(ends[0]), value), max(float(ends[1]), value)
    return value, max(low, 0.0), min(high, most)


def wins(several: Sequence[F64]) -> F64:
    """(R,) share of the resamples in which each has the highest value; equals share it.

    several : R arrays (1 + B,) as `resampled` gives them
    """
    again = np.array(several)[:, 1:]
    best = again >= again.max(axis=0) - _SAME
    return np.asarray((best / best.sum(axis=0)).mean(axis=1))


def wilson(share: F64, n: F64, level: float = 0.95) -> tuple[F64, F64]:
    """Low and high of a binomial share found in `n` trials (Wilson 1927)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    n = np.where(n > 0, n, np.nan)
    centre = share + z * z / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    scale = 1 + z * z / n
    return np.clip((centre - half) / scale, 0, 1), np.clip((centre + half) / scale, 0, 1)


def _percentiles(values: F64, level: float) -> tuple[float, float, float]:
    low, high = np.quantile(values[1:], [(1 - level) / 2, (1 + level) / 2])
    return float(values[0]), float(low), float(high)
