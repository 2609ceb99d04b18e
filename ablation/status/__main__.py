"""Command: what runs, waits, failed, remains."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ablation.board import read_board
from ablation.command import print_json, run
from ablation.slurm import CALM_SECONDS, Slurm
from ablation.sweep import Sweep, load_sweep

LOOK_SECONDS = 2.0
WIDEST = 1000
SEVERAL = ("--set",)


def main(
    sweep: Annotated[Path, typer.Argument(help="The sweep file.")],
    runs: Annotated[Path, typer.Option(help="Where run folders lie.")] = Path("runs"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as in the sweep file.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every 2 s (at Slurm every 10 s), until nothing runs or waits.")
    ] = False,
    log: Annotated[
        str | None,
        typer.Option(
            help="One run's records, its worker's last output and traceback. The run: its id, the start of it, or "
            "arm:seed."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where each run of a sweep stands: its error, speed, hours spent and left, and why it waits or failed.

    It reads run folders and launches, and asks Slurm where runs that are not done were submitted to it. Where Slurm
    does not answer, their state is unknown.

    \b
    Example:
      python -m ablation.status sweeps/fashion_mnist.yaml --watch
      python -m ablation.status sweeps/fashion_mnist.yaml --log resnet11_1x8d:0
    """
    content = load_sweep(sweep, set_ or ())
    if log is not None:
        from ablation.status.log import print_log

        return print_log(content, runs, log)
    if json:
        return print_json(read_board(content, runs).to_json())
    return follow(content, runs) if watch else show(content, runs)


def show(sweep: Sweep, runs: Path) -> None:
    """Print the board once."""
    from rich.console import Console

    from ablation.status.grid import lines, picture

    board = read_board(sweep, runs)
    console, table = Console(), picture(board)
    needed = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
    console.width = max(console.width, needed)  # a grid that is cut can't be read
    console.print(table)
    for line in lines(board):
        print(line)


def follow(sweep: Sweep, runs: Path) -> None:
    """Show the board until nothing runs or waits."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from ablation.status.grid import lines, picture

    slurm = Slurm(CALM_SECONDS)
    board = read_board(sweep, runs, slurm)
    with Live() as live:
        while True:
            live.update(Group(picture(board), Text("\n".join(lines(board)))))
            if not board.ids("running", "waiting", "unknown"):
                return
            time.sleep(LOOK_SECONDS)
            board = read_board(sweep, runs, slurm)


if __name__ == "__main__":
    run(main, several=SEVERAL)
