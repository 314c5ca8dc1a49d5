"""Few rows that stand for many, chosen one by one: what to look at, or to label, first."""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

CANDIDATES, TARGETS = 10_000, 3_000  # rows of a sample: to choose from, and to stand for
_BLOCK = 1024  # rows at a time


@dataclass(frozen=True)
class Chosen:
    """Rows in the order of their choice, and what each of them brought."""

    rows: I64
    gains: F64


def nearest_cosine(X: F32, known: F32) -> F32:
    """(n,) cosine of each unit row of X with the nearest of `known` : (m, dim); 0 where m is 0.

    Never below 0: a photo that is opposite to what is known is as good as unknown.
    """
    best = np.zeros(len(X), dtype=np.float32)
    for low in range(0, len(X) if len(known) else 0, _BLOCK):
        for start in range(0, len(known), 8 * _BLOCK):
            near = (X[low : low + _BLOCK] @ known[start : start + 8 * _BLOCK].T).max(axis=1)
            best[low : low + _BLOCK] = np.maximum(best[low : low + _BLOCK], near)
    return best


def cover(X: F32, n: int, known: F32, weights: F64 | None = None, seed: int = 0) -> Chosen:
    """n rows so that every row is similar to one of them or of the known: facility location.

    X : (m, dim) float32, unit rows; known : (l, dim), rows that need no choice; weights : (m,) how
    much each row counts. A gain is the rise of the mean cosine to the nearest. The greedy choice
    reaches at least 1 - 1/e of the best (Nemhauser, Wolsey and Fisher 1978; the lazy form is
    Minoux's, 1978); of photos it was proposed by Wei, Iyer and Bilmes (2015). Of more than
    `CANDIDATES` rows a sample is chosen from, and of more than `TARGETS` one is stood for. Ties
    fall in the order of the rows.
    """
    rng = np.random.default_rng(seed)
    n = min(n, len(X))
    pool = np.sort(rng.permutation(len(X))[: max(CANDIDATES, 2 * n)])
    target = np.sort(rng.permutation(len(X))[:TARGETS])
    weight = np.ones(len(target)) if weights is None else np.asarray(weights)[target]
    weight = (weight / max(float(weight.sum()), 1e-12)).astype(np.float32)
    best = nearest_cosine(X[target], known)
    alike = X[pool] @ X[target].T
    heap = [(-float(weight @ np.maximum(row - best, 0)), i) for i, row in enumerate(alike)]
    heapq.heapify(heap)
    chosen: list[int] = []
    gains: list[float] = []
    while len(chosen) < n:
        _, i = heapq.heappop(heap)
        now = (-float(weight @ np.maximum(alike[i] - best, 0)), i)
        if heap and now > heap[0]:  # what it brings has shrunk since it was last looked at
            heapq.heappush(heap, now)
            continue
        chosen.append(i)
        gains.append(-now[0])
        best = np.maximum(best, alike[i])
    return Chosen(pool[chosen], np.asarray(gains))


def spread(X: F32, n: int, known: F32) -> Chosen:
    """n rows, each the farthest from those before: k-centre greedy.

    X : (m, dim) float32, unit rows; known : (l, dim). A gain is the distance (between unit
    vectors) to the nearest before; the largest that is left is at most twice the least possible
    (Gonzalez 1985; for what to label next: Sener and Savarese 2018). It takes odd photos first.
    Without known rows the first is the one nearest the mean. Ties fall in the order of the rows.
    """
    n = min(n, len(X))
    near = np.full(len(X), -1.0, np.float32) if not len(known) else nearest_cosine(X, known)
    chosen: list[int] = []
    gains: list[float] = []
    taken = np.zeros(len(X), dtype=bool)
    for _ in range(n):
        first = not chosen and not len(known)
        order = -(X @ X.mean(axis=0)) if first else near
        i = int(np.argmin(np.where(taken, np.inf, order)))
        gains.append(float(np.sqrt(max(0.0, 2 - 2 * float(near[i])))))
        chosen.append(i)
        taken[i] = True
        near = np.maximum(near, X @ X[i])
    return Chosen(np.asarray(chosen, dtype=np.int64), np.asarray(gains))
