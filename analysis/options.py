"""The options of `python -m analysis.report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Sweeps = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[SWEEP]...", help="The sweep's YAML file; several are set side by side."),
]
Results = Annotated[
    Path | None, typer.Option(help="In place of a sweep: a CSV of runs trained anywhere (arm, seed, error).")
]
Baseline = Annotated[str | None, typer.Option(help="With --results: the arm to compare with; else the first.")]
Margin = Annotated[float | None, typer.Option(help="With --results: points within which arms are equivalent.")]
Question = Annotated[str, typer.Option(help="With --results: the report's title.")]
Name = Annotated[str, typer.Option(help="With --results: the report's name, else the file's.")]
Runs = Annotated[Path, typer.Option(help="Where run folders lie.")]
Out = Annotated[Path, typer.Option(help="Where reports go, one folder a sweep.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change the sweep; can be repeated.")
]
Figure = Annotated[
    str | None, typer.Option(metavar="NAME", help="Draw this figure alone; any other word lists the names.")
]
Columns = Annotated[int | None, typer.Option(min=1, max=2, help="With --figure: its width in columns of a paper.")]
Csv = Annotated[bool, typer.Option("--csv", help="Write the tables alone, as CSV.")]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print the paper's tables that the sweep runs, measured so far; write nothing."),
]
Bundle = Annotated[
    Path | None, typer.Option(metavar="FILE.zip", help="Pack sweep, registration and tables for a reader.")
]
Anonymous = Annotated[
    bool, typer.Option("--anonymous", help="With --bundle: no names of people, hosts, paths, commits.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the estimates and verdicts for machines.")]
