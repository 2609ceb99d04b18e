"""Stop signals, as a flag that is read between steps."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
"""USR2 is what submitit asks Slurm for, ahead of a time limit or a preemption."""


class StopFlag:
    """Set by the first stop signal, and read between steps: a handler that saved could save half a step."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopFlag:
        self._before = {number: signal.signal(number, self._set) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _set(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C: now
        self.signal = number

    def reason(self) -> str | None:
        """Why to stop; None while there is no reason."""
        return f"stopped by {signal.Signals(self.signal).name}" if self.signal is not None else None

    @property
    def told_to_leave(self) -> bool:
        """Whether Slurm said that the job's time is over, or that another job needs its place."""
        return self.signal == signal.SIGUSR2

    def hand_on(self) -> None:
        """Let submitit's own handler see the signal, when all is saved: it queues the job again."""
        handler = self._before.get(signal.SIGUSR2)
        if callable(handler):
            handler(signal.SIGUSR2, None)
