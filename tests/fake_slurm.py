"""squeue, sacct and scancel that print what a test wrote, in the form that real ones print, and count their calls."""

import json
import os
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablation.claim import take
from ablation.launches import Launch, new_launch
from ablation.run import RunPaths

PROGRAM = """#!/bin/sh
echo "$@" >> "{folder}/{name}.calls"
[ -e "{folder}/{name}.hook" ] && . "{folder}/{name}.hook"
cat "{folder}/{name}.says" 2> /dev/null
cat "{folder}/{name}.errors" >&2 2> /dev/null && exit 1
exit 0
"""
REFUSED = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"


class FakeSlurm:
    """A folder of programs, to be put on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("squeue", "sacct", "scancel"):
            path = folder / name
            path.write_text(PROGRAM.format(folder=folder, name=name))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def calls(self, name: str) -> list[str]:
        """The arguments of each call."""
        path = self.folder / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def says(self, name: str, *lines: str) -> None:
        """What a program prints from now on."""
        (self.folder / f"{name}.says").write_text("".join(f"{line}\n" for line in lines))
        (self.folder / f"{name}.errors").unlink(missing_ok=True)

    def fails(self, name: str, words: str = REFUSED) -> None:
        """Have a program fail from now on."""
        self.says(name)
        (self.folder / f"{name}.errors").write_text(words)

    def does(self, name: str, script: str) -> None:
        """Shell lines that a program runs first."""
        (self.folder / f"{name}.hook").write_text(script + "\n")


def line(id: str, state: str, *, launch: Launch | None = None, raw: str = "", **fields: str) -> str:
    """A line of squeue or sacct: id, number, state, reason, nodes, submitted, name, comment."""
    comment = f"ablation:{launch.id}" if launch else fields.get("comment", "(null)")
    submitted = fields.get("submitted", datetime.now().isoformat(timespec="seconds"))
    known = (fields.get("reason", "None"), fields.get("nodes", ""), submitted, fields.get("name", "ablation-study"))
    return "\t".join([id, raw or id.partition("_")[0], state, *known, comment])


def slurm_launch(runs: Path, ids: list[str], jobs: list[str] | None) -> Launch:
    """A launch on Slurm; without `jobs`, one whose process died before it wrote them down."""
    launch = new_launch(runs, "study")
    launch.plan.write_text(json.dumps({"on": "slurm", "runs": ids, "count": len(jobs or ids)}))
    if jobs is not None:
        launch.record("slurm", ids, jobs)
    return Launch(launch.folder)


def begun_at(launch: Launch, seconds_ago: float) -> Launch:
    """The launch, as if it had been made earlier."""
    stamp = datetime.fromtimestamp(time.time() - seconds_ago, UTC).strftime("%Y%m%dT%H%M%S")
    folder = launch.folder.with_name(f"{stamp}-{launch.id[16:]}")
    launch.folder.rename(folder)
    for path in folder.iterdir():
        os.utime(path, (time.time() - seconds_ago,) * 2)
    return Launch(folder)


def attempt(paths: RunPaths, launch: Launch | None = None, *, silent: float = 0, **fields: Any) -> Path:
    """An attempt at a run on another machine, which has not stirred for so many seconds."""
    held = take(paths.attempts, launch=launch.id if launch else "", worker="n1:17", job=None)
    assert held is not None
    held._over.set()
    held.path.write_text(json.dumps({**held.fields, "host": "n1 pid:[1]", **fields}))
    os.utime(held.path, (time.time() - silent,) * 2)
    return held.path
