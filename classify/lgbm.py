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


class Lgbm(Head):
    """LightGBM, multiclass, on the first 64 principal components, boosted from ridge scores.

    Trees alone need hundreds of photos a class to find linear borders in an embedding. So they
    start from a ridge regression: for training rows its exact leave-one-out scores, which are as
    wrong as the scores of a new photo, so the trees learn the corrections that new photos need.
    The number of rounds is fixed and small; nothing is held out. Balancing happens in the space of
    components and scores, and reaches the trees only.

    Attributes
    ----------
    components_ : (dim, c) principal axes, c <= 64
    coef_, intercept_ : (dim, C), (C,) ridge scores times their sharpness
    trees_ : (n_bytes,) uint8, LightGBM's own text of the model
    """

    name = "lgbm"

    def _fit(self, rows: Any, index: Any) -> None:
        import lightgbm

        ridge = fit_ridge(rows, index, len(self.classes_), COMPONENTS)
        self.components_ = ridge.components
        self.coef_ = ridge.coef * ridge.sharpness
        self.intercept_ = ridge.intercept * ridge.sharpness
        columns = np.hstack([rows @ self.components_, ridge.held_out])
        X, y, weights = self._balanced(columns, index)
        width = self.components_.shape[1]
        parameters = PARAMETERS | {
            "num_class": len(self.classes_),
            "seed": self.random_state,
        }
        data = lightgbm.Dataset(
            X[:, :width],
            y,
            weight=weights,
            init_score=X[:, width:] * ridge.sharpness,
            params=parameters,
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
