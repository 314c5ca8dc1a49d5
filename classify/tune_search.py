"""The search itself: Optuna proposes, trials are evaluated side by side, each kept as it ends."""

import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from classify.cell import Cell
from classify.metrics import LESS_IS_BETTER
from classify.shared_work import SharedWork
from classify.sweep_work import one_core
from classify.tune_space import Space
from classify.tune_trial import OutOfTimeError, Trials, Tried
from embed.errors import UserError

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

RANDOM = 10  # trials after the default ones before there is something to learn from
AGAIN = 10  # proposals in a row that were tried already: then random ones
EXHAUSTED = 60  # then the space is taken for exhausted
SHARED_BYTES = 2**30  # most that work shared between trials may hold
CELL, ID, ERROR, SECONDS = "cell", "id", "error", "seconds"  # attributes of a trial in the file


@dataclass(frozen=True)
class Budget:
    """When to stop: by the number of trials, and by the clock."""

    trials: int | None = None
    """in all, those of earlier calls among them"""
    minutes: float | None = None
    """from now on"""
    start: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float | None:
        """Seconds; None where the clock does not count."""
        if self.minutes is None:
            return None
        return max(0.0, self.start + 60 * self.minutes - time.monotonic())

    @property
    def over(self) -> bool:
        return self.left == 0.0


class Search:
    """Trials of a space, and the SQLite file of Optuna's that keeps them.

    The file holds finished trials only (complete, pruned and failed), so whatever ends the
    process, the same call goes on from there. With one job each proposal depends on the seed and
    on the finished trials alone: an interrupted search ends as one that was not.
    """

    def __init__(self, storage: Path, name: str, space: Space, trials: Trials) -> None:
        optuna = need_optuna()
        self.space, self.trials = space, trials
        self.lower = trials.metric in LESS_IS_BETTER
        direction = "minimize" if self.lower else "maximize"
        storage.parent.mkdir(parents=True, exist_ok=True)
        kept = optuna.storages.RDBStorage(
            f"sqlite:///{storage}", engine_kwargs={"connect_args": {"timeout": 60}}
        )
        self._storage = kept
        self._kept: Study = optuna.create_study(
            storage=kept, study_name=name, direction=direction, load_if_exists=True
        )
        # Proposals are made in memory, so that none that came to nothing is ever in the file.
        self.study: Study = optuna.create_study(direction=direction)
        self.study.add_trials(self._kept.get_trials(deepcopy=False))
        self.computed = 0

    def close(self) -> None:
        """Let go of the file."""
        self._storage.engine.dispose()

    @property
    def all(self) -> "list[FrozenTrial]":
        """The finished trials, in their order."""
        return self._kept.get_trials(deepcopy=False)

    @property
    def complete(self) -> "list[FrozenTrial]":
        """Those with all folds, the best first (of equals the earlier)."""
        found = [one for one in self.all if one.state.name == "COMPLETE"]
        return sorted(found, key=lambda one: self._worth(one), reverse=True)

    def run(
        self,
        budget: Budget,
        seed: int,
        jobs: int = 1,
        on_trial: Callable[["Search"], None] = lambda search: None,
    ) -> None:
        """Try until the budget is spent, `jobs` configurations at a time.

        The default configurations come first, and the first of all is waited for however long it
        takes. What is under way when the time is up ends at its next fold and does not count.
        """
        memo, stopped = SharedWork(SHARED_BYTES), Event()

        def work(cell: Cell, rival: Cell | None, first: bool) -> Tried:
            with memo.active():
                return self.trials.evaluate(
                    cell, rival, lambda: stopped.is_set() or (budget.over and not first)
                )

        running: dict[Future[Tried], Trial] = {}
        with _pool(jobs) as submit:
            try:
                while True:
                    while len(running) < jobs and (trial := self._next(budget, seed, running)):
                        cell = cell_of(trial)
                        none_yet = not running and not self.complete
                        running[submit(work, cell, self._rival(cell), none_yet)] = trial
                    if not running:
                        return
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        self._finish(running.pop(future), future)
                        on_trial(self)
            finally:
                stopped.set()

    def _next(self, budget: Budget, seed: int, running: dict[Any, "Trial"]) -> "Trial | None":
        """The next proposal that was not tried yet; None where it is time to stop."""
        finished = self.all
        if budget.over and (running or any(one.state.name == "COMPLETE" for one in finished)):
            return None
        if budget.trials is not None and len(finished) + len(running) >= budget.trials:
            return None
        tried = {one.user_attrs[ID] for one in finished}
        tried |= {trial.user_attrs[ID] for trial in running.values()}
        for default in self.space.defaults():
            if self.trials.id(default) not in tried:
                self.study.enqueue_trial(self.space.parameters(default))
                break
        for attempt in range(EXHAUSTED):
            # The seed goes with what is finished: a trial that was killed is proposed again.
            seeds = [seed, len(finished), len(running), attempt]
            self.study.sampler = self._sampler(seeds, attempt >= AGAIN)
            trial = self.study.ask()
            cell = self.space.cell(trial)
            id = self.trials.id(cell)
            if id not in tried:
                trial.set_user_attr(CELL, cell.to_json())
                trial.set_user_attr(ID, id)
                return trial
            self.study.tell(trial, state=_state("FAIL"))
        return None

    def _sampler(self, seeds: list[int], at_random: bool) -> Any:
        from optuna.samplers import RandomSampler, TPESampler

        (number,) = np.random.SeedSequence(seeds).generate_state(1)
        if at_random:
            return RandomSampler(seed=int(number))
        return TPESampler(
            n_startup_trials=len(self.space.heads) + RANDOM,
            multivariate=True,
            group=True,  # the parameters of each head by themselves
            constant_liar=True,
            seed=int(number),
        )

    def _rival(self, cell: Cell) -> Cell | None:
        """The best so far; none for a default configuration, which is wanted whole."""
        complete = self.complete
        if not complete or cell in self.space.defaults():
            return None
        return cell_of(complete[0])

    def _finish(self, trial: "Trial", future: "Future[Tried]") -> None:
        try:
            tried = future.result()
        except OutOfTimeError:
            self.study.tell(trial, state=_state("FAIL"))
            return
        for step, value in enumerate(tried.steps):
            trial.report(value, step)
        trial.set_user_attr(SECONDS, round(tried.seconds, 3))
        if tried.error:
            trial.set_user_attr(ERROR, tried.error)
            frozen = self.study.tell(trial, state=_state("FAIL"))
        elif tried.pruned:
            frozen = self.study.tell(trial, state=_state("PRUNED"))
        else:
            frozen = self.study.tell(trial, tried.steps[-1])
        self._kept.add_trial(frozen)
        self.computed += not tried.reused

    def _worth(self, one: "FrozenTrial") -> float:
        value = float(one.value if one.value is not None else np.nan)
        return -value if self.lower else value


def cell_of(trial: "FrozenTrial | Trial") -> Cell:
    """The configuration of a trial."""
    return Cell.from_json(trial.user_attrs[CELL])


def need_optuna() -> Any:
    """The package, silent; a `UserError` says how to install it."""
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            "`cli tune` needs Optuna, which is not installed. Run `pip install 'familia[tune]'`."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # of `group`; not for a moment only, as that would not be safe beside other threads
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]


@contextmanager
def _pool(jobs: int) -> Iterator[Callable[..., "Future[Tried]"]]:
    """How a call is started: at once with one job, else in a thread.

    Heads spend their time in BLAS and LightGBM, which let other threads run, and threads share
    what was computed. Each has one BLAS thread: the last digits depend on their number.
    """
    import faiss  # noqa: F401  # loaded before threads are limited, so that their own are too
    import lightgbm  # noqa: F401
    from threadpoolctl import threadpool_limits

    with one_core(), threadpool_limits(1):
        if jobs == 1:
            yield _at_once
        else:
            with ThreadPoolExecutor(jobs) as pool:
                yield pool.submit


def _at_once(function: Callable[..., Tried], *arguments: Any) -> "Future[Tried]":
    future: Future[Tried] = Future()
    try:
        future.set_result(function(*arguments))
    except OutOfTimeError as error:
        future.set_exception(error)
    return future
