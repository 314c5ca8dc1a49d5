"""How far a long job is: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SECONDS_BETWEEN_LINES = 10.0

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
    start, done = time.monotonic(), 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, rate="")

        def advance(n: int) -> None:
            nonlocal done
            done += n
            rate = done / max(time.monotonic() - start, 1e-9)
            bar.update(task, advance=n, rate=_rate(rate))

        yield advance


@contextmanager
def _lines(total: int, what: str) -> Iterator[Advance]:
    start = time.monotonic()
    done, last = 0, start

    def advance(n: int) -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES and done < total:
            last = now
            rate = done / (now - start)
            left = (total - done) / rate
            line = f"{what}: {done:,} of {total:,}, {_rate(rate)}, {left:,.0f} s left"
            print(line, file=sys.stderr, flush=True)

    yield advance


def _rate(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 1 else f"{1 / rate:,.0f} s each"
