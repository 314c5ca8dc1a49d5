"""Whether another seed, or other photos, would put the configurations in another order."""

from itertools import combinations

import numpy as np

from classify.bootstrap import wins
from classify.outcomes import F64
from classify.sweep_answers import Stability

_DRAWS = 200  # whose order is compared with the one shown
_SAME = 1e-12


def stability(samples: F64, by_seed: F64) -> Stability:
    """Of K configurations, best first.

    samples : (K, 1 + B) values of which more is better, then those of the draws
    by_seed : (K, S) the same values seed by seed
    """
    seeds = by_seed.shape[1]
    pairs = [tau(by_seed[:, a], by_seed[:, b]) for a, b in combinations(range(seeds), 2)]
    draws = [tau(samples[:, 0], samples[:, b]) for b in range(1, samples.shape[1])[:_DRAWS]]
    return Stability(
        seeds=seeds,
        best_in_seeds=int((by_seed[0] >= by_seed.max(axis=0) - _SAME).sum()),
        tau_seeds=_mean(pairs),
        probability_best=float(wins(list(samples))[0]),
        tau_draws=_mean(draws),
    )


def tau(a: F64, b: F64) -> float:
    """Kendall's tau-b of two orders; NaN where one of them is all equal or has one place."""
    from scipy.stats import kendalltau

    if len(a) < 2:
        return float("nan")
    return float(kendalltau(a, b).statistic)


def _mean(values: list[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None
