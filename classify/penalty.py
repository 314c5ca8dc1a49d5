"""How strong the penalty of logistic regression should be, by held-out log-loss."""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_softmax

from classify.multinomial import Multinomial, Solution
from classify.shared_work import shared

# C is the prior variance of a logit: for a unit row x and w ~ N(0, C·I), x·w ~ N(0, C).
PATH = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
UNCHOSEN = 100.0  # where no row can be held out
FOLDS, ENOUGH = 5, 2000  # held-out rows that are enough to choose by
ROUGH = 1e-4  # nats from the minimum, along the path
Range = tuple[float, float | None]


class Choice(NamedTuple):
    """Held-out rows are predicted best by softmax(scale · logits - tau · log prior)."""

    C: float
    scale: float
    tau: float
    loss: float
    """Their mean weighted log-loss; nan if there were none"""


class Search(NamedTuple):
    """What is chosen from."""

    path: tuple[float, ...]
    """Values of C, rising"""
    scale: Range
    tau: Range
    gamma: float
    """Of the focal loss in training"""
    alike: bool
    """Classes of all sizes count the same in the held-out log-loss"""


@shared
def choose(
    rows: Any, index: Any, search: Search, random_state: int
) -> tuple[Choice, Solution | None]:
    """The choice by held-out log-loss, and a solution to start the final fit from.

    C rises, each fit starting from the one before, until the loss is clearly above the least; the
    largest C that is `as_good` as the best is chosen.

    rows : (n, dim); index : (n,) class numbers, all present
    """
    fold = inner_folds(index, random_state)
    parts = _parts(fold)
    if not parts:
        C = UNCHOSEN if len(search.path) > 1 else search.path[0]
        return Choice(C, 1.0, search.tau[0], np.nan), None
    n_classes = int(index.max()) + 1
    trained = [fold != part for part in parts]
    held_out = np.concatenate([np.flatnonzero(~train) for train in trained])
    problems = [
        Multinomial(rows[train], index[train], n_classes, gamma=search.gamma) for train in trained
    ]
    prior = np.log(np.bincount(index) / len(index))
    truth = index[held_out]
    counts = 1 / np.bincount(truth)[truth] if search.alike else np.ones(len(truth))
    ends: list[Solution | None] = [None] * len(parts)
    tried: list[tuple[Choice, Solution | None]] = []
    losses: list[Any] = []
    for C in search.path:
        ends = [p.fit(C, end, ROUGH) for p, end in zip(problems, ends, strict=True)]
        logits = np.concatenate([
            (rows[~train] @ end.coef.T + end.intercept).astype(rows.dtype)
            for train, end in zip(trained, ends, strict=True) if end is not None
        ])  # fmt: skip
        scale, tau, each = calibrate(logits, prior, truth, counts, search.scale, search.tau)
        tried.append((Choice(C, scale, tau, float(each.mean())), ends[0]))
        losses.append(each)
        if not as_good(losses)[-1]:
            break
    return tried[int(np.flatnonzero(as_good(losses))[-1])]


def as_good(losses: Any) -> Any:
    """(m,) whether each of `losses` (m, n) is at most one standard error above the least.

    The error is that of the mean paired difference. Weaker penalties than the best are as good
    until held-out rows can tell: few rows would else choose by luck, and strong penalties are
    the worse mistake (Hastie et al. 2009, 7.10, has the rule with the other preference).
    """
    losses = np.asarray(losses)
    worse = losses - losses[losses.mean(axis=1).argmin()]
    return worse.mean(axis=1) <= worse.std(axis=1) / np.sqrt(losses.shape[1])


def inner_folds(index: Any, random_state: int) -> Any:
    """(n,) the fold of each row, 0 to 4, every class spread evenly; -1 for classes of one row."""
    generator = np.random.default_rng(random_state)
    fold = np.full(len(index), -1)
    for c in range(int(index.max()) + 1):
        members = generator.permutation(np.flatnonzero(index == c))
        if len(members) > 1:
            fold[members] = (np.arange(len(members)) + generator.integers(FOLDS)) % FOLDS
    return fold


def _parts(fold: Any) -> list[int]:
    """The folds that are held out: all of them, or as many as bring `ENOUGH` rows."""
    sizes = np.bincount(fold[fold >= 0], minlength=FOLDS)
    before = np.cumsum(sizes) - sizes
    return [int(part) for part in np.flatnonzero((sizes > 0) & (before < ENOUGH))]


def calibrate(
    logits: Any, log_prior: Any, index: Any, weights: Any, scale: Range, tau: Range
) -> tuple[float, float, Any]:
    """scale and tau within their ranges of the least log-loss, and that of each row (n,).

    The log-loss is of softmax(scale · logits - tau · log_prior), with `logits` (n, C) and
    `log_prior` (C,), on class numbers `index` (n,) with `weights` (n,), whose mean is made 1.
    One row's worth of doubt is spread over all classes, so the scale of rows that are all right
    stays finite.
    """
    from scipy.optimize import minimize

    n = len(logits)
    own, doubt = (np.arange(n), index), 1 / (n + 1)
    weights = weights / weights.mean()

    def losses(at: Any) -> tuple[Any, Any]:
        scale, tau = at.astype(logits.dtype)
        log_p = log_softmax(scale * logits - tau * log_prior.astype(logits.dtype), axis=1)
        wanted = (1 - doubt) * log_p[own] + doubt * log_p.mean(axis=1)
        return -weights * wanted, log_p

    def value(at: Any) -> tuple[float, Any]:
        each, log_p = losses(at)
        miss = np.exp(log_p) - log_p.dtype.type(doubt / logits.shape[1])
        miss[own] -= 1 - doubt
        by_scale, by_tau = np.einsum("ij,ij->i", miss, logits), -(miss @ log_prior)
        return float(each.mean()), np.array([weights @ by_scale, weights @ by_tau]) / n

    start = [1.0, tau[0]]
    found = minimize(value, start, jac=True, method="L-BFGS-B", bounds=[scale, tau])
    return float(found.x[0]), float(found.x[1]), losses(found.x)[0]
