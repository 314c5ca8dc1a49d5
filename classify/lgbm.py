"""Gradient-boosted trees (LightGBM) on the first principal components of the embeddings."""

from typing import Any, Self

import numpy as np

from classify.base import Head, State

COMPONENTS = 64
ROUNDS = 200
# A round costs one tree a class: with many classes there are fewer rounds, else it takes hours.
MOST_TREES = 30_000
# Small trees that look at few columns and cut at random thresholds (extremely randomised trees,
# Geurts et al. 2006): with five to fifty photos a class, searching for the best threshold fits
# noise. The loss still falls slowly at the last round, so nothing is held out to stop early.
PARAMETERS: dict[str, Any] = {
    "objective": "multiclass",
    "learning_rate": 0.1,
    "num_leaves": 7,
    "min_data_in_leaf": 5,
    "feature_fraction": 0.3,
    "extra_trees": True,
    "lambda_l2": 1.0,
    "max_bin": 63,
    "deterministic": True,
    "force_row_wise": True,
    # Trees this small gain nothing from a second thread, and lose tenfold when the cores are busy.
    "num_threads": 1,
    "verbosity": -1,
}


class Lgbm(Head):
    """LightGBM, multiclass, with settings that hold from ten to some hundreds of classes.

    Attributes
    ----------
    components_ : (c, dim) principal axes of the training rows, c <= 64
    trees_ : (n_bytes,) uint8, LightGBM's own text of the model
    """

    name = "lgbm"

    def _fit(self, rows: Any, index: Any) -> None:
        import lightgbm
        from sklearn.decomposition import PCA
        from threadpoolctl import threadpool_limits

        X, y, weights = self._balanced(rows, index)
        pca = PCA(min(COMPONENTS, *rows.shape), random_state=self.random_state)
        # Trees do not mind a shifted column, so the mean that PCA subtracts is left in.
        with threadpool_limits(1):  # the last digits, and so the trees, depend on the threads
            self.components_ = pca.fit(rows).components_
        parameters = PARAMETERS | {
            "num_class": len(self.classes_),
            "seed": self.random_state,
        }
        columns = lightgbm.Dataset(X @ self.components_.T, y, weight=weights, params=parameters)
        rounds = max(1, min(ROUNDS, MOST_TREES // len(self.classes_)))
        booster = lightgbm.train(parameters, columns, num_boost_round=rounds)
        self.trees_ = np.frombuffer(booster.model_to_string().encode(), dtype=np.uint8)
        self._load()

    def _load(self) -> None:
        import lightgbm

        self._booster = lightgbm.Booster(model_str=self.trees_.tobytes().decode())

    def _proba(self, rows: Any) -> Any:
        return self._booster.predict(rows @ self.components_.T, num_threads=1)

    @classmethod
    def from_state(cls, state: State) -> Self:
        head = super().from_state(state)
        head._load()
        return head
