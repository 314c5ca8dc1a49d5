"""Training rows in the raw and in a whitened space, seen by new photos or each by itself."""

from typing import Any, NamedTuple

import numpy as np

from classify.shared_work import shared


class Space(NamedTuple):
    """Training rows x_i, class by class, in coordinates whose inner product is that of a space.

    Leaving row i out adds lift_i · m_i m_iᵀ to the inner product; m_i is its difference to the mean
    of its class.
    """

    rows: Any
    """(n, dim) float32"""
    squares: Any
    """(n,) float32: x_i · x_i"""
    sums: Any
    """(C, dim) float32: s_c, the sum of a class"""
    to_sum: Any
    """(n,) float32: x_i · s_c, c the row's own class"""
    to_difference: Any
    """(n,) float32: x_i · m_i"""
    lift: Any
    """(n,) float32; all 0 in the raw space"""


class Bank(NamedTuple):
    """Training rows, sorted by class, in both spaces."""

    index: Any
    """(n,) int64 class numbers, rising"""
    counts: Any
    """(C,) int64"""
    starts: Any
    """(C,) int64: the first row of each class"""
    raw: Space
    whitened: list[Space]
    """one for each encoder; inner products add up"""
    whitenings: "list[Whitening]"


class View(NamedTuple):
    """How the bank looks from b photos; rows left out have cosine -inf."""

    rows: Any
    """(b, n) float32 cosines"""
    centroids: Any
    """(b, C) float32 cosines"""
    log_odds: Any
    """(b, C) float32: with equal covariance A^-1, x A μ_c - μ_c A μ_c / 2"""


class Whitening(NamedTuple):
    """W Wᵀ = A = ((1 - p) · S + p · t · I)^-1 with S the scatter within classes, t = tr S / dim."""

    matrix: Any
    """(dim, dim) float32: W"""
    shrinkage: float
    """0 <= p <= 1"""


def whitening(rows: Any, index: Any) -> Whitening:
    """Of `rows` (n, dim) sorted by class number `index` (n,).

    p is the oracle approximating shrinkage of Chen et al. 2010.
    """
    from scipy.linalg.lapack import dtrtri

    counts = np.bincount(index)
    means = (_class_sums(rows, counts) / counts[:, None]).astype(rows.dtype)
    differences = rows - means[index]
    scatter = (differences.T @ differences).astype(np.float64)
    dim = len(scatter)
    if np.trace(scatter) <= 1e-9 * len(rows):  # every class has one point
        return Whitening(np.eye(dim, dtype=np.float32), 1.0)
    share = _shrinkage(scatter, len(rows) - len(counts))
    diagonal = share * np.trace(scatter) / dim
    scatter *= 1 - share
    scatter.flat[:: dim + 1] += diagonal
    inverse, _ = dtrtri(np.linalg.cholesky(scatter), lower=1)
    return Whitening(inverse.T.astype(np.float32), share)


def _shrinkage(scatter: Any, freedom: int) -> float:
    dim, trace, square = len(scatter), np.trace(scatter), float(np.vdot(scatter, scatter))
    above = (1 - 2 / dim) * square + trace**2
    below = (freedom + 1 - 2 / dim) * (square - trace**2 / dim)
    return float(above / below) if above < below else 1.0


def blocks(rows: Any, widths: Any) -> list[Any]:
    """Columns of each encoder; those right of the `widths` together are the last block."""
    parts = np.split(rows, np.cumsum(widths, dtype=int), axis=1)
    return [part for part in parts if part.shape[1]]


@shared
def make_bank(rows: Any, index: Any, whitenings: list[Whitening]) -> Bank:
    """Of `rows` (n, dim) sorted by class number `index` (n,), every class present."""
    counts = np.bincount(index)
    raw = rows.astype(np.float32)
    whitened = [
        _space(part @ white.matrix, index, counts, 1 - white.shrinkage)
        for part, white in zip(_parts(raw, whitenings), whitenings, strict=True)
    ]
    starts = np.cumsum(counts) - counts
    return Bank(index, counts, starts, _space(raw, index, counts, 0), whitened, whitenings)


def _parts(rows: Any, whitenings: list[Whitening]) -> list[Any]:
    return blocks(rows, [len(white.matrix) for white in whitenings[:-1]])


def _class_sums(rows: Any, counts: Any) -> Any:
    return np.add.reduceat(rows, np.cumsum(counts) - counts, axis=0, dtype=np.float64)


def _space(rows: Any, index: Any, counts: Any, scatter: float) -> Space:
    """`scatter` : the share of the scatter in the inverse of the inner product."""
    x, sums, n = rows.astype(np.float64), _class_sums(rows, counts), counts[index]
    difference = x - (sums / counts[:, None])[index]
    # Without row i the scatter lacks n / (n - 1) · m mᵀ: Sherman & Morrison 1950.
    kept = np.maximum(n - 1, 1) / n
    leverage = scatter * np.einsum("ij,ij->i", difference, difference)
    lift = scatter * (n > 1) / np.maximum(kept - leverage, 1e-6)
    to_sum = np.einsum("ij,ij->i", x, sums[index])
    to_difference = np.einsum("ij,ij->i", x, difference)
    space = rows, np.einsum("ij,ij->i", x, x), sums, to_sum, to_difference, lift
    return Space(*(array.astype(np.float32) for array in space))


class _Products(NamedTuple):
    """Inner products of b photos q with rows x_j and class sums s_c, in arrays that broadcast."""

    rows: Any
    """(b, n): q · x_j"""
    sums: Any
    """(b, C): q · s_c"""
    square: Any
    """(b, 1): q · q"""
    squares: Any
    """(b, n): x_j · x_j"""
    sum_squares: Any
    """(b, C): s_c · s_c"""
    to_sum: Any
    """(b, C): x_o · s_c, o the member of c that is left out"""


def raw_view(bank: Bank, queries: Any, numbers: Any) -> View:
    """From `queries` (b, dim) float32, rows as those of the bank.

    Where they are rows of the bank itself, `numbers` (b,) says which: row i is then left out of
    everything, and of each other class c the member number i modulo n_c.
    """
    out = _left_out(bank, numbers)
    return _view(bank, _products(bank, bank.raw, queries, numbers, out), numbers, out)


def whitened_view(bank: Bank, queries: Any, numbers: Any) -> View:
    """As `raw_view`."""
    out = _left_out(bank, numbers)
    each = [
        _products(bank, space, part @ white.matrix, numbers, out)
        for space, white, part in zip(
            bank.whitened, bank.whitenings, _parts(queries, bank.whitenings), strict=True
        )
    ]
    return _view(bank, _Products(*map(sum, zip(*each, strict=True))), numbers, out)


def _left_out(bank: Bank, numbers: Any) -> Any:
    """(b, C): of each class the row that photo `numbers` (b,) of the bank does not see."""
    if numbers is None:
        return None
    out = bank.starts + numbers[:, None] % bank.counts
    out[np.arange(len(out)), bank.index[numbers]] = numbers
    return out


def _products(bank: Bank, space: Space, queries: Any, numbers: Any, out: Any) -> _Products:
    rows, sums = queries @ space.rows.T, queries @ space.sums.T
    square = np.einsum("ij,ij->i", queries, queries)[:, None]
    squares = space.squares[None]
    sum_squares = np.einsum("ij,ij->i", space.sums, space.sums)[None]
    to_sum = np.float32(0) if out is None else space.to_sum[out]
    if numbers is None or not space.lift.any():
        return _Products(rows, sums, square, squares, sum_squares, to_sum)
    distinct, place = np.unique(bank.index[numbers], return_inverse=True)
    means = space.sums[distinct] / bank.counts[distinct, None].astype(np.float32)
    side = rows - (means @ space.rows.T)[place]  # of each row along the difference m_i
    side_sums = sums - (means @ space.sums.T)[place]
    lift, own = space.lift[numbers, None], space.to_difference[numbers, None]
    return _Products(
        rows + lift * own * side,
        sums + lift * own * side_sums,
        square + lift * own * own,
        squares + lift * side * side,
        sum_squares + lift * side_sums * side_sums,
        to_sum + lift * side_sums * np.take_along_axis(side, out, axis=1),
    )


def _view(bank: Bank, seen: _Products, numbers: Any, out: Any) -> View:
    rows, sums, square, squares, sum_squares, to_sum = seen
    counts, freedom = bank.counts, len(bank.index) - len(bank.counts)
    if out is not None:
        counts = np.maximum(counts - 1, 1)
        freedom = (freedom - (bank.counts[bank.index[numbers]] > 1))[:, None]
        out_squares = np.take_along_axis(np.broadcast_to(squares, rows.shape), out, axis=1)
        sum_squares = sum_squares + out_squares - 2 * to_sum
        sums = sums - np.take_along_axis(rows, out, axis=1)
    tiny, n = np.float32(1e-12), counts.astype(np.float32)
    cosines = rows / np.sqrt(np.maximum(square * squares, tiny))
    if out is not None:
        np.put_along_axis(cosines, out, -np.inf, axis=1)
    return View(
        cosines,
        sums / np.sqrt(np.maximum(square * sum_squares, tiny)),
        (sums / n - sum_squares / (2 * n * n)) * np.float32(freedom),
    )
