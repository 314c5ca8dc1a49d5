"""A cosine one can read: how many random pairs of the collection are less alike.

Cosines of one encoder lie close together and those of another far apart, so 0.6 may be a twin here
and nothing there. The share of random pairs below it means the same for every encoder.
"""

import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.files import whole_file

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

SAMPLE = 1_500  # photos, so 1,124,250 pairs; a smaller collection is compared whole
_FEWEST = 100  # pairs, below which nothing is said
_ABOVE = 10  # pairs that must be more alike for a percentile to be told from the next


class SimilarityScale:
    """The cosines of all pairs among some random photos.

    cosines : (pairs,) float32, ascending; source : digest of what the collection was
    """

    def __init__(self, cosines: F32, source: str) -> None:
        self.cosines = cosines
        self.source = source

    @classmethod
    def of(cls, X: F32, source: str = "") -> "SimilarityScale":
        """From X : (n, dim) float32, unit rows of random photos. Takes n * n * 8 bytes."""
        rows = X.astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        pairs = (rows @ rows.T)[np.triu_indices(len(rows), k=1)]
        rounded = np.rint(pairs * 2**24) / 2**24  # as `Index.cosines`, so that ties are ties
        return cls(np.sort(rounded.astype(np.float32)), source)

    @property
    def pairs(self) -> int:
        return len(self.cosines)

    @property
    def highest(self) -> float:
        """The highest percentile that so many pairs can tell: two digits, rounded down."""
        return float(_two_digits(np.array(100 * (1 - _ABOVE / max(self.pairs, 1)))))

    def percentile(self, cosines: F32) -> F64:
        """Percent of the pairs with a lower cosine, two digits, rounded down, at most `highest`.

        cosines : (n,) float32. NaN where there are fewer than 100 pairs.
        """
        if self.pairs < _FEWEST:
            return np.full(len(cosines), np.nan)
        below = np.searchsorted(self.cosines, cosines, side="left")
        return np.minimum(_two_digits(100 * below / self.pairs), self.highest)

    @property
    def note(self) -> str:
        """What a percentile means here, in a sentence; nothing where there are too few pairs."""
        if self.pairs < _FEWEST:
            return ""
        return (
            f"percentile: of {self.pairs:,} random pairs of photos, so many percent are less alike "
            f"than query and hit; {self.highest:.2f} is the highest told"
        )

    def save(self, path: Path) -> None:
        """Write one `.npz` (a zip, whose checksums are tested when it is read)."""
        with whole_file(path) as scratch, scratch.open("wb") as handle:
            np.savez(handle, allow_pickle=False, cosines=self.cosines, source=np.str_(self.source))

    @classmethod
    def load(cls, path: Path, source: str) -> "SimilarityScale | None":
        """The scale at `path`; None where there is none from `source`, or it is damaged."""
        try:
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as saved:
                cosines, made_from = saved["cosines"], str(saved["source"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        sound = cosines.ndim == 1 and cosines.dtype == np.float32 and made_from == source
        return cls(cosines, source) if sound else None


def open_scale(path: Path, source: str, n: int, vectors: Callable[[I64], F32]) -> SimilarityScale:
    """The scale at `path` where it was made from `source`; else a new one, saved there.

    n : photos of the collection; vectors : unit rows (m, dim) of the photos with these numbers.
    The same collection always gives the same sample. One that cannot be saved is used as well.
    """
    found = SimilarityScale.load(path, source)
    if found is None:
        found = SimilarityScale.of(vectors(sample(n)), source)
        with suppress(UserError, OSError):
            found.save(path)
    return found


def sample(n: int) -> I64:
    """At most `SAMPLE` of n row numbers, each once, ascending; the same ones for the same n."""
    if n <= SAMPLE:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False, shuffle=False))


def _two_digits(percent: F64) -> F64:
    """Rounded down; a hair is added first, for what is a whole number but for a rounding error."""
    return np.asarray(np.floor(percent * 100 + 1e-9) / 100)
