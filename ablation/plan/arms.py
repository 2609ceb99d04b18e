"""A ladder as a sweep file has it: its arms, and which arms of a panel are its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ablation.budget import Budget
from ablation.design import Design, design_from_dict, design_from_name
from ablation.errors import UserError
from ablation.family import Family, FamilyDesign, family_design
from ablation.family.declare import Knobs
from ablation.family.load import same_family
from ablation.family.search import FamilySolution
from ablation.plan.edit import value_of
from ablation.plan.new_file import family_question, question
from ablation.solver import Solution

ONE_SIZE = "It has one size: allow a wider --tolerance, or write the arm that is printed into the file yourself."


@dataclass(frozen=True)
class Arm:
    """A row as an arm."""

    name: str
    """The design's name: the arm's own, unless the file gives it another."""
    text: str
    """All of it, in one line: `- {design: ..., params: ..., macs: ...}`."""
    stated: dict[str, str]
    """What is brought up to date in an arm that is there already."""


@dataclass(frozen=True)
class Ladder:
    """Rows that can be written, and what a new panel or file says of them."""

    budget: str
    """As a sweep file can say it."""
    note: str
    """Where that is in numbers: whose they are."""
    image: dict[str, int]
    panel: str
    """The name of a panel that is given none."""
    question: str
    baseline: str
    """The name of one of the arms."""
    arms: Sequence[Arm]
    owns: Callable[[yaml.Node], bool]
    """Whether an arm of a panel is of this ladder's kind: then it stays where it is a row, and goes where it is not."""


def design_ladder(budget: Budget, rows: list[Solution], axes: Collection[str] | None) -> Ladder:
    """Rows along `axes` (None: drawn from a space) as they are written.

    The baseline: along cardinality the least of it; else the budget's own design where that is a row, else the least
    cardinality, of several the first. Raises UserError where a row is inadmissible, twice there, or of another scale.
    """
    if {row.scale for row in rows} != {1.0}:
        raise UserError(
            "not written: a panel has one budget, and these rows have several scales of it",
            remedy="Scale the budget in its place: --budget 2*resnet50.",
        )
    bad = ", ".join(f"C={row.design.cardinality}" for row in rows if not row.admissible)
    remedy = "Leave it out of --cardinality, free the stage widths with --tight, or allow a wider --tolerance."
    _check(bad, "width", remedy, [row.design.name for row in rows])
    own = [row for row in rows if row.design == budget.base and axes != {"cardinality"}]
    base = budget.base
    return Ladder(
        budget=budget.name,
        note="",
        image={"channels": base.channels, "resolution": base.resolution, "classes": base.classes},
        panel=budget.name,
        question=question(axes),
        baseline=(own or [min(rows, key=lambda row: row.design.cardinality)])[0].design.name,
        arms=[_design_arm(row) for row in rows],
        owns=lambda item: family_of(item) is None,
    )


def family_ladder(family: Family, budget: Budget, rows: list[FamilySolution], asked: str, own: Knobs | None) -> Ladder:
    """Rows of a family as they are written; `asked`: the budget as it was given; `own`: its knobs where it has any.

    A sweep file does not know a design of a family as a budget (`width=96,expansion=4`): it gets that one's numbers.
    The baseline: the row that is this design, else the first. Raises UserError where a row is inadmissible or twice
    there.
    """
    function = family.function.__name__
    bad = "; ".join(_others(row.design, family.solve) for row in rows if not row.admissible)
    remedy = "Leave it out of --axis, or allow a wider --tolerance." if family.solve else ONE_SIZE
    _check(bad, family.solve or "size", remedy, [r.design.name for r in rows])
    same = [row for row in rows if own is not None and family.complete(row.design.knobs) == family.complete(own)]
    knobs = [knob for knob in family.knobs if knob != family.solve]
    return Ladder(
        budget=budget.name,
        note="" if own is None else f"{function} at {asked}",
        image=rows[0].design.image,
        panel=budget.name if own is None else panel_name(family, asked),
        question=family_question(function, [k for k in knobs if len({str(r.design.knobs.get(k)) for r in rows}) > 1]),
        baseline=(same or rows)[0].design.name,
        arms=[_family_arm(row) for row in rows],
        owns=lambda item: same_family(family_of(item) or "", family.name),
    )


def panel_name(family: Family, asked: str) -> str:
    """The name of a panel whose budget is a design of the family: `convnext width=96,expansion=4`."""
    return f"{family.function.__name__} {asked}"


def _others(design: FamilyDesign, solve: str | None) -> str:
    return ", ".join(f"{knob}={value}" for knob, value in design.values if knob != solve) or design.name


def _check(bad: str, solve: str, remedy: str, names: list[str]) -> None:
    if bad:
        raise UserError(f"not written: no admissible {solve} at {bad}", remedy=remedy)
    if len(set(names)) < len(names):
        raise UserError("not written: one design would be an arm twice", remedy="Give each value once.")


def _design_arm(row: Solution) -> Arm:
    design = row.design
    stated = {"params": str(row.cost.params), "macs": str(row.cost.macs)}
    costs = ", ".join(f"{key}: {value}" for key, value in stated.items())
    if not design.unusual:
        return Arm(design.name, f"- {{design: {design.name}, {costs}}}", stated)
    shape = f"blocks: {list(design.blocks)}, cardinality: {design.cardinality}, widths: {list(design.widths)}"
    return Arm(design.name, f"- {{name: {design.name}, design: {{{shape}}}, {costs}}}", stated)


def family_arm(row: FamilySolution) -> dict[str, object]:
    """A row as the fields of an arm."""
    design = row.design
    price = {"params": row.cost.params, "macs": row.cost.macs}
    return {"family": design.family, "knobs": design.knobs, **price, "source": design.source}


def _family_arm(row: FamilySolution) -> Arm:
    fields = family_arm(row)
    stated = {key: inline(fields[key]) for key in ("params", "macs", "source")}
    return Arm(row.design.name, f"- {inline(fields)}", stated)


def inline(value: object) -> str:
    """A value in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def family_of(item: yaml.Node) -> str | None:
    """The family that an arm names; None where it names none."""
    found = value_of(item, "family")
    return str(found.value) if found.value else None


def name_of(item: yaml.Node, base: Design) -> str | None:
    """The name of an arm's design, or of its family's network; None where it can't be read."""
    if not isinstance(item, yaml.MappingNode):
        return None
    try:
        if family := family_of(item):
            return family_design(family, _read(item, "knobs") or {}, "").name
        content = _read(item, "design")
        design = design_from_dict({**base.to_dict(), **content}) if isinstance(content, dict) else None
        return (design or design_from_name(str(content))).name
    except (UserError, TypeError, AttributeError):
        return None


def _read(item: yaml.Node, key: str) -> Any:
    return yaml.safe_load(yaml.serialize(value_of(item, key)))
