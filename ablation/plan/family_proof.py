"""What stands beside a family's ladder: neighbours, other rules' picks, its spread; and its drawing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablation.errors import UserError
from ablation.family import Family
from ablation.family.search import MATCHED, RESIDUALS, FamilySolution, solve_family
from ablation.plan.proof import WORDS, draw_errors, shares
from ablation.solver import MATCHES, TIME, Rule, amount, spread


@dataclass(frozen=True)
class Pick:
    """A value of the solved knob that was not taken, and its errors by measure."""

    name: str
    value: int
    errors: dict[str, float | None]


def add_family_proof(answer: dict[str, Any], family: Family, rule: Rule, rows: list[FamilySolution]) -> dict[str, Any]:
    """The contract's answer with the proof behind its own keys, in the whole and in each design: the keys of a ladder
    of designs, with the knobs in the place of blocks, cardinality and widths."""
    for entry, row in zip(answer["designs"], rows, strict=True):
        entry["errors"] = _block(errors_of(row, rule.batch))
        entry["neighbours"] = [_entry(family, row, pick) for pick in neighbours(family, row)]
        entry["rules"] = {match: _entry(family, row, pick) for match, pick in others(family, rule, row).items()}
    knobs = [knob for knob in family.knobs if knob != family.solve and any(knob in row.design.knobs for row in rows)]
    return answer | {"axis": sorted(knobs), "spread": _block(spread(rows, rule.batch, RESIDUALS)), "published": []}


def _block(found: dict[str, float | None]) -> dict[str, float | None]:
    """With the measure that a family has none of."""
    return {"block_params": None, **found}


def _entry(family: Family, row: FamilySolution, pick: Pick) -> dict[str, Any]:
    assert family.solve  # a family of one size has no other picks
    knobs = {**row.design.knobs, family.solve: pick.value}
    return {"name": pick.name, "knobs": knobs, "value": pick.value, "errors": _block(pick.errors)}


def errors_of(row: FamilySolution, batch: int) -> dict[str, float | None]:
    """A row's own errors, by measure; time where that was told."""
    return {measure: row.error(measure, batch) for measure in (*RESIDUALS, *[TIME] * bool(row.time))}


def neighbours(family: Family, row: FamilySolution) -> list[Pick]:
    """The next smaller and the next larger value of the solved knob, where they can be built."""
    solve = family.solve or ""  # without one there are no neighbours
    return [Pick(row.design.at(solve, value).name, value, found) for value, found in row.neighbours]


def others(family: Family, rule: Rule, row: FamilySolution) -> dict[str, Pick]:
    """What the other match rules pick, by rule, where that is another value and the budget states it."""
    picks = {}
    fixed = {knob: value for knob, value in row.design.knobs.items() if knob != family.solve}
    for match in MATCHED:
        unstated = any(amount(row.budget, name, rule.batch) is None for name in MATCHES[match])
        if match == rule.match or unstated:
            continue
        try:
            other = solve_family(family, row.budget, fixed, match, rule.tolerance, row.design.image, rule.batch)
        except UserError:
            continue
        if family.solve and other.design != row.design:
            value = other.design.knobs[family.solve]
            picks[match] = Pick(other.design.name, value, errors_of(other, rule.batch))
    return picks


def apart(rows: list[FamilySolution], batch: int) -> list[str]:
    """The spread in words, where there are several rows."""
    found = {measure: share for measure, share in spread(rows, batch, RESIDUALS).items() if share is not None}
    if len(rows) < 2 or not found:
        return []
    stated = ", ".join(f"{WORDS[measure]} {share:.1%}" for measure, share in found.items())
    about = f" (memory: a step of {batch} images)" if "memory" in found else ""
    return [f"The rows differ, largest against smallest, in {stated}{about}."]


def show_family_proof(family: Family, rule: Rule, rows: list[FamilySolution]) -> None:
    """Print a table: each row, its neighbours, and what other rules pick, with all errors."""
    from rich.table import Table

    from ablation.plan.table import print_table

    table = Table(title="Why these: each answer, the next on either side, what other rules pick", title_justify="left")
    for heading in ("", "network", *(WORDS[measure] for measure in errors_of(rows[0], rule.batch))):
        table.add_column(heading, justify="left" if heading in ("", "network") else "right")
    for row in rows:
        table.add_row(f"answer ({rule.match})", row.design.name, *shares(errors_of(row, rule.batch)))
        for pick in neighbours(family, row):
            table.add_row("  next", pick.name, *shares(pick.errors))
        for match, pick in others(family, rule, row).items():
            table.add_row(f"  {match} picks", pick.name, *shares(pick.errors))
        table.add_section()
    print_table(table)


def draw_family(path: Path, rows: list[FamilySolution]) -> None:
    """Draw each row's errors into an SVG file, as the report does."""
    measures = ("params", "macs", "activations", *[TIME] * any(row.time for row in rows))
    errors = {row.design.name: {name: row.error(name) for name in measures} for row in rows}
    draw_errors(path, errors, {row.design.name: row.design.width for row in rows})
