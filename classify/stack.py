"""The stack: heads combined by a weighted geometric mean of their probabilities."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from scipy.special import softmax

from classify.base import Head, State
from classify.heads import HEADS

# Below this a head's probability says only "no": a float32 zero must not outvote the others.
SMALLEST = 1e-9
# How strongly the weights are drawn to equal ones, in photos' worth of Brier score.
PRIOR_STRENGTH = 1.0


def pool(P: Any, weights: Any) -> Any:
    """Logarithmic opinion pool (Genest & Zidek 1986): p ∝ exp(Σ_h w_h · log p_h).

    P : (n_heads, n, C) probabilities; weights : (n_heads,) >= 0. Returns (n, C), rows summing to 1.
    Weights that sum to more than 1 sharpen, to less than 1 soften: one temperature comes with them.
    """
    return softmax(np.tensordot(weights, _logs(P), axes=1), axis=1)


def fit_pool(P: Any, y_index: Any) -> Any:
    """Weights (n_heads,) >= 0 with the least Brier score on out-of-fold probabilities.

    P : (n_heads, n, C); y_index : (n,) class numbers. The Brier score is proper and bounded: the
    few photos that every head gets wrong do not decide the weights, as they do with the log-loss.
    It is drawn lightly to the plain mean of the logs, so a handful of photos cannot put everything
    on one head. Rows whose class no head knew (its only photo was held out) tell nothing about
    the heads and are left out.
    """
    from scipy.optimize import minimize

    known = P[:, np.arange(len(y_index)), y_index].max(axis=0) > 0
    logs, y_index = _logs(P[:, known]), y_index[known]
    equal = np.full(len(logs), 1 / len(logs))

    def loss(weights: Any) -> tuple[float, Any]:
        value, slope = _brier(weights, logs, y_index)
        off = weights - equal
        return value + PRIOR_STRENGTH / 2 * (off @ off), slope + PRIOR_STRENGTH * off

    bounds = [(0, None)] * len(logs)
    return minimize(loss, equal, jac=True, method="L-BFGS-B", bounds=bounds).x


def _brier(weights: Any, logs: Any, y_index: Any) -> tuple[float, Any]:
    """Summed Brier score of the pool and its gradient by the weights (n_heads,)."""
    p = softmax(np.tensordot(weights, logs, axes=1), axis=1)
    miss = p.copy()
    miss[np.arange(len(p)), y_index] -= 1
    pull = p * (miss - (p * miss).sum(axis=1, keepdims=True))
    return float((miss * miss).sum()), 2 * np.tensordot(logs, pull, axes=2)


def crossfit_pool(P: Any, y_index: Any, folds: Any) -> Any:
    """Honest out-of-fold probabilities (n, C) of the pool.

    P : (n_heads, n, C) out-of-fold; y_index, folds : (n,). The rows of a fold are pooled with
    weights fitted on the other folds' rows.
    """
    pooled = np.empty(P.shape[1:])
    for fold in np.unique(folds):
        held_out = folds == fold
        weights = fit_pool(P[:, ~held_out], y_index[~held_out])
        pooled[held_out] = pool(P[:, held_out], weights)
    return pooled


def _logs(P: Any) -> Any:
    return np.log(np.clip(P, SMALLEST, None))


class Stack:
    """Fitted heads and the weights that pool them; predicts as a head does.

    Parameters
    ----------
    heads : fitted heads by name, of the same classes
    weights : (n_heads,) as `fit_pool` gives, in the order of `heads`
    """

    name = "stack"

    def __init__(self, heads: Mapping[str, Head], weights: Any) -> None:
        self.heads = dict(heads)
        self.weights = np.asarray(weights, dtype=np.float64)

    @property
    def classes_(self) -> Any:
        """(C,) sorted labels."""
        return next(iter(self.heads.values())).classes_

    def predict_proba(self, X: Any) -> Any:
        """Probabilities (n, C) float64 of `X` (n, dim), rows summing to 1."""
        return pool(np.stack([head.predict_proba(X) for head in self.heads.values()]), self.weights)

    def predict(self, X: Any) -> Any:
        """The likeliest class of each row, (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def state(self) -> State:
        """The heads' states under `NAME/`, their order and the weights."""
        nested = {
            f"{name}/{key}": value
            for name, head in self.heads.items()
            for key, value in head.state().items()
        }
        return {"heads": np.array(list(self.heads)), "weights": self.weights, **nested}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The stack whose `state()` this is."""
        heads = {}
        for name in state["heads"].tolist():
            own = {k.split("/", 1)[1]: v for k, v in state.items() if k.startswith(f"{name}/")}
            heads[name] = HEADS[name].from_state(own)
        return cls(heads, state["weights"])
