"""Near-duplicates among hits, so that a burst of one animal takes one place: `--unique`."""

import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError
from embed.files import whole_file
from embed.perceptual import HASHES
from embed.photo_facts import photo_facts
from retrieval.near_duplicates import NEAR, Chance, groups_of, near_duplicates

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

GROUPED_UP_TO = 20_000  # photos; of more, comparing all with all takes longer than one waits
_SAMPLE = 300  # rows whose neighbours tell how near different photos come
_NEIGHBOURS = 10  # of each, as `near_duplicates` looks at
_HITS = 100  # of one search
_STEP = 2.0**-20  # a lesser distance of two vectors is rounding
_BLOCK = 256  # rows compared at a time


def copy_groups(rows: Any, X: F32, facts: Path) -> NDArray[np.str_]:
    """(n,) the group of near-duplicates of each photo, by vector and by perceptual hash.

    rows : the collection; X : (n, dim) float32, its unit rows; facts : the folder of what is known
    of the photos' files. Photos that are not known there yet are read, which takes a while.
    """
    ids, keys = rows["id"].tolist(), rows["key"].tolist()
    hashes = photo_facts(rows, facts)[list(HASHES)].fillna("").to_numpy()
    pairs = near_duplicates(X, ids, hashes, keys)
    return groups_of(pairs[pairs["kind"] != "maybe"], ids)


def open_copy_groups(path: Path, source: str, make: Callable[[], Sequence[str]]) -> I64:
    """(n,) the groups of near-duplicates by number, from `path` if made from `source`; else `make`.

    Those made are saved there, and used as well where they cannot be.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as saved:
            if str(saved["source"]) == source and saved["groups"].dtype == np.int64:
                return np.asarray(saved["groups"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    groups = group_numbers(make())
    with suppress(UserError, OSError), whole_file(path) as scratch, scratch.open("wb") as out:
        np.savez(out, allow_pickle=False, groups=groups, source=np.str_(source))
    return groups


def near_cosine(index: Any, X_of: Callable[[I64], F32]) -> float:
    """The cosine from which on two hits are near-duplicates, by their vectors alone.

    Learned from the nearest neighbours of a sample of the index's rows, by the law of
    `retrieval.near_duplicates`: among the nearest neighbours of `_HITS` hits, chance alone gives
    `NEAR` pairs as near. Where a tenth of those neighbours are copies themselves, the line is too
    strict. index : any with `search`; X_of : rows of the index to their (m, dim) float32 unit rows.
    Where too few rows can tell, only the same vector is a copy.
    """
    n = len(index)
    some = np.random.default_rng(0).permutation(n)[:_SAMPLE]
    some.sort()
    near, cosines = index.search(X_of(some), min(n, _NEIGHBOURS + 1))
    apart = 1 - cosines[near != some[:, None]].astype(np.float64)
    chance = Chance.of(apart[apart > _STEP])
    line = chance.within(float(np.log(NEAR) - np.log(_HITS * _NEIGHBOURS)))
    return 1 - max(line, _STEP)


def firsts_by_group(groups: I64) -> I64:
    """Places of the first of each group, in order. groups : (m,) of hits, best first."""
    return np.sort(np.unique(groups, return_index=True)[1])


def firsts_by_cosine(X: F32, line: float) -> I64:
    """Places of those rows that are near-duplicates of no earlier place among them, in order.

    X : (m, dim) float32, unit rows of hits, best first.
    """
    rows = X.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    folded = np.zeros(len(rows), dtype=bool)
    for low in range(0, len(rows), _BLOCK):
        alike = rows[low : low + _BLOCK] @ rows[low:].T
        near = np.rint(alike * 2**24) / 2**24 >= line
        for i in range(len(near)):
            if not folded[low + i]:
                folded[low + i + 1 :] |= near[i, i + 1 :]
    return np.flatnonzero(~folded)


def group_numbers(groups: Sequence[str] | I64) -> I64:
    """(n,) groups by number."""
    return np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
