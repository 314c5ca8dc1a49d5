"""What a piece of work costs: seconds, and bytes of memory at its peak."""

import threading
import time
from types import TracebackType
from typing import Self

_INTERVAL = 0.02  # seconds between two looks at the memory


class Meter:
    """Measures the work inside `with Meter() as meter:`.

    seconds : of the wall clock
    peak_bytes : by how much the process's resident memory rose above what it was at the start, by
        looks every 20 ms (a peak between two looks is missed)
    """

    def __enter__(self) -> Self:
        import psutil

        self._process = psutil.Process()
        self._before = self._high = self._process.memory_info().rss
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds = time.perf_counter() - self._start
        self._over.set()
        self._watch.join()
        self._high = max(self._high, self._process.memory_info().rss)
        self.peak_bytes = self._high - self._before

    def _look(self) -> None:
        while not self._over.wait(_INTERVAL):
            self._high = max(self._high, self._process.memory_info().rss)
