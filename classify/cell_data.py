"""What a cell of a sweep is fitted on, and the model that is fitted, as `cli fit` makes it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from classify.cell import Cell
from classify.class_texts import class_texts, text_encoder
from classify.columns import SideColumns
from classify.dataset import Dataset, load_dataset
from classify.heads import NEED_TEXTS, make_head
from classify.model import Model
from embed.parts import unit
from embed.texts import text_vectors
from embed.workspace import Workspace

Bools = NDArray[np.bool_]
DataKey = tuple[tuple[str, ...], str, str]


def data_key(cell: Cell) -> DataKey:
    """Cells of an equal key have equal training photos and vectors."""
    return cell.encoders, cell.split, cell.precision


def training_data(workspace: Workspace, cell: Cell) -> tuple[Dataset, list[str]]:
    """The training rows of a cell and notes on the data. The test rows take no part."""
    dataset, notes = load_dataset(workspace, cell.encoders, cell.split)
    train = dataset.part("train")
    if cell.precision == "float16":
        train = replace(train, X=_as_float16(train))
    return train, notes


def _as_float16(train: Dataset) -> NDArray[np.float32]:
    ends = np.cumsum(train.layout)[:-1]
    blocks = np.split(train.X, ends, axis=1)
    rounded = [unit(unit(block).astype(np.float16)) for block in blocks]
    return np.hstack(rounded) / np.float32(np.sqrt(len(blocks)))


def cell_model(workspace: Workspace, cell: Cell, train: Dataset) -> Model:
    """The unfitted model of a cell that is no stack."""
    if cell.head == "stack":
        raise ValueError("a stack is made of its members' predictions")
    columns = None
    if cell.columns:
        spec = text_encoder(train)
        texts = partial(text_vectors, workspace, spec.source) if spec else None
        columns = SideColumns(cell.columns, texts)
    options = dict(cell.options)
    if cell.head in NEED_TEXTS:
        options |= class_texts(workspace, train)
    return Model(make_head(cell.head, cell.balance, cell.seed, **options), columns)


def which_train(train: Dataset, cell: Cell) -> Callable[[Bools], Bools]:
    """Of rows (n,) that could train those that do: with one seed, fewer photos lie within more."""
    return partial(drawn, train.y, cell.photos, cell.seed)


def drawn(
    y: NDArray[np.str_], photos: int | float | None, seed: int, among: Bools | None = None
) -> Bools:
    """(n,) which of the rows `among` (n,), by default all, are taken.

    `photos`, or that share and at least one, of each class `y` (n,); None takes all.
    """
    among = np.ones(len(y), dtype=bool) if among is None else among
    if photos is None:
        return among
    kept = np.zeros(len(y), dtype=bool)
    order = np.random.default_rng(seed).permutation(len(y))
    for name in np.unique(y[among]):
        members = order[(y[order] == name) & among[order]]
        most = photos if isinstance(photos, int) else max(1, round(photos * len(members)))
        kept[members[:most]] = True
    return kept


def check_columns(train: Dataset, columns: tuple[str, ...]) -> None:
    """Refuse columns that tell the label: a sweep has no `--allow-leak`."""
    from classify.leaks import refuse_leaks

    refuse_leaks(train.rows, train.y, columns, train.label, False, train.group)
