"""AutoGluon-Tabular in an environment of its own, which has nothing of this project.

python _autogluon.py IN.npz OUT.npy SECONDS: fits on X, y and writes the probabilities of X_new, a
column a class in sorted order; prints the seconds that fitting and predicting took.
"""

import sys
import tempfile
import time

import numpy as np
import pandas as pd


def frame(X: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])


def main(source: str, out: str, limit: str) -> None:
    from autogluon.tabular import TabularPredictor

    with np.load(source) as data:
        X, y, X_new = (data[name] for name in ("X", "y", "X_new"))
    train = frame(X).assign(label=y)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        predictor = TabularPredictor(label="label", path=folder, verbosity=0)
        predictor.fit(train, presets="best_quality", time_limit=float(limit))
        P = predictor.predict_proba(frame(X_new))
        seconds = time.perf_counter() - start
    P = P.reindex(columns=np.unique(y), fill_value=0.0)
    np.save(out, P.to_numpy(dtype=np.float64))
    print(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
