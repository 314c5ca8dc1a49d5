"""Pairs of photos that are copies of one another, and the groups that they make.

Two distances say how near two photos are: 1 - cosine of their vectors, and how far their perceptual
hashes disagree (`embed.perceptual`, the nearer of a photo and its mirror image). Disagreement is
that observed over that expected from each photo's share of ones, 1 - kappa of Cohen (1960): much
empty white in common makes no copy.

How near is too near is learned from the collection itself. Whatever the photos show, the number of
pairs within a small distance d grows as d^m, m being the local intrinsic dimension (Levina and
Bickel 2004; Amsaleg et al. 2015). The nearest tenth of pairs that are no copies thus tells the
chance that two different photos come as near as a given pair does:

    P(d) = 0.1 · (d / d_10)^m    where (d_5 / d_10)^m = ½; d_5 and d_10 are the 5% and 10% quantile

Every pair has a chance by hash, learned from random pairs. Look-alikes (one is among the k nearest
of the other by vector) also have one by vector and hash together, both learned from look-alikes
that are no copies by hash, and combined as Fisher (1925) does. A chance times the pairs looked at
is the E-value of a search for sequences: how many such pairs chance gives. Of the two E-values the
lesser counts, doubled, as for any two tests.
"""

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.perceptual import BITS, SIDE, packed

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

NEAR = float(-np.log(0.95))  # pairs expected where there is one by chance in 5 of 100 collections
MAYBE = float(np.log(2))  # and in 50 of 100
COLUMNS = ("a", "b", "cosine", "hamming", "mirrored", "expected", "kind")
_TAIL = 0.1  # of the pairs, from which a chance is learned
_LEAST = 40  # pairs that can tell it
_SAMPLE = 200_000  # random pairs
_BLOCK = 4096  # pairs at a time
_STEP = 2.0**-20  # a lesser distance of two vectors is rounding


@dataclass(frozen=True)
class Chance:
    """How often two different photos come within a distance."""

    distances: F64  # of pairs that are no copies, ascending
    decile: float
    dimension: float

    @classmethod
    def of(cls, distances: F64) -> "Chance":
        """Learned from (m,) positive distances; from too few it is never low."""
        if len(distances) < _LEAST:
            return cls(np.empty(0), 0.0, 0.0)
        decile, twentieth = np.quantile(distances, (_TAIL, _TAIL / 2))
        ratio = max(float(np.log(decile / twentieth)), _STEP)
        return cls(np.sort(distances), float(decile), float(np.log(2) / ratio))

    def log(self, distances: F64) -> F64:
        """(p,) logarithms of the chance of a pair within each distance."""
        if not self.dimension:
            return np.zeros(len(distances))
        rank = np.searchsorted(self.distances, distances, side="right") / len(self.distances)
        below = np.log(_TAIL) + self.dimension * np.log(distances / self.decile)
        return np.where(distances < self.decile, below, np.log(np.maximum(rank, _TAIL)))

    def within(self, log: float) -> float:
        """The distance that has this logarithm of a chance; 0 where none has."""
        return self.decile * float(np.exp((log - np.log(_TAIL)) / (self.dimension or _STEP)))


def near_duplicates(
    X: F32,
    ids: Sequence[str],
    hashes: Iterable[Iterable[str]] | None = None,
    keys: Sequence[str] | None = None,
    k: int = 10,
) -> Any:
    """Pairs of near-duplicates, most certain first: a DataFrame with `COLUMNS`.

    X : (n, dim) float32, unit rows; ids : n unique strings; hashes : (n, 2) hexadecimal text, the
        columns `embed.perceptual.HASHES` of the facts, empty for photos without; keys : (n,) the
        SHA-256 of the photos' bytes. Of each photo the `k` nearest by each distance are looked at.

    a < b are ids; hamming is NA without hashes; mirrored: the mirror image is the nearer one;
    expected: pairs at least as near that chance would give in this collection. kind is "exact" (the
    same bytes, or the same vector and hash), "near" (expected below `NEAR`) or "maybe" (below
    `MAYBE`, for a person to judge; only where more certain pairs do not already join the two).
    `.attrs["rule"]` says in a sentence where the lines are. The answer does not depend on the
    order of the rows. Memory goes as n·k, never n².
    """
    import pandas as pd

    order = np.argsort(np.asarray(ids, dtype=str), kind="stable")
    names = np.asarray(ids, dtype=str)[order]
    X = np.ascontiguousarray(np.asarray(X, dtype=np.float32)[order])
    key = np.asarray(names if keys is None else np.asarray(keys, dtype=str)[order])
    look = None if hashes is None else _Looks(*packed(hashes), order)

    alike = _neighbours(X, k)
    others = _copies(key) if look is None else np.union1d(_copies(key), look.neighbours(k))
    pairs = _ends(np.concatenate([alike, np.setdiff1d(others, alike)]), len(X))
    cosine = _cosines(X, pairs)
    found = pd.DataFrame({"a": names[pairs[:, 0]], "b": names[pairs[:, 1]], "cosine": cosine})
    found["hamming"] = pd.array([pd.NA] * len(pairs), dtype="Int64")
    found["mirrored"] = False
    apart, hamming = np.full(len(pairs), np.nan), np.zeros(len(pairs), np.int64)
    if look is not None:
        apart, hamming, found["mirrored"] = look.compare(pairs)
        found["hamming"] = pd.array(hamming, dtype="Int64")
        found.loc[np.isnan(apart), "hamming"] = pd.NA
    expected, rule = _expected(X, look, np.maximum(1 - cosine, _STEP), apart, len(alike))
    same = key[pairs[:, 0]] == key[pairs[:, 1]]
    expected[same] = -np.inf
    same |= (1 - cosine <= _STEP) & (hamming == 0) & ~found["mirrored"].to_numpy()
    found["expected"] = np.exp(expected)
    found["kind"] = np.where(same, "exact", np.where(expected < np.log(NEAR), "near", "maybe"))
    best = np.lexsort((pairs[:, 1], pairs[:, 0], -cosine, expected, ~same))
    best = best[same[best] | (expected[best] < np.log(MAYBE))]
    found = found.iloc[best[_telling(pairs[best], found["kind"].to_numpy()[best], len(X))]]
    found = found.reset_index(drop=True)[list(COLUMNS)]
    found.attrs["rule"] = rule
    return found


def groups_of(pairs: Any, ids: Sequence[str]) -> NDArray[np.str_]:
    """(n,) the group of each of `ids`: the first id, in order, of those that pairs join to it.

    pairs : a DataFrame with the columns a and b, ids of `ids`.
    """
    names = np.asarray(ids, dtype=str)
    place = {name: i for i, name in enumerate(np.sort(names).tolist())}
    ends = np.array([[place[a], place[b]] for a, b in zip(pairs["a"], pairs["b"], strict=True)])
    first = _components(ends.reshape(-1, 2), len(names))
    return np.asarray(np.sort(names)[first[[place[name] for name in names.tolist()]]], dtype=str)


class _Looks:
    """Perceptual hashes of n photos: as they are, and of their mirror images."""

    def __init__(self, bits: NDArray[np.uint8], hashed: NDArray[np.bool_], order: I64) -> None:
        self.bits = np.ascontiguousarray(bits[order])
        self.rows = np.flatnonzero(hashed[order])
        self.n = len(order)
        parts = self.bits.reshape(self.n, 2, 3, SIDE * SIDE // 8)
        self.shares = np.bitwise_count(parts).sum(axis=3) / np.float64(SIDE * SIDE)  # of ones

    def neighbours(self, k: int) -> I64:
        """Codes of the pairs among the k nearest, as they are or mirrored."""
        base = np.ascontiguousarray(self.bits[self.rows, 0])
        k = min(k + 1, len(base))  # a photo finds itself
        codes = []
        for side in range(2 if k else 0):
            queries = np.ascontiguousarray(self.bits[self.rows, side])
            _, near = _faiss().knn_hamming(queries, base, k)
            codes.append(_codes(np.repeat(self.rows, k), self.rows[near.ravel()], self.n))
        return np.unique(np.concatenate([np.empty(0, np.int64), *codes]))

    def compare(self, pairs: I64) -> tuple[F64, I64, NDArray[np.bool_]]:
        """(p,) each: disagreement (NaN without hashes), bits that differ, whether mirrored."""
        apart, hamming = np.empty(len(pairs)), np.empty(len(pairs), np.int64)
        mirrored = np.empty(len(pairs), bool)
        for at in _blocks(len(pairs)):
            a, b = pairs[at].T
            bits = np.stack([self._differ(a, b, 0), self._differ(a, b, 1), self._differ(b, a, 1)])
            expected = np.stack(
                [self._by_chance(a, b, 0), self._by_chance(a, b, 1), self._by_chance(b, a, 1)]
            )
            values = np.maximum(bits, 0.5) / expected
            best = values.argmin(axis=0)
            each = np.arange(len(best))
            apart[at], hamming[at], mirrored[at] = values[best, each], bits[best, each], best > 0
        without = np.ones(self.n, bool)
        without[self.rows] = False
        apart[without[pairs].any(axis=1)] = np.nan
        mirrored &= ~np.isnan(apart)
        return apart, hamming, mirrored

    def _differ(self, a: I64, b: I64, side: int) -> I64:
        words = self.bits.view(np.uint64)
        differ: I64 = np.bitwise_count(words[a, side] ^ words[b, 0]).sum(axis=1, dtype=np.int64)
        return differ

    def _by_chance(self, a: I64, b: I64, side: int) -> F64:
        p, q = self.shares[a, side], self.shares[b, 0]
        expected: F64 = SIDE * SIDE * (p * (1 - q) + q * (1 - p)).sum(axis=1)
        return np.maximum(expected, 1)


def _expected(X: F32, look: _Looks | None, far: F64, apart: F64, n_alike: int) -> tuple[F64, str]:
    """(p,) logarithms of the pairs expected by chance, and the rule in a sentence.

    far : distances of vectors; apart : of hashes, NaN where there is none. The first `n_alike`
        pairs are look-alikes.
    """
    all_pairs = np.log(max(1, len(X) * (len(X) - 1) // 2))
    alike, hashed = np.arange(len(far)) < n_alike, ~np.isnan(apart)
    chosen = _random_pairs(len(X))
    by_hash = Chance.of(np.empty(0))
    if look is not None:
        random = look.compare(chosen)[0]
        by_hash = Chance.of(random[~np.isnan(random)])
    expected = np.full(len(far), np.inf)
    expected[hashed] = all_pairs + by_hash.log(apart[hashed])
    plain = alike & ~(expected < np.log(NEAR))  # a copy by its hash tells nothing of look-alikes
    if plain.sum() < _LEAST:
        near, like = Chance.of(np.maximum(1 - _cosines(X, chosen), _STEP)), by_hash
    else:
        near, like = Chance.of(far[plain]), Chance.of(apart[plain & hashed])
    chance = near.log(far[alike])
    both = hashed[alike]
    product = chance[both] + like.log(apart[alike][both])
    chance[both] = product + np.log1p(-product)
    expected[alike] = np.minimum(expected[alike], np.log(max(1, n_alike)) + chance)
    tests = np.log(1 if look is None else 2)
    line = by_hash.within(np.log(NEAR) - tests - all_pairs) * BITS / 2
    rule = (
        f"{len(X):,} photos, {n_alike:,} pairs of look-alikes (dimension {near.dimension:.1f} by "
        f"vector, {like.dimension:.1f} by hash) and {len(apart) - n_alike:,} others looked at. "
        f"near: chance alone would give {NEAR:.2f} such pairs in this collection; maybe: "
        f"{MAYBE:.2f}. By hash alone near is up to {line:.0f} of {BITS} bits."
    )
    return expected + tests, rule


def _telling(pairs: I64, kind: NDArray[np.str_], n: int) -> I64:
    """Places of the pairs to list: no maybe whose two photos more certain pairs join already."""
    sure = kind != "maybe"
    group = _components(pairs[sure], n)
    keep = np.flatnonzero(sure).tolist()
    for at in np.flatnonzero(~sure).tolist():
        a, b = group[pairs[at]]
        if a != b:
            group[group == b] = a
            keep.append(at)
    return np.asarray(keep, dtype=np.int64)


def _components(pairs: I64, n: int) -> I64:
    """(n,) the first row that pairs of rows join each row to."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    number = connected_components(graph, directed=False)[1]
    first = np.unique(number, return_index=True)[1]
    return np.asarray(first[number], dtype=np.int64)


def _neighbours(X: F32, k: int) -> I64:
    """Codes of the pairs of rows of which one is among the k nearest of the other."""
    k = min(k + 1, len(X))  # a row finds itself
    faiss, codes = _faiss(), [np.empty(0, np.int64)]
    for at in _blocks(len(X)):
        _, near = faiss.knn(X[at], X, k, metric=faiss.METRIC_INNER_PRODUCT)
        codes.append(_codes(np.repeat(np.arange(len(X))[at], k), near.ravel(), len(X)))
    return np.unique(np.concatenate(codes))


def _copies(key: NDArray[np.str_]) -> I64:
    """Codes of the pairs of the first row with a key and each other one with it."""
    _, first, number = np.unique(key, return_index=True, return_inverse=True)
    return np.unique(_codes(first[number], np.arange(len(key)), len(key)))


def _random_pairs(n: int) -> I64:
    """Pairs of rows: all, or a sample where there are many."""
    if n * (n - 1) // 2 <= _SAMPLE:
        return np.stack(np.triu_indices(n, 1), axis=1)
    a, b = np.random.default_rng(0).integers(0, n, (2, _SAMPLE))
    return _ends(np.unique(_codes(a, b, n)), n)


def _codes(a: I64, b: I64, n: int) -> I64:
    """One number for each pair of two different rows, the lower row first."""
    codes: I64 = np.minimum(a, b) * n + np.maximum(a, b)
    return np.asarray(codes[(a != b) & (a >= 0) & (b >= 0)])


def _ends(codes: I64, n: int) -> I64:
    """(p, 2) the rows of coded pairs."""
    return np.stack(np.divmod(codes, max(1, n)), axis=1)


def _cosines(X: F32, pairs: I64) -> F64:
    """(p,) float64 cosines of pairs of rows."""
    cosines = np.empty(len(pairs))
    for at in _blocks(len(pairs)):
        a, b = (X[rows].astype(np.float64) for rows in pairs[at].T)
        norms = np.vecdot(a, a) * np.vecdot(b, b)
        cosines[at] = np.vecdot(a, b) / np.sqrt(norms)
    return cosines


def _blocks(n: int) -> Iterable[slice]:
    return (slice(low, low + _BLOCK) for low in range(0, n, _BLOCK))


def _faiss() -> Any:
    """FAISS, loaded at first use; the types it brings lack what SWIG makes."""
    return importlib.import_module("faiss")
