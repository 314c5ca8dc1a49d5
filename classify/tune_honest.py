"""How good the tuned configuration will be: the best of many is too good by the choosing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from classify.bootstrap import (
    N_BOOT,
    Figure,
    difference,
    figure,
    interval,
    resampled,
    resamples,
    witnesses,
)
from classify.counts import Figures
from classify.metrics import LESS_IS_BETTER
from classify.outcomes import F64, Outcomes


@dataclass(frozen=True)
class Honest:
    """What is left of the best configuration's figure, and of its lead over the default."""

    best: Figure
    """of the best configuration as it is, by the very photos it was chosen by"""
    value: Figure
    """without what the choosing adds"""
    default: Figure
    """of the best default configuration as it is"""
    gain: Figure
    """of the choice among all over the choice among the defaults, without what choosing adds"""
    again: float
    """share of the resamples in which the same configuration is chosen"""


def bias_corrected(
    outcomes: Sequence[Outcomes],
    metric: str,
    defaults: Sequence[int],
    groups: ArrayLike | None = None,
    n_boot: int = N_BOOT,
    seed: int = 0,
) -> Honest:
    """Bootstrap bias corrected cross-validation over the out-of-fold predictions of all trials.

    Tsamardinos, Greasidou & Borboudakis (2018): in each resample the configuration that is the
    best on the photos drawn is scored on those left out; no model is fitted again. Their estimate
    is the mean of these scores. Macro-F1 over a third of the photos is another quantity than over
    all, so here the mean loss against the chosen configuration on the same photos left out is
    taken from its figure; of a mean over photos, such as accuracy, that is the same. The default
    is chosen among the defaults in the same way, and the gain is of one choice over the other.

    Intervals are of these scores, whose spread is scaled to that of all photos as the delete-d
    jackknife's is (Shao & Wu 1989). Pruned trials have no predictions and take no part, and that
    the search went where these photos sent it is not undone: a rest of optimism stays.

    outcomes : of the same photos, one a configuration; the first of equals is chosen
    defaults : which of them are default configurations, one at least
    groups : (n,) where given, whole groups are drawn
    """
    sign = -1.0 if metric in LESS_IS_BETTER else 1.0
    scores = [Figures(one, [metric], {}) for one in outcomes]
    inside: list[F64] = []
    outside: list[F64] = []
    share: list[F64] = []
    draws = resamples(len(outcomes[0].y), n_boot, seed, groups)
    whole = np.concatenate([each(weights)[metric] for weights in [next(draws)] for each in scores])
    for weights in draws:
        left = (weights == 0).astype(float)
        some = left.sum(axis=0) > 0
        weights, left = weights[:, some], left[:, some]
        inside.append(np.array([each(weights)[metric] for each in scores]))
        outside.append(np.array([each(left)[metric] for each in scores]))
        share.append(left.mean(axis=0))
    drawn, rest = np.hstack(inside), np.hstack(outside)
    which, column = np.asarray(defaults), np.arange(drawn.shape[1])
    best = int((sign * whole).argmax())
    usual = int(which[(sign * whole[which]).argmax()])
    chosen = (sign * drawn).argmax(axis=0)
    among = which[(sign * drawn[which]).argmax(axis=0)]
    out, out_usual = rest[chosen, column], rest[among, column]
    value = whole[best] - sign * max(0.0, float((sign * (rest[best] - out)).mean()))
    gain = whole[best] - whole[usual] - ((rest[best] - rest[usual]) - (out - out_usual)).mean()
    f = float(np.concatenate(share).mean())
    scale = np.sqrt(f / (1 - f))
    n = witnesses(outcomes[best], metric, groups)
    plain = resampled([outcomes[best], outcomes[usual]], [metric], n_boot, seed, groups)
    return Honest(
        best=figure(metric, plain[0][metric], n),
        value=figure(metric, _spread(value, scale * out), n),
        default=figure(metric, plain[1][metric], n),
        gain=interval(_spread(gain, scale * (out - out_usual))),
        again=float((chosen == best).mean()),
    )


def nested_estimate(
    tuned: Outcomes, default: Outcomes, metric: str, groups: ArrayLike | None = None
) -> tuple[Figure, Figure]:
    """The figure of photos that no search saw, and the gain over the default there, paired."""
    a, b = resampled([tuned, default], [metric], groups=groups)
    value = figure(metric, a[metric], witnesses(tuned, metric, groups))
    return value, difference(a[metric], b[metric])


def _spread(value: Any, around: F64) -> F64:
    """(1 + B,) the value, and values about it that vary as `around` (B,) do."""
    away = around - around.mean() if np.ptp(around) > 0 else np.zeros_like(around)
    return np.concatenate([[value], value + away])
