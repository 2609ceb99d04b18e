"""What Slurm says of jobs: one squeue for those in the queue, one sacct for those that left it. Each may stay silent.

A controller that is down does not make a job a failed one: its state is unknown then, until Slurm answers again.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

QUERY_SECONDS = 10.0
"""A Slurm controller that does not answer for so long is taken to be away."""
CALM_SECONDS = 10.0
"""What looks again and again asks Slurm no more often than this."""
QUEUED = frozenset(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"))
"""States of a job that has no processes yet, or no longer, and will have some."""
AT_WORK = frozenset(("RUNNING", "COMPLETING", "SUSPENDED", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"))
"""States of a job whose processes may live."""
AWAY = "slurmctld does not answer"
TAG = "ablation:"
"""A launch's jobs carry the comment `ablation:<launch>`: job ids come back after a controller's crash."""
SLACK_SECONDS = 3900
"""By how much the controller's clock may differ from a login node's: an hour, and a little."""
FIELDS = 8


@dataclass(frozen=True)
class Job:
    """A job, or one element of an array, as Slurm tells of it."""

    id: str
    """`12`, or `12_3` in an array."""
    raw: str
    """The number that the job itself knows: $SLURM_JOB_ID."""
    state: str
    """Slurm's own word, such as PENDING."""
    reason: str
    """Why it waits, in Slurm's own word, such as Resources."""
    nodes: str
    submitted: str
    """By the controller's clock, local time."""
    name: str
    comment: str

    @property
    def live(self) -> bool:
        """Whether it waits, starts or runs."""
        return self.state in QUEUED | AT_WORK

    @property
    def at_work(self) -> bool:
        """Whether its processes may live."""
        return self.state in AT_WORK

    @property
    def launch(self) -> str | None:
        """The launch that its comment names; None where it names none (a site may demand another comment)."""
        return self.comment.removeprefix(TAG) if self.comment.startswith(TAG) else None

    def since(self, began: float) -> bool:
        """Whether it was submitted after a moment (seconds since the epoch), as far as two clocks can tell."""
        try:
            return datetime.fromisoformat(self.submitted).timestamp() > began - SLACK_SECONDS
        except ValueError:
            return True  # Unknown, N/A: nothing speaks against it


@dataclass(frozen=True)
class Queue:
    """What squeue said: every job of some users that is in the queue, or left it a few minutes ago."""

    jobs: tuple[Job, ...]
    asked: float
    """When, in seconds since the epoch."""
    trouble: str = ""
    """Why there was no answer; empty where there was one."""


class Slurm:
    """Asks Slurm for jobs, and remembers the answers for `every` seconds."""

    def __init__(self, every: float = 0.0) -> None:
        self.every = every
        self._queue: tuple[tuple[int, ...], Queue] | None = None
        self._ended: dict[tuple[str, ...], tuple[float, dict[str, Job] | None]] = {}

    def queue(self, users: Iterable[int]) -> Queue:
        """The jobs of some users (numbers, as the owners of files have them), by one squeue."""
        wanted = tuple(sorted(set(users)))
        if self._queue and self._queue[0] == wanted and time.time() - self._queue[1].asked < self.every:
            return self._queue[1]
        self._queue = wanted, ask_squeue(wanted)
        return self._queue[1]

    def ended(self, ids: Iterable[str], began: float) -> dict[str, Job] | None:
        """Jobs that left the queue, by id, by one sacct; `began`: when the first was submitted, or earlier.

        What accounting does not know is absent: a job that was cancelled before it started, any job where accounting
        is off. None where there is no answer.
        """
        arrays = tuple(sorted({id.partition("_")[0] for id in ids}))
        if arrays in self._ended and time.time() - self._ended[arrays][0] < self.every:
            return self._ended[arrays][1]
        found = ask_sacct(arrays, began)
        self._ended[arrays] = time.time(), found
        return found


def ask_squeue(users: Iterable[int], seconds: float = QUERY_SECONDS) -> Queue:
    """Every job of some users that squeue lists, in any state."""
    form = "\t".join(f"%{letter}" for letter in "iATrNVjk")
    who = ",".join(map(str, users))
    answer = _ask(["squeue", "--noheader", "--array", "--states=all", f"--user={who}", f"--format={form}"], seconds)
    asked = time.time()
    if isinstance(answer, str):
        return Queue(tuple(_jobs(answer)), asked)
    return Queue((), asked, answer.trouble)


def ask_sacct(arrays: Iterable[str], began: float) -> dict[str, Job] | None:
    """What accounting knows of some jobs and arrays, by job id; None where it does not answer."""
    day_before = datetime.fromtimestamp(max(0.0, began - 86_400)).isoformat(timespec="seconds")
    form = "--format=JobID,JobIDRaw,State,Reason,NodeList,Submit,JobName,Comment"
    command = ["sacct", "--noheader", "-X", "--parsable2", "--delimiter=\t", f"--starttime={day_before}", form]
    answer = _ask([*command, f"--jobs={','.join(arrays)}"], QUERY_SECONDS)
    if isinstance(answer, str):
        return {job.id: job for job in _jobs(answer)}
    return {} if answer.absent else None


def find(launch: str, seconds: float = QUERY_SECONDS) -> list[Job] | None:
    """This user's jobs in the queue that a launch's comment marks; None where Slurm does not answer.

    For a submission that was not written down: its process died, or sbatch did not answer in time.
    """
    queue = ask_squeue([os.getuid()], seconds)
    return None if queue.trouble else [job for job in queue.jobs if job.launch == launch]


def live_jobs() -> set[str] | None:
    """Ids (a number each, array elements' own) of this user's jobs that are queued or running; None: no answer."""
    answer = _ask(["squeue", "--noheader", "--me", "--array", "--format=%A"], QUERY_SECONDS)
    return set(answer.split()) if isinstance(answer, str) else None


def cancel(ids: Iterable[str], seconds: float = 2 * QUERY_SECONDS) -> str:
    """Have Slurm end some jobs: SIGTERM now, SIGKILL after its KillWait; what it says against it, empty if nothing."""
    answer = _ask(["scancel", "--quiet", *ids], seconds)
    return "" if isinstance(answer, str) else answer.trouble


def slurm_answers(seconds: float = 2.0) -> bool | None:
    """Whether a Slurm controller answers within so many seconds; None where this machine belongs to none."""
    answer = _ask(["sinfo", "--noheader", "--format=%P"], seconds)
    return True if isinstance(answer, str) else False if answer.trouble == AWAY else None


@dataclass(frozen=True)
class _Silence:
    """Why a program gave no answer."""

    trouble: str
    absent: bool = False
    """Whether there is nobody who could answer, now or later: no such program, accounting that is off."""


def _ask(command: list[str], seconds: float) -> str | _Silence:
    plain = os.environ | {"SLURM_TIME_FORMAT": "standard", "LC_ALL": "C"}
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=plain)
    except subprocess.TimeoutExpired:
        return _Silence(AWAY)
    except OSError:
        return _Silence(f"no {command[0]} on this machine", absent=True)
    if answer.returncode == 0:
        return answer.stdout
    said = " ".join(answer.stderr.split())
    if re.search(r"contact|connect|timed out", said, re.IGNORECASE):
        return _Silence(AWAY)
    return _Silence(said or f"{command[0]} failed", absent="storage is disabled" in said)


def _jobs(answer: str) -> Iterable[Job]:
    for line in answer.splitlines():
        id, raw, state, reason, nodes, submitted, name, comment = (line.split("\t") + [""] * FIELDS)[:FIELDS]
        word = state.partition(" ")[0].rstrip("+")  # `CANCELLED by 0`
        for one in _elements(id):
            yield Job(one, raw, word, reason, nodes, submitted, name, comment.strip())


def _elements(id: str) -> list[str]:
    """`12_[0-2,5%4]`, an array's elements that never started, as 12_0, 12_1, 12_2, 12_5; another id as it is."""
    found = re.fullmatch(r"(\d+)_\[([\d,-]+)(?:%\d+)?\]", id)
    if not found:
        return [id]
    spans = [span.partition("-") for span in found[2].split(",")]
    return [f"{found[1]}_{n}" for low, _, high in spans for n in range(int(low), int(high or low) + 1)]
