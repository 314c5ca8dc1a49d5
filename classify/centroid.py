"""The nearest centroid (SimpleShot), as sure as leaving one out finds it right to be."""

from typing import Any

import numpy as np
from scipy.special import softmax

from classify.base import Head, unit_rows
from classify.left_out import fit_factors, judges
from classify.ranges import above
from classify.shared_work import shared
from classify.within import class_sums

CELLS = 1_000_000  # of a table rows × classes
TEMPERATURE = 0.1  # where nobody judges, as every class has one row


class Centroid(Head):
    """Cosine to the mean of a class's centred unit rows (Wang et al. 2019).

    p = softmax(cosine / T + a · log n_c), with T and a >= 0 those of the least log-loss when a
    row's own class is without it. "weights" counts every class the same there, and a = 0. Rows
    added or dropped would only make the means less certain, so there is no other `balance`.

    Parameters
    ----------
    temperature : T, or None to choose it

    Attributes
    ----------
    coef_ : (C, dim) and intercept_ : (C,), float64; softmax(rows @ coef_.T + intercept_)
    temperature_ : float
    """

    name = "centroid"
    balances = ("none", "weights")

    def __init__(
        self,
        balance: str = "none",
        random_state: int = 0,
        layout: tuple[int, ...] = (),
        pca: int | None = None,
        temperature: float | None = None,
    ) -> None:
        super().__init__(balance, random_state, layout, pca)
        self.temperature = temperature

    def check(self) -> None:
        super().check()
        above("temperature", self.temperature, optional=True)

    def _fit(self, rows: Any, index: Any) -> None:
        self._balanced(rows, index)  # knows which names there are
        counts, equal = np.bincount(index), self.balance != "none"
        panel = judges(index, CELLS // len(counts), equal)
        sums, cosines = _sums_and_cosines(rows, index, panel.rows)
        sizes = [] if equal else [panel.each(np.log(counts))]
        start = [1 / TEMPERATURE, 0.0][: 1 + len(sizes)]
        if self.temperature is None:
            factors, _ = fit_factors([cosines, *sizes], panel, start)
        elif sizes:
            given = 1 / self.temperature
            factors = [given, *fit_factors(sizes, panel, start[1:], given * cosines)[0]]
        else:
            factors = [1 / self.temperature]
        self.temperature_ = 1 / max(factors[0], 1e-9)
        self.coef_ = unit_rows(sums) / self.temperature_
        self.intercept_ = np.zeros(len(counts)) if equal else factors[1] * np.log(counts)

    def _proba(self, rows: Any) -> Any:
        return softmax(rows @ self.coef_.T + self.intercept_, axis=1)


@shared
def _sums_and_cosines(rows: Any, index: Any, judging: Any) -> tuple[Any, Any]:
    """Of each class's rows the sum (C, dim), and `left_out_cosines` of the rows that judge."""
    exact = rows.astype(np.float64)
    sums = class_sums(exact, index)
    return sums, left_out_cosines(exact[judging], sums, index[judging])


def left_out_cosines(X: Any, sums: Any, index: Any) -> Any:
    """Cosines (J, C) of training rows `X` (J, dim) of classes `index` (J,) to the centroids.

    sums : (C, dim), of all rows of a class; a row's own class is taken without it.
    """
    own, cosines = (np.arange(len(X)), index), X @ unit_rows(sums).T
    cosines[own] = (X * unit_rows(sums[index] - X)).sum(axis=1)
    return cosines
