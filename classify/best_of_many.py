"""Which of many may be the best, and by how much the best of many looks too good."""

from collections.abc import Sequence

import numpy as np

from classify.bootstrap import resamples
from classify.counts import Figures
from classify.metrics import LESS_IS_BETTER
from classify.outcomes import F64, Ints, Outcomes

_TINY = 1e-12


def p_best(samples: F64) -> F64:
    """(K,) p of "this one is the best, or as good", each against all the others at once.

    samples : (K, 1 + B) values of which more is better, then those of B draws that all share

    Multiple comparisons with the best (Hsu 1984): the evidence against i is the largest of its
    standardised shortfalls to any other, and p is how often the same maximum is as large in the
    draws, centred, so that the number of others and their correlation are accounted for (max-T).
    The truly best one has a p below .05 with a chance of 5% at most, however many there are.
    """
    value, again = samples[:, 0], samples[:, 1:]
    again = again - again.mean(axis=1, keepdims=True)
    found = np.ones(len(samples))
    if len(samples) < 2 or again.shape[1] < 2:
        return found
    for i in range(len(samples)):
        shortfall = value - value[i]
        luck = again - again[i]
        spread = luck.std(axis=1)
        apart = np.abs(shortfall) > _TINY
        apart[i] = False
        if not apart.any():
            continue
        spread = np.maximum(spread[apart], _TINY)
        observed = (shortfall[apart] / spread).max()
        maxima = (luck[apart] / spread[:, None]).max(axis=0)
        found[i] = (1 + (maxima >= observed).sum()) / (1 + len(maxima))
    return found


def optimism(
    outcomes: Sequence[Sequence[Outcomes]],
    samples: F64,
    metric: str,
    groups: Ints,
    seed: int = 0,
) -> float:
    """By how much the best value is too good for being the best of K, 0 or more.

    outcomes : (K, S) of each configuration and seed
    samples : (K, 1 + B) of the metric such that more is better, in draws of this `seed`

    Bootstrap bias corrected cross-validation (Tsamardinos, Greasidou and Borboudakis 2018): in
    each draw the best by the drawn photos is scored on those that were not drawn. Here as the
    difference to the best of all on the same photos, since fewer photos change macro-F1 itself.
    """
    winners = samples[:, 1:].argmax(axis=0)
    best = int(samples[:, 0].argmax())
    if (winners == best).all():
        return 0.0
    sign = -1 if metric in LESS_IS_BETTER else 1
    rivals = np.unique(np.append(winners, best))
    figures = {i: [Figures(one, [metric], {}) for one in outcomes[i]] for i in rivals.tolist()}
    lost: list[F64] = []
    done = 0
    several = resamples(len(groups), len(winners), seed, groups)
    next(several)  # all photos once
    for weights in several:
        chosen = winners[done : done + weights.shape[1]]
        done += weights.shape[1]
        left_out = (weights == 0).astype(float)
        some = left_out.any(axis=0) & (chosen != best)
        loss = np.zeros(len(chosen))
        top = _mean(figures[best], metric, left_out[:, some])
        for i in np.unique(chosen[some]).tolist():
            mine = chosen[some] == i
            own = _mean(figures[i], metric, left_out[:, some][:, mine])
            loss[np.flatnonzero(some)[mine]] = sign * (top[mine] - own)
        lost.append(loss)
    return max(0.0, float(np.concatenate(lost).mean()))


def _mean(figures: Sequence[Figures], metric: str, weights: F64) -> F64:
    """(B,) over the seeds."""
    return np.asarray(np.mean([one(weights)[metric] for one in figures], axis=0))
