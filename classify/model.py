"""What a run keeps to predict with: a head or a stack, and the columns it takes beside vectors."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from classify.dataset import Dataset
from classify.heads import HEADS, read_state
from classify.shared_work import shared
from classify.stack import Stack
from embed.files import write_bytes

if TYPE_CHECKING:
    from classify.columns import SideColumns

FORMAT = "familia-model-2"
_COLUMNS = "columns/"

TextVectors = Callable[[Sequence[str]], NDArray[np.float32]]


class Model:
    """A head (or stack) and, where it has a second input, the encoding of the table's columns.

    Both are fitted on the same training rows, so inside every fold. The columns do not depend on
    the head: `fits` has those that were fitted, by their rows, so that several heads share them.
    """

    def __init__(
        self,
        head: Any,
        columns: "SideColumns | None" = None,
        fits: "dict[bytes, SideColumns] | None" = None,
    ) -> None:
        self.head = head
        self.columns = columns
        self._fits = {} if fits is None else fits

    @property
    def classes_(self) -> NDArray[np.str_]:
        return np.asarray(self.head.classes_)

    @property
    def notes(self) -> list[str]:
        """What a reader of its figures must know."""
        of_columns = [] if self.columns is None else self.columns.notes
        return [*of_columns, *getattr(self.head, "notes_", np.array([], dtype=str)).tolist()]

    def unfitted(self) -> "Model":
        """The same settings without anything learnt."""
        columns = None if self.columns is None else self.columns.unfitted()
        return Model(clone(self.head), columns, self._fits)

    def fit(self, train: Dataset, rows: NDArray[np.bool_] | None = None) -> Self:
        """Fit on the `rows` (n,) of `train`, by default all."""
        chosen = np.ones(len(train), dtype=bool) if rows is None else rows
        X, y, table = chosen_rows(train.X, chosen), train.y[chosen], train.rows[chosen]
        if self.columns is not None:
            key = chosen.tobytes()
            if key not in self._fits:
                index = np.unique(y, return_inverse=True)[1]
                self._fits[key] = self.columns.fit(table, X, index, train.group[chosen])
            self.columns = self._fits[key]
        self.head.set_params(layout=train.layout).fit(self.inputs(X, table), y)
        return self

    def inputs(self, X: NDArray[np.float32], table: Any = None) -> NDArray[np.float32]:
        """(n, dim) vectors with the encoded columns of their rows at the right.

        Where there is no `table` (n rows), all its values count as missing.
        """
        if self.columns is None:
            return X
        side = self.columns.transform(self.columns.blank(len(X)) if table is None else table)
        return _joined(X, side)

    def predict_proba(self, X: NDArray[np.float32], table: Any = None) -> NDArray[np.float64]:
        """(n, C) probabilities in the order of `classes_`, rows summing to 1."""
        return np.asarray(self.head.predict_proba(self.inputs(X, table)), dtype=np.float64)

    def save(self, path: Path) -> None:
        """Write `path` (.npz): plain arrays, no pickle, whole or not at all."""
        state = self.head.state()
        if self.columns is not None:
            state |= {_COLUMNS + key: value for key, value in self.columns.state().items()}
        buffer = io.BytesIO()
        np.savez(buffer, format=FORMAT, head=self.head.name, keys=np.array(list(state)), **state)
        write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path, text_vectors: TextVectors | None = None) -> "Model":
        """The model in `path`; it predicts as it did, bit for bit.

        text_vectors : for columns that go through an encoder's text side
        A missing, damaged or foreign file is a `UserError`. Nothing in it is executed.
        """

        def build(name: str, state: dict[str, Any]) -> Model:
            from classify.columns import SideColumns

            side = {k.removeprefix(_COLUMNS): v for k, v in state.items() if k.startswith(_COLUMNS)}
            own = {k: v for k, v in state.items() if not k.startswith(_COLUMNS)}
            kind: Any = Stack if name == Stack.name else HEADS[name]
            columns = SideColumns.from_state(side, text_vectors) if side else None
            return cls(kind.from_state(own), columns)

        model: Model = read_state(path, FORMAT, build)
        return model


@shared
def chosen_rows(X: NDArray[np.float32], chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The rows of `X` (n, dim) that are `chosen` (n,)."""
    return X[chosen]


@shared
def _joined(X: NDArray[np.float32], side: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.hstack([X, side])
