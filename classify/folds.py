"""Out-of-fold predictions: each training photo by a model that never saw it or its group."""

from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.dataset import Dataset
from classify.model import Model, chosen_rows
from classify.runs import Predictions
from classify.splits import make_folds
from classify.stack import crossfit_pool

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def held_out_folds(train: Dataset, n_folds: int, seed: int) -> Ints:
    """(n,) the fold in which each row is held out; -1 for rows that always train.

    A class whose photos are all of one group could not be predicted while that is held out, so it
    stays in training and is not scored: the rule of `split`. Where every class is such a one, all
    are held out, and count as errors.
    """
    scored = ~in_one_group(train)
    if not scored.any():
        scored[:] = True
    groups = len(np.unique(train.group[scored]))
    if groups < n_folds <= len(np.unique(train.group)):
        n_folds = groups  # as many as can be held out one by one
    fold = np.full(len(train), -1, dtype=np.int64)
    fold[scored] = make_folds(train.y[scored], train.group[scored], n_folds, seed)
    return fold


def in_one_group(train: Dataset) -> NDArray[np.bool_]:
    """(n,) whether a row's class has all its photos in one group (one photo, one species …)."""
    classes, index = np.unique(train.y, return_inverse=True)
    groups = [len(np.unique(train.group[index == c])) for c in range(len(classes))]
    return np.asarray(np.array(groups)[index] == 1)


def out_of_fold(
    model: Model, train: Dataset, fold: Ints, which_train: Callable[[Bools], Bools] | None = None
) -> Predictions:
    """Each row with a fold, predicted by a copy of `model` fitted without its fold and its group.

    Classes are those of all rows, sorted; one that a training part lacks gets probability 0
    there. Of the rows (n,) that could train for a fold `which_train` says which do; the others
    are still predicted.

    Folds are fitted side by side, each on one thread: how sums are split between threads would
    change the last digits, and so the figures from one machine to the next.
    """
    import faiss  # noqa: F401 (what is loaded later escapes the limit)
    import lightgbm  # noqa: F401
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    classes = np.unique(train.y)
    P = np.zeros((len(train), len(classes)))

    def predict(held_out: int) -> None:
        test = fold == held_out
        fits = ~np.isin(train.group, train.group[test])
        fits = fits if which_train is None else which_train(fits)
        present = np.unique(train.y[fits])
        if len(present) == 1:  # all that is left to say
            P[test, np.searchsorted(classes, present)] = 1.0
            return
        fitted = model.unfitted().fit(train, fits)
        columns, X = np.searchsorted(classes, fitted.classes_), chosen_rows(train.X, test)
        P[np.ix_(test, columns)] = fitted.predict_proba(X, train.rows[test])

    at_once = 1 if model.columns else _blas_threads()
    with threadpool_limits(1):
        Parallel(at_once, backend="threading", batch_size=1)(
            delayed(copy_context().run)(predict, held_out)  # the context has the shared work
            for held_out in np.unique(fold[fold >= 0])
        )
    return _scored(train, P, fold)


def _blas_threads() -> int:
    from threadpoolctl import threadpool_info

    return max(
        (one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"), default=1
    )


def pooled_out_of_fold(members: Sequence[Predictions], sizes: Ints) -> Predictions:
    """The stack's own, from those of its heads on the same rows and folds.

    sizes : (C,) training photos of each class
    """
    first = members[0]
    P = crossfit_pool([m.P for m in members], first.y_index, first.fold, sizes)
    return replace(first, P=P)


def _scored(train: Dataset, P: Any, fold: Ints) -> Predictions:
    rows = fold >= 0
    ids = train.rows["id"][rows].tolist()
    return Predictions(
        ids, train.y[rows], P[rows], np.unique(train.y), fold[rows], train.group[rows]
    )
