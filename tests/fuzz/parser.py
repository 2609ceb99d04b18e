"""What a parser is to the fuzzer, and the one property that all of them have."""

import os
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz.guard import TooLong, watched
from fuzz.mutate import Case

from ablation.command import MENDABLE
from ablation.errors import UserError


@dataclass(frozen=True)
class Parser:
    """A way in: `prepare` makes in a folder what all cases share, `feed` lays one case there and has it parsed."""

    name: str
    what: str
    """What is fed, in a few words."""
    prepare: Callable[[Path], Any]
    feed: Callable[[Path, Any, Case], None]
    """Raises UserError where it is refused; anything else is a finding, AssertionError too."""


@dataclass
class Ground:
    """The folder of a parser's cases: `inside` may be written to, `canary` is what an executed case would leave."""

    parser: Parser
    root: Path

    def __post_init__(self) -> None:
        self.inside = self.root / "inside"
        self.inside.mkdir()
        self.shared = self.parser.prepare(self.inside)
        self.around = self._around()

    def _around(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir())

    def finding(self, case: Case) -> str:
        """What is wrong with how the parser took a case: its kind (traceback, ...) and why; empty: nothing."""
        said = ""
        with watched(self.inside) as (ran, wrote):
            try:
                self.parser.feed(self.inside, self.shared, case)
            except UserError:
                pass
            except OSError as error:
                if error.errno not in MENDABLE:  # every command says those plainly (ablation/command.py)
                    said = f"traceback: {error!r:.300} {_place(error)}"
            except TooLong as error:
                said = f"time: {error}"
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                said = f"traceback: {type(error).__name__}: {str(error)[:300]} {_place(error)}"
        if ran or any(path.exists() for path in (self.inside / "canary", Path("canary"))):
            return f"execution: {ran}"
        if wrote or self._around() != self.around:
            return f"outside: {wrote or self._around()}"
        return said


def _place(error: BaseException) -> str:
    """Where an exception was raised, the last frames of it."""
    frames, trace = [], error.__traceback__
    while trace:
        frames.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join(reversed(frames[-6:]))


@contextmanager
def ground(parser: Parser) -> Any:
    """A new folder for a parser's cases; temporary files of the parser lie in it too."""
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{parser.name}-") as folder:
        before, tempfile.tempdir, here = tempfile.tempdir, None, os.getcwd()
        place = Ground(parser, Path(folder))
        tempfile.tempdir = str(place.inside)
        try:
            yield place
        finally:
            tempfile.tempdir = before
            os.chdir(here)
