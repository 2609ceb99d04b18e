"""Command: remove what is no longer needed. Never a result, a record, weights or the bits of an evaluation."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ablation.board import LISTED, Board, read_board
from ablation.claim import LEASE_SECONDS, attempts
from ablation.command import print_json, run
from ablation.launches import Launch, launches
from ablation.outlook import Outlook, look
from ablation.run import RunPaths, checkpoint_files, put_aside_name
from ablation.slurm import CALM_SECONDS, Slurm
from ablation.sweep import Sweep, load_sweep

SEVERAL = ("--set",)
SPARE = re.compile(r"\.[^/]+\.[0-9a-f]+")
"""`.clock.<hex>`, `.result.json.<pid>`: what a killed writer left beside the file that it wrote."""
SPARE_SECONDS = 3600.0
"""A spare file may be being written until then."""
SUBMITTED = ("*.pkl", "*submission*.sh", "*.tmp")
PRINTED = ("*_log.out", "*_log.err")


@dataclass(frozen=True)
class Waste:
    """A file that is no longer needed."""

    path: Path
    bytes: int
    why: str


def main(
    sweep: Annotated[Path, typer.Argument(help="The sweep file.")],
    runs: Annotated[Path, typer.Option(help="Where run folders lie.")] = Path("runs"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as in the sweep file.")] = None,
    other_runs: Annotated[
        bool, typer.Option("--other-runs", help="Also the checkpoints of runs that the sweep no longer has.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove a sweep's leftovers: checkpoints of finished runs, spare files of killed writers, ended submissions.

    Results, records, weights and bits stay, and so does all that a live launch or run has. Of an ended launch
    launch.json stays, and what its workers printed where a run of it is not done.

    \b
    Example:
      python -m ablation.clean sweeps/table3.yaml --dry-run
    """
    content = load_sweep(sweep, set_ or ())
    found = list(waste(content, runs, other_runs=other_runs))
    for item in found if not dry_run else ():
        item.path.unlink(missing_ok=True)
    total = sum(item.bytes for item in found)
    if json:
        files = [{"path": str(item.path), "bytes": item.bytes, "why": item.why} for item in found]
        return print_json({"sweep": content.name, "removed": files, "bytes": total, "dry_run": dry_run})
    print("\n".join(say(found, total, dry_run=dry_run)))
    return None


def waste(sweep: Sweep, runs: Path, *, other_runs: bool) -> Iterator[Waste]:
    """Every file of a sweep that is no longer needed."""
    slurm = Slurm(CALM_SECONDS)
    board = read_board(sweep, runs, slurm)
    outlook = look(runs, sweep.name, None, slurm, _stirring(board, sweep, runs))
    busy = set(board.ids("running", "waiting", "unknown")) | set(outlook.unknown)
    busy |= {run for live in outlook.live for run in live.launch.runs}
    for id in board.ids("done"):
        yield from _checkpoint(RunPaths(runs, sweep.name, id).checkpoint, "checkpoint of a finished run")
    own = {row.id for row in board.rows}
    for folder in _folders(runs / sweep.name):
        paths = RunPaths(runs, sweep.name, folder.name)
        if folder.name not in busy and not _alive(paths):
            yield from _spares(folder)
            yield from _spares(paths.attempts)
            if other_runs and folder.name not in own:
                yield from _checkpoint(paths.checkpoint, "checkpoint of a run that the sweep no longer has")
    for launch in launches(runs, sweep.name):
        if _over(launch, outlook):
            yield from _of_launch(launch, runs, sweep.name)


def _stirring(board: Board, sweep: Sweep, runs: Path) -> set[str]:
    tries = [attempts(RunPaths(runs, sweep.name, id).attempts) for id in board.ids("running")]
    return {found[-1].fields.get("launch", "") for found in tries if found}


def _folders(folder: Path) -> list[Path]:
    """Those of the sweep's runs."""
    return sorted(path.parent for path in folder.glob("*/run.json")) if folder.is_dir() else []


def _alive(paths: RunPaths) -> bool:
    found = attempts(paths.attempts)
    return bool(found) and found[-1].alive()


def _over(launch: Launch, outlook: Outlook) -> bool:
    """Whether it is certain that no worker of a launch lives."""
    live = launch.id in {live.launch.id for live in outlook.live}
    unknown = launch.on == "slurm" and launch.ended is None and any(run in outlook.unknown for run in launch.runs)
    unseen = launch.elsewhere and time.time() - launch.began < LEASE_SECONDS
    return bool(launch.content) and not live and not unknown and not unseen


def _of_launch(launch: Launch, runs: Path, sweep: str) -> Iterator[Waste]:
    for pattern in SUBMITTED:
        for path in sorted(launch.folder.glob(pattern)):
            yield from _files(path, "submission of an ended launch")
    if all(RunPaths(runs, sweep, id).result.exists() for id in launch.runs):
        for pattern in PRINTED:
            for path in sorted(launch.folder.glob(pattern)):
                yield from _files(path, "output of an ended launch whose runs are done")


def _spares(folder: Path) -> Iterator[Waste]:
    for path in sorted(folder.glob(".*")) if folder.is_dir() else ():
        if SPARE.fullmatch(path.name) and path.is_file() and time.time() - path.stat().st_mtime > SPARE_SECONDS:
            yield from _files(path, "spare file of a killed writer")


def _checkpoint(path: Path, why: str) -> Iterator[Waste]:
    """The file, and where it is on scratch what links to it."""
    for file in checkpoint_files(path):
        yield from _files(file, why)
        yield from _files(put_aside_name(file), why)
    if path.is_symlink():
        yield from _files(path, why)


def _files(path: Path, why: str) -> Iterator[Waste]:
    if path.is_file() or path.is_symlink():
        yield Waste(path, path.lstat().st_size, why)


def say(found: list[Waste], total: int, *, dry_run: bool) -> list[str]:
    """What went, and how much of each kind."""
    if not found:
        return ["nothing to remove"]
    lines = [f"{'would remove' if dry_run else 'removed'} {len(found)} files, {size(total)}"]
    for why in dict.fromkeys(item.why for item in found):
        kind = [item for item in found if item.why == why]
        lines.append(f"{why}: {len(kind)}, {size(sum(item.bytes for item in kind))}")
        lines += [f"  {item.path}" for item in kind[:LISTED]]
        lines += [f"  and {len(kind) - LISTED} more"] if len(kind) > LISTED else []
    return lines


def size(number: float) -> str:
    """`12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


if __name__ == "__main__":
    run(main, several=SEVERAL)
