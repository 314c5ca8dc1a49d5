"""Vectors for the benchmarks of search: as many as one likes, drawn in chunks.

They are made as those of `_vectors.draw`: a tree of species whose means are made of traits, and
photos around them. The same chunk is the same rows whatever was drawn before it, so that nothing
has to be kept.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _vectors import (
    DIM,
    LENGTHS,
    SHARES,
    TRAIT_SHARE,
    TRAITS,
    TRAITS_EACH,
    VAGUE,
    _some_traits,
    _spectrum,
)

CHUNK = 50_000
# The variance of the species' means, where that within species is 1. With it 538 rows of 200
# species have neighbours as 538 real photos have (EfficientNet-Lite0, centred): cosines with the
# 1st, 2nd and 10th neighbour .48, .42, .26 (real .48, .43, .30), local dimension by 10, 20 and 50
# neighbours 17, 21, 26 (real 19, 17, 18; Levina and Bickel, 2004).
SEPARATION = 1.0
QUERIES = 1_000_000_000  # the number of the chunk that queries are drawn from: never a row's


class SearchVectors:
    """Unit rows (n, 512) float32 of `n_species` species of unequal size."""

    def __init__(self, n: int, n_species: int = 20_000, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.n, self.seed = n, seed
        species = np.arange(n_species)
        sizes = (5, 60, 400, 4_000, n_species)  # phyla, classes, orders, families, species
        means = np.zeros((n_species, TRAITS))
        for size, (_, share) in zip(sizes, SHARES, strict=True):
            group = np.sort(rng.integers(0, min(size, n_species), n_species))
            group = np.unique(group if size < n_species else species, return_inverse=True)[1]
            means += np.sqrt(share * SEPARATION) * _some_traits(rng, group)
        self._has = (_some_traits(rng, species) != 0).astype(np.float32)
        self._means = means.astype(np.float32)
        self._spread = np.sqrt(_spectrum()).astype(np.float32)
        self._traits = (rng.standard_normal((TRAITS, DIM)) * self._spread).astype(np.float32)
        weights = 1 / np.arange(10, n_species + 10)  # a long tail, as in real collections
        self._share = rng.permutation(weights / weights.sum())

    def __iter__(self) -> Iterator[Any]:
        """Every chunk of rows, in order."""
        for number, start in enumerate(range(0, self.n, CHUNK)):
            yield self.rows(number, min(CHUNK, self.n - start))

    def queries(self, m: int) -> Any:
        """(m, 512) other rows of the same species."""
        return self.rows(QUERIES, m)

    def rows(self, number: int, m: int) -> Any:
        """The first m rows of chunk `number`: (m, 512) float32."""
        rng = np.random.default_rng([self.seed, number])
        species = rng.choice(len(self._share), CHUNK, p=self._share)[:m]
        length = np.exp(LENGTHS * rng.standard_normal((CHUNK, 1), dtype=np.float32))[:m]
        seen = np.where(rng.random(CHUNK) < VAGUE, rng.random(CHUNK), 1.0)[:m, None]
        varied = rng.standard_normal((CHUNK, TRAITS), dtype=np.float32)[:m] * self._has[species]
        varied *= np.float32(np.sqrt(TRAIT_SHARE / TRAITS_EACH))
        X = rng.standard_normal((m, DIM), dtype=np.float32)
        X *= self._spread * np.float32(np.sqrt(1 - TRAIT_SHARE)) * length
        X += (seen.astype(np.float32) * self._means[species] + length * varied) @ self._traits
        return X / np.linalg.norm(X, axis=1, keepdims=True)


class SearchSource:
    """Rows first to stop of `SearchVectors` as `index_building.build` takes them, never kept."""

    dim = DIM

    def __init__(self, vectors: SearchVectors, first: int, stop: int) -> None:
        self.vectors, self.first, self.n = vectors, first, stop - first
        self.encoders = [["drawn", ""]]
        self.digest = f"drawn {vectors.seed} {first} {stop}"

    def chunks(self, start: int, rows: int) -> Iterator[Any]:
        from retrieval.row_source import Chunk

        drawn, end = -1, self.first + self.n
        for first in range(self.first + start, end, rows):
            parts, at, stop = [], first, min(first + rows, end)
            while at < stop:
                if at // CHUNK != drawn:
                    drawn = at // CHUNK
                    X = self.vectors.rows(drawn, min(CHUNK, self.vectors.n - drawn * CHUNK))
                parts.append(X[at - drawn * CHUNK : stop - drawn * CHUNK])
                at += len(parts[-1])
            ids = [str(row) for row in range(first, stop)]
            keys = [hashlib.sha256(name.encode()).hexdigest() for name in ids]
            yield Chunk(ids, keys, np.concatenate(parts))


def build_as_command(vectors: SearchVectors, folder: Path, choose: Any, dtype: str) -> None:
    """What `cli index` does: all rows but some for the tuning, which are added then.

    Rows are drawn at random anyhow, so the last ones are kept out.
    """
    from retrieval.index_building import add, build
    from retrieval.tuning import held_out

    kept = vectors.n - int(held_out(vectors.n).sum())
    build(SearchSource(vectors, 0, kept), folder, choose, dtype=dtype)
    add(folder, SearchSource(vectors, kept, vectors.n))
