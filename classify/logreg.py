"""Multinomial logistic regression, run until it has converged, with a penalty chosen inside."""

from typing import Any

import numpy as np
from scipy.special import softmax

from classify.balance import Plan, plan_balance
from classify.base import Head
from classify.c_walk import fit_at
from classify.multinomial import Multinomial, Solution, principal_axes
from classify.penalty import PATH, Choice, Search, choose
from classify.ranges import above
from classify.shared_work import shared

GAMMA = 2.0  # of the focal loss, as its authors recommend
# The share of the log prior that each loss takes from the logits.
TAU: dict[str, tuple[float, float | None]] = {
    "cross-entropy": (0.0, 0.0),
    "balanced-softmax": (1.0, 1.0),
    "focal": (0.0, 0.0),
    "logit-adjusted": (0.0, None),
}
LOSSES = tuple(TAU)


class LogReg(Head):
    """Multinomial logistic regression with an L2 penalty, converged (`classify.multinomial`).

    C is chosen inside `fit` along a warm-started path, on held-out folds of the training rows, by
    their log-loss at the best temperature (`classify.penalty`); the logits of the final fit are
    multiplied by the scale (1 / temperature) found there. The two go together: without the scale,
    log-loss asks for a weak penalty only to make probabilities sharper, at the cost of the
    ranking. Both are chosen without the balance, so that two runs that differ in it differ in
    nothing else. A given `C` is taken as it is, with scale 1. Classes of one photo always train.
    For the two losses that are meant for equal classes, classes count alike in the held-out
    log-loss, else by size.

    Added rows (copies, SMOTE) are no new evidence, so they share the weight of the real ones:
    the penalty counts the same. Undersampling is a fit on fewer rows. Copies are weights and rows
    of SMOTE are mixtures of logits, so neither costs memory.

    Parameters
    ----------
    C : inverse strength of the penalty, or None to choose it. A given one is reached by way of
        smaller ones (`classify.c_walk`), which fits of other C share
    loss : "cross-entropy"; "focal" (Lin et al. 2017, gamma 2); "balanced-softmax" (Ren et al.
        2020: log n_c is added to the logits in training only); "logit-adjusted" (Menon et al.
        2021: tau · log prior is taken from the logits, tau chosen on the held-out rows). As the
        intercept is not penalised, cross-entropy with an offset in training has the same solution
        as one without whose intercept the offset is taken from afterwards: that is how both are
        computed. The prior is that of the rows after balancing: they change nothing where a
        `balance` has already made it equal.

    Attributes
    ----------
    coef_ : (C, dim), intercept_ : (C,); dtype of the training rows
    C_, scale_, tau_ : float, the choice
    """

    name = "logreg"

    def __init__(
        self,
        C: float | None = None,
        loss: str = "cross-entropy",
        balance: str = "none",
        random_state: int = 0,
        layout: tuple[int, ...] = (),
        pca: int | None = None,
    ) -> None:
        super().__init__(balance, random_state, layout, pca)
        self.C = C
        self.loss = loss

    def check(self) -> None:
        super().check()
        above("C", self.C, optional=True)
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")

    def _fit(self, rows: Any, index: Any) -> None:
        labels = self.classes_[index]
        plan = plan_balance(rows, labels, self.balance, self.random_state)
        self.notes_ = np.array(plan.notes, dtype=str)
        axes = principal_axes(rows)
        inside = _inside(rows, axes)
        if len(plan.kept) < len(index):  # then there are no mixtures
            inside, index = _taken(inside, index, plan.kept)
        choice, start = self._choose(inside, index)
        solution, prior = self._solve(inside, index, plan, choice.C, start)
        self.C_, self.scale_, self.tau_ = choice.C, choice.scale, choice.tau
        intercept = choice.scale * solution.intercept - choice.tau * np.log(prior)
        self.coef_ = (choice.scale * solution.coef @ axes.T).astype(rows.dtype)
        self.intercept_ = (intercept - intercept.mean()).astype(rows.dtype)

    def _choose(self, rows: Any, index: Any) -> tuple[Choice, Solution | None]:
        tau = TAU[self.loss]
        if self.C is not None and tau[0] == tau[1]:
            return Choice(self.C, 1.0, tau[0], np.nan), None
        search = Search(
            path=PATH if self.C is None else (self.C,),
            scale=(0.0, None) if self.C is None else (1.0, 1.0),
            tau=tau,
            gamma=self._gamma,
            alike=tau != (0.0, 0.0),
        )
        return choose(rows, index, search, self.random_state)

    def _proba(self, rows: Any) -> Any:
        return softmax((rows @ self.coef_.T + self.intercept_).astype(np.float64), axis=1)

    @property
    def _gamma(self) -> float:
        return GAMMA if self.loss == "focal" else 0.0

    def _solve(
        self, rows: Any, index: Any, plan: Plan, C: float, start: Solution | None
    ) -> tuple[Solution, Any]:
        """The minimum, and the share of each class in the weight (C,).

        rows, index : those of the plan that are kept
        """
        n_classes = len(self.classes_)
        weights = plan.copies * (1.0 if plan.weights is None else plan.weights)
        mass = np.bincount(index, weights)
        mixtures = None
        if plan.mixtures is not None:
            mass = mass + np.bincount(index[plan.mixtures.first], minlength=n_classes)
            mixtures = plan.mixtures.matrix(len(rows))
        problem = rows, index, n_classes, weights, mixtures, self._gamma
        if self.C is None:
            return Multinomial(*problem).fit(C, start), mass / mass.sum()
        return fit_at(float(C), problem), mass / mass.sum()


@shared
def _inside(rows: Any, axes: Any) -> Any:
    """`rows` (n, dim) on their axes, (n, r)."""
    return rows @ axes


@shared
def _taken(rows: Any, index: Any, kept: Any) -> tuple[Any, Any]:
    return rows[kept], index[kept]
