"""All pairs of photos whose vectors are at least so similar: copies by a threshold of one's own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import UserError

F32 = NDArray[np.float32]

_BLOCK = 256  # rows at a time
_MOST = 20_000_000  # pairs; beyond, nearly everything is called a copy of everything
_SLACK = 1e-5  # how far a float32 product may lie from the cosine


def pairs_above(X: F32, ids: Sequence[str], keys: Sequence[str], threshold: float) -> Any:
    """Every pair with a cosine of `threshold` or more: a DataFrame with a, b, cosine and kind.

    X : (n, dim) float32, unit rows; ids : n unique strings; keys : (n,) SHA-256 of the photos'
    bytes. kind is "exact" (the same bytes) or "near". The pairs of equal bytes are listed whatever
    their cosine. Exact: every row is compared with every other one, a block at a time. Raises
    `UserError` for a threshold that no cosine can be, and for one that nearly all pairs reach.
    """
    import pandas as pd

    if not -1 < threshold <= 1:
        raise UserError(
            f"--threshold is a cosine, like 0.95: above -1, at most 1. Got {threshold}."
        )
    X = np.ascontiguousarray(X, dtype=np.float32)
    number = np.unique(np.asarray(keys, dtype=str), return_inverse=True)[1]
    ends, cosines, total = [np.empty((0, 2), np.int64)], [np.empty(0)], 0
    for low in range(0, len(X), _BLOCK):
        a, b = _block(X, number, low, threshold - _SLACK)
        cosine = np.vecdot(X[a].astype(np.float64), X[b].astype(np.float64))
        keep = (np.round(cosine, 7) >= threshold) | (number[a] == number[b])
        total += int(keep.sum())
        if total > _MOST:
            raise UserError(
                f"More than {_MOST:,} pairs have a cosine of {threshold} or more: that threshold "
                "calls different photos copies. Give a higher one, or none to have it found."
            )
        ends.append(np.stack([a[keep], b[keep]], axis=1))
        cosines.append(cosine[keep])
    pairs = np.concatenate(ends)
    names = np.sort(np.asarray(ids, dtype=str)[pairs], axis=1)
    same = number[pairs[:, 0]] == number[pairs[:, 1]]
    return pd.DataFrame(
        {
            "a": names[:, 0],
            "b": names[:, 1],
            "cosine": np.concatenate(cosines),
            "kind": np.where(same, "exact", "near"),
        }
    )


def _block(X: F32, number: Any, low: int, least: float) -> tuple[Any, Any]:
    """Rows a < b of the candidates among one block of rows and all that follow."""
    high = min(low + _BLOCK, len(X))
    near = X[low:high] @ X[low:].T >= least
    near |= number[low:high, None] == number[None, low:]
    a, b = np.nonzero(np.triu(near, 1))
    return a + low, b + low
