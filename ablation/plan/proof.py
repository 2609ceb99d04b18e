"""What stands beside a ladder: neighbours, other rules' picks, its spread, and what the paper chose by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ablation.budget import Budget
from ablation.cost import cost
from ablation.design import Design, design_from_name
from ablation.solver import Rule, Solution, errors, prove, spread

TABLE_4 = {
    "depth": ("resnet200_1x64d",),
    "width": ("resnet101_1x100d",),
    "cardinality": ("resnext101_2x64d", "resnext101_64x4d"),
    "groups": ("resnext101_2x64d", "resnext101_64x4d"),
}
"""What the paper chose by hand at twice ResNet-101 (its Table 4), by axis."""
WORDS = {
    "block_params": "block params",
    "params": "params",
    "macs": "MACs",
    "activations": "activations",
    "memory": "memory",
    "time": "time",
}


def add_proof(answer: dict[str, Any], rule: Rule, rows: list[Solution], axes: frozenset[str]) -> dict[str, Any]:
    """The contract's answer with the proof behind its own keys, in the whole and in each design."""
    for entry, row in zip(answer["designs"], rows, strict=True):
        proof = prove(rule, row, axes)
        entry |= {"blocks": list(row.design.blocks), "scale": row.scale, "errors": proof.errors}
        entry["change"] = row.change
        entry["neighbours"] = [_entry(pick.design, pick.errors) for pick in proof.neighbours]
        entry["rules"] = {match: _entry(pick.design, pick.errors) for match, pick in proof.rules.items()}
    return answer | {"axis": sorted(axes), "spread": spread(rows, rule.batch), "published": _published(axes, rows)}


def _entry(design: Design, found: dict[str, float | None]) -> dict[str, Any]:
    shape = {"blocks": list(design.blocks), "cardinality": design.cardinality, "stage_widths": list(design.widths)}
    return {"name": design.name, **shape, "errors": found}


def _published(axes: frozenset[str], rows: list[Solution]) -> list[dict[str, Any]]:
    """Table 4's designs with their errors, where the ladder's budget is its budget."""
    budget = rows[0].budget
    if budget.name.replace(" ", "") != "2*resnet101" or len(axes) != 1:
        return []
    found = []
    for name in TABLE_4[next(iter(axes))]:
        price = cost(design_from_name(name))
        params, macs = errors(budget, price, ("params", "macs"))
        found.append({"name": name, "blocks": list(design_from_name(name).blocks), "params_error": params})
        found[-1]["macs_error"] = macs
    return found


def notes(budget: Budget, axes: frozenset[str], rows: list[Solution], rule: Rule) -> list[str]:
    """Lines under the table: the spread, the runners-up along depth, the paper's own choice."""
    apart = {name: share for name, share in spread(rows, rule.batch).items() if share is not None}
    lines = []
    if len(rows) > 1 and len(apart) and len({row.scale for row in rows}) == 1:
        stated = ", ".join(f"{WORDS[name]} {share:.1%}" for name, share in apart.items())
        lines.append(f"The rows differ, largest against smallest, in {stated} (memory: a step of {rule.batch} images).")
    for row in rows:
        if row.runners_up:
            others = "; ".join(_said(other, row.budget) for other in row.runners_up)
            lines.append(f"Blocks {row.design.blocks}, scale {row.scale:g}: the runners-up are {others}.")
    for choice in _published(axes, rows):
        lines.append(
            f"Note: the paper chose by hand {choice['name']} {tuple(choice['blocks'])} (Table 4): "
            f"params {choice['params_error']:+.1%}, MACs {choice['macs_error']:+.1%} off this budget."
        )
    return lines


def _said(design: Design, budget: Budget) -> str:
    found = zip(("params", "MACs"), (errors(budget, cost(design), (name,)) for name in ("params", "macs")), strict=True)
    return f"{design.blocks} (" + ", ".join(f"{name} {error[0]:+.1%}" for name, error in found if error) + ")"


def show_proof(rule: Rule, rows: list[Solution], axes: frozenset[str]) -> None:
    """Print a table: each row's design, its neighbours, and what other rules pick, with all errors."""
    from rich.table import Table

    from ablation.plan.table import print_table

    table = Table(title="Why these: each answer, the next on either side, what other rules pick", title_justify="left")
    for heading in ("", "design", *(WORDS[name] for name in prove(rule, rows[0], axes).errors)):
        table.add_column(heading, justify="left" if heading in ("", "design") else "right")
    for row in rows:
        proof = prove(rule, row, axes)
        table.add_row(f"answer ({rule.match})", row.design.name, *shares(proof.errors))
        for pick in proof.neighbours:
            table.add_row("  runner-up" if axes == {"depth"} else "  next", pick.design.name, *shares(pick.errors))
        for match, pick in proof.rules.items():
            table.add_row(f"  {match} picks", pick.design.name, *shares(pick.errors))
        table.add_section()
    print_table(table)


def shares(found: dict[str, float | None]) -> list[str]:
    """Errors as cells of a table."""
    return ["-" if share is None else f"{share:+.1%}" for share in found.values()]


def draw(path: Path, rows: list[Solution]) -> None:
    """Draw each row's errors into an SVG file, as the report does."""
    measures = ("params", "macs", "activations", *["time"] * any(row.time for row in rows))
    errors = {row.design.name: {name: row.error(name) for name in measures} for row in rows}
    draw_errors(path, errors, {row.design.name: row.design.shape for row in rows})


def draw_errors(path: Path, errors: dict[str, dict[str, float | None]], names: dict[str, str]) -> None:
    """Draw errors, by arm and by measure, into an SVG file; `names`: what the figure calls each arm."""
    import pandas as pd

    from analysis.figures import axes, ladder_residuals, style, to_svg

    rows = [{"arm": arm} | {f"{name}_error": found[name] for name in found} for arm, found in errors.items()]
    frame = pd.DataFrame(rows)
    frame = frame.astype({column: float for column in frame.columns if column != "arm"})
    with style():
        figure, (ax,) = axes(1)
        ladder_residuals(ax, frame, names)
        text = to_svg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
