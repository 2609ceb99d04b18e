"""What every command shares: options with several values, JSON out, plain errors, exit codes."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from ablation.errors import UserError

MENDABLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
}
"""What a file system refuses and a user can mend."""

# click's, or that of typer's own copy: which of the two depends on typer's version
_UsageError: Any = typer.BadParameter.__mro__[2]


def run(function: Callable[..., int | None], *, several: Sequence[str] = ()) -> None:
    """Run `function` as this process's command and exit.

    Exit codes: what `function` returns (None: 0), 2 for a user's mistake, 130 for Ctrl-C. Options named in
    `several` (such as `--cardinality`) take any number of values: `--cardinality 1 2 4`.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(function)
    try:
        code = app(args=_repeat(sys.argv[1:], several), standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code)
    except UserError as error:
        sys.exit(fail(str(error)))
    except _UsageError as error:
        sys.exit(fail(error.format_message()))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        place = f" ({error.filename})" if error.filename else ""
        sys.exit(fail(f"{MENDABLE[error.errno]}{place}\n  Nothing is left half-written: mend it and run this again."))


def fail(message: str) -> int:
    """Print one plain error; the exit code for it."""
    print(f"error: {message}", file=sys.stderr)
    return 2


def print_json(value: Any) -> None:
    """The machine's form of an answer, on standard output."""
    print(json.dumps(value, indent=2, allow_nan=False))


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
