"""Ctrl-C at a safe moment, so that it is neither lost nor in the way of a write."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Yield `check()`, which raises `KeyboardInterrupt` where Ctrl-C came before it.

    Python itself raises it wherever it happens to be, and drops it inside the callback of a weak
    reference, of which HDF5 runs many: the run would then go on to its end. A second Ctrl-C is
    not deferred. Where the signal is ignored or somebody else's, nothing changes.
    """
    pressed = False

    def note(number: int, frame: Any) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
