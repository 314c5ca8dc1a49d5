"""Figures of photos that are drawn again and again: intervals, and who wins how often."""

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from classify.counts import Figures, Subsets
from classify.outcomes import F64, Outcomes
from embed.words import counted

Figure = tuple[float, float, float]  # value, low, high
Known = tuple[float | None, float | None, float | None]

N_BOOT = 1000
FEW = 30  # photos or groups: with fewer a bootstrap's intervals are too narrow
_CELLS = 500_000  # photos × resamples at once: what the processor's cache holds
FEW_ANSWERS = 30  # right or wrong ones, below which a bootstrap's AUROC is too sure
SCALES = {"log_loss": (0.0, np.inf), "brier": (0.0, 2.0), "mcc": (-1.0, 1.0), "kappa": (-1.0, 1.0)}
LOSSES = ("log_loss", "brier", "ece")
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
    figures = [Figures(one, names, subsets or {}) for one in several]
    found: list[dict[str, list[F64]]] = [{} for _ in several]
    for weights in resamples(len(several[0].y), n_boot, seed, groups):
        for figures_of, samples in zip(figures, found, strict=True):
            for name, values in figures_of(weights).items():
                samples.setdefault(name, []).append(values)
    return [{name: np.concatenate(parts) for name, parts in samples.items()} for samples in found]


def resamples(n: int, n_boot: int, seed: int, groups: ArrayLike | None) -> Iterator[F64]:
    """(n, B) how often each photo is drawn, some resamples at a time; first every photo once.

    A resample's photos depend on the seed and on how many were drawn before, and on nothing else.
    """
    yield np.ones((n, 1))
    group = None if groups is None else np.unique(groups, return_inverse=True)[1]
    n_drawn = n if group is None else int(group.max()) + 1
    rng = np.random.Generator(np.random.SFC64(seed))  # draws in half the usual one's time
    step = max(1, _CELLS // n)
    for done in range(0, n_boot, step):
        rows = np.empty((min(step, n_boot - done), n_drawn))
        for row in rows:
            row[:] = np.bincount(rng.integers(0, n_drawn, n_drawn), minlength=n_drawn)
        yield (rows if group is None else np.take(rows, group, axis=1)).T


def few_witnesses(units: int, photos: int) -> list[str]:
    """A sentence where so few groups or photos are drawn that intervals promise too much."""
    if units >= FEW:
        return []
    drawn = counted(units, "photo") if units == photos else counted(units, "group")
    return [
        f"All intervals are a bootstrap over only {drawn} and far too narrow: another {drawn} "
        "could give quite other figures."
    ]


def witnesses(one: Outcomes, name: str, groups: ArrayLike | None = None) -> int:
    """How many photos or groups say something about the metric `name`; what `figure` asks for."""
    group = np.arange(len(one.y)) if groups is None else np.asarray(groups)
    if name != "auroc":
        return len(np.unique(group))
    return min(len(np.unique(group[some])) for some in (one.right, ~one.right))


def interval(values: F64, level: float = 0.95) -> Figure:
    """(value, low, high) of a value and its resamples, (1 + B,) as `resampled` gives them.

    Percentiles whose levels are moved for the skewness g of the resamples, as BCa does with an
    acceleration and a bias of g/6 (Efron 1987; exact to the second order for a mean): a share near
    1 has its doubt below. The interval reaches from there to where the resamples' mean would lie
    on the value, since a resample of few photos misses some of a class and its macro-F1 is too low.
    Resamples in which the figure has no meaning (NaN) are left out.
    """
    again = _known(values[1:])
    if not len(again):
        return float(values[0]), np.nan, np.nan
    low, high = _quantiles(again, level, _skewness(again))
    value = float(values[0])
    shift = value - float(again.mean())
    return value, min(low + min(shift, 0.0), value), max(high + max(shift, 0.0), value)


def difference(a: F64, b: F64, level: float = 0.95) -> Figure:
    """(a - b, low, high) of two figures of the same resamples.

    The interval reaches as far as the plain percentiles do and as `interval` does. Where a few
    photos make the whole difference one end is 0, and must not be moved off it by luck.
    """
    value, low, high = interval(a - b, level)
    if np.isnan(low):
        return value, low, high
    plain_low, plain_high = _quantiles(_known(a[1:] - b[1:]), level)
    return value, min(low, plain_low), max(high, plain_high)


def figure(name: str, values: F64, n: int, level: float = 0.95) -> Figure:
    """The same within the scale of the metric `name`; n is what `witnesses` counts.

    Where all photos are right (or all wrong) every resample is the same, and would claim
    certainty from a handful: the interval is then Wilson's of a share, for MCC and kappa that of
    two classes of one size. An AUROC of fewer than `FEW_ANSWERS` right or wrong answers reaches as
    far as Wilson's does too, since the places of so few among the others vary too little in
    resamples. A calibration error is too high by what chance adds, in a resample once more: its
    interval reaches down to that of the basic bootstrap (Davison and Hinkley 1997). A figure
    without a meaning has three NaN, and one that is the same by its definition
    (the MCC of one class) an interval of NaN.
    """
    value, low, high = interval(values, level)
    if not np.isfinite(low):
        return value, np.nan, np.nan
    if name == "ece":
        low = min(low, 2 * value - _quantiles(_known(values[1:]), level)[1])
    least, most = SCALES.get(name, (0.0, 1.0))
    same = np.nanmin(values) == np.nanmax(values)
    if name not in LOSSES and (same or (name == "auroc" and n < FEW_ANSWERS)):
        ends = wilson(np.array(value), np.array(n), level)
        low, high = min(float(ends[0]), low), max(float(ends[1]), high)
    if same and least < 0:
        low, high = (2 * low - 1, value) if value == 1 else (np.nan, np.nan)
    return value, max(low, least), min(high, most)


def known(figure: Figure) -> Known:
    """The same with None in the place of NaN, as JSON has it."""
    value, low, high = (None if np.isnan(end) else end for end in figure)
    return value, low, high


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


def _known(values: F64) -> F64:
    return values[np.isfinite(values)]


def _skewness(values: F64) -> float:
    """Third moment of the standardised values, at most 1: more is a matter of few resamples."""
    spread = values.std()
    if spread <= _SAME:
        return 0.0
    return float(np.clip((((values - values.mean()) / spread) ** 3).mean(), -1, 1))


def _quantiles(values: F64, level: float, skewness: float = 0.0) -> tuple[float, float]:
    normal = NormalDist()
    z = normal.inv_cdf((1 + level) / 2)
    move = skewness / 6 * (2 + z * z)
    levels = [normal.cdf(move - z), normal.cdf(move + z)]
    low, high = np.quantile(values, levels, method="weibull")  # covers `level` of the next one
    return float(low), float(high)
