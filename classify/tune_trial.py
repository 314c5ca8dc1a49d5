"""One configuration fold by fold, given up as soon as it is clearly worse than the best so far."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.bootstrap import difference, resampled
from classify.cell import Cell, CellResult
from classify.cell_data import cell_model, training_data, which_train
from classify.cell_store import cell_id, load_result, save_result
from classify.dataset import Dataset
from classify.digests import unchanging
from classify.folds import held_out_folds, out_of_fold, pooled_out_of_fold
from classify.metrics import HEADLINE, LESS_IS_BETTER, intervals, score
from classify.outcomes import Outcomes
from classify.resources import Meter
from classify.runs import Predictions
from classify.shared_work import timed
from classify.stack import fit_pool
from classify.sweep_work import Weighed, reason
from embed.workspace import Workspace

CHANCE = 0.1  # that the difference is above 0 though: a trial that has less of it is given up
N_BOOT = 300  # resamples that say so
Predict = Callable[[Dataset], NDArray[np.float64]]


class OutOfTimeError(Exception):
    """The time was up between two folds."""


@dataclass(frozen=True)
class Tried:
    """What came of a trial."""

    cell: Cell
    id: str
    steps: tuple[float, ...] = ()
    """the metric over the first fold, the first two, and so on; of a stack, and of a cell that was
    there already, only that of all"""
    pruned: bool = False
    error: str = ""
    reused: bool = False
    seconds: float = 0.0


class Trials:
    """Evaluates configurations on the training photos, or on a part of them.

    Threads may share it. Finished cells are saved in `cells` as those of sweeps are, and one that
    is there costs nothing.

    Parameters
    ----------
    part : which rows of the training photos take part, (n,) bool of a `Dataset`; by default all
    """

    def __init__(
        self,
        workspace: Workspace,
        cells: Path,
        metric: str,
        part: Callable[[Dataset], NDArray[np.bool_]] | None = None,
    ) -> None:
        self.workspace, self.cells, self.metric, self._part = workspace, cells, metric, part
        self._data: dict[tuple[str, ...], Dataset] = {}
        self._lock = Lock()
        self.outcomes = lru_cache(4)(self._outcomes)

    def data(self, cell: Cell) -> Dataset:
        """The photos that a configuration is evaluated on."""
        with self._lock:
            if cell.encoders not in self._data:
                train, _ = training_data(self.workspace, cell)
                if self._part is not None:
                    train = train.some(self._part(train))
                unchanging(train.X)
                self._data[cell.encoders] = train
            return self._data[cell.encoders]

    def id(self, cell: Cell) -> str:
        return cell_id(cell, self.data(cell))

    def evaluate(
        self, cell: Cell, rival: Cell | None = None, stop: Callable[[], bool] = lambda: False
    ) -> Tried:
        """Fit and score all folds of a cell and save it.

        After each fold `stop` is asked (True: `OutOfTimeError`), and the trial is pruned where a
        paired bootstrap over the photos so far leaves less than `CHANCE` to its being better than
        the finished `rival`. A failure is in `error`.
        """
        id, start = self.id(cell), time.perf_counter()
        if (found := load_result(self.cells, id)) is not None:
            return Tried(cell, id, (found.figures[self.metric][0],), reused=True)
        try:
            tried = (
                self._stack(cell, id, stop) if cell.members else self._head(cell, id, rival, stop)
            )
        except (OutOfTimeError, MemoryError):
            raise
        except Exception as error:  # one configuration must not stop the others
            tried = Tried(cell, id, error=reason(error))
        return replace(tried, seconds=time.perf_counter() - start)

    def predictions(self, cell: Cell) -> Predictions:
        """Out of fold; computed anew where the file is gone."""
        path = self.cells / f"{self.id(cell)}.parquet"
        if not path.exists():
            path.with_suffix(".json").unlink(missing_ok=True)
            if error := self.evaluate(cell).error:
                raise RuntimeError(f"{cell.describe()} was fitted before, and now fails: {error}")
        return Predictions.load(path)

    def fitted(self, cell: Cell) -> Predict:
        """The configuration fitted on all the photos here; gives (m, C) of m other ones."""
        train = self.data(cell)
        if not cell.members:
            model = cell_model(self.workspace, cell, train).fit(train)
            return lambda new: model.predict_proba(new.X, new.rows)
        out = [self.predictions(member) for member in cell.members]
        sizes = np.unique(train.y, return_counts=True)[1]
        pool = fit_pool([one.P for one in out], out[0].y_index, out[0].fold, sizes)
        members = [self.fitted(member) for member in cell.members]
        return lambda new: pool([predict(new) for predict in members])

    def _outcomes(self, cell: Cell) -> Outcomes:
        found = self.predictions(cell)
        return Outcomes.of(found.y_index, found.P)

    def _head(self, cell: Cell, id: str, rival: Cell | None, stop: Callable[[], bool]) -> Tried:
        train = self.data(cell)
        fold, allowed = held_out_folds(train, cell.folds, cell.seed), which_train(train, cell)
        plain = cell_model(self.workspace, cell, train)
        model = Weighed(plain.head, plain.columns, {})
        classes, index = np.unique(train.y, return_inverse=True)
        scored, steps = fold >= 0, []
        P, done = np.zeros((len(train), len(classes))), np.zeros(len(train), dtype=bool)
        with Meter() as meter, timed() as took:
            for number in np.unique(fold[scored]):
                if stop():
                    raise OutOfTimeError
                now = fold == number
                P[now] = out_of_fold(model, train, np.where(now, fold, -1), allowed).P
                done |= now
                steps.append(score(index[done], P[done], self.metric))
                if rival is not None and not done[scored].all():
                    mine = Outcomes.of(index[done], P[done])
                    theirs = self.outcomes(rival).rows(done[scored])
                    if self._hopeless(mine, theirs, train.group[done]):
                        return Tried(cell, id, tuple(steps), pruned=True)
        ids = train.rows["id"][scored].tolist()
        found = Predictions(
            ids, train.y[scored], P[scored], classes, fold[scored], train.group[scored]
        )
        fits = model.fits
        result = CellResult(
            cell,
            id,
            seconds=took.seconds,
            spent=took.spent,
            peak_bytes=meter.peak_bytes,
            model_bytes=int(np.mean([one.bytes for one in fits])) if fits else 0,
            train_photos=float(np.mean([one.photos for one in fits])) if fits else 0.0,
            notes=tuple(dict.fromkeys(note for one in fits for note in one.notes)),
        )
        self._save(result, found)
        return Tried(cell, id, tuple(steps))

    def _stack(self, cell: Cell, id: str, stop: Callable[[], bool]) -> Tried:
        for member in cell.members:
            if error := self.evaluate(member, stop=stop).error:
                return Tried(cell, id, error=f"its {member.head} failed: {error}")
        if stop():
            raise OutOfTimeError
        members = [load_result(self.cells, self.id(member)) for member in cell.members]
        there = [one for one in members if one is not None]
        out = [self.predictions(member) for member in cell.members]
        sizes = np.unique(self.data(cell).y, return_counts=True)[1]
        with Meter() as meter, timed() as took:
            found = pooled_out_of_fold(out, sizes)
        result = CellResult(
            cell,
            id,
            seconds=took.seconds + sum(one.seconds for one in there),
            spent=took.spent,
            peak_bytes=max(meter.peak_bytes, *(one.peak_bytes for one in there)),
            model_bytes=sum(one.model_bytes for one in there),
            train_photos=there[0].train_photos,
        )
        self._save(result, found)
        return Tried(cell, id, (score(found.y_index, found.P, self.metric),))

    def _save(self, result: CellResult, found: Predictions) -> None:
        figures: Any = intervals(found.y_index, found.P, HEADLINE, groups=found.group)
        save_result(self.cells, replace(result, figures=figures), found)

    def _hopeless(self, mine: Outcomes, theirs: Outcomes, groups: Any) -> bool:
        """Whether the metric of `mine` is almost surely worse on the same photos."""
        a, b = resampled([mine, theirs], [self.metric], N_BOOT, groups=groups)
        _, low, high = difference(a[self.metric], b[self.metric], level=1 - 2 * CHANCE)
        return low > 0 if self.metric in LESS_IS_BETTER else high < 0
