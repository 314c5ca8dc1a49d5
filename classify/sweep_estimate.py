"""`cli sweep --dry-run`: how many cells there are, how long they take at most, and how much memory.

The seconds of a fold of Lite0's vectors of data/species (1,718 photos that train, 1,280
dimensions, 39 classes, no balance; fitting, and predicting the 430 others) were measured in
processor time on one core of a cloud machine, like what balancing adds. How they grow with photos
is from 5 a class, 25% and all photos there and from 500 to 6,000 drawn points; with dimensions (128
to 1,280) and classes (10 to 160), from drawn points around one centre a class. Heads choose their
own settings in them. They are rough, and other machines differ: where a workspace has finished
cells of a head, these tell how far off the seconds are.
"""

import statistics
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classify.cell import Cell, CellResult, photos_in_words
from classify.cell_data import DataKey, data_key
from classify.cell_store import cell_id, load_result
from classify.dataset import Dataset
from classify.grid import read_grid
from classify.sweep_inputs import load_inputs, usual_cell
from classify.sweep_memory import cell_bytes, plan_memory
from classify.sweep_progress import duration
from embed.errors import UserError
from embed.words import counted
from embed.workspace import Workspace
from retrieval.limits import memory_text

Sizes = dict[DataKey, NDArray[np.int64]]


class Cost(NamedTuple):
    """Seconds of a fold of data/species, and the powers with which they grow."""

    seconds: float
    photos: float
    dimensions: float
    classes: float
    balance: float = 0.0
    """of how many times as many rows there are after balancing"""


COSTS = {
    "logreg": Cost(4.0, 1.3, 0.8, 0.6, 0.05),
    "lgbm": Cost(2.1, 1.1, 0.2, 0.1),
    "knn": Cost(2.6, 1.3, 0.35, 0.0, 0.15),
    "lda": Cost(1.0, 1.3, 0.65, 0.4, 0.6),
    "centroid": Cost(0.25, 1.3, 0.55, 0.35),
    "tip": Cost(0.2, 0.7, 0.0, 0.5),
    "zeroshot": Cost(0.05, 1.3, 1.1, 0.0),
    "prior": Cost(0.02, 1.3, 0.75, 0.1),
    "lgbm-columns": Cost(1.4, 0.8, 0.35, 0.75, 0.4),
    # its heads' predictions are pooled once for all folds, not their heads fitted
    "stack": Cost(0.4, 1.0, 0.0, 0.8),
}
PHOTOS, DIMENSIONS, CLASSES = 1718, 1280, 39
INTERVALS = 0.05
"""seconds of the intervals of 1,000 predictions"""


@dataclass(frozen=True)
class Share:
    """The cells of one head on the same vectors with as many photos."""

    encoders: str
    head: str
    photos: str
    cells: int
    done: int
    """of them, computed by an earlier sweep"""
    seconds: float
    """of all that are not, one after the other, if nothing is shared"""
    bytes: int
    """bound of the memory that one takes, beside the vectors"""


@dataclass(frozen=True)
class Estimate:
    """What a sweep will take."""

    shares: list[Share]
    cells: int
    """of the grid"""
    members: int
    """further cells to compute: of the heads that stacks are made of"""
    done: int
    """of `cells`, computed by an earlier sweep"""
    seconds: float
    """until the sweep ends, at most: cells that share work take less"""
    memory: int
    """bytes of all processes at their peak"""
    jobs: int
    """tasks at a time; fewer than asked for where more do not fit into the memory"""
    measured: list[str]
    """heads whose seconds are from finished cells of this workspace"""
    notes: list[str] = field(default_factory=list)
    """on the grid and on the data"""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> list[dict[str, str]]:
        """A row for each head, vectors and photos."""
        return [
            {
                "encoders": one.encoders,
                "head": one.head,
                "photos": one.photos,
                "cells": f"{one.cells:,}",
                "done": f"{one.done:,}",
                "time": duration(one.seconds),
                "memory": memory_text(one.bytes),
            }
            for one in self.shares
        ]

    def lines(self) -> list[str]:
        """What comes under the table."""
        count = counted(self.cells, "cell")
        done = f", {self.done:,} of them there already" if self.done else ""
        more = f"; {self.members:,} more for the heads that stacks are made of"
        heads = f" (measured here: {', '.join(self.measured)})" if self.measured else ""
        return [
            f"{count}{done}{more if self.members else ''}",
            f"Time: at most {duration(self.seconds)} with {counted(self.jobs, 'job')}, roughly"
            f"{heads}; less as cells share work",
            f"Memory: up to {memory_text(self.memory)}",
        ]


def dry_run(
    workspace: Workspace,
    path: Path,
    jobs: int,
    split: str = "default",
    one_factor: str | None = None,
    memory: int | None = None,
) -> Estimate:
    """Read and check a grid as a sweep does, and say what it would take; nothing is computed.

    Raises `UserError` for all that is wrong with the grid.
    """
    grid = read_grid(path, usual_cell(workspace, split), one_factor)
    inputs = load_inputs(workspace, grid)
    found = estimate(workspace, grid.cells, inputs.trains, jobs, memory)
    return replace(found, notes=inputs.notes + grid.notes)


def estimate(
    workspace: Workspace,
    cells: Sequence[Cell],
    trains: Mapping[DataKey, Dataset],
    jobs: int,
    memory: int | None = None,
) -> Estimate:
    """What computing those of the `cells` will take that are not computed yet.

    trains : the training photos of every cell
    jobs, memory : as `classify.sweep.sweep` takes them
    """
    sizes = class_sizes(trains)
    folder = workspace.sweeps / "cells"
    ids = {path.stem for path in folder.glob("*.json")}
    every = dict.fromkeys(one for cell in cells for one in (cell, *cell.members))
    done = {cell for cell in every if cell_id(cell, trains[data_key(cell)]) in ids}
    members = {one for cell in cells if cell not in done for one in cell.members}
    wanted = members.union(cells) - done
    missing = [cell for cell in every if cell in wanted]
    factors = _factors(_finished(workspace, ids), trains, sizes)
    seconds, size = {}, {}
    for cell in every:
        key = data_key(cell)
        size[cell] = cell_bytes(cell, trains[key], len(sizes[key]))
    for cell in missing:
        key = data_key(cell)
        seconds[cell] = built_in_seconds(cell, trains[key], sizes[key]) * _factor(factors, cell)
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in dict.fromkeys([*cells, *missing]):
        photos = photos_in_words(cell.photos)
        groups.setdefault(("+".join(cell.encoders), cell.head, photos), []).append(cell)
    shares = [
        Share(
            *names,
            cells=len(group),
            done=len(done.intersection(group)),
            seconds=sum(seconds.get(cell, 0.0) for cell in group),
            bytes=max(size[cell] for cell in group),
        )
        for names, group in groups.items()
    ]
    plan = plan_memory(memory, jobs, trains.values(), max((size[c] for c in missing), default=0))
    return Estimate(
        shares=shares,
        cells=len(cells),
        members=len(set(missing).difference(cells)),
        done=len(done.intersection(cells)),
        seconds=max([sum(seconds.values()) / plan.jobs, *seconds.values()]),
        memory=plan.total,
        jobs=plan.jobs,
        measured=list(dict.fromkeys(c.head for c in missing if (c.head,) in factors)),
    )


def class_sizes(trains: Mapping[DataKey, Dataset]) -> Sizes:
    """How many photos each class has, (C,), by the key of the data."""
    return {key: np.unique(train.y, return_counts=True)[1] for key, train in trains.items()}


def built_in_seconds(cell: Cell, train: Dataset, sizes: NDArray[np.int64]) -> float:
    """What a cell takes on the machine that `COSTS` was measured on, nothing shared.

    sizes : (C,) photos of each class of `train`
    """
    fitted = sizes * (1 - 1 / cell.folds)
    if isinstance(cell.photos, int):
        fitted = np.minimum(fitted, cell.photos)
    elif cell.photos is not None:
        fitted = fitted * cell.photos
    adds = cell.balance not in ("none", "weights", "undersample")
    grown = len(sizes) * fitted.max() / fitted.sum() if adds else 1.0
    dimensions = min(train.X.shape[1], dict(cell.options).get("pca") or train.X.shape[1])
    cost = COSTS[cell.head]
    fold = (
        cost.seconds
        * (fitted.sum() / PHOTOS) ** cost.photos
        * (dimensions / DIMENSIONS) ** cost.dimensions
        * (len(sizes) / CLASSES) ** cost.classes
        * grown**cost.balance
    )
    return float(cell.folds * fold + INTERVALS * len(train) / 1000)


def _finished(workspace: Workspace, ids: Iterable[str]) -> Iterator[CellResult]:
    for id in ids:
        with suppress(UserError):  # a damaged one is told of when the sweep reads it
            result = load_result(workspace.sweeps / "cells", id)
            if result is not None and not result.error:
                yield result


def _factors(
    finished: Iterable[CellResult], trains: Mapping[DataKey, Dataset], sizes: Sizes
) -> dict[Hashable, float]:
    """How many times the built-in seconds cells took here: the medians of ever wider kinds."""
    keys = {key[0]: key for key in trains}
    ratios: dict[Hashable, list[float]] = {}
    for one in finished:
        key = keys.get(one.cell.encoders)
        if key is not None and one.seconds > 0:
            ratio = one.seconds / built_in_seconds(one.cell, trains[key], sizes[key])
            for kind in _kinds(one.cell):
                ratios.setdefault(kind, []).append(ratio)
    return {kind: statistics.median(found) for kind, found in ratios.items()}


def _factor(factors: Mapping[Hashable, float], cell: Cell) -> float:
    return next((factors[kind] for kind in _kinds(cell) if kind in factors), 1.0)


def _kinds(cell: Cell) -> list[tuple[Any, ...]]:
    """What the cell is alike to others in, the narrowest first; () is the machine alone."""
    names = tuple(name for name, _ in cell.options)
    return [(cell.head, names, cell.balance), (cell.head, names), (cell.head,), ()]
