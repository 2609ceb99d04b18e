"""The command line of `python -m ablation.plan`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ablation.budget import Budget, parse_budget
from ablation.command import print_json, run
from ablation.errors import UserError
from ablation.plan.table import contract, explain, show
from ablation.solver import TOLERANCE, Rule, Solution, follow, parse_share

CARDINALITIES = (1, 2, 4, 8, 16, 32)
SMALL_CARDINALITIES, SMALL_TIGHT = (1, 2, 3, 4, 6), 0.05
"""For the small stem: its widths round so badly that only free stage widths give a ladder of five."""


def main(
    budget: Annotated[
        str, typer.Option(help="A budget's or a design's name, or a multiple: 2*resnet101.")
    ] = "resnet50",
    cardinality: Annotated[
        list[int] | None, typer.Option(help="C, one or more values.  [default: 1 2 4 8 16 32]", show_default=False)
    ] = None,
    match: Annotated[
        str | None, typer.Option(help="block (the paper's; default), params, macs, or both.", show_default=False)
    ] = None,
    tolerance: Annotated[
        str | None, typer.Option(help="How far the match may miss: 5% or 0.05.  [default: 5%]", show_default=False)
    ] = None,
    tight: Annotated[
        str | None,
        typer.Option(help="Free the stage widths: the least-bent within this on params and MACs at once, e.g. 1%."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, nothing else.")] = False,
    write: Annotated[Path | None, typer.Option(help="Write the rows as a panel's arms into this sweep file.")] = None,
    panel: Annotated[
        str | None, typer.Option(help="The panel to write; by default the one of this budget.", show_default=False)
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Build every network and count again, with torch and with fvcore.")
    ] = False,
) -> int | None:
    """Designs that meet one budget and differ in cardinality, with every residual: Table 2 for any budget.

    \b
    Example:
      python -m ablation.plan --budget resnet50 --cardinality 1 2 4 8 32
      python -m ablation.plan --budget resnet50 --cardinality 16 32 --tight 1%
      python -m ablation.plan --budget fashion --write sweeps/mine.yaml
    """
    if panel is not None and write is None:
        raise UserError("--panel names a panel of a sweep file", remedy="Add --write FILE.")
    goal = _goal(budget, write, panel)
    rule = _rule(goal, match, tolerance, tight)
    rows = [follow(rule, goal, paths) for paths in cardinality or _cardinalities(goal)]
    if as_json:
        print_json(contract(goal, rule, rows))
    else:
        show(goal, rule, rows)
        print(explain(goal, rule, rows))
    if verify and not _verified(rows, quiet=as_json):
        return 1
    if write:
        _write(write, goal, rows, panel, quiet=as_json)
    return None


def _goal(budget: str, write: Path | None, panel: str | None) -> Budget:
    """The budget; at the resolution and the classes of a panel's own data set, where that is to be written."""
    if write is None:
        return parse_budget(budget)
    from ablation.plan.write import budget_of_panel

    return budget_of_panel(write, budget, panel)


def _rule(budget: Budget, match: str | None, tolerance: str | None, tight: str | None) -> Rule:
    if tight and tolerance:
        raise UserError("--tight and --tolerance say the same thing twice", remedy="Leave one out.")
    if tight or (budget.base.stem == "small" and not (match or tolerance)):
        return Rule.of(budget, match, tight=parse_share(tight, "--tight") if tight else SMALL_TIGHT)
    return Rule.of(budget, match, parse_share(tolerance, "--tolerance") if tolerance else TOLERANCE)


def _cardinalities(budget: Budget) -> tuple[int, ...]:
    return SMALL_CARDINALITIES if budget.base.stem == "small" else CARDINALITIES


def _verified(rows: list[Solution], quiet: bool) -> bool:
    from ablation.plan.verify import differences, show_counts, verify

    counts = [verify(row.design) for row in rows]
    if not quiet:
        show_counts(counts)
    wrong = [line for count in counts for line in differences(count)]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return not wrong


def _write(path: Path, budget: Budget, rows: list[Solution], panel: str | None, quiet: bool) -> None:
    from ablation.plan.write import write_panel

    print(write_panel(path, budget, rows, panel), file=sys.stderr if quiet else sys.stdout)


if __name__ == "__main__":
    run(main, several=("--cardinality",))
