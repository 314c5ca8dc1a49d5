"""How far a long job is: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_TO_FIRST_LINE = 2.0
_SECONDS_BETWEEN_DRAWINGS = 0.1
_SECONDS_TO_SAY = 0.5

Advance = Callable[[int], None]


@contextmanager
def progress(total: int, what: str) -> Iterator[Advance]:
    """Yield `advance(n)`; shows done, rate and time left on standard error."""
    if sys.stderr.isatty():
        with _bar(total, what) as advance:
            yield advance
    else:
        with _lines(total, what) as advance:
            yield advance


@contextmanager
def _bar(total: int, what: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    rate = _Rate()
    drawn, last = 0, time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, rate="")

        def advance(n: int) -> None:
            nonlocal drawn, last
            now = rate.add(n)
            if now - last >= _SECONDS_BETWEEN_DRAWINGS or rate.done == total:
                bar.update(task, advance=rate.done - drawn, rate=_per_second(rate.now(now)))
                drawn, last = rate.done, now

        yield advance


@contextmanager
def _lines(total: int, what: str) -> Iterator[Advance]:
    rate = _Rate()
    next_line = time.monotonic() + _SECONDS_TO_FIRST_LINE

    def advance(n: int) -> None:
        nonlocal next_line
        now = rate.add(n)
        speed = rate.now(now)
        if now >= next_line and speed and rate.done < total:
            next_line = now + _SECONDS_BETWEEN_LINES
            left = (total - rate.done) / speed
            line = f"{what}: {rate.done:,} of {total:,}, {_per_second(speed)}, {left:,.0f} s left"
            print(line, file=sys.stderr, flush=True)

    yield advance


class _Rate:
    """How fast it goes, from the first step on: a network that is opened before does not count."""

    def __init__(self) -> None:
        self.done, self._first, self._start = 0, 0, 0.0

    def add(self, n: int) -> float:
        """Count `n` more; the time."""
        now = time.monotonic()
        self.done += n
        if not self._start and n:
            self._first, self._start = self.done, now
        return now

    def now(self, now: float) -> float:
        """Steps a second; 0 where there is no saying yet."""
        seconds = now - self._start
        return (self.done - self._first) / seconds if seconds > _SECONDS_TO_SAY else 0.0


def _per_second(rate: float) -> str:
    if not rate:
        return ""
    return f"{rate:,.0f}/s" if rate >= 1 else f"{1 / rate:,.0f} s each"
