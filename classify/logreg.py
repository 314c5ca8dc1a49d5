"""Multinomial logistic regression, run until it has converged."""

import warnings
from typing import Any

import numpy as np
from scipy.special import softmax

from classify.base import Head

# The prior variance of a logit: for a unit row x and w ~ N(0, C·I), x·w ~ N(0, C), so classes may
# differ by some ten nats before the penalty resists. Scores are flat from C = 10 to 400.
C = 100.0
# On unit rows the gradient of the mean loss is small from the start: scikit-learn's default of
# 1e-4 stops far from the minimum. Newton's method gets to 1e-6 in a dozen steps.
TOLERANCE = 1e-6


class LogReg(Head):
    """Multinomial logistic regression with an L2 penalty, by Newton's method with CG steps.

    Added rows (copies, SMOTE) are no new evidence, so they share the weight of the real ones:
    the penalty counts the same under every `balance`.
    """

    name = "logreg"

    def _fit(self, rows: Any, index: Any) -> None:
        from sklearn.linear_model import LogisticRegression

        X, y, weights = self._balanced(rows, index)
        model = LogisticRegression(
            C=C * len(rows) / len(X), solver="newton-cg", tol=TOLERANCE, max_iter=1000
        )
        with warnings.catch_warnings():
            # With a photo a class the last step is below the machine's precision: it has arrived.
            warnings.filterwarnings("ignore", message="(The l|L)ine [sS]earch")
            model.fit(X, y, sample_weight=weights)
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        if len(self.classes_) == 2:  # one logit against zero
            self.coef_ = np.concatenate([np.zeros_like(self.coef_), self.coef_])
            self.intercept_ = np.concatenate([np.zeros_like(self.intercept_), self.intercept_])

    def _proba(self, rows: Any) -> Any:
        return softmax((rows @ self.coef_.T + self.intercept_).astype(np.float64), axis=1)
