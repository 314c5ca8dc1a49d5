"""How unsure a run is of photos, its own training photos judged by what did not see them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.predict import run_model
from classify.runs import Run
from embed.errors import UserError
from embed.vectors import load_vectors, open_stores
from embed.workspace import Workspace

F64 = NDArray[np.float64]


def margin_uncertainty(P: F64) -> F64:
    """(n,) 1 minus how far the likeliest class is ahead of the next: 0 is sure, 1 is a tie.

    P : (n, C) probabilities. Scheffer, Decomain and Wrobel (2001).
    """
    if P.shape[1] < 2:
        return np.zeros(len(P))
    best = np.partition(P, -2, axis=1)[:, -2:]
    return np.asarray(1 - (best[:, 1] - best[:, 0]), dtype=np.float64)


def probabilities_of(workspace: Workspace, run: Run, rows: Any) -> F64:
    """(n, C) what a run says of `rows` (DataFrame: id, key and the table's columns).

    Out of fold where the run learnt from a row, else by its model. Raises `UserError` where the
    vectors here are not of the encoders that it was fitted on.
    """
    stores = open_stores(workspace, run.config.encoders)
    if [store.spec.digest for store in stores] != [spec.digest for spec in run.specs]:
        raise UserError(
            f"{run.name} was fitted on other vectors than those stored here now. "
            "Run `cli fit` again."
        )
    X = load_vectors(stores, rows["key"].tolist())
    P = run_model(workspace, run).predict_proba(X, rows)
    oof = run.out_of_fold
    place = {name: i for i, name in enumerate(oof.ids)}
    known = np.array([place.get(name, -1) for name in rows["id"].tolist()], dtype=np.int64)
    P[known >= 0] = oof.P[known[known >= 0]]
    return P
