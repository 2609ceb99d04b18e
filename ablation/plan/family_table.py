"""A family's ladder, as JSON or as a table with what stands under it."""

from __future__ import annotations

from typing import Any

from ablation.budget import Budget
from ablation.family import Family
from ablation.family.search import MEASURES, RESIDUALS, FamilySolution
from ablation.plan.arms import family_arm, inline
from ablation.plan.family_proof import WORDS, apart
from ablation.solver import Rule, amount

MEMORY = (
    "Memory: a step of {batch} images in fp32: weights, gradients, momentum, and what convolutions and linear layers\n"
    "write, kept twice; attention's own scores and what other operators keep are not in it."
)


def contract(budget: Budget, rule: Rule, rows: list[FamilySolution]) -> dict[str, Any]:
    """What `--json` prints: the keys of a ladder of designs where they make sense, and each row as an arm."""
    measures = {name: getattr(budget, name) for name in MEASURES}
    return {
        "budget": {"name": budget.name, **measures, "block_params": None},
        "match": rule.match,
        "designs": [_row(row, rule.batch) for row in rows],
    }


def _row(row: FamilySolution, batch: int) -> dict[str, Any]:
    design = row.design
    return {
        "name": design.name,
        "family": design.family,
        "knobs": design.knobs,
        **{name: amount(row.cost, name, batch) for name in RESIDUALS},
        **{f"{name}_error": row.error(name, batch) for name in RESIDUALS},
        "admissible": row.admissible,
        "neighbours": [{"value": value, "errors": found} for value, found in row.neighbours],
        "source": design.source,
        "image": design.image,
        "arm": family_arm(row),
    }


def show(family: Family, budget: Budget, rule: Rule, rows: list[FamilySolution]) -> None:
    """Print the rows as a table; memory where that is matched."""
    from rich.table import Table

    from ablation.plan.table import print_table, time_cell

    knobs = list(dict.fromkeys(knob for row in rows for knob in row.design.knobs if knob != family.solve))
    table = Table(title=f"{family.name} at the budget {budget.name}", title_justify="left")
    shown = RESIDUALS if rule.match == "memory" else MEASURES
    solved = [family.solve] if family.solve else []
    for heading in (*knobs, *solved, *(WORDS[name] for name in shown)):
        table.add_column(heading, justify="right")
    for _ in range(timed := bool(rule.clock)):
        table.add_column("time", justify="right")
    table.add_column("")
    goal = [f"{budget.scale:g}"] * timed
    targets = (_count(name, amount(budget, name, rule.batch)) for name in shown)
    table.add_row(*[""] * len([*knobs, *solved]), *targets, *goal, "budget", end_section=True)
    for row in rows:
        own = row.design.knobs
        prices = {name: amount(row.cost, name, rule.batch) for name in shown}
        cells = [f"{_count(name, price)}{_error(row.error(name, rule.batch))}" for name, price in prices.items()]
        cells += [time_cell(row)] * timed
        unfit = f"no admissible {family.solve}" if family.solve else f"{row.design.name}: one size, not at the budget"
        mark = row.design.name if row.admissible else unfit
        table.add_row(*(str(own.get(knob, "")) for knob in [*knobs, *solved]), *cells, mark)
    print_table(table)


def _count(measure: str, value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value / 2**20:,.1f} MiB" if measure == "memory" else f"{value:,}"


def _error(error: float | None) -> str:
    return "" if error is None else f" ({error:+,.1%})"


def explain(family: Family, rule: Rule, rows: list[FamilySolution]) -> str:
    """The lines under the table: how was matched, the next values on either side, the rows as arms."""
    shown = RESIDUALS if rule.match == "memory" else MEASURES
    what = {"both": "params and MACs"}.get(rule.match, WORDS.get(rule.match, rule.match))
    within = f"within {rule.tolerance * 100:.4g}%"
    lines = [f"Matched ({rule.match}): {what}, to the nearest {family.solve}, {within}."]
    if family.solve is None:
        lines = [f"{family.name} has one size and can't be brought to the budget: no knob is solved for."]
        lines += [f"At the budget ({rule.match}) means: {what} {within}."]
    lines += [MEMORY.format(batch=rule.batch)] if rule.match == "memory" else []
    for row in rows if family.solve else []:
        near = {value: {m: e for m, e in found.items() if m in shown} for value, found in row.neighbours}
        next_ones = "; ".join(f"{family.solve}={value}: {_errors(found)}" for value, found in near.items())
        lines.append(f"Next to {row.design.name}: {next_ones or 'none can be built'}.")
    lines += apart(rows, rule.batch)
    form = " They equal the family's closed form." if family.cost else ""
    lines.append(f"Counted on the networks (meta device): MACs are FlopCounterMode's forward count, halved.{form}")
    fitting = [row for row in rows if row.admissible or family.solve is None]
    lines += ["As arms of a sweep:"] if fitting else []
    return "\n".join([*lines, *(f"  - {inline(family_arm(row))}" for row in fitting)])


def _errors(found: dict[str, float | None]) -> str:
    return ", ".join(f"{WORDS[name]} {error:+,.1%}" for name, error in found.items() if error is not None)
