"""Logistic regression at a given C: the end of a walk whose way many C have in common."""

from typing import Any, NamedTuple

import numpy as np

from classify.lbfgs import descend
from classify.multinomial import EASE, Multinomial, Solution
from classify.shared_work import shared

LADDER = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
ROUGH, FINE = 1e-2, 3e-8  # nats left on the way, and at its end
LEAST = 1e-4  # of the curvatures of the classes, as a share of the largest

Problem = tuple[Any, ...]
"""what `Multinomial` is made with"""


class Stage(NamedTuple):
    """A place on the walk, and what is known of the loss around it."""

    theta: Any
    """(C, dim + 1) float64, the intercept last"""
    moved: Any
    """(m, C, dim + 1) float32, the last steps"""
    turned: Any
    """(m, C, dim + 1) float32, by how much the gradient of the loss, no penalty, changed on them"""
    gap: float
    """as of `Solution`"""


@shared
def fit_at(C: float, problem: Problem) -> Solution:
    """The minimum under the penalty of `C`, from zeros by way of the rungs of `LADDER` below it.

    Which rungs there are does not depend on what other C are fitted, so neither does the solution.
    It ends where about `FINE` nats are left: an estimate, while `Multinomial.fit` has a proof.
    """
    end = _walk_on(C, _rung(tuple(rung for rung in LADDER if rung < C), problem), problem, FINE)
    return Solution(end.theta[:, :-1].copy(), end.theta[:, -1].copy(), end.gap)


@shared
def _rung(steps: tuple[float, ...], problem: Problem) -> Stage | None:
    """The end of a rough walk along the C of `steps`; None before the first."""
    if not steps:
        return None
    return _walk_on(steps[-1], _rung(steps[:-1], problem), problem, ROUGH)


def _walk_on(C: float, before: Stage | None, problem: Problem, tolerance: float) -> Stage:
    """From a stage at another C on to this one, until about `tolerance` nats are left.

    L-BFGS, with what the stages before have learnt: a step and the turn of the loss's gradient on
    it are as good under any penalty, once the penalty's part is added. Roughly the Hessian is the
    Kronecker product of the mean curvature of the classes' logits and of the rows' variance along
    their axes (Martens & Grosse 2015), which is easy to invert. It ends where half the gradient
    times the next step, the decrease to be expected, is `tolerance`, or where the gap is proved
    to be. Where float32 is too coarse to get there it goes on in float64.
    """
    loss = Multinomial(*problem)
    if before is None:
        nothing = np.zeros((0, loss.n_classes, loss.dim + 1), dtype=np.float32)
        before = Stage(np.zeros(nothing.shape[1:]), nothing, nothing, np.inf)
    stage, met = _descend(loss, C, before, tolerance)
    if not met and loss.dtype == np.float32:
        stage, _ = _descend(loss.in_float64(), C, stage, tolerance)
    return stage


def _descend(loss: Multinomial, C: float, before: Stage, tolerance: float) -> tuple[Stage, bool]:
    """The end, and whether it is near enough."""
    shape, penalty = before.theta.shape, 1 / (C * loss.n)
    values, vectors = np.linalg.eigh(loss.class_curvature(before.theta))
    values = np.maximum(values, LEAST * values[-1])[:, None] / EASE
    inverse = 1 / np.hstack([values * loss.spread + penalty, values])
    pull = np.append(np.full(loss.dim, penalty), 0.0)  # of the penalty on the gradient
    gap, met = np.inf, False

    def value(flat: Any) -> tuple[float, Any]:
        nonlocal gap
        at, gradient, _ = loss.evaluate(flat.reshape(shape), C)
        gap = float((gradient**2).sum()) / penalty / 2
        return at, gradient.ravel()

    def rough(flat: Any) -> Any:
        return (vectors @ (vectors.T @ flat.reshape(shape) * inverse)).ravel()

    def near(decrease: float) -> bool:
        nonlocal met
        met = min(decrease, gap) <= tolerance
        return met

    known = []
    for moved, turned in zip(before.moved.astype(float), before.turned.astype(float), strict=True):
        turned += moved * pull
        known.append((moved.ravel(), turned.ravel(), float(np.vdot(moved, turned))))
    start = before.theta.ravel()
    end, pairs = descend(value, start, lambda: near(np.inf), rough=rough, known=known, near=near)
    moved, turned = (
        np.array([[step, turn] for step, turn, _ in pairs]).reshape(-1, 2, *shape).swapaxes(0, 1)
    )
    turned = (turned - moved * pull).astype(np.float32)
    return Stage(end.reshape(shape), moved.astype(np.float32), turned, gap), met
