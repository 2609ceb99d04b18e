"""What every command shares: options with several values, JSON out, plain errors, exit codes."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import select
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from ablation.errors import UserError

MENDABLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.ENAMETOOLONG: "a file's name is too long",
    errno.ELOOP: "links lead in a circle",
}
"""What a file system refuses and a user can mend."""

READER_LEFT = 128 + 13
"""What a shell says of a program that SIGPIPE ended."""

# click's, or that of typer's own copy: which of the two depends on typer's version
_UsageError: Any = typer.BadParameter.__mro__[2]


def run(function: Callable[..., int | None], *, several: Sequence[str] = ()) -> None:
    """Run `function` as this process's command and exit.

    Exit codes: what `function` returns (None: 0), 2 for a user's mistake, 130 for Ctrl-C, 141 where whoever read the
    output went away, as `| head` does. Options named in `several` (such as `--cardinality`) take any number of values:
    `--cardinality 1 2 4`.
    """
    streams = _streams()
    try:
        code = _outcome(function, several)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        broken = error.__context__ if isinstance(error, SystemExit) else error  # rich and click exit with 1 on it
        if not isinstance(broken, BrokenPipeError):
            raise
        if not _readers_left(streams):
            raise broken from None
        code = READER_LEFT
    sys.exit(code)


def _outcome(function: Callable[..., int | None], several: Sequence[str]) -> int | None:
    """The exit code of `function` with this process's arguments; its mistakes are said."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(function)
    try:
        return app(args=_repeat(sys.argv[1:], several), standalone_mode=False)
    except UserError as error:
        return fail(str(error))
    except _UsageError as error:
        return fail(f"{error.format_message().rstrip('.')}\n  See --help: it has an example.")
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        place = f" ({error.filename})" if error.filename else ""
        return fail(f"{MENDABLE[error.errno]}{place}\n  Nothing is left half-written: mend it and run this again.")
    except Exception as error:
        error.add_note(_fault())
        raise


def _fault() -> str:
    """What stands below a traceback: whose fault it is, and what a report of it needs."""
    words = sys.argv[1:]
    runs = words[words.index("--runs") + 1] if "--runs" in words[:-1] else "runs"
    sweep = next((Path(word) for word in words if word.endswith(".yaml")), None)
    folder = f", and what lies in {Path(runs) / sweep.stem}" if sweep else ""
    return (
        "\nThis is a fault of the toolkit, not of what you gave it; no run is harmed by it.\n"
        f"Please report it (CONTRIBUTING.md, `Report a fault`): the lines above, {_versions()}{folder}."
    )


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    said = [f"Python {platform.python_version()}"]
    for name in ("cardinality-ablation", "torch"):
        with suppress(PackageNotFoundError):
            said.append(f"{name} {version(name)}")
    return ", ".join(said)


def _streams() -> dict[int, os.stat_result]:
    """Standard output and errors, those that are open, as they are now."""
    found = {}
    for stream in (1, 2):
        with suppress(OSError):
            found[stream] = os.fstat(stream)
    return found


def _readers_left(before: dict[int, os.stat_result]) -> bool:
    """Whether nobody reads standard output or errors any more; what is left to write then goes nowhere, in silence."""
    poll = select.poll()
    for stream in before:
        poll.register(stream, select.POLLOUT)
    gone = [stream for stream, events in poll.poll(0) if events & (select.POLLERR | select.POLLHUP)]
    for stream in gone:  # or Python complains when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    replaced = [stream for stream, was in before.items() if not os.path.samestat(was, os.fstat(stream))]  # rich does it
    return bool(replaced)


def fail(message: str) -> int:
    """Print one plain error; the exit code for it."""
    print(f"error: {message}", file=sys.stderr)
    return 2


def print_json(value: Any) -> None:
    """The machine's form of an answer, on standard output."""
    try:
        text = json.dumps(value, indent=2, allow_nan=False)
    except ValueError:  # a number of a damaged or diverged run
        text = json.dumps(_finite(value), indent=2)
    print(text)


def _finite(value: Any) -> Any:
    """Plain values with null for each number that JSON has not."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _repeat(arguments: Sequence[str], several: Sequence[str]) -> list[str]:
    """`--option 1 2` as `--option 1 --option 2`, which is how click spells several values."""
    result: list[str] = []
    option, fresh = None, False
    for argument in arguments:
        if argument.startswith("--"):
            option, fresh = (argument if argument in several else None), True
            result.append(argument)
        elif option and not fresh:
            result += [option, argument]
        else:
            fresh = False
            result.append(argument)
    return result
