"""Answering only when sure: how many errors are left, and from which probability on."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classify.bootstrap import N_BOOT, figure, known, resampled, resamples, witnesses
from classify.outcomes import F64, Outcomes
from classify.ratios import Sums

POINTS = 200
COVERAGES = (0.5, 0.8, 0.9, 0.95)


def risk_coverage(
    one: Outcomes,
    trained: F64,
    n_boot: int = N_BOOT,
    seed: int = 0,
    groups: ArrayLike | None = None,
) -> dict[str, Any]:
    """What is wrong of the answers when only the surest are given (El-Yaniv and Wiener 2010).

    one : of the photos that judge
    trained : (m,) confidences of training photos, out of fold, from which the thresholds come:
        none is fitted on the photos that judge
    groups : (n,) of `one`

    `coverage` and `risk` are the curve of `one`, at most 200 points; `aurc` is the area under it
    (see `area_under_risk`), `auroc` that of the confidence under its ROC curve. `at` has for each
    of `COVERAGES` the `threshold` that so many of `trained` reach, and of `one` the share
    `answered` at this threshold and the `risk`, the share of these answers that is wrong.
    """
    areas = [
        area_under_risk(one.confidence, one.right, weights)
        for weights in resamples(len(one.y), n_boot, seed, groups)
    ]
    (sampled,) = resampled([one], ["auroc"], n_boot, seed, groups)
    units = len(one.y) if groups is None else len(np.unique(groups))
    auroc = figure("auroc", sampled["auroc"], witnesses(one, "auroc", groups))
    coverage, risk = _curve(one)
    return {
        "coverage": coverage,
        "risk": risk,
        "aurc": list(known(figure("aurc", np.concatenate(areas), units))),
        "auroc": list(known(auroc)),
        "at": _at(one, trained, n_boot, seed, groups) if len(trained) else [],
    }


def area_under_risk(confidence: F64, right: NDArray[np.bool_], weights: F64) -> F64:
    """(B,) AURC: mean over k of the share of wrong ones among the k surest (Geifman et al. 2019).

    Of m photos of one confidence, e of them wrong, each adds e/m of an error, so that their order
    does not matter. After K photos with E errors they add to the sum
    Σ_{j=1..m} (E + j e/m) / (K + j) = e + (E - K e/m) (H(K + m) - H(K)), H(k) the k-th harmonic
    number.

    confidence : (n,) probability of the prediction
    weights : (n, B) whole numbers, how often each photo counts
    """
    order = np.argsort(-confidence, kind="stable")
    starts = np.flatnonzero(np.diff(confidence[order], prepend=np.inf))  # of each confidence
    times = np.take(weights.T, order, axis=1)
    m = np.add.reduceat(times, starts, axis=1)
    e = np.add.reduceat(times * ~right[order], starts, axis=1)
    photos, errors = np.cumsum(m, axis=1), np.cumsum(e, axis=1) - e
    before = photos - m
    n = photos[:, -1]
    harmonic = np.append(0.0, np.cumsum(1 / np.arange(1, n.max() + 1)))
    grows = harmonic[photos.astype(int)] - harmonic[before.astype(int)]
    rate = np.divide(e, m, out=np.zeros_like(e), where=m > 0)
    return np.asarray((e + (errors - before * rate) * grows).sum(axis=1) / n)


def _curve(one: Outcomes) -> tuple[list[float], list[float]]:
    """Coverages and risks after each confidence, thinned evenly to `POINTS`."""
    order = np.argsort(-one.confidence, kind="stable")
    last = np.flatnonzero(np.diff(one.confidence[order], append=-np.inf))  # of each confidence
    if len(last) > POINTS:
        wanted = np.linspace(last[0], last[-1], POINTS)
        last = last[np.unique(np.searchsorted(last, wanted))]
    answered = last + 1
    wrong = np.cumsum(~one.right[order])[last]
    return (answered / len(order)).tolist(), (wrong / answered).tolist()


def _at(
    one: Outcomes, trained: F64, n_boot: int, seed: int, groups: ArrayLike | None
) -> list[dict[str, Any]]:
    thresholds = {c: float(np.quantile(trained, 1 - c, method="lower")) for c in COVERAGES}
    values: dict[str, Any] = {"all": np.ones(len(one.y))}
    for share, threshold in thresholds.items():
        given = one.confidence >= threshold
        values |= {f"given {share}": given, f"wrong {share}": given & ~one.right}
    sums = Sums.of(values, n_boot, seed, groups)
    return [
        {
            "coverage": share,
            "threshold": threshold,
            "answered": sums.share(f"given {share}", "all"),
            "risk": sums.share(f"wrong {share}", f"given {share}"),
        }
        for share, threshold in thresholds.items()
    ]
