"""Tip-Adapter without training: what the class's name says, and what its photos say."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import softmax

from classify.base import Head, unit_rows
from classify.left_out import Judges, fit_factors, judges
from classify.ranges import above
from classify.zeroshot import SCALE, cosines, texts_of

# Doubled from one to the next, so that the next kernel is the square of the last.
BETAS = tuple(float(2**power) for power in range(-1, 7))
# alpha · cache at most. Where photos are few and none is near another, only a huge alpha would make
# their tiny likeness heard, and shout when a photo comes that is near.
LOUDEST = 500.0
ALPHA, BETA = 1.0, 5.5  # of the paper, where nobody judges, as every class has one photo
CELLS = 8_000_000  # of a table of rows × training rows


class Tip(Head):
    """Log-odds scale · x t_c + alpha · cache_c(x) + a · log n_c (Zhang et al. 2022).

    The cache of a class sums exp(-beta (1 - x x_i)) over its photos x_i, or takes their mean.
    beta, sum or mean, and alpha, a >= 0 are those of the least leave-one-out log-loss. With
    "weights" it is the mean, every class counts the same and a = 0. Rows made up by balancing are
    no photos to look up, so there is no other `balance`.

    Parameters
    ----------
    class_names, class_vectors : see `classify.zeroshot.ZeroShot`; None: photos alone speak
    scale : what cosines to the texts are multiplied by; None: chosen with alpha

    Attributes
    ----------
    scale_, alpha_, beta_ : float
    centre_ : (dim,), the mean of the training rows, which photos lose before they are compared
    bank_ : (n, dim) float32 centred unit training rows, class by class
    counts_ : (C,) int64, their number in each class
    divide_ : (C,) float64, what each class's sum is divided by: 1, or `counts_`
    text_ : (C, dim) float64, or (0, dim)
    intercept_ : (C,) float64, a · log n_c
    """

    name = "tip"
    centred = False
    balances = ("none", "weights")

    def __init__(
        self,
        balance: str = "none",
        random_state: int = 0,
        layout: tuple[int, ...] = (),
        class_names: Any = None,
        class_vectors: Any = None,
        scale: float | None = SCALE,
    ) -> None:
        super().__init__(balance, random_state, layout)
        self.class_names = class_names
        self.class_vectors = class_vectors
        self.scale = scale

    def check(self) -> None:
        super().check()
        above("scale", self.scale, optional=True)

    def _fit(self, rows: Any, index: Any) -> None:
        order = np.argsort(index, kind="stable")
        rows, index = rows[order], index[order]
        self.counts_ = np.bincount(index)
        self.centre_ = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
        self.bank_ = unit_rows(rows - self.centre_).astype(np.float32)
        self.text_ = np.zeros((0, rows.shape[1]))
        if self.class_vectors is not None:
            self.text_ = texts_of(
                self.classes_, self.class_names, self.class_vectors, rows, self.layout
            )
        self._choose(rows, index)

    def _choose(self, rows: Any, index: Any) -> None:
        equal, told = self.balance != "none", len(self.text_) > 0
        panel = judges(index, CELLS // len(rows), equal, alone=told)
        optional = [] if equal else [(panel.each(np.log(self.counts_)), 0.0)]
        said = cosines(rows[panel.rows], self.text_) if told else 0.0
        if told and self.scale is None:
            optional, said = [(said, SCALE), *optional], 0.0
        fixed = said if self.scale is None else self.scale * said
        terms, start = [term for term, _ in optional], [first for _, first in optional]
        best, factors = np.inf, np.array([ALPHA, *start])
        self.beta_, mean = BETA, True
        for beta, by_mean, cache in left_out_caches(self.bank_, self.counts_, panel, equal):
            most = LOUDEST / (1 if by_mean else self.counts_.max())
            found, loss = fit_factors([cache, *terms], panel, factors, fixed, most)
            if loss < best:
                best, factors, self.beta_, mean = loss, found, beta, by_mean
        self.alpha_, *others = (float(factor) for factor in factors)
        self.scale_ = others.pop(0) if self.scale is None and told else float(self.scale or 0)
        self.divide_ = self.counts_.astype(float) if mean else np.ones(len(self.counts_))
        self.intercept_ = np.log(self.counts_) * (others[0] if others else 0.0)

    def _proba(self, rows: Any) -> Any:
        log_odds = np.tile(self.intercept_, (len(rows), 1))
        if len(self.text_):
            log_odds += self.scale_ * cosines(rows, self.text_)
        photos = unit_rows(rows - self.centre_.astype(rows.dtype)).astype(np.float32)
        size = max(1, CELLS // len(self.bank_))
        for start in range(0, len(rows), size):
            block = slice(start, start + size)
            like = np.exp(self.beta_ * (photos[block] @ self.bank_.T - 1))
            log_odds[block] += self.alpha_ * _by_class(like, self.counts_) / self.divide_
        return softmax(log_odds, axis=1)


def left_out_caches(
    bank: Any, counts: Any, panel: Judges, only_means: bool
) -> Iterator[tuple[float, bool, Any]]:
    """Each beta, whether it is a mean, and the cache (J, C) of the judges without themselves.

    bank : (n, dim) unit rows, class by class; counts : (C,) rows of each class
    """
    own = np.arange(len(panel.rows)), panel.index
    left = np.tile(counts.astype(float), (len(panel.rows), 1))
    left[own] -= 1
    like = np.exp(BETAS[0] * (bank[panel.rows] @ bank.T - 1))
    like[np.arange(len(like)), panel.rows] = 0
    for beta in BETAS:
        sums = _by_class(like, counts)
        yield beta, True, sums / np.maximum(left, 1)
        if not only_means:
            yield beta, False, sums
        like *= like  # twice the beta


def _by_class(like: Any, counts: Any) -> Any:
    """Sums (m, C) float64 of `like` (m, n), whose columns are class by class."""
    return np.add.reduceat(like, np.cumsum(counts) - counts, axis=1).astype(np.float64)
