"""What a worker of a sweep does: the cells of a task one by one, each saved as soon as it ends."""

import ctypes
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from classify.cell import Cell, CellResult
from classify.cell_data import cell_model, which_train
from classify.cell_store import cell_id, load_result, save_result
from classify.columns import SideColumns
from classify.dataset import Dataset
from classify.digests import unchanging
from classify.folds import held_out_folds, out_of_fold, pooled_out_of_fold
from classify.metrics import HEADLINE, intervals
from classify.model import Model
from classify.resources import Meter
from classify.runs import Predictions
from classify.shared_work import SharedWork, timed
from embed.errors import UserError
from embed.workspace import Workspace

Task = Sequence[tuple[Cell, str]]
"""cells with their ids, which differ in nothing but balance and the head's parameters"""


@dataclass(frozen=True)
class Job:
    """What all tasks of a sweep have in common."""

    workspace: Workspace
    cells: Path
    """the folder of the finished cells"""
    memo_bytes: int
    """for what a worker keeps of shared work"""
    name: str = field(default_factory=lambda: os.urandom(8).hex())
    """of this run of the sweep: a worker forgets what it kept for another"""
    parent: int | None = None
    """the process without which there is no use in going on"""

    def end_if_orphaned(self) -> None:
        """End this process where the one that hands out the tasks was killed."""
        if self.parent is not None and self.parent not in (os.getpid(), os.getppid()):
            os._exit(1)


def run_task(job: Job, train: Dataset, task: Task) -> dict[str, str]:
    """Compute and save the cells that are not there yet; the reasons of those that failed, by id.

    BLAS has one thread: as many workers as cores are busy, and sums in another order would give
    other last digits than those of other cells.
    """
    import faiss  # noqa: F401  # loaded before threads are limited, so that its own are too
    import lightgbm  # noqa: F401
    from threadpoolctl import threadpool_limits

    errors: dict[str, str] = {}
    with one_core(), threadpool_limits(1), _memo(job).active():
        fit = _Fitting(job, train, task[0][0])
        for cell, id in task:
            job.end_if_orphaned()
            if (job.cells / f"{id}.json").exists():
                continue
            try:
                fit(cell, id)
            except Exception as error:  # one cell must not stop the others
                errors[id] = reason(error)
    job.end_if_orphaned()
    return errors


def reason(error: BaseException) -> str:
    """Why a cell failed, on one line."""
    said = " ".join(str(error).split())
    return said if isinstance(error, UserError) else f"{type(error).__name__}: {said}"


class _Fitting:
    """The photos, folds and columns that the cells of a task share."""

    def __init__(self, job: Job, train: Dataset, first: Cell) -> None:
        self.job, self.train = job, train
        unchanging(train.X)
        self.which_train = which_train(train, first)
        self.fold = held_out_folds(train, first.folds, first.seed)
        self.columns = _ColumnFits()

    def __call__(self, cell: Cell, id: str) -> None:
        """Compute and save a cell."""
        make = self._stack if cell.head == "stack" else self._head
        _give_back()
        with Meter() as meter:
            predictions, result = make(cell, id)
        y, P, groups = predictions.y_index, predictions.P, predictions.group
        figures = intervals(y, P, HEADLINE, groups=groups)
        done = {"figures": figures, "peak_bytes": max(meter.peak_bytes, result["peak_bytes"])}
        save_result(self.job.cells, CellResult(cell, id, **(result | done)), predictions)

    def _head(self, cell: Cell, id: str) -> tuple[Predictions, dict[str, Any]]:
        model = cell_model(self.job.workspace, cell, self.train)
        weighed = Weighed(model.head, model.columns, self.columns)
        before = self.columns.saved
        with timed() as took:
            predictions = out_of_fold(weighed, self.train, self.fold, self.which_train)
        fits = weighed.fits
        return predictions, {
            "seconds": took.seconds + self.columns.saved - before,
            "spent": took.spent,
            "peak_bytes": 0,
            "model_bytes": int(np.mean([one.bytes for one in fits])) if fits else 0,
            "train_photos": float(np.mean([one.photos for one in fits])) if fits else 0.0,
            "notes": tuple(dict.fromkeys(note for one in fits for note in one.notes)),
        }

    def _stack(self, cell: Cell, id: str) -> tuple[Predictions, dict[str, Any]]:
        folder = self.job.cells
        members = [load_result(folder, cell_id(one, self.train)) for one in cell.members]
        there = [one for one in members if one is not None]
        if len(there) < len(members):
            raise UserError("one of the heads that it is made of is not there")
        taken = self.which_train(np.ones(len(self.train), dtype=bool))
        sizes = np.unique(self.train.y[taken], return_counts=True)[1]
        with timed() as took:
            files = [folder / f"{one.id}.parquet" for one in there]
            predictions = pooled_out_of_fold([Predictions.load(file) for file in files], sizes)
        return predictions, {
            "seconds": took.seconds + sum(one.seconds for one in there),
            "spent": took.spent,
            "peak_bytes": max(one.peak_bytes for one in there),
            "model_bytes": sum(one.model_bytes for one in there),
            "train_photos": there[0].train_photos,
            "notes": (),
        }


@dataclass(frozen=True)
class _Fit:
    """What is worth knowing of a head fitted for one fold."""

    bytes: int
    photos: int
    notes: tuple[str, ...]


class Weighed(Model):
    """A model that keeps a record of each of its copies that `out_of_fold` fits."""

    def __init__(
        self,
        head: Any,
        columns: SideColumns | None,
        shared: dict[bytes, SideColumns],
        fits: list[_Fit] | None = None,
    ) -> None:
        super().__init__(head, columns, shared)
        self.fits = [] if fits is None else fits

    def unfitted(self) -> "Weighed":
        copy = super().unfitted()
        return Weighed(copy.head, copy.columns, self._fits, self.fits)

    def fit(self, train: Dataset, rows: NDArray[np.bool_] | None = None) -> Self:
        super().fit(train, rows)
        states = [self.head.state(), {} if self.columns is None else self.columns.state()]
        size = sum(np.asarray(array).nbytes for state in states for array in state.values())
        photos = len(train) if rows is None else int(rows.sum())
        self.fits.append(_Fit(size, photos, tuple(self.notes)))
        return self


class _ColumnFits(dict[bytes, SideColumns]):
    """Encodings of the table's columns by their rows (see `Model`), and the seconds they saved."""

    def __init__(self) -> None:
        self.saved, self._began, self._took = 0.0, 0.0, dict[bytes, float]()

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        if isinstance(key, bytes) and found:
            self.saved += self._took[key]
        self._began = time.perf_counter()
        return found

    def __setitem__(self, key: bytes, value: SideColumns) -> None:
        self._took[key] = time.perf_counter() - self._began
        super().__setitem__(key, value)


_memos: dict[str, SharedWork] = {}


def _memo(job: Job) -> SharedWork:
    """What this process keeps of shared work, for all tasks of one sweep."""
    if job.name not in _memos:
        _memos.clear()
        _memos[job.name] = SharedWork(job.memo_bytes)
    return _memos[job.name]


def forget() -> None:
    """Free what this process kept of shared work."""
    _memos.clear()


def _give_back() -> None:
    """Freed memory to the system, where it can be asked: so that a cell's peak is its own."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def one_core() -> Iterator[None]:
    """`joblib.cpu_count()` is 1 inside: heads that use threads of their own use one."""
    name = "LOKY_MAX_CPU_COUNT"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
