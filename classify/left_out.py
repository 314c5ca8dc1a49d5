"""Who judges a head's settings inside its own training rows, and log-odds fitted by them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax

from classify.shared_work import shared

# Some hundred rows settle two or three numbers; more only cost time.
FEWEST = 500


class Judges(NamedTuple):
    """Training rows that a fit on all the others is asked about."""

    rows: Any
    """(J,) numbers of the rows"""
    index: Any
    """(J,) their class numbers"""
    weights: Any
    """(J,) sum 1"""

    def each(self, of_class: Any) -> Any:
        """`of_class` (C,) for every judge, (J, C).

        So do class sizes enter, as they are with the judge: its own class would always be one
        smaller without it, which tells it from the others.
        """
        return np.tile(of_class, (len(self.rows), 1))


@shared
def judges(index: Any, most: int, equal: bool, alone: bool = False) -> Judges:
    """At most max(`most`, 500) rows, evenly over the classes `index` (n,).

    equal : every class counts the same, not every row
    alone : also rows whose class has no other one; else they are left out, as a fit without them
        does not know their class
    """
    counts = np.bincount(index)
    order = np.argsort(index, kind="stable")
    order = order if alone else order[counts[index[order]] > 1]
    count = min(len(order), max(most, FEWEST))
    rows = order[np.linspace(0, len(order) - 1, count).astype(int)] if count else order
    weights = 1 / np.bincount(index[rows])[index[rows]] if equal else np.ones(len(rows))
    return Judges(rows, index[rows], weights / max(weights.sum(), 1))


def fit_factors(
    terms: Sequence[Any], judges: Judges, start: Any, fixed: Any = 0.0, most: float = np.inf
) -> tuple[Any, float]:
    """f >= 0 with the least log-loss of softmax(fixed + Σ f_t · terms_t), and that loss.

    terms : (J, C) each; start : (n_terms,) to begin with, the answer where nobody judges;
    fixed : (J, C) or 0; most : what the first factor may be at most.
    The loss is convex in f. One row's worth of doubt is spread over all classes, so that scores
    which separate the classes do not make a head certain.
    """
    from scipy.optimize import minimize

    if not len(judges.rows):
        return np.array(start, dtype=float), np.inf
    # Of the same size, so that a quasi-Newton method needs some ten steps.
    centred = [term - term.mean(axis=1, keepdims=True) for term in terms]
    sizes = np.array([float(term.std()) for term in centred])
    sizes = np.where(sizes > 1e-9, sizes, 1)  # a term may say nothing, classes of equal size
    scaled = np.stack([term / size for term, size in zip(centred, sizes, strict=True)])
    own = np.arange(len(judges.rows)), judges.index
    sure = 1 - 1 / (len(judges.rows) + 1)
    target = sure * scaled[:, *own] @ judges.weights  # what doubt wants is 0: the mean
    target_fixed = 0.0
    if np.ndim(fixed):
        fixed = fixed - fixed.mean(axis=1, keepdims=True)
        target_fixed = sure * fixed[own] @ judges.weights

    def loss(factors: Any) -> tuple[float, Any]:
        log_odds = fixed + np.tensordot(factors, scaled, axes=1)
        value = judges.weights @ logsumexp(log_odds, axis=1) - factors @ target - target_fixed
        expected = np.einsum("nc,tnc->tn", softmax(log_odds, axis=1), scaled)
        return value, expected @ judges.weights - target

    bounds = [(0, most * sizes[0])] + [(0, np.inf)] * (len(terms) - 1)
    begin = np.minimum(start * sizes, [above for _, above in bounds])
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x / sizes, float(found.fun)
