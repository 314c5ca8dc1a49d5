"""The training photos of every cell of a grid, loaded and checked before anything runs."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from classify.cell import Cell
from classify.cell_data import DataKey, check_columns, data_key, training_data
from classify.class_texts import text_encoder
from classify.dataset import Dataset
from classify.fit import check_learnable
from classify.folds import held_out_folds
from classify.grid import Grid
from classify.heads import NEED_TEXTS
from classify.splits import Split
from embed.errors import UserError
from embed.vectors import chosen_folders, open_stores
from embed.workspace import Workspace


@dataclass(frozen=True)
class Inputs:
    """What the cells of a grid are fitted on."""

    trains: dict[DataKey, Dataset]
    notes: list[str]

    def train(self, cell: Cell) -> Dataset:
        """The training photos of a cell and their vectors."""
        return self.trains[data_key(cell)]

    @property
    def label(self) -> str:
        return next(iter(self.trains.values())).label


def usual_cell(workspace: Workspace, split: str = Cell.split) -> Cell:
    """The cell that a grid starts from: the encoders of the last `embed`, the split as named."""
    try:
        encoders = tuple(store.spec.name for store in open_stores(workspace, None))
    except UserError:  # a grid that names its encoders needs none; another is told when it runs
        encoders = ()
    return Cell(encoders, "logreg", split=split)


def load_inputs(workspace: Workspace, grid: Grid) -> Inputs:
    """The training rows that the grid's cells need; the test rows take no part.

    Raises `UserError`, with the line of the grid where there is one, for encoders without vectors,
    unknown splits, columns that are not there or tell the label, heads that need an encoder that
    knows words, more principal components than dimensions, and folds that cannot be made.
    """
    trains: dict[DataKey, Dataset] = {}
    notes: dict[str, None] = {}
    for cell in _different(grid, data_key):
        with _at(grid, "encoders", cell.encoders):
            chosen_folders(workspace, cell.encoders)
        if cell.split != Cell.split:
            with _at(grid, "splits", cell.split):
                Split.load(workspace.split(cell.split))
        train, said = training_data(workspace, cell)
        check_learnable(train)
        trains[data_key(cell)] = train
        notes |= dict.fromkeys(said)
    inputs = Inputs(trains, list(notes))
    _check(grid, inputs)
    return inputs


def _check(grid: Grid, inputs: Inputs) -> None:
    for cell in _different(grid, lambda cell: (cell.split, cell.columns)):
        if cell.columns:
            with _at(grid, "columns", cell.columns):
                check_columns(inputs.train(cell), cell.columns)
    for cell in _different(grid, lambda cell: (cell.split, cell.folds)):
        with _at(grid, "folds", cell.folds):
            held_out_folds(inputs.train(cell), cell.folds, cell.seed)
    for cell in _different(grid, lambda cell: (data_key(cell), cell.head)):
        if cell.head in NEED_TEXTS and text_encoder(inputs.train(cell)) is None:
            with _at(grid, "heads", cell.head):
                raise UserError(
                    f"{cell.head} compares photos with the names of their classes, which takes an "
                    "encoder that knows words: bioclip, bioclip-2 or another of open_clip."
                )
    for cell in _different(grid, lambda cell: (cell.encoders, cell.options)):
        width = inputs.train(cell).X.shape[1]
        for name, axes in cell.options:
            if name.rpartition(".")[2] == "pca" and axes is not None and axes > width:
                with _at(grid, "pca", axes):
                    raise UserError(
                        f"pca = {axes}, but the vectors of {'+'.join(cell.encoders)} have only "
                        f"{width:,} dimensions. Take at most as many."
                    )


def _different(grid: Grid, key: Callable[[Cell], Hashable]) -> list[Cell]:
    """The first cell of every key."""
    found: dict[Hashable, Cell] = {}
    for cell in grid.cells:
        found.setdefault(key(cell), cell)
    return list(found.values())


@contextmanager
def _at(grid: Grid, axis: str, value: Hashable) -> Iterator[None]:
    """Say where the grid asks for what turns out to be impossible."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{grid.place(axis, value)}: {error}") from error
