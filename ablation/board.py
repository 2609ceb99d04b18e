"""The board: where every run of a sweep stands, as rows."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ablation.claim import Attempt, attempts, clock
from ablation.outlook import Outlook, look
from ablation.run import Run, RunPaths, RunState, read_json, read_state
from ablation.slurm import Slurm
from ablation.sweep import Sweep

STATES = ("done", "running", "waiting", "failed", "missing", "unknown")
CANCELLED = "cancelled"
LISTED = 12
"""So much is listed one by one; of the rest the number is said."""


@dataclass(frozen=True)
class Row:
    """A run and where it stands; errors in percent, seconds of training and evaluation so far."""

    id: str
    panel: str
    arm: str
    seed: int
    state: str
    """One of STATES; unknown: a Slurm launch is to do it, and Slurm does not answer."""
    epoch: int
    epochs: int
    top1_error: float | None
    seconds: float
    message: str
    reason: str = ""
    """Why it waits: Slurm's own word where it is Slurm's doing."""
    images_per_second: float | None = None
    seconds_left: float | None = None
    """To train, by its own epochs or those of its arm; None: nothing is known."""
    gpu_hours: float | None = None
    """Spent, over all attempts; None on a CPU."""
    cpu_hours: float | None = None
    """Spent, over all attempts, all threads; None on a GPU."""
    attempts: int = 0
    node: str = ""
    """Where its last attempt was made."""
    job: str | None = None
    """Of its last attempt: the Slurm job's number."""


@dataclass(frozen=True)
class Board:
    """Every run of a sweep, seed by seed."""

    sweep: str
    rows: list[Row]
    device: str | None = None
    """cuda or cpu; None while that is not known."""
    share: float = 1.0
    """Of GPUs or cores, how many a run takes."""

    @property
    def once(self) -> list[Row]:
        """The rows, those of a run that two panels share but once."""
        return list({row.id: row for row in self.rows}.values())

    @property
    def states(self) -> dict[str, int]:
        """How many runs are in each state; a run that two panels share counts once."""
        counts = Counter(row.state for row in self.once)
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


@dataclass(frozen=True)
class Files:
    """What a run's own files say."""

    paths: RunPaths
    state: RunState
    tries: list[Attempt]

    @property
    def last(self) -> Attempt | None:
        """The latest attempt."""
        return self.tries[-1] if self.tries else None

    def settled(self, outlook: Outlook, at: float) -> tuple[RunState, str]:
        """Where the run stands, all told, and why it waits; `at`: what the file system's clock said."""
        state, job = self.state, outlook.job(self.last) if self.last else None
        if state.state == "done":
            return state, ""
        heard = at - (time.time() - outlook.asked)  # by the file system's clock
        if self.last and not self.last.ended and job and heard > self.last.path.stat().st_mtime:
            state = self._as_the_job(state, job.state, at_work=job.at_work, live=job.live)
        if state.state == "running":
            message = "cancelled, and about to stop" if self.paths.cancelled.exists() else ""
            return replace(state, message=message), ""
        if self.paths.cancelled.exists() and state.state == "missing":
            return replace(state, message=CANCELLED), ""
        reason = outlook.waits(self.paths.id, self.last)
        if reason is not None:
            return replace(state, state="waiting", message=state.message if state.state == "failed" else ""), reason
        if self.paths.id in outlook.unknown and state.state == "missing":
            return replace(state, state="unknown", message=outlook.unknown[self.paths.id][0]), ""
        return self._gone(state, outlook, job.state if job and not job.live else None), ""

    def _as_the_job(self, state: RunState, word: str, *, at_work: bool, live: bool) -> RunState:
        """The state of a run whose attempt has not ended, as its job's state has it: a lease ends minutes later."""
        if at_work:
            return replace(state, state="running", message="")
        return replace(state, state="missing", message=state.message if live else f"Slurm says {word}")

    def _gone(self, state: RunState, outlook: Outlook, word: str | None) -> RunState:
        """With what Slurm says of the jobs that were to do the run."""
        if state.state != "missing" or (self.last and self.last.ended):
            return state
        if self.last:
            why = f" by Slurm: {word}" if word else ""
            resumes = "go on" if self.paths.resumes else "run it again"
            return replace(state, message=f"interrupted{why}; launch again to {resumes}")
        words = outlook.words(self.paths.id)
        return replace(state, message=f"never started, and its jobs are gone: {words}") if words else state


def read_board(sweep: Sweep, runs: Path, slurm: Slurm | None = None) -> Board:
    """Where every run of a sweep stands, from the run folders, the launches and, where these need it, Slurm.

    Raises UserError where a file is damaged.
    """
    every = sweep.runs()
    folder = runs / sweep.name
    at = _clock(folder)
    paths = {run.id: sweep.paths(runs, run) for run in every}
    known = {id: _read(path, at) for id, path in paths.items()}
    wanted = {id for id, files in known.items() if files.state.state != "done"}
    stirring = {str(files.last.fields.get("launch")) for files in known.values() if files.last and files.last.alive(at)}
    outlook = look(runs, sweep.name, wanted, slurm or Slurm(), stirring) if wanted and folder.is_dir() else Outlook()
    settled = {id: files.settled(outlook, at) for id, files in known.items()}
    for id, (state, _) in settled.items():
        if state.state == "missing" and known[id].last:  # it may have ended between the two looks
            known[id] = _read(paths[id], at)
            settled[id] = known[id].settled(outlook, at)
    device, share = _share(sweep, known)
    return Board(sweep.name, _rows(every, known, settled, (device, share), at), device, share)


def _clock(folder: Path) -> float:
    """The file system's time, asked once; ours where the folder can't be written to."""
    try:
        return clock(folder)
    except OSError:
        return time.time()


def _read(paths: RunPaths, at: float) -> Files:
    return Files(paths, read_state(paths, at), attempts(paths.attempts))


def _share(sweep: Sweep, known: dict[str, Files]) -> tuple[str | None, float]:
    """cuda or cpu (None while that is not known), and how many GPUs or cores a run takes."""
    resources, device = sweep.resources, "cpu" if sweep.resources.gpus == 0 else None
    for files in known.values() if device is None else ():
        if files.tries or files.state.state == "done":
            execution = read_json(files.paths.run_json).get("execution")
            device = execution.get("device") if isinstance(execution, dict) else None
        if device:
            break
    return device, resources.threads if device == "cpu" else (resources.gpus or 1) / resources.side_by_side


def _rows(
    every: Sequence[Run],
    known: dict[str, Files],
    settled: dict[str, tuple[RunState, str]],
    share: tuple[str | None, float],
    at: float,
) -> list[Row]:
    paces = _paces(every, settled)

    def row(run: Run) -> Row:
        (state, reason), files = settled[run.id], known[run.id]
        epochs = state.epochs or run.recipe.epochs
        hours = round(share[1] * _seconds(files, at) / 3600, 4)
        last = files.last.fields if files.last else {}
        pace = state.seconds / state.epoch if state.epoch and state.seconds else paces.get((run.panel, run.arm))
        left = 0.0 if state.state == "done" else None if pace is None else round(pace * (epochs - state.epoch), 1)
        return Row(
            *(run.id, run.panel, run.arm, run.seed, state.state, state.epoch, epochs, state.top1_error),
            *(round(float(state.seconds), 1), state.message, reason),
            images_per_second=state.images_per_second and round(state.images_per_second, 1),
            seconds_left=left,
            gpu_hours=hours if share[0] == "cuda" else None,
            cpu_hours=hours if share[0] == "cpu" else None,
            attempts=len(files.tries),
            node=str(last.get("worker", "")).partition(":")[0],
            job=last.get("job"),
        )

    return [row(run) for run in every]


def _paces(every: Sequence[Run], settled: dict[str, tuple[RunState, str]]) -> dict[tuple[str, str], float]:
    """Seconds an epoch of each arm, over the epochs that its runs have done."""
    sums: dict[tuple[str, str], list[float]] = {}
    for run in every:
        state = settled[run.id][0]
        total = sums.setdefault((run.panel, run.arm), [0.0, 0.0])
        total[0] += state.seconds
        total[1] += state.epoch
    return {arm: seconds / epochs for arm, (seconds, epochs) in sums.items() if epochs and seconds}


def _seconds(files: Files, at: float) -> float:
    """How long workers have had a run, over all attempts; of a run without any (from elsewhere), what it says."""
    if not files.tries:
        return files.state.seconds
    return sum(_length(attempt, at, last=attempt is files.last) for attempt in files.tries)


def _length(attempt: Attempt, at: float, *, last: bool) -> float:
    began = _time(attempt.fields.get("started"))
    if began is None:
        return 0.0
    ended = _time(attempt.fields.get("ended_at"))
    if ended is None:  # it goes on, or died after its last sign of life
        ended = at if last and attempt.alive(at) else attempt.path.stat().st_mtime
    return max(0.0, ended - began)


def _time(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def remarks(board: Board) -> list[str]:
    """A line for each message that runs have, with the first of them that has it."""
    said: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in board.once:
        if row.message and row.state != "running":
            said[row.state, row.message].append(row)
    found = [_remark(state, message, rows) for (state, message), rows in said.items()]
    return [*found[:LISTED], f"and {len(found) - LISTED} more messages: --json"] if len(found) > LISTED else found


def _remark(state: str, message: str, rows: Sequence[Row]) -> str:
    first = rows[0]
    tries = f" (attempt {first.attempts})" if len(rows) == 1 and first.attempts > 1 else ""
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    return f"{first.id}{more}: {state}: {message}{tries}"


def count(number: int) -> str:
    """`1 run`, `12 runs`."""
    return "1 run" if number == 1 else f"{number} runs"
