"""The command line of `python -m ablation.plan`."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
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
    small: options.Small = None,
    divide: options.Divide = None,
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
      python -m ablation.plan --small sweeps/table3.yaml --write sweeps/table3_small.yaml
    """
    asked = SimpleNamespace(**locals())
    if small or divide:
        _plan_small(asked)
        return None
    if family:
        return _plan_family(asked)
    return _plan_space(asked) if space else _plan_ladder(asked)


def _plan_small(asked: Any) -> None:
    """Write a sweep's small twin, or print it; options that speak of a ladder are refused."""
    from ablation.plan.small import DIVISOR, small_sweep, write_small

    usual = {"budget": "resnet50", "multiple": 1, "batch": 32}
    given = {name: value for name, value in vars(asked).items() if name not in ("small", "divide", "write")}
    for name, value in given.items():
        if value not in (None, False, 0, usual.get(name)):
            raise UserError(f"--{name} does not go with --small", remedy="A twin has what its sweep says.")
    if asked.small is None:
        raise UserError("--divide says how small a twin is", remedy="Add --small SWEEP.")
    if asked.write is None:
        print(small_sweep(asked.small, asked.divide or DIVISOR), end="")
        return
    write_small(asked.small, asked.write, asked.divide or DIVISOR)
    print(f"wrote {asked.write}")


def _plan_space(asked: Any) -> int | None:
    """Count a space; the options that speak of a ladder are refused where they are not at their defaults."""
    from ablation.plan.space import LADDERS_OWN, Wanted, explore, refuse_ladder_options, space_of

    usual = {"multiple": 1, "batch": 32}
    refuse_ladder_options([name for name in LADDERS_OWN if getattr(asked, name) not in (None, False, usual.get(name))])
    goal = _goal(asked)
    searched = space_of(goal, asked.blocks or [], asked.cardinality, asked.widths, asked.tolerance)
    rows_for = "--write" if asked.write else "--verify" if asked.verify else None
    wanted = Wanted(asked.out, asked.whole, asked.sample, asked.seed, asked.figure, asked.as_json, rows_for)
    return _finish(explore(searched, wanted), goal, None, asked)


def _plan_ladder(asked: Any) -> int | None:
    """Solve a ladder or a grid, print it, and do with it what else was asked."""
    axes = check_axes(asked.axis or ["cardinality"])
    if asked.blocks or asked.widths or asked.out or asked.whole or asked.sample or asked.seed:
        raise UserError("--blocks, --widths, --out, --all, --sample and --seed describe a space", remedy="Add --space.")
    goal = _goal(asked)
    clock = clock_of(asked.times, asked.match, goal, asked.batch, asked.precision, asked.threads)
    rule = _rule(goal, axes, asked, clock)
    cardinality = asked.cardinality or _usual_cardinalities(goal, axes)
    rows = [follow(rule, goal, axes, point) for point in points(axes, goal, cardinality, asked.width, asked.scale)]
    wanted = Seeds(asked.seeds, asked.resolve, asked.pilots, asked.within, asked.memory)
    evidence = {"evidence": plan_seeds(wanted, goal, len(rows), clock)} if wanted.anything else {}
    if asked.as_json:
        _print_json(goal, rule, rows, axes, asked.proof, evidence)
    else:
        _print(goal, rule, rows, axes, asked.proof)
    if evidence and not asked.as_json:
        show_seeds(evidence, goal)
    if asked.figure:
        draw(asked.figure, rows)
    return _finish(rows, goal, axes, asked)


def _plan_family(asked: Any) -> int | None:
    """Plan a family; the options that speak of a Design are refused where they are not at their defaults."""
    from ablation.plan.families import Asked, plan_family, refuse_others

    names = "cardinality width scale base tight seeds resolve pilots within memory"
    names += " space blocks widths out sample seed"
    changed = {name: getattr(asked, name) for name in names.split()} | {
        "multiple": asked.multiple != 1,
        "all": asked.whole,
    }
    refuse_others({f"--{name}": value for name, value in changed.items()})
    return plan_family(Asked(**{field.name: getattr(asked, field.name) for field in fields(Asked)}))


def _usual_cardinalities(goal: Budget, axes: frozenset[str]) -> list[int] | None:
    return list(SMALL_CARDINALITIES) if axes == DEFAULT and goal.base.stem == "small" else None


def _print_json(
    goal: Budget,
    rule: Rule,
    rows: list[Solution],
    axes: frozenset[str],
    proof: bool,
    evidence: dict[str, Any],
) -> None:
    answer = add_times(contract(goal, rule, rows), rule, goal, rows) | evidence
    print_json(add_proof(answer, rule, rows, axes) if proof or axes != DEFAULT else answer)


def _print(goal: Budget, rule: Rule, rows: list[Solution], axes: frozenset[str], proof: bool) -> None:
    """The ladder as tables, with what stands under them."""
    show(goal, rule, rows)
    print(explain(goal, rule, rows, axes))
    print("\n".join([*explain_times(rule, goal, rows), *notes(goal, axes, rows, rule)]))
    if proof:
        show_proof(rule, rows, axes)


def _finish(rows: list[Solution], goal: Budget, axes: frozenset[str] | None, asked: Any) -> int | None:
    """Count the rows (along `axes`; None: drawn) again and write them, where that is asked; 1 where counts differ."""
    if asked.verify and not _verified(rows, quiet=asked.as_json):
        return 1
    if asked.write:
        _write(asked.write, design_ladder(goal, rows, axes), asked.panel, quiet=asked.as_json)
    return None


def _goal(asked: Any) -> Budget:
    """The budget; at the resolution and the classes of a panel's own data set, where that is to be written."""
    text = f"{asked.budget},base={asked.base}" if asked.base else asked.budget
    image = {name: value for name in ("resolution", "classes") if (value := getattr(asked, name)) is not None}
    if asked.panel is not None and asked.write is None:
        raise UserError("--panel names a panel of a sweep file", remedy="Add --write FILE.")
    if asked.write is None:
        return parse_budget(text, replace(budget_design(text), **image) if image else None)
    if image:
        raise UserError(
            "--resolution and --classes don't go with --write: the panel's dataset says them",
            remedy="Write first, then change `dataset` in the file and write again.",
        )
    from ablation.plan.write import budget_of_panel

    return budget_of_panel(asked.write, text, asked.panel)


def _rule(budget: Budget, axes: frozenset[str], asked: Any, clock: Clock | None) -> Rule:
    match, tolerance, tight = asked.match, asked.tolerance, asked.tight
    if tight and tolerance:
        raise UserError("--tight and --tolerance say the same thing twice", remedy="Leave one out.")
    limit = parse_share(tight, "--tight") if tight else None
    if budget.base.stem == "small" and axes == DEFAULT and not (match or tolerance or tight):
        limit = SMALL_TIGHT
    within = parse_share(tolerance, "--tolerance") if tolerance else TOLERANCE
    matched = rule_for(axes, budget, match, limit)
    return Rule.of(budget, matched, within, limit, asked.multiple, asked.batch, clock)


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
