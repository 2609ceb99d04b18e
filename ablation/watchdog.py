"""A watchdog: a run that stands still is named and its process ended, so that the run can be claimed again.

A hung process keeps its lease: the thread that renews it goes on. Nothing but this ends a deadlock, a rank that waits
for another for ever, a file server that never answers.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

LOOKS = 20
"""Times that it looks before it bites: what a look finds late, because the process was stopped, counts as one look."""
USUAL = 100
"""A step that takes so many times the usual is a hang, if it also takes the minutes that are asked for."""
KEPT = 25


class Watchdog:
    """Watches one run; `bite(message)` is called in a thread of its own when nothing has moved for too long."""

    def __init__(self, minutes: float, bite: Callable[[str], object]) -> None:
        """`minutes`: so long nothing may move, or USUAL times the usual step where that is longer; 0: for ever."""
        self.least, self.bite = 60 * minutes, bite
        self.moved, self.step, self.silent = time.monotonic(), 0, 0.0
        self._steps: deque[float] = deque(maxlen=KEPT)
        self._over = threading.Event()

    def __enter__(self) -> Watchdog:
        self.stir()
        if self.least:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def stir(self, step: int | None = None) -> None:
        """Something has moved; `step`: an optimiser step, of which the run has done so many."""
        now = time.monotonic()
        if step is not None:
            self._steps.append(now - self.moved)
            self.step = step
        self.moved, self.silent = now, 0.0

    def stirred(self, things: Iterator[Any]) -> Iterator[Any]:
        """The same things; each is a sign of life."""
        for thing in things:
            self.stir()
            yield thing

    @property
    def limit(self) -> float:
        """Seconds for which nothing may move."""
        return max(self.least, USUAL * median(self._steps) if self._steps else 0.0)

    def _watch(self) -> None:
        while not self._over.wait(self.least / LOOKS):
            self.silent += self.least / LOOKS
            if self.silent > self.limit:
                self.bite(f"hung: nothing has moved for {spell(self.silent)} after step {self.step}")
                return


class Watched:
    """A data set whose evaluation batches are signs of life; all else is the data set's own."""

    def __init__(self, images: Any, dog: Watchdog) -> None:
        self._images, self._dog = images, dog

    def __getattr__(self, name: str) -> Any:
        return getattr(self._images, name)

    def evaluation(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        """See `data.Images`."""
        return self._dog.stirred(self._images.evaluation(*arguments, **options))


def end_process(message: str) -> None:
    """Say where every thread stands, and end this process as no `finally` could hold up."""
    print(
        f"{message}; this process ends, and its run can be claimed again. Where it stood:", file=sys.stderr, flush=True
    )
    faulthandler.dump_traceback(all_threads=True)
    os.kill(os.getpid(), signal.SIGKILL)


def spell(seconds: float) -> str:
    """`25 min`, or `3.2 s`."""
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.1f} s"
