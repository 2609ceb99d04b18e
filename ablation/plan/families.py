"""`plan --family`: networks of somebody's own family that meet one budget, with every residual."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from ablation.budget import STATED, Budget, budget_design, parse_budget
from ablation.command import print_json
from ablation.design import Design
from ablation.errors import UserError, did_you_mean
from ablation.family import Family, load_family
from ablation.family.count import checked
from ablation.family.declare import IMAGE, Knobs
from ablation.family.search import MEASURES, FamilySolution, family_rule, solve_family
from ablation.solver import TOLERANCE, Rule, parse_share

WORDS = {"params": "params", "macs": "MACs", "activations": "activations"}


def plan_family(
    name: str,
    budget: str,
    axis: Sequence[str] | None,
    match: str | None,
    tolerance: str | None,
    image: Mapping[str, int | None],
    *,
    as_json: bool,
) -> None:
    """Solve a family for each combination of the knobs in `axis`, such as `expansion=2,3,4`, and print the rows.

    `image` has the resolution and classes that were asked for (None: the budget's). Raises UserError.
    """
    family = load_family(name)
    points = knob_points(family, axis or ())
    given = {key: value for key, value in image.items() if value is not None}
    goal, size = family_budget(family, budget, given)
    within = parse_share(tolerance, "--tolerance") if tolerance else TOLERANCE
    rule = family_rule(goal, match, within)
    rows = [solve_family(family, goal, point, match, within, size) for point in points]
    if as_json:
        print_json(contract(goal, rule, rows))
    else:
        show(family, goal, rows)
        print(explain(family, rule, rows))


def refuse_others(given: Mapping[str, Any]) -> None:
    """Raises UserError where an option that is a Design's was given with --family."""
    used = [name for name, value in given.items() if value]
    if used:
        raise UserError(
            f"{used[0]} does not go with --family",
            remedy="Knobs are given as --axis knob=1,2,3; the decorator says what is solved for, and its multiples.",
        )


def knob_points(family: Family, axis: Sequence[str]) -> list[Knobs]:
    """Each combination of the values given, the last axis fastest. Raises UserError."""
    values: dict[str, list[Any]] = {}
    for text in axis:
        knob, equals, several = text.partition("=")
        if not equals or not several:
            raise UserError(f"--axis {text!r} gives no values", remedy="With --family write --axis knob=1,2,3.")
        if knob in values:
            raise UserError(f"--axis gives {knob} twice", remedy=f"Write --axis {knob}=1,2,3.")
        values[knob] = [_value(knob, word) for word in several.split(",")]
    points = [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
    for point in points:
        family.check(point, free=True)
    return points


def _value(knob: str, word: str) -> Any:
    try:
        value = yaml.safe_load(word)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, bool | int | float | str):
        raise UserError(f"{knob}={word!r} is no value", remedy="A knob is a number, a word, or true or false.")
    return value


def family_budget(family: Family, text: str, given: Mapping[str, int]) -> tuple[Budget, dict[str, int]]:
    """The budget, and the images: of a name or of numbers as ever, or of a design of the family (`width=96,ratio=4`).

    The images are those of the budget's design, unless `given` or declared by the family; a budget in numbers has
    none. Raises UserError.
    """
    knobs = _own_design(family, text)
    if knobs is None:
        base = budget_design(text)
        named = "=" not in text.replace(",base=", "")
        images = {key: getattr(base, key) for key in IMAGE} if named else {}
        size = family.images({**images, **given})
        return parse_budget(text, _replaced(base, size)), size
    size = family.images(given)
    price = checked(family, knobs, size)
    numbers = ",".join(f"{measure}={getattr(price, measure)}" for measure in MEASURES)
    return parse_budget(numbers, _replaced(budget_design(numbers), size)), size


def _replaced(base: Design, size: Mapping[str, int]) -> Design:
    return replace(base, **size)  # type: ignore[arg-type]


def _own_design(family: Family, text: str) -> Knobs | None:
    """The knobs in a budget such as `width=96,expansion=4`; None where it is another budget."""
    pairs = [item.partition("=") for item in text.replace(" ", "").split(",")]
    if not all(equals for _, equals, _ in pairs) or all(name in (*STATED, "base") for name, _, _ in pairs):
        return None
    for name, _, _ in pairs:
        if name not in family.knobs:
            raise UserError(f"budget {text!r}: {name!r}", remedy=did_you_mean(name, [*family.knobs, *STATED]))
    knobs = {name: _value(name, word) for name, _, word in pairs}
    family.check(knobs)
    return knobs


def contract(budget: Budget, rule: Rule, rows: list[FamilySolution]) -> dict[str, Any]:
    """What `--json` prints: the keys of a ladder of designs where they make sense, and each row as an arm."""
    measures = {name: getattr(budget, name) for name in MEASURES}
    return {
        "budget": {"name": budget.name, **measures, "block_params": None},
        "match": rule.match,
        "designs": [_row(row) for row in rows],
    }


def _row(row: FamilySolution) -> dict[str, Any]:
    design = row.design
    return {
        "name": design.name,
        "family": design.family,
        "knobs": design.knobs,
        **{name: getattr(row.cost, name) for name in MEASURES},
        **{f"{name}_error": row.error(name) for name in MEASURES},
        "admissible": row.admissible,
        "neighbours": [{"value": value, "errors": found} for value, found in row.neighbours],
        "source": design.source,
        "image": design.image,
        "arm": arm(row),
    }


def arm(row: FamilySolution) -> dict[str, Any]:
    """A row as an arm of a sweep file."""
    design = row.design
    price = {"params": row.cost.params, "macs": row.cost.macs}
    return {"family": design.family, "knobs": design.knobs, **price, "source": design.source}


def show(family: Family, budget: Budget, rows: list[FamilySolution]) -> None:
    """Print the rows as a table."""
    from rich.table import Table

    from ablation.plan.table import print_table

    knobs = list(dict.fromkeys(knob for row in rows for knob in row.design.knobs if knob != family.solve))
    table = Table(title=f"{family.name} at the budget {budget.name}", title_justify="left")
    for heading in (*knobs, family.solve, *WORDS.values()):
        table.add_column(heading, justify="right")
    table.add_column("")
    targets = (getattr(budget, name) for name in MEASURES)
    table.add_row(*[""] * (len(knobs) + 1), *map(_count, targets), "budget", end_section=True)
    for row in rows:
        own = row.design.knobs
        cells = [f"{_count(getattr(row.cost, name))}{_error(row.error(name))}" for name in MEASURES]
        mark = row.design.name if row.admissible else f"no admissible {family.solve}"
        table.add_row(*(str(own.get(knob, "")) for knob in knobs), str(own[family.solve]), *cells, mark)
    print_table(table)


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _error(error: float | None) -> str:
    return "" if error is None else f" ({error:+,.1%})"


def explain(family: Family, rule: Rule, rows: list[FamilySolution]) -> str:
    """The lines under the table: how was matched, the next values on either side, the rows as arms."""
    what = {"both": "params and MACs"}.get(rule.match, WORDS.get(rule.match, rule.match))
    lines = [f"Matched ({rule.match}): {what}, to the nearest {family.solve}, within {rule.tolerance * 100:.4g}%."]
    for row in rows:
        next_ones = "; ".join(f"{family.solve}={value}: {_errors(found)}" for value, found in row.neighbours)
        lines.append(f"Next to {row.design.name}: {next_ones or 'none can be built'}.")
    form = " They equal the family's closed form." if family.cost else ""
    lines.append(f"Counted on the networks (meta device): MACs are FlopCounterMode's forward count, halved.{form}")
    fitting = [row for row in rows if row.admissible]
    flow: dict[str, Any] = {"default_flow_style": True, "width": 10_000, "sort_keys": False}
    lines += ["As arms of a sweep:"] if fitting else []
    return "\n".join([*lines, *(f"  - {yaml.safe_dump(arm(row), **flow).strip()}" for row in fitting)])


def _errors(found: dict[str, float | None]) -> str:
    return ", ".join(f"{WORDS[name]} {error:+,.1%}" for name, error in found.items() if error is not None)
