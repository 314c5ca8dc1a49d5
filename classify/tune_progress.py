"""How far a search is: trials, the best so far, and the time left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from classify.tune_search import Budget, Search, cell_of

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_DRAWINGS = 0.2


@contextmanager
def search_progress(budget: Budget, what: str = "Tune") -> Iterator[Callable[[Search], None]]:
    """Yield what is called after each trial: one line on standard error, drawn anew on a terminal
    and every ten seconds elsewhere."""
    terminal = sys.stderr.isatty()
    between = _SECONDS_BETWEEN_DRAWINGS if terminal else _SECONDS_BETWEEN_LINES
    start = last = time.monotonic()
    width = 0

    def say(search: Search) -> None:
        nonlocal last, width
        now = time.monotonic()
        if now - last < between:
            return
        last, line = now, progress_line(search, budget, now - start, what)
        if terminal:
            print(f"\r{line.ljust(width)}", end="", file=sys.stderr, flush=True)
            width = len(line)
        else:
            print(line, file=sys.stderr, flush=True)

    try:
        yield say
    finally:
        if width:
            print(f"\r{' ' * width}\r", end="", file=sys.stderr, flush=True)


def progress_line(search: Search, budget: Budget, seconds: float, what: str) -> str:
    """`Tune: 34 of 100 trials, best 0.927 (logreg, C 12), 1:40 left`."""
    done, complete = len(search.all), search.complete
    of = f" of {budget.trials:,}" if budget.trials is not None else ""
    words = [f"{what}: {done:,}{of} trials"]
    if complete:
        cell = cell_of(complete[0])
        options = [f"{name} {value}" for name, value in cell.options]
        words.append(f"best {complete[0].value:.4f} ({', '.join([cell.head, *options])})")
    left = budget.left
    if left is None and budget.trials is not None and search.computed:
        left = seconds / search.computed * max(0, budget.trials - done)
    if left is not None:
        words.append(f"{int(left) // 60}:{int(left) % 60:02} left")
    return ", ".join(words)
