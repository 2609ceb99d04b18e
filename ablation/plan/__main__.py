"""The command line of `python -m ablation.plan`."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ablation.budget import Budget, budget_design, parse_budget
from ablation.command import print_json, run
from ablation.errors import UserError
from ablation.plan import options
from ablation.plan.arms import Ladder, design_ladder
from ablation.plan.proof import add_proof, draw, notes, show_proof
from ablation.plan.seeds import Seeds, plan_seeds, show_seeds
from ablation.plan.table import contract, explain, show
from ablation.plan.times import add_times, clock_of, explain_times
from ablation.solver import TOLERANCE, Clock, Rule, Solution, check_axes, follow, parse_share, points, rule_for

SMALL_CARDINALITIES, SMALL_TIGHT = (1, 2, 3, 4, 6), 0.05
"""For the small stem: its widths round so badly that only free stage widths give a ladder of five."""
SEVERAL = ("--cardinality", "--axis", "--width", "--scale", "--blocks")
DEFAULT = frozenset({"cardinality"})


def main(
    budget: options.BudgetName = "resnet50",
    family: options.FamilyName = None,
    axis: options.Axis = None,
    cardinality: options.Cardinality = None,
    width: options.Width = None,
    scale: options.Scale = None,
    base: options.Base = None,
    resolution: options.Resolution = None,
    classes: options.Classes = None,
    match: options.Match = None,
    tolerance: options.Tolerance = None,
    tight: options.Tight = None,
    multiple: options.Multiple = 1,
    batch: options.Batch = 32,
    times: options.Times = None,
    precision: options.Precision = None,
    threads: options.Threads = None,
    seeds: options.Seeds = None,
    resolve: options.Resolve = None,
    pilots: options.Pilots = None,
    within: options.Within = None,
    memory: options.Memory = None,
    as_json: options.AsJson = False,
    proof: options.ShowProof = False,
    figure: options.FigureFile = None,
    write: options.Write = None,
    panel: options.PanelName = None,
    verify: options.Verify = False,
    space: options.SpaceFlag = False,
    blocks: options.Blocks = None,
    widths: options.Widths = None,
    out: options.Out = None,
    whole: options.Whole = False,
    sample: options.SampleCount = 0,
    seed: options.Seed = 0,
) -> int | None:
    """Designs that meet one budget and differ along an axis, with every residual: Table 2 for any budget.

    \b
    Example:
      python -m ablation.plan --budget resnet50 --cardinality 1 2 4 8 32
      python -m ablation.plan --budget resnet50 --cardinality 16 32 --tight 1%
      python -m ablation.plan --budget 2*resnet101 --axis depth
      python -m ablation.plan --budget 2*resnet101 --axis groups --width 4 64
      python -m ablation.plan --budget fashion --write sweeps/mine.yaml
      python -m ablation.plan --family docs/examples/convnext.py:convnext --axis expansion=2,3,4
      python -m ablation.plan --space --widths 1-64 --sample 50 --out space.parquet
    """
    if family:
        return _plan_family(locals())
    axes = check_axes(axis or ["cardinality"])
    goal = _goal(f"{budget},base={base}" if base else budget, write, panel, resolution, classes)
    if space:
        from ablation.plan.space import Wanted, explore, refuse_ladder_options, space_of

        refuse_ladder_options(
            axis, width, scale, match, tight, proof, multiple != 1, batch != 32, times, precision, threads
        )
        searched = space_of(goal, blocks or [], cardinality, widths, tolerance)
        rows_for = "--write" if write else "--verify" if verify else None
        rows = explore(searched, Wanted(out, whole, sample, seed, figure, as_json, rows_for))
        return _finish(rows, goal, None, write, panel, verify, as_json)
    if blocks or widths or out or whole or sample or seed:
        raise UserError("--blocks, --widths, --out, --all, --sample and --seed describe a space", remedy="Add --space.")
    clock = clock_of(times, match, goal, batch, precision, threads)
    rule = _rule(goal, axes, match, tolerance, tight, multiple, batch, clock)
    cardinality = cardinality or _usual_cardinalities(goal, axes)
    rows = [follow(rule, goal, axes, point) for point in points(axes, goal, cardinality, width, scale)]
    evidence = _evidence(Seeds(seeds, resolve, pilots, within, memory), goal, rows, clock)
    _print(goal, rule, rows, axes, proof, as_json, evidence)
    if evidence and not as_json:
        show_seeds(evidence, goal)
    if figure:
        draw(figure, rows)
    return _finish(rows, goal, axes, write, panel, verify, as_json)


def _plan_family(given: dict[str, Any]) -> int | None:
    """Plan a family; the options that speak of a Design are refused where they are not at their defaults."""
    from ablation.plan.families import Asked, plan_family, refuse_others

    names = "cardinality width scale base tight seeds resolve pilots within memory"
    names += " space blocks widths out sample seed"
    changed = {name: given[name] for name in names.split()} | {
        "multiple": given["multiple"] != 1,
        "all": given["whole"],
    }
    refuse_others({f"--{name}": value for name, value in changed.items()})
    return plan_family(Asked(**{field.name: given[field.name] for field in fields(Asked)}))


def _usual_cardinalities(goal: Budget, axes: frozenset[str]) -> list[int] | None:
    return list(SMALL_CARDINALITIES) if axes == DEFAULT and goal.base.stem == "small" else None


def _evidence(wanted: Seeds, goal: Budget, rows: list[Solution], clock: Clock | None) -> dict[str, Any]:
    """What was asked of seeds, as `--json` holds it; empty where nothing was."""
    return {"evidence": plan_seeds(wanted, goal, len(rows), clock)} if wanted.anything else {}


def _print(
    goal: Budget,
    rule: Rule,
    rows: list[Solution],
    axes: frozenset[str],
    proof: bool,
    as_json: bool,
    evidence: dict[str, Any],
) -> None:
    """The ladder, as JSON or as tables."""
    if as_json:
        answer = add_times(contract(goal, rule, rows), rule, goal, rows) | evidence
        print_json(add_proof(answer, rule, rows, axes) if proof or axes != DEFAULT else answer)
    else:
        show(goal, rule, rows)
        print(explain(goal, rule, rows, axes))
        print("\n".join([*explain_times(rule, goal, rows), *notes(goal, axes, rows, rule)]))
        if proof:
            show_proof(rule, rows, axes)


def _finish(
    rows: list[Solution],
    goal: Budget,
    axes: frozenset[str] | None,
    write: Path | None,
    panel: str | None,
    verify: bool,
    as_json: bool,
) -> int | None:
    """Count the rows (along `axes`; None: drawn) again and write them, where that is asked; 1 where counts differ."""
    if verify and not _verified(rows, quiet=as_json):
        return 1
    if write:
        _write(write, design_ladder(goal, rows, axes), panel, quiet=as_json)
    return None


def _goal(text: str, write: Path | None, panel: str | None, resolution: int | None, classes: int | None) -> Budget:
    """The budget; at the resolution and the classes of a panel's own data set, where that is to be written."""
    if panel is not None and write is None:
        raise UserError("--panel names a panel of a sweep file", remedy="Add --write FILE.")
    if write is not None:
        if resolution or classes:
            raise UserError(
                "--resolution and --classes don't go with --write: the panel's dataset says them",
                remedy="Write first, then change `dataset` in the file and write again.",
            )
        from ablation.plan.write import budget_of_panel

        return budget_of_panel(write, text, panel)
    given = {"resolution": resolution, "classes": classes}
    fields = {name: value for name, value in given.items() if value is not None}
    return parse_budget(text, replace(budget_design(text), **fields) if fields else None)  # type: ignore[arg-type]


def _rule(
    budget: Budget,
    axes: frozenset[str],
    match: str | None,
    tolerance: str | None,
    tight: str | None,
    multiple: int,
    batch: int,
    clock: Clock | None,
) -> Rule:
    if tight and tolerance:
        raise UserError("--tight and --tolerance say the same thing twice", remedy="Leave one out.")
    limit = parse_share(tight, "--tight") if tight else None
    if budget.base.stem == "small" and axes == DEFAULT and not (match or tolerance or tight):
        limit = SMALL_TIGHT
    within = parse_share(tolerance, "--tolerance") if tolerance else TOLERANCE
    return Rule.of(budget, rule_for(axes, budget, match, limit), within, limit, multiple, batch, clock)


def _verified(rows: list[Solution], quiet: bool) -> bool:
    from ablation.plan.verify import differences, show_counts, verify

    counts = [verify(row.design) for row in rows]
    if not quiet:
        show_counts(counts)
    wrong = [line for count in counts for line in differences(count)]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return not wrong


def _write(path: Path, ladder: Ladder, panel: str | None, quiet: bool) -> None:
    from ablation.plan.write import write_panel

    print(write_panel(path, ladder, panel), file=sys.stderr if quiet else sys.stdout)


if __name__ == "__main__":
    run(main, several=SEVERAL)
