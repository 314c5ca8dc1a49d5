"""What every head shares: centred unit rows, balancing inside `fit`, a state without pickle."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from classify.balance import resample

State = dict[str, np.ndarray[Any, Any]]


def unit_rows(X: Any) -> Any:
    """Rows of `X` (n, dim) scaled to length 1; a row of zeros stays one. Same dtype."""
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms > np.finfo(X.dtype).tiny, norms, 1)


class Head(ClassifierMixin, BaseEstimator, ABC):
    """A classifier of embeddings.

    Every head first subtracts the training mean and scales rows back to length 1: angles between
    embeddings then spread over the sphere, which is what nearest neighbours and linear heads need
    (Wang et al. 2019, SimpleShot). A new head is one file that fills in `_fit` and `_proba`, and a
    line in `classify.heads.HEADS`.

    Parameters
    ----------
    balance : "none", "weights", "oversample" or "smote"; applied to the training rows in `fit`
    random_state : int

    Attributes
    ----------
    classes_ : (C,) sorted labels
    mean_ : (dim,) training mean, dtype of the training rows
    notes_ : array of str, what a reader of the result must know (classes too small for SMOTE)
    """

    name: ClassVar[str]

    def __init__(self, balance: str = "none", random_state: int = 0) -> None:
        self.balance = balance
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on `X` (n, dim) float rows and their labels `y` (n,), of two classes or more."""
        X, y = validate_data(self, X, y, dtype=[np.float32, np.float64])
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"expected two classes or more, got one class: {self.classes_[0]}")
        self.mean_ = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
        self._fit(unit_rows(X - self.mean_), index)
        return self

    def predict_proba(self, X: Any) -> Any:
        """Probabilities (n, C) float64, columns in the order of `classes_`, rows summing to 1."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        return self._proba(unit_rows(X - self.mean_))

    def predict(self, X: Any) -> Any:
        """The likeliest class of each row, (n,)."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

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
        return new.X, np.searchsorted(self.classes_, new.y), new.weights

    def state(self) -> State:
        """Parameters and fitted attributes as arrays of numbers, strings or bytes."""
        check_is_fitted(self)
        fitted = {key: value for key, value in vars(self).items() if key.endswith("_")}
        return {key: _plain(value) for key, value in (self.get_params() | fitted).items()}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The head whose `state()` this is; it gives the same probabilities, bit for bit."""
        values: dict[str, Any] = {
            key: value if value.ndim else value.item() for key, value in state.items()
        }
        head: Self = cls(**{key: values.pop(key) for key in cls().get_params()})
        head.__dict__.update(values)
        return head


def _plain(value: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    return array.astype(str) if array.dtype.kind not in "biufU" else array
