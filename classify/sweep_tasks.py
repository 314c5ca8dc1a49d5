"""Which cells a worker computes together, and in which order the workers take them."""

from collections.abc import Callable, Sequence

from classify.cell import Cell
from classify.cell_data import data_key
from classify.sweep_work import Task

PARTS = 2
"""A worker's share of the work is at least so many tasks, so that all end at about one time."""


def make_tasks(cells: Task, jobs: int, seconds: Callable[[Cell], float]) -> list[Task]:
    """Cells that share work together, the longest tasks first.

    Cells of one task have photos, folds, columns and head in common, and differ in balance and
    the head's parameters. A task of more than a fair share of the work is halved.

    seconds : what a cell takes, in any unit
    """
    groups: dict[object, list[tuple[Cell, str]]] = {}
    for cell, id in cells:
        same = data_key(cell), cell.seed, cell.folds, cell.photos, cell.columns, cell.head
        groups.setdefault(same, []).append((cell, id))

    def length(task: Task) -> float:
        return sum(seconds(cell) for cell, _ in task)

    tasks: list[Task] = list(groups.values())
    fair = length(cells) / (PARTS * jobs)
    done: list[Task] = []
    while tasks:
        task = tasks.pop()
        if jobs > 1 and len(task) > 1 and length(task) > fair:
            tasks += _halves(task)
        else:
            done.append(task)
    return sorted(done, key=length, reverse=True)


def _halves(task: Task) -> Sequence[Task]:
    """Cells of one balance stay together where they can."""
    ordered = sorted(task, key=lambda one: one[0].balance)
    middle = len(ordered) // 2
    return ordered[:middle], ordered[middle:]
