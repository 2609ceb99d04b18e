"""Command: check this machine, the run folders and the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ablation.command import print_json, run
from ablation.doctor.finding import PROBLEM, Finding, Findings, show, to_json
from ablation.errors import UserError
from ablation.site import Site, load_site, site_path
from ablation.sweep import load_sweep

PLACES = ("slurm", "local")


def main(
    sweep: Annotated[Path | None, typer.Argument(help="A sweep file: its data, GPUs and jobs are checked too.")] = None,
    on: Annotated[
        str | None,
        typer.Option(help="slurm: also from a compute node, by one short job; local: leave the cluster out."),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders lie.")] = Path("runs"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as in the sweep file.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where data sets lie; else $ABLATION_DATA.")] = None,
    write_site: Annotated[
        bool, typer.Option("--write-site", help="Draft a site file from what the cluster answers; keep one that is.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what is safe to mend in run folders: nothing that counts is lost.")
    ] = False,
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for the job of --on slurm.")] = 300.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Check what runs need: this machine, the folder of runs, the cluster; and say what to do about what is amiss.

    Every file of every run folder below --runs (of the sweep's, where one is named) is held against its digest, and
    against the others; a damaged one is named.

    Exit code 0: no problem (there may be notes); 1: a problem; 2: a mistake in the command or the sweep file.

    \b
    Example:
      python -m ablation.doctor
      python -m ablation.doctor --runs runs/ --repair
      python -m ablation.doctor sweeps/table3.yaml --on slurm
      python -m ablation.doctor --write-site
    """
    if on is not None and on not in PLACES:
        raise UserError(f"--on {on}", remedy=f"Choose from: {', '.join(PLACES)}.")
    if write_site:
        return draft_site()
    asked = Asked(sweep, tuple(set_ or ()), on, runs.absolute(), data_dir and data_dir.absolute(), wait, repair)
    return examine(asked, as_json=json)


@dataclass(frozen=True)
class Asked:
    """What the command was asked."""

    sweep: Path | None
    overrides: tuple[str, ...]
    on: str | None
    runs: Path
    data_dir: Path | None
    wait: float
    repair: bool


def examine(asked: Asked, *, as_json: bool) -> int:
    """Look at everything, and print it; 1 where there is a problem."""
    from ablation.doctor.cluster import check_cluster
    from ablation.doctor.folder import check_folders
    from ablation.doctor.machine import check_machine
    from ablation.doctor.runs import check_runs
    from ablation.doctor.slurm import Cluster, read_cluster

    sweep = load_sweep(asked.sweep, asked.overrides) if asked.sweep else None
    site, found = _site()
    cluster = Cluster(missing=()) if asked.on == "local" else read_cluster()
    on_cluster = asked.on != "local" and cluster.there and not cluster.controller
    here = not on_cluster and sweep is not None and bool(sweep.resources.gpus)
    found += check_machine(sweep, site, asked.data_dir, needs_gpu=here)
    found += check_folders(asked.runs, site, cluster=on_cluster)
    found += check_runs(asked.runs, sweep.name if sweep else None, repair=asked.repair)
    if asked.on != "local":
        found += check_cluster(cluster, site, sweep, wanted=asked.on == "slurm")
    if asked.on == "slurm" and on_cluster:
        from ablation.doctor.node import check_node

        found += check_node(sweep, site, asked.runs, asked.data_dir, asked.wait)
    print_json(to_json(found)) if as_json else show(found)
    return 1 if any(finding.state == PROBLEM for finding in found) else 0


def _site() -> tuple[Site, list[Finding]]:
    """The site file; an empty one, and a finding, where it is damaged."""
    found, (path, _) = Findings("site file"), site_path()
    try:
        site = load_site()
    except UserError as error:
        found.mistake("site file", error)
        return Site(), found.all
    if path.exists():
        found.ok("site file", str(path))
    else:
        found.note("site file", f"none ({path})", "`python -m ablation.doctor --write-site` drafts one.")
    return site, found.all


def draft_site() -> int:
    """Write a first site file, or print what it would be where there is one. Raises UserError without a cluster."""
    from ablation.doctor.draft import write_site
    from ablation.doctor.slurm import read_cluster

    cluster = read_cluster()
    if not cluster.there or cluster.controller:
        why = cluster.controller or "sbatch is not on PATH"
        remedy = "Ask again later." if cluster.there else "Run this on a login node; without Slurm there is no need."
        raise UserError(f"no cluster to ask: {why}", remedy=remedy)
    path, _ = site_path()
    try:
        text, written = write_site(cluster, path)
    except OSError as error:
        raise UserError(f"can't write the site file: {error.strerror}", where=str(path)) from None
    print(text, end="")
    typer.echo(f"{'written to' if written else 'not written, for there is'} {path}", err=True)
    return 0


if __name__ == "__main__":
    run(main, several=("--set",))
