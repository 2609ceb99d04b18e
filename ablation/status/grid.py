"""The board on a terminal: a grid of arms and seeds, and below it what is to be said in words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablation.board import LISTED, STATES, Board, Row, count, remarks

if TYPE_CHECKING:
    from rich.table import Table

ROOMY, NARROW = 4, 12
"""So many seeds are shown in words, so many in short; of more only the numbers."""
STYLES = {"done": "green", "running": "cyan", "failed": "red", "unknown": "magenta"}
SHORT = {"waiting": "wait", "failed": "FAIL", "missing": "-", "unknown": "?"}


def picture(board: Board) -> Table:
    """A table with a line for each arm."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    seeds = list(dict.fromkeys(row.seed for row in board.rows))
    unit = {"cpu": "CPU-h", "cuda": "GPU-h"}.get(board.device or "", "hours")
    gap = 1 if len(seeds) <= ROOMY else 0
    table = Table(title=title(board), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, gap, 0, 0))
    table.add_column("arm", no_wrap=True)
    columns = [f"seed {seed}" for seed in seeds] if len(seeds) <= ROOMY else list(map(str, seeds))
    for name in columns if len(seeds) <= NARROW else [*STATES[:5], "mean error"]:
        table.add_column(name, no_wrap=True)
    for name in ("img/s", f"{unit} spent", "left"):
        table.add_column(name, justify="right")
    by_arm = defaultdict(list)
    for row in board.rows:
        by_arm[row.panel, row.arm].append(row)
    panels = list(dict.fromkeys(panel for panel, _ in by_arm))
    for panel in panels:
        if len(panels) > 1:
            table.add_row(f"[bold]{escape(panel)}[/]")
        for (of, arm), rows in by_arm.items():
            if of == panel:
                table.add_row(escape(arm), *_cells(rows, seeds), *_sums(rows, board.share))
    return table


def _cells(rows: Sequence[Row], seeds: Sequence[int]) -> list[str]:
    if len(seeds) > NARROW:
        counts = Counter(row.state for row in rows)
        errors = [row.top1_error for row in rows if row.state == "done" and row.top1_error is not None]
        mean = f"{sum(errors) / len(errors):.2f}%" if errors else ""
        return [*(str(counts[state] or "") for state in STATES[:5]), mean]
    short = len(seeds) > ROOMY
    found = {row.seed: _styled(row, _short(row) if short else _words(row)) for row in rows}
    return [found.get(seed, "") for seed in seeds]


def _styled(row: Row, words: str) -> str:
    style = STYLES.get(row.state)
    return f"[{style}]{words}[/]" if style else words


def _words(row: Row) -> str:
    error = "" if row.top1_error is None else f" {row.top1_error:.2f}%"
    if row.state == "running":
        return f"{row.epoch}/{row.epochs}{error}"
    return f"done{error}" if row.state == "done" else row.state


def _short(row: Row) -> str:
    if row.state == "running":
        return f"{row.epoch}/{row.epochs}"
    return f"{row.top1_error:.1f}" if row.state == "done" and row.top1_error is not None else SHORT.get(row.state, "")


def _sums(rows: Sequence[Row], share: float) -> list[str]:
    """Of an arm: images per second in training, hours spent, hours left."""
    rates = [row.images_per_second for row in rows if row.images_per_second]
    rate = f"{sum(rates) / len(rates):,.0f}" if rates else ""
    return [rate, _figure(sum(_spent(row) for row in rows)), _figure(_left(rows, share))]


def _spent(row: Row) -> float:
    return row.gpu_hours if row.gpu_hours is not None else row.cpu_hours or 0.0


def _left(rows: Sequence[Row], share: float) -> float | None:
    """Hours of GPUs or cores left, a run taking `share` of them; None where nothing is known of a run."""
    seconds = [row.seconds_left for row in rows]
    return None if None in seconds else share * sum(filter(None, seconds)) / 3600


def _figure(hours: float | None) -> str:
    if hours is None:
        return "?"
    return "" if not hours else f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2f}"


def title(board: Board) -> str:
    """`study: 12 done, 2 running, 1 missing; about 20 min left`."""
    eta = time_left(board)
    return f"{board.sweep}: {board.line()}" + (f"; {eta}" if eta else "")


def time_left(board: Board) -> str:
    """When what runs and waits will be done, with as many runs at once as now; empty where that can't be said."""
    scheduled = [row for row in board.once if row.state in ("running", "waiting")]
    running = sum(row.state == "running" for row in scheduled)
    known = [row.seconds_left for row in scheduled if row.seconds_left is not None]
    if not running or len(known) < len(scheduled):
        return ""
    return f"{duration(max(sum(known) / running, *known, 0.0))} left"


def duration(seconds: float) -> str:
    """`about 20 min`."""
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds <= limit:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds / 86_400:.1f} days"


def lines(board: Board) -> list[str]:
    """What runs where, why others wait, what failed and why."""
    return [*_running(board), *_waiting(board), *remarks(board)]


def _running(board: Board) -> list[str]:
    rows = [row for row in board.once if row.state == "running"]
    said = [f"running {row.arm} seed {row.seed}: {_where(row)}" for row in rows[:LISTED]]
    return [*said, f"running: {len(rows) - LISTED} more"] if len(rows) > LISTED else said


def _where(row: Row) -> str:
    parts = [f"epoch {row.epoch}/{row.epochs}"]
    parts += [f"{row.images_per_second:,.0f} img/s"] if row.images_per_second else []
    parts += [f"on {row.node}"] if row.node else []
    parts += [f"job {row.job}"] if row.job else []
    parts += [f"attempt {row.attempts}"] if row.attempts > 1 else []
    parts += [f"{duration(row.seconds_left)} left"] if row.seconds_left is not None and row.epoch else []
    return ", ".join(parts) + (f" ({row.message})" if row.message else "")


def _waiting(board: Board) -> list[str]:
    reasons = Counter(row.reason for row in board.once if row.state == "waiting")
    return [f"waiting ({reason}): {count(number)}" for reason, number in reasons.items()]
