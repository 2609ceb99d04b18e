"""The outlook: which launches live, which runs they will still do, and what became of the others' jobs."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ablation.claim import Attempt
from ablation.launches import Launch, launches
from ablation.slurm import Job, Queue, Slurm

SUBMIT_SECONDS = 60.0
"""For so long a launch without jobs may be in the middle of submitting them."""
LAG_SECONDS = 600.0
"""After so long accounting knows all that it will ever know of a job."""
BUSY = "workers are busy"


@dataclass(frozen=True)
class Live:
    """A launch with workers that wait, start or work."""

    launch: Launch
    reason: str
    """Why its runs wait: Slurm's own word, where all its jobs wait too."""
    jobs: tuple[Job, ...] = ()
    """Of Slurm, those that have not ended."""


@dataclass
class Outlook:
    """What the launches of a sweep will do, as far as it can be known now."""

    live: list[Live] = field(default_factory=list)
    unknown: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Of runs: why it is not known whether a launch will do them."""
    jobs: dict[str, list[Job]] = field(default_factory=dict)
    """Of launches: their jobs, as squeue, sacct or ended.json tell."""
    asked: float = 0.0
    """When Slurm answered, in seconds since the epoch."""
    _waiting: dict[str, list[Live]] | None = None

    def waits(self, run: str, last: Attempt | None) -> str | None:
        """Why a run that nobody has waits; None where no launch will do it.

        `last`: the latest attempt at it. A launch in which it failed for good does not try it again.
        """
        if self._waiting is None:
            self._waiting = defaultdict(list)
            for live in self.live:
                for id in live.launch.runs if live.launch.on != "here" else ():
                    self._waiting[id].append(live)
        final = last and last.ended == "failed" and last.fields.get("final", True)
        tried = last.fields.get("launch") if last and final else None
        return next((live.reason for live in self._waiting.get(run, ()) if live.launch.id != tried), None)

    def job(self, attempt: Attempt) -> Job | None:
        """The Slurm job in which a worker had a run; None where there is none, or nothing is known of it."""
        id = attempt.fields.get("job")
        own = self.jobs.get(attempt.fields.get("launch", ""), []) if id else []
        found = [job for job in own if id in (job.raw, job.id)]
        # an array's elements that wait show its number, which the last of them to start takes
        return min(found, key=lambda job: job.state == "PENDING", default=None)

    def words(self, run: str) -> str:
        """In which states the jobs ended that were for a run, where none of them lives; empty where none is known."""
        states = Counter(job.state for job in self.jobs.get(self._last_launch.get(run, ""), []))
        return ", ".join(sorted(states, key=lambda state: (state == "COMPLETED", state)))

    _last_launch: dict[str, str] = field(default_factory=dict)


def look(
    runs: Path, sweep: str, wanted: set[str] | None, slurm: Slurm, stirring: Iterable[str] = frozenset()
) -> Outlook:
    """What the launches of a sweep will do, with at most one squeue and one sacct.

    `wanted`: ids of the runs that matter, for those that are done need no question; None: all. `stirring`: ids of the
    launches of which some worker renews its lease: those of another machine show life in no other way.
    """
    outlook, queued = Outlook(), []
    for launch in launches(runs, sweep):
        if wanted is not None and wanted.isdisjoint(launch.runs):
            continue
        outlook._last_launch |= dict.fromkeys(launch.runs, launch.id)
        if launch.on == "slurm":
            ended = launch.ended
            if ended is None:
                queued.append(launch)
            else:
                outlook.jobs[launch.id] = ended
        elif launch.processes or (launch.elsewhere and launch.id in stirring):
            outlook.live.append(Live(launch, BUSY))
    if queued:
        _ask(outlook, queued, sweep, slurm)
    return outlook


def _ask(outlook: Outlook, queued: Sequence[Launch], sweep: str, slurm: Slurm) -> None:
    queue = slurm.queue({os.getuid(), *(launch.folder.stat().st_uid for launch in queued)})
    outlook.asked = queue.asked
    if queue.trouble:
        for launch in queued:
            for run in launch.runs:
                outlook.unknown[run].append(queue.trouble)
        return
    gone = []
    for launch, jobs in _sorted_out(queued, queue, sweep):
        outlook.jobs[launch.id] = jobs
        live = tuple(job for job in jobs if job.live)
        if launch.jobs is None and jobs:
            launch.adopt([job.id for job in jobs])
        if live:
            outlook.live.append(Live(launch, _reason(live), live))
        elif launch.jobs is not None:
            gone.append(launch)
        elif time.time() - launch.plan.stat().st_mtime < SUBMIT_SECONDS:
            outlook.live.append(Live(launch, "being submitted"))
    _ask_of_the_gone(outlook, gone, sweep, slurm)


def _sorted_out(queued: Sequence[Launch], queue: Queue, sweep: str) -> list[tuple[Launch, list[Job]]]:
    """Each launch with its jobs in the queue."""
    tagged: dict[str, list[Job]] = defaultdict(list)
    other: dict[str, Job] = {}
    for job in queue.jobs:
        if job.launch is None:
            other[job.id] = job
        else:
            tagged[job.launch].append(job)
    return [
        (launch, [*tagged[launch.id], *(own for id in launch.jobs or () if (own := _own(launch, other, id, sweep)))])
        for launch in queued
    ]


def _own(launch: Launch, jobs: dict[str, Job], id: str, sweep: str) -> Job | None:
    """The job with an id that the launch wrote down; None where it is another one that was given this id later."""
    job = jobs.get(id)
    if job is None or job.launch not in (None, launch.id):
        return None
    return job if job.launch or (job.name == f"ablation-{sweep}" and job.since(launch.began)) else None


def _ask_of_the_gone(outlook: Outlook, gone: Sequence[Launch], sweep: str, slurm: Slurm) -> None:
    """Add what accounting knows of jobs that are no longer in the queue, and write down how launches ended."""
    listed = {launch.id: {job.id for job in outlook.jobs[launch.id]} for launch in gone}
    unlisted = {launch.id: [id for id in launch.jobs or () if id not in listed[launch.id]] for launch in gone}
    ids = [id for missing in unlisted.values() for id in missing]
    found = slurm.ended(ids, min(launch.began for launch in gone)) if ids else {}
    if found is None:
        return
    for launch in gone:
        known = [job for id in unlisted[launch.id] if (job := _own(launch, found, id, sweep)) and not job.live]
        outlook.jobs[launch.id] += known
        told = len(known) == len(unlisted[launch.id]) or time.time() - launch.began > LAG_SECONDS
        if told and not listed[launch.id]:  # what is listed costs no question, and may be queued again by hand
            launch.over(outlook.jobs[launch.id])


def _reason(jobs: Sequence[Job]) -> str:
    """Why runs wait whose launch has these live jobs."""
    if any(job.at_work for job in jobs):
        return BUSY if any(job.state != "COMPLETING" for job in jobs if job.at_work) else "COMPLETING"
    words = Counter(job.reason if job.reason not in ("", "None") else job.state for job in jobs)
    return words.most_common(1)[0][0]
