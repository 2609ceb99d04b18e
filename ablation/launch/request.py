"""What a launch was asked for, and which runs that means."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ablation.board import Board, Row
from ablation.errors import UserError, did_you_mean
from ablation.job import WorkerJob
from ablation.launches import Launch
from ablation.shares import check_micro_batch, shares
from ablation.site import Site
from ablation.slurm import QUERY_SECONDS, slurm_answers
from ablation.sweep import Sweep

PLACES = ("slurm", "local", "here")
STARTABLE = ("failed", "missing")
SETTINGS = ("gpus", "threads", "checkpoint_minutes", "hang_minutes", "micro_batch", "kernels")
"""Of a sweep's resources, what a run's settings take over."""


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    sweep: Sweep
    runs: Path
    on: str
    site: Site
    data_dir: Path | None = None
    overrides: tuple[str, ...] = ()
    """Of the sweep file, `key.path=value`."""
    only: tuple[str, ...] = ()
    chain: int = 0
    """How many jobs follow each Slurm job, one after another; 0: a job queues itself again."""

    def todo(self, board: Board) -> list[str]:
        """Ids of the runs to start, seed by seed: what is missing or failed, and picked by `only`."""
        pick = Pick(self.only, board)
        return list(dict.fromkeys(row.id for row in board.rows if row.state in STARTABLE and pick(row)))

    @property
    def data(self) -> dict[str, Path]:
        """Where the sweep's data sets lie, as far as the command or the site file says."""
        names = dict.fromkeys(panel.dataset.name for panel in self.sweep.panels)
        return {name: root for name in names if (root := self.data_dir or self.site.data_root(name))}

    def worker(
        self, launch: Launch, todo: Sequence[str], minutes: int | None = None, requeue: bool = True
    ) -> WorkerJob:
        """The worker that this launch starts, once or several times."""
        resources = self.sweep.resources
        return WorkerJob(
            runs=self.runs,
            sweep=self.sweep.name,
            ids=tuple(todo),
            launch=launch.id,
            settings={key: getattr(resources, key) for key in SETTINGS},
            data=tuple(self.data.items()),
            scratch=self.site.scratch_folder(),
            side_by_side=resources.side_by_side,
            ranks=resources.ranks,
            minutes=minutes,
            requeue=requeue,
        )


class Pick:
    """Whether `--only` means a run: it is in one of the named states, of one of the named arms, has a named seed.

    Raises UserError where a word is none of these.
    """

    def __init__(self, words: Sequence[str], board: Board) -> None:
        known = {
            "state": set(STARTABLE),
            "arm": {row.arm for row in board.rows},
            "seed": {str(row.seed) for row in board.rows},
        }
        self.wanted = {kind: {word for word in words if word in names} for kind, names in known.items()}
        for word in words:
            if not any(word in names for names in self.wanted.values()):
                choices = [*STARTABLE, *dict.fromkeys(row.arm for row in board.rows)]
                raise UserError(
                    f"--only {word}: no such state, arm or seed", remedy=f"{did_you_mean(word, choices)} Or a seed."
                )

    def __call__(self, row: Row) -> bool:
        """Whether this run is meant."""
        have = {"state": row.state, "arm": row.arm, "seed": str(row.seed)}
        return all(have[kind] in names for kind, names in self.wanted.items() if names)


def check_shares(sweep: Sweep) -> None:
    """Raises UserError where a batch can't be split over a run's processes."""
    for panel in sweep.panels:
        for recipe in dict.fromkeys(arm.recipe for arm in panel.arms):
            shares(recipe.batch, recipe.norm_batch, sweep.resources.ranks)
            check_micro_batch(sweep.resources.micro_batch, recipe.batch, recipe.norm_batch)


def place(on: str | None) -> str:
    """Where workers start. Raises UserError where that is no place, or Slurm is asked for and does not answer."""
    if on is None and "SLURM_JOB_ID" in os.environ:
        return "here"
    if on not in (None, *PLACES):
        raise UserError(f"--on {on}", remedy=f"Choose from: {', '.join(PLACES)}.")
    answers = slurm_answers(QUERY_SECONDS) if on in (None, "slurm") else None
    if answers is False:  # a login node is no place to train on by mistake
        raise UserError("the Slurm controller does not answer", remedy="Try again, or say where: --on local.")
    if on == "slurm" and not answers:
        raise UserError("no Slurm controller answers", remedy="Use --on local, or mend SLURM_CONF and PATH.")
    return on or ("slurm" if answers else "local")
