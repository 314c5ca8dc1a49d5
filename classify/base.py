"""What every head shares: centred unit rows, balancing inside `fit`, a state without pickle."""

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from classify.balance import BALANCES, resample
from classify.multinomial import principal_axes
from classify.ranges import whole
from classify.shared_work import shared

State = dict[str, np.ndarray[Any, Any]]


def unit_rows(X: Any) -> Any:
    """Rows of `X` (n, dim) scaled to length 1; a row of zeros stays one. Same dtype."""
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms > np.finfo(X.dtype).tiny, norms, 1)


class Head(ClassifierMixin, BaseEstimator, ABC):
    """A classifier of embeddings.

    Every head first subtracts the training mean and scales rows back to length 1: angles between
    embeddings then spread over the sphere, which is what nearest neighbours and linear heads need
    (Wang et al. 2019, SimpleShot). Of several encoders side by side each is scaled by itself, so
    that all count the same. A new head is one file that fills in `_fit` and `_proba`, and a line
    in `classify.heads.HEADS`.

    Parameters
    ----------
    balance : one of `classify.balance.BALANCES`; applied to the training rows in `fit`
    random_state : int
    layout : widths of the encoders' blocks in `X`; () is one block of all columns. What stands
        right of them are columns of the table (`classify.columns`)
    pca : None, or how many principal axes of the training rows the rows are projected on, blocks
        together, and scaled to length 1 again; all that there are if they are fewer. Heads that
        compare rows with texts have no such parameter

    Attributes
    ----------
    classes_ : (C,) sorted labels
    mean_ : (dim,) training mean, dtype of the training rows
    axes_ : (dim, pca), orthonormal, the strongest first; only with `pca`
    notes_ : array of str, what a reader of the result must know (classes too small for SMOTE)
    """

    name: ClassVar[str]
    centred: ClassVar[bool] = True  # False: rows as the encoder gives them, to compare with texts
    balances: ClassVar[tuple[str, ...]] = BALANCES  # those that mean something to this head

    def __init__(
        self,
        balance: str = "none",
        random_state: int = 0,
        layout: tuple[int, ...] = (),
        pca: int | None = None,
    ) -> None:
        self.balance = balance
        self.random_state = random_state
        self.layout = layout
        self.pca = pca

    def check(self) -> None:
        """Raise ValueError for a parameter out of its range; `fit` does so first."""
        if self.balance not in self.balances:
            raise ValueError(
                f"balance must be one of {', '.join(self.balances)}, got {self.balance!r}"
            )
        whole("pca", self.pca, optional=True)

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on `X` (n, dim) float rows and their labels `y` (n,), of two classes or more."""
        self.check()
        X, y = validate_data(self, X, y, dtype=[np.float32, np.float64])
        check_classification_targets(y)
        self.classes_, index = _numbered(y)
        if len(self.classes_) < 2:
            raise ValueError(f"expected two classes or more, got one class: {self.classes_[0]}")
        self.notes_ = np.array([], dtype=str)
        self.mean_, rows = _centred(X, self.layout, self.centred)
        notes: list[str] = []
        if self.pca is not None:
            axes = principal_axes(rows)
            self.axes_ = _strongest(axes, self.pca)
            rows = _onto(rows, self.axes_)
            if axes.shape[1] < self.pca:
                only = f"only {axes.shape[1]} principal axes"
                notes = [f"pca is {self.pca}, but the training photos have {only}: all are taken."]
        self._fit(rows, index)
        self.notes_ = np.array([*self.notes_, *notes], dtype=str)
        return self

    def predict_proba(self, X: Any) -> Any:
        """Probabilities (n, C) float64, columns in the order of `classes_`, rows summing to 1."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        return self._proba(self._rows(X))

    def predict(self, X: Any) -> Any:
        """The likeliest class of each row, (n,)."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    def logits(self, X: Any) -> Any:
        """(n, C) of a linear head, whose softmax is `predict_proba`; None of others."""
        if not hasattr(self, "coef_"):
            return None
        rows = self._rows(validate_data(self, X, dtype=[np.float32, np.float64], reset=False))
        return rows @ self.coef_.T + self.intercept_

    def _rows(self, X: Any) -> Any:
        """Centred rows of length 1, to which every block of the layout gives the same share."""
        rows = centred_rows(X, self.mean_, self.layout)
        return _onto(rows, self.axes_) if hasattr(self, "axes_") else rows

    @property
    def _blocks(self) -> tuple[int, ...]:
        """The layout of what `_rows` gives: on principal axes all blocks are one."""
        return self.layout if self.pca is None else ()

    @abstractmethod
    def _fit(self, rows: Any, index: Any) -> None:
        """Fit on centred unit `rows` (n, dim) and class numbers `index` (n,)."""

    @abstractmethod
    def _proba(self, rows: Any) -> Any:
        """Probabilities (n, C) float64 of centred unit `rows` (n, dim)."""

    def _balanced(self, columns: Any, index: Any) -> tuple[Any, Any, Any]:
        """Columns, class numbers and weights (or None) after balancing; real rows come first."""
        new = resample(columns, self.classes_[index], self.balance, self.random_state)
        self.notes_ = np.array(new.notes, dtype=str)
        if new.X is columns:
            return columns, index, new.weights
        return new.X, np.searchsorted(self.classes_, new.y), new.weights

    def state(self) -> State:
        """Parameters (as JSON; arrays by themselves) and fitted attributes, without any object."""
        check_is_fitted(self)
        given = self.get_params()
        arrays = {key: value for key, value in given.items() if isinstance(value, np.ndarray)}
        plain = json.dumps({key: value for key, value in given.items() if key not in arrays})
        fitted = {key: value for key, value in vars(self).items() if key.endswith("_")}
        return {
            "parameters": np.array(plain),
            **{key: _plain(value) for key, value in (arrays | fitted).items()},
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The head whose `state()` this is; it gives the same probabilities, bit for bit."""
        plain = json.loads(str(state["parameters"]))
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()
        }
        names = set(cls().get_params())
        given |= {key: state[key] for key in names & state.keys()}
        head: Self = cls(**given)
        for key in state.keys() - names - {"parameters"}:
            value = state[key]
            setattr(head, key, value if value.ndim else value.item())
        return head


def _plain(value: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    return array.astype(str) if array.dtype.kind not in "biufU" else array


@shared
def _numbered(y: Any) -> tuple[Any, Any]:
    """The classes, sorted, and the number (n,) of each label."""
    classes, index = np.unique(y, return_inverse=True)
    return classes, index


@shared
def _centred(X: Any, layout: tuple[int, ...], centred: bool) -> tuple[Any, Any]:
    """The mean, of zeros if not `centred`, and the rows that `centred_rows` makes with it."""
    mean = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    mean = mean if centred else np.zeros_like(mean)
    return mean, centred_rows(X, mean, layout)


@shared
def centred_rows(X: Any, mean: Any, layout: tuple[int, ...]) -> Any:
    """`X` (n, dim) less `mean`, of length 1; every block of the layout has the same share."""
    rows = X - mean
    if len(layout) == 0:
        return unit_rows(rows)
    *blocks, table = np.split(rows, np.cumsum(layout), axis=1)
    share = np.sqrt(rows.dtype.type(len(blocks)))
    joined = np.hstack([*(unit_rows(block) / share for block in blocks), table])
    return unit_rows(joined) if table.shape[1] else joined


@shared
def _strongest(axes: Any, count: int) -> Any:
    """The first `count` of axes (dim, r) that come the weakest first, the strongest first."""
    return np.ascontiguousarray(axes[:, ::-1][:, :count])


@shared
def _onto(rows: Any, axes: Any) -> Any:
    """Unit rows (n, r) on the axes (dim, r)."""
    return unit_rows(rows @ axes)
