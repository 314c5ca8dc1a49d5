"""How far a sweep is, and its best configurations so far, on a terminal."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from classify.cell import Cell, CellResult
from classify.cell_store import load_result
from classify.configurations import configurations
from embed.errors import UserError

BEST = 3


class Progress:
    """What is done, by the files of the finished cells: so it works with every back end.

    Parameters
    ----------
    folder : of the finished cells
    waiting : cells that are to be computed, by id
    ready : the results of those that were there before
    seconds : what a cell takes, in any unit
    """

    def __init__(
        self,
        folder: Path,
        waiting: Mapping[str, Cell],
        ready: Sequence[CellResult],
        seconds: Callable[[Cell], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.waiting, self.results = folder, dict(waiting), list(ready)
        self.seconds, self.clock, self.start = seconds, clock, clock()
        self.total, self.failed = len(waiting), 0
        self._done = 0.0

    def fail(self, ids: Iterable[str]) -> None:
        """These cells are not waited for any more."""
        for id in ids:
            cell = self.waiting.pop(id, None)
            if cell is not None:
                self.failed += 1
                self._done += self.seconds(cell)

    def look(self) -> None:
        """Take in the cells that were finished since the last look."""
        there = {path.stem for path in self.folder.glob("*.json")}
        for id in [id for id in self.waiting if id in there]:
            with suppress(UserError):  # a damaged file is told of when the sweep reads it
                result = load_result(self.folder, id)
                if result is not None:
                    self.results.append(result)
                    self._done += self.seconds(self.waiting.pop(id))

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None where nothing is done yet."""
        left = sum(self.seconds(cell) for cell in list(self.waiting.values()))
        return left / self._done * (self.clock() - self.start) if self._done else None

    def lines(self) -> list[str]:
        """Cells done, time left, and the best configurations so far."""
        done = self.total - len(self.waiting)
        words = [f"Cells: {done:,} of {self.total:,}"]
        words += [f"{self.failed:,} failed"] * bool(self.failed)
        if self.waiting and self.seconds_left is not None:
            words.append(f"about {duration(self.seconds_left)} left")
        lines = [", ".join(words)]
        for one in configurations(self.results)[:BEST]:
            value, low, high = one.figure("macro_f1")
            name = one.cell.describe().rpartition(", seed ")[0]
            lines.append(f"  {value:.3f} [{low:.3f}, {high:.3f}]  {name}")
        return lines


@contextmanager
def shown(progress: Progress) -> Iterator[Progress]:
    """Draw `progress` every second while inside, where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield progress
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    def drawn() -> Group:
        progress.look()
        return Group(*(Text(line, overflow="ellipsis", no_wrap=True) for line in progress.lines()))

    console = Console(stderr=True)
    with Live(console=console, get_renderable=drawn, refresh_per_second=1, transient=True):
        yield progress


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 10 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
