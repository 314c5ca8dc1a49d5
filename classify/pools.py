"""Pools: ways to make one set of probabilities from several heads' logs, and fitting them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from classify.calibration import SMALLEST, log_normalised, log_probabilities, temperature

KINDS = ("mean", "raw mean", "weights", "greedy", "gate")
# How strongly weights are drawn to those of the mean, in photos' worth of Brier score. Scores are
# flat from 3 to 100.
PRIOR_STRENGTH = 10.0
GREEDY_STEPS = 12
# Up to so many classes the pools are fitted on all of them; of more, on a short list a photo.
MOST_CLASSES = 128
LIKELIEST, DRAWN = 48, 48
_CELLS = 4_000_000  # probabilities in memory at once, beside what comes and goes


@dataclass(frozen=True)
class Pool:
    """Logarithmic opinion pool of calibrated heads (Genest & Zidek 1986): p ∝ exp(Σ_h w_h log q_h).

    q_h is head h at its temperature. A class of share s is weighted w = (1 - s) · small + s · large
    (`size_shares`); they differ only for the kind "gate". Weights that sum to more than 1
    sharpen, to less than 1 soften.
    """

    kind: str  # one of KINDS
    temperatures: Any  # (H,) float64
    small: Any  # (H,) float64 >= 0
    large: Any  # (H,) float64 >= 0
    spread: Any  # (H,) float64, standard deviation of log q_h over the classes, mean of photos
    sizes: Any  # (C,) int, training photos of each class

    def __call__(self, P: Any) -> Any:
        """(n, C) float64 probabilities, rows summing to 1, of the H heads' `P`, each (n, C)."""
        share = size_shares(self.sizes)
        pooled = np.zeros(np.shape(P[0]))
        for rows in _blocks(*pooled.shape):
            for h, p in enumerate(P):
                logs = np.log(np.maximum(p[rows], SMALLEST, dtype=np.float64))
                weight = (1 - share) * self.small[h] + share * self.large[h]
                pooled[rows] += weight * log_normalised(logs / self.temperatures[h])
            pooled[rows] = np.exp(log_normalised(pooled[rows]))
        return pooled

    def describe(self, names: Sequence[str]) -> str:
        """In words; `names` (H,) of the heads.

        The weights told are shares of what moves the result: a head that knows nothing is flat
        once calibrated, and moves nothing whatever its weight.
        """
        if self.kind == "raw mean":
            return "plain mean of the heads' log-probabilities"
        words = {
            "mean": "plain mean of the heads' calibrated log-probabilities",
            "weights": f"weights {self._parts(names, self.small)}",
            "greedy": f"selected greedily: {self._parts(names, self.small)}",
            "gate": f"weights {self._parts(names, self.small)} for the smallest class, "
            f"{self._parts(names, self.large)} for the largest",
        }[self.kind]
        each = (f"{n} {t:.2g}" for n, t in zip(names, self.temperatures, strict=True))
        return f"{words}; temperatures {', '.join(each)}"

    def _parts(self, names: Sequence[str], weights: Any) -> str:
        moved = weights * self.spread
        parts = moved / max(moved.sum(), np.finfo(float).tiny)
        return ", ".join(f"{name} {part:.2f}" for name, part in zip(names, parts, strict=True))

    def state(self) -> dict[str, Any]:
        """Plain arrays."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The pool whose `state()` this is."""
        return cls(**{**state, "kind": str(state["kind"])})


def _blocks(n: int, n_classes: int) -> Iterator[slice]:
    step = max(1, _CELLS // n_classes)
    return (slice(start, start + step) for start in range(0, n, step))


def size_shares(sizes: Any) -> Any:
    """(C,) from 0, the smallest class, to 1, the largest, by log `sizes`; 0 where all are equal."""
    logs = np.log(np.maximum(sizes, 1))
    return (logs - logs.min()) / max(np.ptp(logs), np.finfo(float).tiny)


@dataclass(frozen=True)
class Evidence:
    """Out-of-fold logs of labelled photos: what a pool is fitted on.

    Of more than `MOST_CLASSES` it has for each photo the true one, the likeliest (by the heads'
    logs in equal units) and some of the others drawn at random, each standing for several.
    """

    logs: Any  # (H, n, m) float32
    truth: Any  # (n,) column of the true class
    count: Any  # (m,) float32, classes that a column stands for
    share: Any  # (n, m) float32, see `size_shares`
    sizes: Any  # (C,)

    @classmethod
    def of(cls, P: Any, y_index: Any, sizes: Any) -> "Evidence":
        """P : H arrays (n, C); y_index : (n,); sizes : (C,) training photos of each class."""
        n, n_classes = np.shape(P[0])
        shares = size_shares(sizes).astype(np.float32)
        if n_classes <= MOST_CLASSES:
            logs = np.stack([log_probabilities(p) for p in P])
            share = np.broadcast_to(shares, (n, n_classes))
            return cls(logs, y_index, np.ones(n_classes, np.float32), share, sizes)
        rng = np.random.default_rng(0)
        chosen = np.empty((n, LIKELIEST + DRAWN), np.int64)
        logs = np.empty((len(P), *chosen.shape), np.float32)
        for rows in _blocks(n, n_classes * len(P)):
            full = [log_probabilities(p[rows]) for p in P]
            chosen[rows] = _short_list(full, y_index[rows], rng)
            for short, one in zip(logs, full, strict=True):
                short[rows] = np.take_along_axis(one, chosen[rows], axis=1)
        truth = (chosen == y_index[:, None]).argmax(axis=1)
        count = np.repeat([1, (n_classes - LIKELIEST) / DRAWN], [LIKELIEST, DRAWN])
        return cls(logs, truth, count.astype(np.float32), shares[chosen], sizes)

    def part(self, rows: Any) -> "Evidence":
        """That of some rows (a mask)."""
        logs = self.logs[:, rows]
        return Evidence(logs, self.truth[rows], self.count, self.share[rows], self.sizes)

    def of_heads(self, chosen: Any) -> "Evidence":
        """That of some heads (numbers)."""
        return Evidence(self.logs[chosen], self.truth, self.count, self.share, self.sizes)

    def brier(self, pool: Pool) -> Any:
        """(n,) Brier score of each photo under `pool`."""
        logs = self.calibrated(pool.temperatures)
        return _brier(_misses(_scores(logs, pool.small, pool.large, self.share), self), self)

    def calibrated(self, temperatures: Any) -> Any:
        """(H, n, m) float32 log-probabilities of the heads at their temperatures."""
        pairs = zip(self.logs, temperatures, strict=True)
        return np.stack([log_normalised(logs / np.float32(t), self.count) for logs, t in pairs])

    def temperature(self, scores: Any) -> float:
        return temperature(scores, self.truth, self.count)


def _short_list(logs: Any, y_index: Any, rng: np.random.Generator) -> Any:
    """(n, LIKELIEST + DRAWN) classes of H `logs` (n, C): the likeliest, then some others."""
    scaled = sum(one / np.maximum(one.std(axis=1, keepdims=True), 1e-6) for one in logs)
    rows = np.arange(len(scaled))[:, None]
    scaled[rows[:, 0], y_index] = np.inf
    order = np.argpartition(-scaled, LIKELIEST, axis=1)
    others = rng.integers(LIKELIEST, scaled.shape[1], size=(len(scaled), DRAWN))
    return np.hstack([order[:, :LIKELIEST], order[rows, others]])


def kinds_for(n_heads: int, sizes: Any) -> tuple[str, ...]:
    """The kinds that differ: one head has no weights, equal classes have no gate."""
    if n_heads == 1:
        return ("mean",)
    return KINDS if np.ptp(sizes) else tuple(kind for kind in KINDS if kind != "gate")


def fit_pools(
    evidence: Evidence, kinds: Sequence[str], temperatures: Any = None
) -> dict[str, Pool]:
    """Each of `kinds`, fitted on the evidence.

    temperatures : (H,) of the heads where they are known
    """
    n_heads = len(evidence.logs)
    if temperatures is None:
        temperatures = np.array([evidence.temperature(logs) for logs in evidence.logs])
    equal = np.full(n_heads, 1 / n_heads)
    logs = evidence.calibrated(temperatures)
    mean = equal / evidence.temperature(logs.mean(axis=0))
    spread = logs.std(axis=2).mean(axis=1, dtype=np.float64) if logs.shape[1] else np.ones(n_heads)
    pools = {}
    for kind in kinds:
        own = temperatures
        if kind == "mean":
            small = large = mean
        elif kind == "raw mean":
            own = np.ones(n_heads)
            small = large = equal / evidence.temperature(evidence.logs.mean(axis=0))
        elif kind == "weights":
            small = large = _weights(logs, mean, evidence)
        elif kind == "greedy":
            small = large = _greedy(logs, evidence)
        else:
            small, large = _gate(logs, mean, evidence)
        pools[kind] = Pool(kind, own, small, large, spread, evidence.sizes)
    return pools


def _weights(logs: Any, mean: Any, evidence: Evidence) -> Any:
    """(H,) >= 0 with the least Brier score, drawn to those of the `mean`.

    The Brier score is proper and bounded: the few photos that every head gets wrong do not decide
    the weights, as they do with the log-loss.
    """

    def loss(weights: Any) -> tuple[float, Any]:
        miss = _misses(_scores(logs, weights, weights, None), evidence)
        off = weights - mean
        total = _brier(miss, evidence).sum() + PRIOR_STRENGTH / 2 * (off @ off)
        return total, _along(logs, _slope(miss, evidence)) + PRIOR_STRENGTH * off

    return _minimum(loss, mean)


def _gate(logs: Any, mean: Any, evidence: Evidence) -> tuple[Any, Any]:
    """Weights of the smallest and of the largest class, drawn to each other and to the `mean`."""
    n_heads = len(mean)

    def loss(both: Any) -> tuple[float, Any]:
        small, large = both[:n_heads], both[n_heads:]
        miss = _misses(_scores(logs, small, large, evidence.share), evidence)
        slope = _slope(miss, evidence)
        off, apart = (small + large) / 2 - mean, large - small
        total = _brier(miss, evidence).sum() + PRIOR_STRENGTH * (off @ off / 2 + apart @ apart)
        of_large = _along(logs, slope * evidence.share)
        of_small = _along(logs, slope) - of_large
        pull = np.concatenate([off / 2 - 2 * apart, off / 2 + 2 * apart])
        return total, np.concatenate([of_small, of_large]) + PRIOR_STRENGTH * pull

    both = _minimum(loss, np.concatenate([mean, mean]))
    return both[:n_heads], both[n_heads:]


def _greedy(logs: Any, evidence: Evidence) -> Any:
    """Ensemble selection with replacement (Caruana et al. 2004), on the mean of the logs.

    Starts from no head, adds the one that lowers the Brier score most, ends when none does. The
    mean is sharpened as fits the heads chosen so far.
    """

    def loss(scores: Any) -> Any:
        return _brier(_misses(scores, evidence), evidence).sum()

    times, total, least, sharpness = np.zeros(len(logs)), np.zeros_like(logs[0]), np.inf, 1.0
    for step in range(1, GREEDY_STEPS + 1):
        scale = np.float32(sharpness / step)
        losses = [loss(scale * (total + one)) for one in logs]
        head = int(np.argmin(losses))
        if losses[head] >= least:
            break
        total += logs[head]
        times[head] += 1
        sharpness = 1 / evidence.temperature(total / np.float32(step))
        least = loss(np.float32(sharpness / step) * total)
    return times / times.sum() * sharpness


def _scores(logs: Any, small: Any, large: Any, share: Any) -> Any:
    """(n, m) float32 weighted sum of `logs` (H, n, m); without `share` (n, m) `small` holds."""
    scores = np.zeros_like(logs[0])
    for one, low, high in zip(logs, small, large, strict=True):
        weight = np.float32(low)
        if share is not None and low != high:
            weight = weight + np.float32(high - low) * share
        scores += weight * one
    return scores


def _misses(scores: Any, evidence: Evidence) -> Any:
    """(n, m) float32, softmax(scores) less 1 for the true class."""
    miss = np.exp(log_normalised(scores, evidence.count))
    miss[np.arange(len(miss)), evidence.truth] -= 1
    return miss


def _brier(miss: Any, evidence: Evidence) -> Any:
    """(n,) float64 Brier score of each photo."""
    return np.einsum("nm,nm,m->n", miss, miss, evidence.count).astype(np.float64)


def _slope(miss: Any, evidence: Evidence) -> Any:
    """(n, m) gradient of the Brier scores by the scores."""
    p = miss.copy()
    p[np.arange(len(p)), evidence.truth] += 1
    p *= evidence.count
    return 2 * p * (miss - np.einsum("nm,nm->n", p, miss)[:, None])


def _along(logs: Any, slope: Any) -> Any:
    """(H,) gradient by the weights."""
    return np.array([np.einsum("nm,nm->n", one, slope).sum(dtype=np.float64) for one in logs])


def _minimum(loss: Any, start: Any) -> Any:
    from scipy.optimize import minimize

    bounds, options = [(0, None)] * len(start), {"ftol": 1e-7}
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
