"""Most memory that a piece of code needs at once."""

import threading

import psutil


class Peak:
    """Most memory of this process while a `with` block runs, above what it had before; looked at every `interval` s."""

    def __init__(self, interval: float = 0.05) -> None:
        self._interval = interval

    def __enter__(self) -> "Peak":
        self._process = psutil.Process()
        self._before = self._most = self._process.memory_info().rss
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(self._interval):
            self._look()

    def _look(self) -> None:
        self._most = max(self._most, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._look()
        self._done.set()
        self._thread.join()

    @property
    def held(self) -> int:
        """Memory above what was there before, now."""
        return self._process.memory_info().rss - self._before

    @property
    def above(self) -> int:
        return self._most - self._before
