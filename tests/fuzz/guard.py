"""Watches a parser at work: what it runs, connects to, writes and where; for how long and with how much memory."""

import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 30
"""A case that takes longer has no bound: a guard only, for a busy machine is slow."""
MEMORY = 768 << 20
"""Bytes of address space that a parser may take beside what was there before."""
EXECUTES = frozenset(
    [
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.spawn",
        "os.fork",
        "os.forkpty",
        "pty.spawn",
        "subprocess.Popen",
        "pickle.find_class",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.bind",
        "ctypes.dlopen",
    ]
)
"""Audit events of what runs code, or talks to somebody."""
WRITES = {
    **{"os.mkdir": (0,), "os.rename": (0, 1), "os.remove": (0,), "os.rmdir": (0,), "os.symlink": (1,), "os.link": (1,)},
    **{"os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "os.utime": (0,)},
}
"""Audit events of things that change files, and which of their arguments are paths."""
FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class TooLong(BaseException):
    """A case that has no end; no parser catches it by mistake."""


class _Watch:
    """What goes on while a case is parsed: one audit hook a process, since a hook can't be taken away again."""

    def __init__(self) -> None:
        self.inside: str | None = None
        self.ran: list[str] = []
        self.wrote: list[str] = []
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.inside is None:
            return
        if event in EXECUTES:
            self.ran.append(f"{event} {str(arguments)[:200]}")
        elif event == "open":
            if arguments[2] & FLAGS and isinstance(arguments[0], str | bytes | os.PathLike):
                self._look(event, arguments[0])
        elif event in WRITES and (event == "os.truncate" or arguments[-1] == -1):  # else below a folder that is open
            for place in WRITES[event]:
                if isinstance(arguments[place], str | bytes | os.PathLike):
                    self._look(event, arguments[place])

    def _look(self, event: str, path: Any) -> None:
        try:
            real = os.path.realpath(os.fsdecode(path))
        except ValueError:  # a NUL: the system call will refuse it
            return
        if not real.startswith(f"{self.inside}/") and real not in (self.inside, "/dev/null"):
            self.wrote.append(f"{event} {real}")


_watch: _Watch | None = None


@contextmanager
def watched(folder: Path) -> Iterator[tuple[list[str], list[str]]]:
    """(what was run, what was written outside `folder`) while a case is parsed. Raises TooLong."""
    global _watch
    _watch = _watch or _Watch()
    _watch.ran, _watch.wrote = [], []
    before = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    _watch.inside = os.path.realpath(folder)
    try:
        yield _watch.ran, _watch.wrote
    finally:
        _watch.inside = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _stop(number: int, frame: Any) -> None:
    raise TooLong(f"not done after {SECONDS} s")


@contextmanager
def bounded(memory: int = MEMORY) -> Iterator[None]:
    """With so much address space left, and no more: a bomb is a MemoryError, not a machine that swaps."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + memory, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
