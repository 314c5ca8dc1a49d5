"""Out of fold: no row is predicted by a model that saw it or its group."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.base import Head
from classify.dataset import Dataset
from classify.folds import held_out_folds, in_one_group, out_of_fold
from classify.model import Model
from embed.errors import UserError


class Memory(Head):
    """Says class by class how many rows it was fitted on; knows the row numbers it saw."""

    name = "memory"
    seen: list[set[int]] = []  # noqa: RUF012 (clones share it on purpose)

    def fit(self, X: Any, y: Any) -> "Memory":
        self.classes_ = np.unique(y)
        self.rows_ = {int(row) for row in X[:, 0]}
        Memory.seen.append(self.rows_)
        return self

    def predict_proba(self, X: Any) -> Any:
        assert not self.rows_ & {int(row) for row in X[:, 0]}
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))

    def _fit(self, rows: Any, index: Any) -> None: ...

    def _proba(self, rows: Any) -> Any: ...


def dataset(y: list[int], group: list[int]) -> Dataset:
    n = len(y)
    X = np.arange(n, dtype=np.float32)[:, None]
    rows = pd.DataFrame({"id": [str(i) for i in range(n)], "key": [str(i) for i in range(n)]})
    labels, groups = np.array(y).astype(str), np.array(group).astype(str)
    return Dataset(rows, X, labels, np.full(n, "train"), groups, "family", ())


@settings(deadline=None, max_examples=60)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=4, max_size=50),
    n_folds=st.integers(2, 4),
)
def test_no_group_is_on_both_sides(pairs: list[tuple[int, int]], n_folds: int) -> None:
    y, group = (list(column) for column in zip(*pairs, strict=True))
    train = dataset(y, group)
    if len(set(group)) < n_folds or len(set(y)) < 2:
        return
    fold = held_out_folds(train, n_folds, 0)
    Memory.seen.clear()
    found = out_of_fold(Model(Memory()), train, fold)
    assert [int(id_) for id_ in found.ids] == np.flatnonzero(fold >= 0).tolist()
    np.testing.assert_allclose(found.P.sum(axis=1), 1)
    for fitted in Memory.seen:
        assert any(
            not {group[i] for i in fitted} & {group[i] for i in np.flatnonzero(fold == f)}
            for f in np.unique(fold[fold >= 0])
        )


def test_a_class_of_one_group_always_trains() -> None:
    train = dataset([0] * 6 + [1] * 4 + [2], [0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 4])
    assert in_one_group(train).tolist() == [False] * 6 + [True] * 5
    fold = held_out_folds(train, 3, 0)
    assert (fold >= 0).tolist() == [True] * 6 + [False] * 5
    Memory.seen.clear()
    found = out_of_fold(Model(Memory()), train, fold)
    assert all(set(range(6, 11)) <= fitted for fitted in Memory.seen)
    assert found.classes.tolist() == ["0", "1", "2"]


def test_where_every_class_is_such_a_one_all_are_held_out() -> None:
    train = dataset([0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2])
    fold = held_out_folds(train, 3, 0)
    assert sorted(set(fold.tolist())) == [0, 1, 2]


def test_fewer_groups_to_hold_out_than_folds() -> None:
    train = dataset([0, 0, 1, 2], [0, 1, 2, 3])
    assert sorted(set(held_out_folds(train, 4, 0).tolist())) == [-1, 0, 1]
    with pytest.raises(UserError, match="--folds"):
        held_out_folds(train, 5, 0)


def test_rows_that_may_not_train_are_still_predicted() -> None:
    train = dataset([0, 1] * 6, list(range(12)))
    Memory.seen.clear()
    found = out_of_fold(
        Model(Memory()), train, held_out_folds(train, 3, 0), lambda fits: fits & (np.arange(12) < 8)
    )
    assert len(found.ids) == 12
    assert all(max(fitted) < 8 for fitted in Memory.seen)
