"""Command: what runs, waits, failed, remains."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ablation.board import picture, read_board, remarks
from ablation.command import print_json, run
from ablation.errors import UserError
from ablation.records import read_records
from ablation.sweep import Sweep, load_sweep


def main(
    sweep: Annotated[Path, typer.Argument(help="The sweep file.")],
    runs: Annotated[Path, typer.Option(help="Where run folders lie.")] = Path("runs"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as in the sweep file.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 2 s, until nothing runs or waits.")] = False,
    log: Annotated[str | None, typer.Option(help="Print the records of one run: its id, or the start of it.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where each run of a sweep stands, from the run folders and the live launches.

    \b
    Example:
      python -m ablation.status sweeps/fashion_mnist.yaml --watch
      python -m ablation.status sweeps/fashion_mnist.yaml --log resnet11_1x8d-s0
    """
    content = load_sweep(sweep, set_ or ())
    if log is not None:
        return print_log(content, runs, log)
    if json:
        return print_json(read_board(content, runs).to_json())
    return follow(content, runs) if watch else show(content, runs)


def show(sweep: Sweep, runs: Path) -> None:
    """Print the board once."""
    from rich.console import Console

    board = read_board(sweep, runs)
    console = Console()
    Console(width=max(console.width, 100)).print(picture(board))
    print("\n".join(remarks(board)), end="\n" if remarks(board) else "")


def follow(sweep: Sweep, runs: Path) -> None:
    """Show the board until nothing runs or waits."""
    from rich.live import Live

    board = read_board(sweep, runs)
    with Live(picture(board)) as live:
        while board.ids("running", "waiting"):
            time.sleep(2)
            board = read_board(sweep, runs)
            live.update(picture(board))
    print("\n".join(remarks(board)))


def print_log(sweep: Sweep, runs: Path, start: str) -> None:
    """Print one run's records, an event or an epoch a line."""
    ids = sorted({item.id for item in sweep.runs() if item.id.startswith(start)})
    if len(ids) != 1:
        known = "\n  ".join(ids or [item.id for item in sweep.runs()])
        raise UserError(f"--log {start}: {len(ids)} runs are named so", remedy=f"Choose from:\n  {known}")
    for record in read_records(runs / sweep.name / ids[0] / "log.jsonl"):
        rest = " ".join(f"{key}={value}" for key, value in record.items() if key not in ("kind", "time"))
        print(record["time"], record["kind"], rest)


if __name__ == "__main__":
    run(main)
