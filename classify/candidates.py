"""Each photo's likeliest classes, and columns that say how each of them looks from that photo."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from classify.shared_work import shared
from classify.spaces import Bank, View, raw_view, whitened_view

NEAREST = 5
VOTERS = (5, 15, 50)
VOTE_TEMPERATURE = 0.1
_BLOCK = 2_000_000  # inner products computed at once by a thread: about 8 MB an array
_THREADS = 8
# Far above the noise of float32, far below what matters: the trees see the same numbers however
# many photos are asked at once.
_STEP = 1e-4
_LDA_STEP = 1e-2


class Pairs(NamedTuple):
    """K candidate classes of each of n photos, and F columns of each pair."""

    candidates: Any
    """(n, K) int64, class numbers"""
    columns: Any
    """(n, K, F) float32; NaN where a class has too few members"""


def _space_names(space: str) -> list[str]:
    nearest = [f"{space}_member_{place}" for place in range(1, NEAREST + 1)]
    votes = [f"{space}_votes_{m}" for m in VOTERS]
    compared = [f"{space}_member_1", f"{space}_members", f"{space}_centroid"]
    ways = [f"{name}_{way}" for way in ("gap", "rank") for name in compared]
    return [*nearest, f"{space}_members", f"{space}_centroid", *votes, *ways]


COLUMNS = (
    *(*_space_names("raw"), *_space_names("whitened")),
    *("lda", "lda_gap", "lda_rank", "log_size"),
)
"""What `Pairs.columns` holds, in each space: cosine to the nearest members, their mean, cosine to
the centroid, share of the votes of the nearest photos; gap to the best of the other candidates
(positive for the best itself) and rank among the candidates (0 the best); log-odds of a linear
discriminant; log of the number of members."""


@shared
def pairs(bank: Bank, k: int, queries: Any) -> Pairs:
    """At most `k` candidates of each new photo, `queries` (m, dim) rows as those of the bank."""
    return _in_blocks(bank, k, queries, None)


@shared
def pairs_left_out(bank: Bank, k: int, numbers: Any) -> Pairs:
    """The same for rows `numbers` (m,) of the bank itself, each as if it were not there.

    They are of classes of two photos or more. Were a photo only left out, its class would be known
    by lacking a member: of five-photo classes it alone would have four. So each other class lacks
    one too, for row i the member number i modulo its size; a class of one is no candidate.
    """
    return _in_blocks(bank, k, bank.raw.rows[numbers], numbers)


def _in_blocks(bank: Bank, k: int, queries: Any, numbers: Any) -> Pairs:
    """One BLAS thread a block: the result does not depend on the number of cores."""
    from joblib import cpu_count
    from threadpoolctl import threadpool_limits

    step = max(1, _BLOCK // len(bank.index))

    def work(start: int) -> tuple[Any, Any]:
        part = slice(start, start + step)
        out = None if numbers is None else numbers[part]
        return _block(bank, k, queries[part].astype(np.float32), out)

    with threadpool_limits(1), ThreadPoolExecutor(min(cpu_count(), _THREADS)) as pool:
        found = list(pool.map(work, range(0, len(queries), step)))
    return Pairs(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _block(bank: Bank, k: int, queries: Any, numbers: Any) -> tuple[Any, Any]:
    raw, whitened = (look(bank, queries, numbers) for look in (raw_view, whitened_view))
    sizes = bank.counts - (numbers is not None)
    cues = [np.maximum.reduceat(seen.rows, bank.starts, axis=1) for seen in (raw, whitened)]
    cues = [np.where(sizes > 0, cue, -np.inf) for cue in (*cues, whitened.centroids)]
    candidates = _likeliest(cues, min(k, int((sizes > 0).sum())))
    lda = np.round(_of(whitened.log_odds, candidates) / _LDA_STEP) * _LDA_STEP
    columns = [
        *_space_columns(bank, raw, candidates),
        *_space_columns(bank, whitened, candidates),
        *(lda, _gap(lda), _rank(lda)),
        np.log(sizes[candidates]),
    ]
    return candidates, np.stack(columns, axis=2).astype(np.float32)


def _of(values: Any, candidates: Any) -> Any:
    return np.take_along_axis(values, candidates, axis=1)


def _likeliest(cues: list[Any], k: int) -> Any:
    """(b, k): the classes with the best places in rankings by `cues`, each (b, C)."""
    places = np.full(cues[0].shape, np.inf, dtype=np.float32)
    for tie, cue in enumerate(cues):
        top = _best(cue, k)
        place = np.arange(k, dtype=np.float32) + tie / len(cues)
        np.put_along_axis(places, top, np.minimum(_of(places, top), place), axis=1)
    return _best(-places, k)


def _best(values: Any, k: int) -> Any:
    """(b, k) places of the largest values in each row, the largest first."""
    top = np.argpartition(-values, k - 1, axis=1)[:, :k]
    return _of(top, np.argsort(-_of(values, top), axis=1, kind="stable"))


def _space_columns(bank: Bank, seen: View, candidates: Any) -> list[Any]:
    """Columns (b, k) in the order of `_space_names`."""
    nearest = _nearest_members(bank, seen.rows, candidates)
    nearest[np.isneginf(nearest)] = np.nan
    members = np.nanmean(nearest, axis=2)
    cosines = [*np.moveaxis(nearest, 2, 0), members, _of(seen.centroids, candidates)]
    values = [
        np.round(value / _STEP) * _STEP
        for value in (*cosines, *_votes(bank, seen.rows, candidates))
    ]
    compared = (values[0], *values[NEAREST : NEAREST + 2])
    return [*values, *map(_gap, compared), *map(_rank, compared)]


def _gap(values: Any) -> Any:
    """How far above the best of the other candidates, (b, k)."""
    if values.shape[1] == 1:
        return np.zeros_like(values)
    second, first = np.moveaxis(np.partition(values, -2, axis=1)[:, -2:], 1, 0)
    best = np.arange(values.shape[1]) == values.argmax(axis=1)[:, None]
    return values - np.where(best, second[:, None], first[:, None])


def _rank(values: Any) -> Any:
    """Number of candidates that are better, (b, k)."""
    return (values[:, None, :] > values[:, :, None]).sum(axis=2)


def _nearest_members(bank: Bank, cosines: Any, candidates: Any) -> Any:
    """(b, k, NEAREST) cosines of the nearest members, falling; -inf where there are fewer."""
    found = np.empty((candidates.size, NEAREST), dtype=np.float32)
    classes = candidates.ravel()
    first = np.repeat(np.arange(len(cosines)) * cosines.shape[1], candidates.shape[1])
    first += bank.starts[classes]
    sizes = bank.counts[classes]
    widths = 2 ** np.ceil(np.log2(np.maximum(sizes, NEAREST + 1))).astype(int)
    for width in np.unique(widths):  # classes of like size at once: at most twice the work
        (chosen,) = np.nonzero(widths == width)
        inside = np.arange(width) < sizes[chosen, None]
        places = np.where(inside, first[chosen, None] + np.arange(width), 0)
        values = np.where(inside, cosines.ravel()[places], -np.inf)
        nearest = np.partition(values, width - NEAREST, axis=1)[:, -NEAREST:]
        found[chosen] = -np.sort(-nearest, axis=1)
    return found.reshape(*candidates.shape, NEAREST)


def _votes(bank: Bank, cosines: Any, candidates: Any) -> list[Any]:
    """Shares (b, k) of the votes of the nearest 5, 15, 50 rows; one of cosine s has exp(s / T)."""
    voters = _best(cosines, min(VOTERS[-1], cosines.shape[1]))
    cosine = _of(cosines, voters)
    weight = np.exp((cosine - cosine[:, :1]) / np.float32(VOTE_TEMPERATURE))
    hit = bank.index[voters][:, None, :] == candidates[:, :, None]
    votes, total = np.cumsum(hit * weight[:, None, :], axis=2), np.cumsum(weight, axis=1)
    last = [min(m, voters.shape[1]) - 1 for m in VOTERS]
    return [votes[:, :, at] / total[:, at, None] for at in last]
