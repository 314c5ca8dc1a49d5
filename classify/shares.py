"""Intervals of shares of photos by class: recall, and F1 as a share."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.stats import norm, t

from classify.bootstrap import wilson
from classify.outcomes import F64


def share_interval(part: Any, whole: Any, groups: ArrayLike | None = None) -> tuple[F64, F64]:
    """(C,) low and high, 95%, of the share of the photos in `whole` that are in `part` too.

    part, whole : (C, n) sparse, 1 where a photo counts for a class, `part` within `whole`
    groups : (n,) where given, photos of one group are no independent witnesses

    Wilson's interval (1927), which holds for few photos and for shares of 0 and 1. With groups it
    is that of as many photos as would vary as much (Korn and Graubard 1998): the variance is that
    of a ratio over groups, with Student's t for how few they are; never more photos than there
    are, nor fewer than groups that vary no more than they would as single photos; where all or
    none of a class are in `part`, as many as groups. Classes without a photo have NaN.

    In simulations (2 to 30 groups a class, of 3 or 8 photos, with a correlation of 0 to 0.9 in a
    group) it covers the truth in 90 to 100% of the cases, in most in more than 95%; Wilson's over
    photos in 33 to 97%.
    """
    n = _sum(whole)
    share = _sum(part) / np.where(n > 0, n, np.nan)
    return wilson(share, n if groups is None else _worth(part, whole, share, groups))


def _worth(part: Any, whole: Any, share: F64, groups: ArrayLike) -> F64:
    """(C,) how many independent photos the photos of a class are worth."""
    group = np.unique(groups, return_inverse=True)[1]
    members = csr_array((np.ones(len(group)), (np.arange(len(group)), group)))
    hits, sizes = part @ members, whole @ members
    n, k = _sum(sizes), _sum(sizes > 0)
    products = [_sum(a * b) for a, b in ((hits, hits), (hits, sizes), (sizes, sizes))]
    squares = products[0] - 2 * share * products[1] + share**2 * products[2]
    varies = (k > 1) & (share > 0) & (share < 1) & (squares > 0)
    degrees = np.where(varies, k - 1, 1)
    variance = np.where(varies, squares, 1) / np.maximum(n, 1) ** 2 * k / degrees
    worth = np.minimum(share * (1 - share) / np.where(varies, variance, 1), n)
    shrunk = worth * (norm.ppf(0.975) / t.ppf(0.975, degrees)) ** 2
    return np.where(varies, np.where(worth > k, np.maximum(shrunk, k), worth), k)


def _sum(of: Any) -> F64:
    return np.asarray(of.sum(axis=1), dtype=float)
