"""How common each class is, and nothing else: what every other head has to beat."""

from typing import Any

import numpy as np

from classify.base import Head


class Prior(Head):
    """The same for every row: (n_c + 1) / (n + C), or 1 / C with "weights".

    Attributes
    ----------
    prior_ : (C,) float64
    """

    name = "prior"
    balances = ("none", "weights")

    def __init__(
        self, balance: str = "none", random_state: int = 0, layout: tuple[int, ...] = ()
    ) -> None:
        super().__init__(balance, random_state, layout)  # what the rows look like does not count

    def _fit(self, rows: Any, index: Any) -> None:
        self._balanced(rows, index)  # knows which names there are
        sizes = np.bincount(index) + 1.0
        if self.balance != "none":
            sizes = np.ones(len(sizes))
        self.prior_ = sizes / sizes.sum()

    def _proba(self, rows: Any) -> Any:
        return np.tile(self.prior_, (len(rows), 1))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags
