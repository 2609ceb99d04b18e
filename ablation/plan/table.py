"""A ladder as people read it (the paper's Table 2) and as machines do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ablation.budget import Budget
from ablation.design import Design
from ablation.solver import TIME, Rule, Solution, others, solve, time_error

if TYPE_CHECKING:
    from rich.table import Table

MEASURES = {"block_params": "block params", "params": "params", "macs": "MACs", "activations": "activations"}
RULES = {
    "block": "the parameters of one block, the paper's rule",
    "params": "the network's parameters",
    "macs": "the network's MACs",
    "both": "the network's parameters and MACs",
    "activations": "the network's activations",
    "time": "the seconds of a training step",
    "memory": "the bytes of a training step (weights, gradients, momentum, kept activations; fp32)",
}


def contract(budget: Budget, rule: Rule, rows: list[Solution]) -> dict[str, Any]:
    """What `--json` prints: one entry of `designs` for each cardinality asked for, in that order."""
    return {
        "budget": {"name": budget.name} | {name: getattr(budget, name) for name in sorted(MEASURES, key=_ORDER.index)},
        "match": rule.match,
        "designs": [_row(row) for row in rows],
    }


_ORDER = ["params", "macs", "activations", "block_params"]


def _row(row: Solution) -> dict[str, Any]:
    design = row.design
    return {
        "name": design.name,
        "depth": design.depth,
        "cardinality": design.cardinality,
        "width": design.widths[0],
        "stage_widths": list(design.widths),
        **{name: getattr(row.cost, name) for name in _ORDER},
        "params_error": row.params_error,
        "macs_error": row.macs_error,
        "block_error": row.block_error,
        "bend": row.bend,
        "admissible": row.admissible,
    }


def show(budget: Budget, rule: Rule, rows: list[Solution]) -> None:
    """Print the ladder as a table; as wide as it needs to be, whatever the output is."""
    from rich.table import Table

    table = Table(title=f"Designs at the budget {budget.name}", title_justify="left")
    blocks = len({row.design.blocks for row in rows} | {budget.base.blocks}) > 1
    for heading in (*(["blocks"] * blocks), "C", "d", "C·d", *MEASURES.values()):
        table.add_column(heading, justify="right")
    for heading in (*["bend"] * rule.tight, *["time"] * bool(rule.clock)):
        table.add_column(heading, justify="right")
    table.add_column("")
    spaces = [""] * rule.tight + [f"{budget.scale:g}"] * bool(rule.clock)
    table.add_row(
        *[""] * (3 + blocks), *(_count(getattr(budget, name)) for name in MEASURES), *spaces, "budget", end_section=True
    )
    for row in rows:
        table.add_row(
            *[str(row.design.blocks)] * blocks,
            *_cells(row.budget, row),
            *([f"{row.bend:.3f}"] * rule.tight),
            *([time_cell(row)] * bool(rule.clock)),
            _mark(row),
        )
    print_table(table)


def print_table(table: Table) -> None:
    """Print to standard output without cutting anything where that is narrow or no terminal."""
    from rich.console import Console

    width = Console(width=1000).measure(table).maximum
    console = Console(highlight=False)
    console.width = max(console.width, width)
    console.print(table)


def _cells(budget: Budget, row: Solution) -> list[str]:
    design = row.design
    groups = [str(width) for width in design.group_widths]
    cells = [str(design.cardinality), design.width, groups[0] if design.doubles else "-".join(groups)]
    for name in MEASURES:
        value, target = getattr(row.cost, name), getattr(budget, name)
        cells.append(_count(value) + (f" ({_percent((value - target) / target)})" if target else ""))
    return cells


def time_cell(row: Any) -> str:
    """A row's time over the budget's own design's, and its error; a dash where it isn't known."""
    return f"{row.time.ratio:.3f} ({_percent(time_error(row.time, row.budget))})" if row.time else "-"


def _mark(row: Solution) -> str:
    return row.design.name if row.admissible else "no admissible width"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _percent(share: float) -> str:
    return f"{share:+,.1%}"


def explain(budget: Budget, rule: Rule, rows: list[Solution], axes: frozenset[str]) -> str:
    """The lines under the table: what fits nowhere, how was matched, what is counted, where rules disagree."""
    lines = [_missed(budget, rule, row, axes) for row in rows if not row.admissible]
    lines.append(_matched(rule, axes))
    if rule.tight and budget.base.stem == "small":
        lines.append("(Small widths round badly, so for this budget stage widths are free by default.)")
    lines += [] if rule.tight else _disagreements(rule, rows, axes)
    lines.append("Errors are relative to the budget. A MAC is one multiply-add of a convolution or of the classifier,")
    lines.append("one image, forward; papers often call it a FLOP.")
    return "\n".join(lines)


def _missed(budget: Budget, rule: Rule, row: Solution, axes: frozenset[str]) -> str:
    errors = {"block": row.block_error, "params": row.params_error, "MACs": row.macs_error, "time": row.error("time")}
    stated = ", ".join(f"{name} {_percent(error)}" for name, error in errors.items() if error is not None)
    limit, design = f"{rule.tolerance * 100:.4g}%", row.design
    line = (
        f"C={design.cardinality}: no admissible width within {limit}; the nearest, d={design.width}, misses: {stated}."
    )
    if rule.tight or rule.match == TIME or axes != {"cardinality"} or None in (budget.params, budget.macs):
        return line
    free = solve(budget, design.cardinality, tight=rule.tolerance)
    return line + (f" With --tight {limit}: d={free.design.width}." if free.admissible else "")


def _matched(rule: Rule, axes: frozenset[str]) -> str:
    within = f"within {rule.tolerance * 100:.4g}%"
    if rule.tight:
        return f"Matched (tight): params and MACs both {within}, whole stage widths d, the least bent from doubling."
    return f"Matched ({rule.match}): {RULES[rule.match]}, {_found(axes)}, {within}."


def _found(axes: frozenset[str]) -> str:
    if axes == {"depth"}:
        return "the blocks whose shares of the depth change least"
    return f"to the nearest whole {'C' if 'groups' in axes else 'd'}"


def _disagreements(rule: Rule, rows: list[Solution], axes: frozenset[str]) -> list[str]:
    if axes == {"depth"}:
        return []
    found = []
    for row in rows:
        rules = others(rule, row, axes)
        picks = [f"{match} {_picked(rules[match].design, axes)}" for match in _USUAL if match in rules]
        if picks:
            held = f"d={row.design.width}" if "groups" in axes else f"C={row.design.cardinality}"
            found.append(f"{held}: " + ", ".join(picks))
    return [f"Other rules pick another {'C' if 'groups' in axes else 'd'}: {'; '.join(found)}."] if found else []


_USUAL = ("block", "params", "macs", "both")


def _picked(design: Design, axes: frozenset[str]) -> str:
    return f"C={design.cardinality}" if "groups" in axes else f"d={design.width}"
