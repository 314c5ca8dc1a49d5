"""The stack: fitted heads and the pool that makes one set of probabilities of theirs."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any, Self

import numpy as np

from classify.base import Head, State
from classify.heads import HEADS
from classify.metrics import paired_difference, score
from classify.pools import Evidence, Pool, fit_pools, kinds_for
from classify.verdicts import in_words as difference_in_words


class Pooling:
    """The pool of some heads, chosen and judged by their out-of-fold probabilities.

    All temperatures and weights are fitted on such probabilities. For the honest estimate of a
    fold they are fitted on the other folds, and so is the choice of the kind: by cross-validation
    among those others, so each kind is fitted once without each fold and each two folds.

    Parameters
    ----------
    P : H arrays (n, C), out-of-fold; the column of a class that a fold's training part lacks is 0.
        A list saves memory where C is large
    y_index : (n,) int, column of the true class
    fold : (n,) int, the fold that a photo was held out in
    sizes : (C,) int, training photos of each class

    Photos whose class no head knew (its only photo was held out) tell nothing about the heads and
    are left out.
    """

    def __init__(self, P: Any, y_index: Any, fold: Any, sizes: Any) -> None:
        self.P, self.y_index, self.fold = P, y_index, fold
        rows = np.arange(len(y_index))
        known = np.max([p[rows, y_index] for p in P], axis=0) > 0
        self._evidence = Evidence.of([p[known] for p in P], y_index[known], sizes)
        self._evidence_fold = fold[known]
        self._kinds = kinds_for(len(P), sizes)
        self._folds = np.unique(fold).tolist()

    @cached_property
    def pool(self) -> Pool:
        """Fitted on all rows."""
        kind = self._choice()
        return fit_pools(self._evidence, [kind])[kind]

    @cached_property
    def out_of_fold(self) -> Any:
        """(n, C) probabilities of each photo by the pool of the other folds."""
        return self._crossfit(lambda fold: self._pool_without(fold), range(len(self.P)))

    def out_of_fold_without(self, head: int) -> Any:
        """The same when a head is left out and the others are weighted again.

        In each fold the kind is the one that was chosen there for all heads.
        """
        others = [h for h in range(len(self.P)) if h != head]

        def pool_without(fold: int) -> Pool:
            pool = self._pool_without(fold)
            kind = pool.kind if len(others) > 1 else "mean"
            part = self._evidence.part(self._evidence_fold != fold).of_heads(others)
            temperatures = self._fitted[fold,]["mean"].temperatures[others]
            return fit_pools(part, [kind], temperatures)[kind]

        return self._crossfit(pool_without, others)

    def _crossfit(self, pool_without: Any, heads: Sequence[int]) -> Any:
        pooled = np.empty(np.shape(self.P[0]))
        for fold in self._folds:
            rows = self.fold == fold
            pooled[rows] = pool_without(fold)([self.P[h][rows] for h in heads])
        return pooled

    def _pool_without(self, fold: int) -> Pool:
        return self._fitted[fold,][self._choice(fold)]

    @cached_property
    def _fitted(self) -> dict[tuple[int, ...], dict[str, Pool]]:
        """The pools without each fold, and without each two."""
        left_out = [(f,) for f in self._folds] + list(combinations(self._folds, 2))
        return {
            out: fit_pools(self._evidence.part(~np.isin(self._evidence_fold, out)), self._kinds)
            for out in left_out
        }

    def _choice(self, *left_out: int) -> str:
        """The kind by cross-validation over the folds that are not left out."""
        folds = [f for f in self._folds if f not in left_out]
        scores: dict[str, list[Any]] = {kind: [np.empty(0)] for kind in self._kinds}
        for fold in folds if len(folds) > 1 else []:
            pools = self._fitted[tuple(sorted((*left_out, fold)))]
            part = self._evidence.part(self._evidence_fold == fold)
            for kind, found in scores.items():
                found.append(part.brier(pools[kind]))
        return choose({kind: np.concatenate(found) for kind, found in scores.items()})


def choose(losses: Mapping[str, Any]) -> str:
    """Which kind of pool to take, by the held-out Brier scores of each, (n,) of the same photos.

    The weights are the rule: they are drawn to the plain mean and leave it only as far as there is
    evidence. Another kind must be better by more than one standard error of the paired difference
    (Breiman et al. 1984). Macro-F1 jumps with single photos of rare classes and would choose by
    luck; the Brier score is smooth, counts no photo more than 2, and is honest about probabilities.
    """
    usual = "weights" if "weights" in losses else next(iter(losses))
    if len(losses[usual]) < 2:
        return usual
    least = min(losses, key=lambda kind: losses[kind].mean())
    gain = losses[usual] - losses[least]
    return least if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)) else usual


def fit_pool(P: Any, y_index: Any, fold: Any, sizes: Any) -> Pool:
    """See `Pooling`."""
    return Pooling(P, y_index, fold, sizes).pool


def crossfit_pool(P: Any, y_index: Any, fold: Any, sizes: Any) -> Any:
    """Honest out-of-fold probabilities (n, C), see `Pooling`."""
    return Pooling(P, y_index, fold, sizes).out_of_fold


def contributions(
    names: Sequence[str], pooling: Pooling, groups: Any = None
) -> list[dict[str, Any]]:
    """What the stack gains by each head: its own figures less those without the head.

    One record a head: `head`, `against` ("without"), and `macro_f1` and `log_loss`, each
    (difference, low, high) of a paired bootstrap over the photos, or over `groups` (n,) of them.
    The last record has the stack less its best head alone (`against` "alone").
    """
    y, stack = pooling.y_index, pooling.out_of_fold

    def record(head: int, against: str, P: Any) -> dict[str, Any]:
        gained = {
            metric: paired_difference(y, stack, P, metric, groups=groups)
            for metric in ("macro_f1", "log_loss")
        }
        return {"head": names[head], "against": against, **gained}

    best = int(np.argmax([score(y, P, "macro_f1") for P in pooling.P]))
    heads = range(len(names)) if len(names) > 1 else []
    found = [record(head, "without", pooling.out_of_fold_without(head)) for head in heads]
    return [*found, record(best, "alone", pooling.P[best])]


def in_words(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each head brings, in a line; and one where the best head alone is as good."""
    brings = [
        "{head} {0:+.1f} [{1:+.1f}, {2:+.1f}]".format(
            *(100 * value for value in record["macro_f1"]), head=record["head"]
        )
        for record in records
        if record["against"] == "without"
    ]
    said = ["points of macro-F1 that each head brings to the stack: " + ", ".join(brings)]
    (alone,) = (record for record in records if record["against"] == "alone")
    verdict = difference_in_words(*alone["macro_f1"])
    nats = "log-loss {:+.3f} [{:+.3f}, {:+.3f}]".format(*alone["log_loss"])
    said.append(f"stack against its best head, {alone['head']}: {verdict}; {nats}")
    if alone["macro_f1"][1] <= 0:
        better = "better than" if alone["macro_f1"][2] < 0 else "as good as"
        said[-1] += f": {alone['head']} alone is {better} the stack"
    return said if brings else said[1:]


class Stack:
    """Fitted heads and the pool of their probabilities; predicts as a head does.

    Parameters
    ----------
    heads : fitted heads by name, of the same classes
    pool : as `fit_pool` gives, in the order of `heads`
    """

    name = "stack"

    def __init__(self, heads: Mapping[str, Head], pool: Pool) -> None:
        self.heads = dict(heads)
        self.pool = pool

    @property
    def classes_(self) -> Any:
        """(C,) sorted labels."""
        return next(iter(self.heads.values())).classes_

    def predict_proba(self, X: Any) -> Any:
        """Probabilities (n, C) float64 of `X` (n, dim), rows summing to 1."""
        return self.pool([head.predict_proba(X) for head in self.heads.values()])

    def predict(self, X: Any) -> Any:
        """The likeliest class of each row, (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def state(self) -> State:
        """The heads' states under `NAME/`, the pool's under `pool/`, and the heads' order."""
        parts = {name: head.state() for name, head in self.heads.items()}
        parts["pool"] = self.pool.state()
        nested = {f"{name}/{key}": v for name, state in parts.items() for key, v in state.items()}
        return {"heads": np.array(list(self.heads)), **nested}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The stack whose `state()` this is."""

        def own(name: str) -> State:
            return {k.split("/", 1)[1]: v for k, v in state.items() if k.startswith(f"{name}/")}

        names = state["heads"].tolist()
        heads = {name: HEADS[name].from_state(own(name)) for name in names}
        return cls(heads, Pool.from_state(own("pool")))
