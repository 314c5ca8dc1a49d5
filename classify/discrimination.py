"""Whether the probability of the prediction tells right from wrong answers."""

import numpy as np
from numpy.typing import NDArray

from classify.outcomes import F64, ratio


def confidence_auroc(confidence: F64, right: NDArray[np.bool_], weights: F64) -> F64:
    """(B,) area under the ROC curve of the confidence as a sign of a right answer.

    It is the probability that a right answer has a higher confidence than a wrong one, where equal
    confidences count half (Hanley and McNeil 1982); NaN where all answers are right or all wrong.

    confidence : (n,) probability of the prediction
    weights : (n, B) how often each photo counts
    """
    order = np.argsort(confidence, kind="stable")
    times = np.take(weights.T, order, axis=1)
    of_right = times * right[order]
    of_wrong = times - of_right
    n_right, n_wrong = of_right.sum(axis=1), of_wrong.sum(axis=1)
    last = np.flatnonzero(np.diff(confidence[order], append=np.inf))  # of each confidence
    if len(last) < len(order):
        starts = np.append(0, last[:-1] + 1)
        of_right, of_wrong = (np.add.reduceat(of, starts, axis=1) for of in (of_right, of_wrong))
    below = np.cumsum(of_wrong, axis=1) - of_wrong / 2
    pairs = n_right * n_wrong
    return ratio(np.einsum("bn,bn->b", below, of_right), pairs, np.nan)
