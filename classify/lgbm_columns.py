"""Gradient-boosted trees (LightGBM) that mend what a linear fit gets wrong."""

from typing import Any, Self

import numpy as np
from scipy.special import softmax

from classify.base import Head, State
from classify.ridge import fit_ridge

COMPONENTS = 64
ROUNDS = 50
# A round costs one tree a class: with very many classes there are fewer rounds.
MOST_TREES = 20_000
# Small trees that look at few columns and cut at random thresholds (extremely randomised trees,
# Geurts et al. 2006): with five to fifty photos a class, the best threshold fits noise.
PARAMETERS: dict[str, Any] = {
    "objective": "multiclass",
    "learning_rate": 0.1,
    "num_leaves": 7,
    "min_data_in_leaf": 5,
    "feature_fraction": 0.3,
    "extra_trees": True,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "deterministic": True,
    "force_row_wise": True,
    # Trees this small gain nothing from a second thread, and lose tenfold when the cores are busy.
    "num_threads": 1,
    "verbosity": -1,
}


class LgbmColumns(Head):
    """LightGBM, multiclass, on the first 64 principal components, boosted from ridge log-odds.

    Trees alone need hundreds of photos a class to find linear borders in an embedding. So they
    start from a ridge regression: for training rows its exact leave-one-out log-odds, which are as
    wrong as those of a new photo, so the trees learn the corrections that new photos need. The
    number of rounds is fixed and small; nothing is held out. Copies and SMOTE's rows are made in
    the space of components and log-odds: a row between two photos then has honest log-odds too.

    Attributes
    ----------
    components_ : (dim, c) principal axes, c <= 64
    coef_, intercept_ : (dim, C), (C,) float64, ridge log-odds
    trees_ : (n_bytes,) uint8, LightGBM's own text of the model
    """

    name = "lgbm-columns"

    def _fit(self, rows: Any, index: Any) -> None:
        import lightgbm
        from threadpoolctl import threadpool_limits

        balanced = self.balance != "none"
        with threadpool_limits(1):  # the last digits, and so the trees, depend on the threads
            ridge = fit_ridge(rows, index, len(self.classes_), COMPONENTS, balanced)
        self.components_ = ridge.components
        self.coef_, self.intercept_ = ridge.coef, ridge.intercept
        scale = max(1, np.abs(ridge.held_out).max())  # SMOTE's neighbours are to be near in both
        columns = np.hstack([rows @ self.components_, ridge.held_out / scale])
        X, y, weights = self._balanced(columns, index)
        width = self.components_.shape[1]
        parameters = PARAMETERS | {"num_class": len(self.classes_), "seed": self.random_state}
        start = X[:, width:] * scale
        data = lightgbm.Dataset(
            X[:, :width], y, weight=weights, init_score=start, params=parameters
        )
        rounds = max(1, min(ROUNDS, MOST_TREES // len(self.classes_)))
        booster = lightgbm.train(parameters, data, num_boost_round=rounds)
        self.trees_ = np.frombuffer(booster.model_to_string().encode(), dtype=np.uint8)
        self._load()

    def _load(self) -> None:
        import lightgbm

        self._booster = lightgbm.Booster(model_str=self.trees_.tobytes().decode())

    def _proba(self, rows: Any) -> Any:
        columns = rows @ self.components_
        mended = self._booster.predict(columns, raw_score=True, num_threads=1)
        return softmax(mended + rows @ self.coef_ + self.intercept_, axis=1)

    @classmethod
    def from_state(cls, state: State) -> Self:
        head = super().from_state(state)
        head._load()
        return head
