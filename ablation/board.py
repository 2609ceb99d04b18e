"""The board: where every run of a sweep stands, as rows and as a picture."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation.launches import waiting
from ablation.run import RunState, read_state
from ablation.sweep import Sweep

if TYPE_CHECKING:
    from rich.table import Table

STATES = ("done", "running", "waiting", "failed", "missing")


@dataclass(frozen=True)
class Row:
    """A run and where it stands; errors in percent, seconds of training and evaluation so far."""

    id: str
    panel: str
    arm: str
    seed: int
    state: str
    epoch: int
    epochs: int
    top1_error: float | None
    seconds: float
    message: str


@dataclass(frozen=True)
class Board:
    """Every run of a sweep, seed by seed."""

    sweep: str
    rows: list[Row]

    @property
    def states(self) -> dict[str, int]:
        """How many runs are in each state; a run that two panels share counts once."""
        counts = Counter({row.id: row.state for row in self.rows}.values())
        return {state: counts[state] for state in STATES if counts[state]}

    def ids(self, *states: str) -> list[str]:
        """Ids of the runs in some states, each once, in order."""
        return list(dict.fromkeys(row.id for row in self.rows if row.state in states))

    def to_json(self) -> dict[str, Any]:
        """`status --json`."""
        return {"sweep": self.sweep, "runs": [asdict(row) for row in self.rows], "states": self.states}

    def line(self) -> str:
        """`12 done, 2 running, 1 missing`."""
        return ", ".join(f"{count} {state}" for state, count in self.states.items())


def read_board(sweep: Sweep, runs: Path) -> Board:
    """Where every run of a sweep stands, from the run folders and the live launches."""
    queued = waiting(runs, sweep.name)
    all_runs = sweep.runs()
    known = {run.id: read_state(sweep.paths(runs, run)) for run in all_runs}

    def row(index: int) -> Row:
        run, state = all_runs[index], known[all_runs[index].id]
        name = "waiting" if state.state == "missing" and run.id in queued else state.state
        epochs = state.epochs or run.recipe.epochs
        shown = RunState(name, state.epoch, epochs, state.top1_error, round(state.seconds, 1), state.message)
        return Row(run.id, run.panel, run.arm, run.seed, **asdict(shown))

    return Board(sweep.name, [row(index) for index in range(len(all_runs))])


def picture(board: Board) -> Table:
    """A table with a line for each arm, and a line of words for each run that failed."""
    from rich.table import Table

    table = Table(title=f"{board.sweep}: {board.line()}", title_justify="left")
    for name in ("panel", "arm", *(f"seed {seed}" for seed in _seeds(board))):
        table.add_column(name)
    for panel, arm in dict.fromkeys((row.panel, row.arm) for row in board.rows):
        cells = {row.seed: _cell(row) for row in board.rows if (row.panel, row.arm) == (panel, arm)}
        table.add_row(panel, arm, *(cells.get(seed, "") for seed in _seeds(board)))
    return table


def _seeds(board: Board) -> list[int]:
    return list(dict.fromkeys(row.seed for row in board.rows))


def _cell(row: Row) -> str:
    error = "" if row.top1_error is None else f" {row.top1_error:.2f}%"
    if row.state == "done":
        return f"[green]done[/]{error}"
    if row.state == "running":
        return f"[cyan]epoch {row.epoch}/{row.epochs}[/]{error}"
    return {"failed": "[red]failed[/]", "waiting": "waiting"}.get(row.state, row.state)


def remarks(board: Board) -> list[str]:
    """A line for each run that has something to say, each once."""
    said = {row.id: f"{row.id}: {row.state}: {row.message}" for row in board.rows if row.message}
    return list(said.values())
