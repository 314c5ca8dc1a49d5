"""How much columns of the table count beside the photos: what serves held-out neighbours best."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from classify.base import unit_rows

WEIGHTS = (0.0, 0.06, 0.12, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0)  # of photos whose rows have length 1
TEMPERATURES = (0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 1.0)
NEIGHBOURS = 50
FLOOR = 0.02
_PAIRS = 2**23  # of rows that are compared: bounds time and memory
_NEVER = -9.0  # a cosine that no neighbour has


def choose_weights(units: Any, blocks: Sequence[Any], index: Any, groups: Any) -> list[float]:
    """One of `WEIGHTS` for each block, 0 where it brings nothing.

    units : (n, dim) float32 unit rows, the embeddings
    blocks : each (n, width), centred, of mean squared length 1
    index : (n,) class numbers; groups : (n,), rows of one are no witnesses for each other

    Each row is voted on by its nearest rows of other groups, in the joined and rescaled space. A
    weight is that whose gain in mean log-loss over 0 is largest once its standard error is taken
    off; 0 where nothing is left. Blocks are gone through twice, each with the others as they
    stand. Neighbours are the judge since a weight too large harms them first: linear heads can
    shrink what does not help.
    """
    loss = _Votes(units, blocks, index, groups)
    chosen = [0.0] * len(blocks)
    for _ in range(min(len(blocks), 2)):
        for at in range(len(blocks)):
            losses = [loss([*chosen[:at], w, *chosen[at + 1 :]]) for w in WEIGHTS]
            sure = [loss.least_gain(losses[0] - one) for one in losses]
            chosen[at] = WEIGHTS[int(np.argmax(sure))]  # 0 stands first, with a gain of 0
    return chosen


class _Votes:
    """Log-loss (queries,) of rows whose class is voted by others, for given weights."""

    def __init__(self, units: Any, blocks: Sequence[Any], index: Any, groups: Any) -> None:
        n = len(units)
        query = np.random.default_rng(0).permutation(n)[: max(_PAIRS // n, 1)]
        parts = [unit_rows(units - units.mean(axis=0)), *blocks]
        parts = [part.astype(np.float32) for part in parts]
        self._alike = [part[query] @ part.T for part in parts]
        self._squares = [(part * part).sum(axis=1) for part in parts]
        groups = np.unique(groups, return_inverse=True)[1]
        self._groups = groups[query]
        self._own = self._groups[:, None] == groups
        self._query, self._index = query, index
        self._n_classes = index.max() + 1

    def __call__(self, weights: Sequence[float]) -> Any:
        factors = np.array([1.0, *weights], dtype=np.float32) ** 2
        lengths = np.sqrt(sum(f * s for f, s in zip(factors, self._squares, strict=True)))
        cosine = sum(f * a for f, a in zip(factors, self._alike, strict=True) if f)
        cosine = cosine / lengths[self._query][:, None] / lengths
        cosine[self._own] = _NEVER
        k = min(NEIGHBOURS, cosine.shape[1])
        near = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        cosine = np.take_along_axis(cosine, near, axis=1)
        hit = self._index[near] == self._index[self._query][:, None]
        losses = (self._log_loss(cosine, hit, temperature) for temperature in TEMPERATURES)
        return min(losses, key=lambda loss: float(loss.mean()))

    def least_gain(self, gain: Any) -> float:
        """Mean of `gain` (queries,) less its standard error, groups being what is independent."""
        sums = np.bincount(self._groups, gain - gain.mean())
        return float(gain.mean() - np.sqrt((sums * sums).sum()) / len(gain))

    def _log_loss(self, cosine: Any, hit: Any, temperature: float) -> Any:
        votes = np.exp((cosine - cosine.max(axis=1, keepdims=True)) / temperature)
        share = (votes * hit).sum(axis=1) / votes.sum(axis=1)
        return -np.log((1 - FLOOR) * share + FLOOR / self._n_classes)
