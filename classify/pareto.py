"""Which configurations are worth their cost: for each of those that are not, another beats it."""

import numpy as np
from numpy.typing import NDArray

from classify.outcomes import F64


def front(gain: F64, cost: F64) -> NDArray[np.bool_]:
    """(K,) those than which no other has as much gain at as little cost and more of one.

    gain : (K,) more is better; cost : (K,) less is better
    """
    order = np.lexsort((-gain, cost))
    before = np.maximum.accumulate(np.concatenate([[-np.inf], gain[order][:-1]]))
    on_it = gain[order] > before
    # equals of one that is on the front are on it too
    same = (np.diff(gain[order]) == 0) & (np.diff(cost[order]) == 0)
    for i in np.flatnonzero(same):
        on_it[i + 1] = on_it[i]
    found = np.zeros(len(gain), dtype=bool)
    found[order] = on_it
    return found
