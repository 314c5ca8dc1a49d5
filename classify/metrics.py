"""Figures from true classes and probabilities, with bootstrap intervals.

Everywhere here: y (n,) int is the column of the true class in P, -1 for a class that has no
column (all such count as one class, always wrong); P (n, C) float holds probabilities; the
prediction is the column of the highest one, the first where several are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classify.bootstrap import N_BOOT, Known, difference, figure, known, resampled, witnesses
from classify.counts import Counts, class_rows
from classify.outcomes import F64, Ints, Outcomes, ratio
from classify.shares import share_interval

HEADLINE = ("accuracy", "top_5", "macro_f1", "log_loss", "brier", "ece")
ALL_METRICS = (
    "accuracy", "top_3", "top_5", "balanced_accuracy", "macro_f1", "micro_f1", "weighted_f1",
    "mcc", "kappa", "log_loss", "brier", "ece", "auroc",
)  # fmt: skip
LESS_IS_BETTER = ("log_loss", "brier", "ece")


def intervals(
    y: Ints,
    P: F64,
    metrics: Sequence[str] = ALL_METRICS,
    n_boot: int = N_BOOT,
    seed: int = 0,
    level: float = 0.95,
    groups: ArrayLike | None = None,
) -> dict[str, Known]:
    """name -> (value, low, high): bootstrap over the photos (Efron 1979), `level` of it inside.

    groups : (n,) where given, whole groups are drawn, since photos of one group are no
        independent witnesses; the model and the split are taken as they are
    `metrics` are names of `ALL_METRICS`, or `top_K`. F1 equals scikit-learn's with
    zero_division=0 over the classes that have photos (in each resample): a class that is only
    ever predicted was not tested, and costs precision where it was taken for another. Micro-F1 is
    the accuracy, since a photo has one class and one answer. The Brier score is the sum over the
    classes (0 to 2), `ece` the expected calibration error of the likeliest class in 15 bins of
    equal mass, `auroc` that of its probability as a sign of a right answer. What has no meaning
    (`auroc` where all answers are right or all wrong, `kappa` where there is one class) is None.

    In simulations (benchmarks/intervals.py) with 400 photos or groups the intervals (see
    `interval`) cover the truth in 93 to 97% of the cases. With two photos or groups a class
    macro-F1 itself is too low, and no interval around it is to be trusted. Of a calibrated model
    `ece` finds what chance makes of so few photos, and its interval covers in 77% of the cases
    with 200 photos, 88% with 600. The resamples depend on the seed alone, not on threads or memory.
    """
    one = Outcomes.of(y, P)
    (samples,) = resampled([one], metrics, n_boot, seed, groups)
    return {
        name: known(figure(name, values, witnesses(one, name, groups), level))
        for name, values in samples.items()
    }


def paired_difference(
    y: Ints,
    P_a: F64,
    P_b: F64,
    metric: str = "macro_f1",
    n_boot: int = N_BOOT,
    seed: int = 0,
    level: float = 0.95,
    groups: ArrayLike | None = None,
) -> tuple[float, float, float]:
    """(difference, low, high) of `metric`, a minus b, both on the same resamples of the photos."""
    outcomes = [Outcomes.of(y, P_a), Outcomes.of(y, P_b)]
    a, b = resampled(outcomes, [metric], n_boot, seed, groups)
    return difference(a[metric], b[metric], level)


def score(y: Ints, P: F64, metric: str) -> float:
    """The value of one metric."""
    return float(resampled([Outcomes.of(y, P)], [metric], n_boot=0)[0][metric][0])


def per_class(
    y: Ints,
    P: F64,
    classes: Sequence[str] | NDArray[np.str_],
    groups: ArrayLike | None = None,
) -> Any:
    """DataFrame, one row a class in the order of `classes`.

    Columns class, n (photos), predicted, precision, recall, f1, top5, and the 95% intervals
    recall_low, recall_high, f1_low, f1_high. Precision and F1 are 0 where there is nothing to
    divide by, as in scikit-learn; recall, top5 and the intervals of a class without a photo are
    NaN.

    The intervals need no resamples. Recall is a share of photos; F1 is 2 J / (1 + J), where J is
    the share of right ones among the photos of the class or taken for it (Jaccard's index). Both
    are `share_interval`s, which hold for few photos and at 0 and 1, where a bootstrap does not:
    of one class it knows no more than the handful of photos there is, and at 1 it has no doubt.
    """
    import pandas as pd

    one = Outcomes.of(y, P)
    rows, size = class_rows(one), len(classes) + 1
    hits, missed, mistaken = (rows[i * size : (i + 1) * size - 1] for i in range(3))
    counts = Counts.of(one, np.ones((len(P), 1)))
    n, predicted, n_hits, f1 = (
        c[:-1, 0] for c in (counts.truth, counts.predicted, counts.hits, counts.f1)
    )
    recall = share_interval(hits, hits + missed, groups)
    jaccard = share_interval(hits, hits + missed + mistaken, groups)
    f1_low, f1_high = (np.where(n > 0, 2 * end / (1 + end), np.nan) for end in jaccard)
    in_top5 = np.bincount(one.y[one.rank < 5], minlength=len(classes))
    return pd.DataFrame(
        {
            "class": np.asarray(classes, dtype=str),
            "n": n.astype(int),
            "predicted": predicted.astype(int),
            "precision": ratio(n_hits, predicted),
            "recall": ratio(n_hits, n, np.nan),
            "recall_low": recall[0],
            "recall_high": recall[1],
            "f1": f1,
            "f1_low": f1_low,
            "f1_high": f1_high,
            "top5": ratio(in_top5, n, np.nan),
        }
    )


def confusion(y: Ints, y_pred: Ints, n_classes: int) -> Ints:
    """(C, C) int, how often each class (row) was taken for each (column)."""
    seen = np.asarray(y) >= 0
    cell = np.asarray(y)[seen] * n_classes + np.asarray(y_pred)[seen]
    return np.bincount(cell, minlength=n_classes**2).reshape(n_classes, n_classes)
