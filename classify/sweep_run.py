"""Handing out the tasks of a sweep: a worker that dies takes no other cell with it."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from classify.sweep_inputs import Inputs
from classify.sweep_work import Job, Task, reason, run_task
from embed.errors import UserError


def run_tasks(
    job: Job, inputs: Inputs, tasks: Sequence[Task], jobs: int, backend: str = "loky"
) -> Iterator[dict[str, str]]:
    """Run `tasks` with the joblib back end of the context; yields reasons of failed cells by id.

    Where a worker is ended from outside (mostly by the system, for lack of memory) the pool is
    broken: what it had not finished is handed out again, but for the cells that the workers had in
    their hands. Those are tried at the end, one at a time, and have failed if that breaks again.
    """
    suspects: list[Task] = []
    left = list(tasks)
    while left:
        given: list[int] = []
        ended: set[int] = set()
        try:
            for number, errors in _outcomes(job, inputs, left, jobs, backend, given):
                ended.add(number)
                yield errors
            break
        except UserError:
            raise
        except Exception:
            if not given:  # no worker has had anything to die of
                raise
            again: list[Task] = [task for i, task in enumerate(left) if i not in given]
            for number in given:
                open_ = [] if number in ended else _unfinished(job, left[number])
                suspects += [open_[:1]] if open_ else []
                again += [open_[1:]] if len(open_) > 1 else []
            left = again
    for task in suspects:
        try:
            for _, errors in _outcomes(
                job, inputs, [task], 2, backend, []
            ):  # 2: not in this process
                yield errors
        except Exception as error:
            yield {task[0][1]: _of_dead(error)}


def _unfinished(job: Job, task: Task) -> Task:
    return [(cell, id) for cell, id in task if not (job.cells / f"{id}.json").exists()]


def _of_dead(error: Exception) -> str:
    if type(error).__name__ in ("TerminatedWorkerError", "KilledWorker", "RayActorError"):
        return (
            "its worker was ended from outside, most likely by the system for lack of memory: "
            "give --jobs 1, fewer photos or fewer encoders"
        )
    return reason(error)


def _outcomes(
    job: Job, inputs: Inputs, tasks: Sequence[Task], jobs: int, backend: str, given: list[int]
) -> Iterator[tuple[int, dict[str, str]]]:
    """The number of each task with its errors, as they end; `given` grows as they are handed out.

    joblib writes large arrays to a file once, into which all workers look.
    """
    from joblib import Parallel, delayed

    def calls() -> Iterator[Any]:
        for number, task in enumerate(tasks):
            given.append(number)
            yield delayed(_run)(number, job, inputs.train(task[0][0]), task)

    here = backend == "loky"
    parallel = Parallel(
        n_jobs=min(jobs, max(len(tasks), 2)) if here and jobs > 1 else (1 if here else None),
        batch_size=1,
        pre_dispatch="n_jobs" if here else "2 * n_jobs",  # what is handed out is being worked on
        return_as="list" if backend == "ray" else "generator_unordered",
    )
    found = parallel(calls())
    if isinstance(found, list):
        yield from found
        return
    with closing(found):  # so that Ctrl-C ends the workers too
        yield from found


def _run(number: int, job: Job, train: Any, task: Task) -> tuple[int, dict[str, str]]:
    return number, run_task(job, train, task)
