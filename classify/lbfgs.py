"""Limited-memory BFGS: SciPy's spends ten times the loss's own time on 50,000 variables."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

Pair = tuple[Any, Any, float]
"""a step (N,), by how much the gradient turned on it, and their inner product"""
ENOUGH = 1e-4  # of the decrease that the slope promises (Armijo)
TRIES = 30  # halvings of a step


def descend(
    value: Callable[[Any], tuple[float, Any]],
    start: Any,
    arrived: Callable[[], bool],
    memory: int = 10,
    max_steps: int = 3000,
    rough: Callable[[Any], Any] | None = None,
    known: Iterable[Pair] = (),
    near: Callable[[float], bool] = lambda decrease: False,
) -> tuple[Any, list[Pair]]:
    """Where `value` (x to its loss and gradient) is least, from `start` (N,) float64.

    The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4), its first scale by the last
    step, and steps halved until they bring enough. It ends when `arrived()` says so, which is
    asked after each step, or where float64 allows no further decrease.

    rough : a vector times something like the inverse Hessian; None: the vector itself
    known : pairs of this function from elsewhere
    near : asked after each step but the first with the decrease that is still to be expected, half
        of the gradient times the next step; whether to end there

    Returns the place and the last pairs.
    """
    x, (loss, gradient) = start, value(start)
    pairs: deque[Pair] = deque(known, maxlen=memory)
    for count in range(max_steps):
        if arrived():
            break
        direction = -_times_inverse(gradient, pairs, rough)
        slope = gradient @ direction
        if not slope < 0:  # rounding, or a saddle
            pairs.clear()
            direction, slope = -gradient, -(gradient @ gradient)
        if count and near(-slope / 2):
            break
        sized = pairs or rough
        step = 1.0 if sized else min(1.0, 1 / np.sqrt(gradient @ gradient))
        for _ in range(TRIES):
            new = x + step * direction
            new_loss, new_gradient = value(new)
            if new_loss <= loss + ENOUGH * step * slope:
                break
            step /= 2
        else:
            value(x)
            break
        moved, turned = new - x, new_gradient - gradient
        bend = float(moved @ turned)
        if bend > 1e-12 * float(turned @ turned):
            pairs.append((moved, turned, bend))
        x, loss, gradient = new, new_loss, new_gradient
    return x, list(pairs)


def _times_inverse(gradient: Any, pairs: Any, rough: Callable[[Any], Any] | None) -> Any:
    """The approximate inverse Hessian of the last steps times `gradient`."""
    q, shares = gradient.copy(), []
    for moved, turned, bend in reversed(pairs):
        share = moved @ q / bend
        q -= share * turned
        shares.append(share)
    if rough is not None:
        q = rough(q)
    if pairs:
        _, turned, bend = pairs[-1]
        q *= bend / (turned @ (turned if rough is None else rough(turned)))
    for (moved, turned, bend), share in zip(pairs, reversed(shares), strict=True):
        q += (share - turned @ q / bend) * moved
    return q
