"""`plan --family`: networks of somebody's own family that meet one budget, with every residual."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ablation.budget import STATED, Budget, budget_design, parse_budget
from ablation.command import print_json
from ablation.design import Design
from ablation.errors import UserError, did_you_mean
from ablation.family import Family, family_design, load_family, source_of
from ablation.family.count import checked
from ablation.family.declare import IMAGE, Knobs, spelled
from ablation.family.search import MEASURES, FamilySolution, family_rule, solve_family
from ablation.plan.arms import family_ladder, panel_name
from ablation.plan.family_proof import add_family_proof, draw_family, show_family_proof
from ablation.plan.family_table import contract, explain, show
from ablation.plan.new_file import new_image
from ablation.plan.times import add_times, clock_of, explain_times
from ablation.solver import TOLERANCE, Rule, parse_share


@dataclass(frozen=True)
class Asked:
    """The options of the command that a family takes; None where they are not given."""

    family: str
    budget: str
    axis: Sequence[str] | None
    match: str | None
    tolerance: str | None
    resolution: int | None
    classes: int | None
    as_json: bool
    write: Path | None
    panel: str | None
    verify: bool
    batch: int
    proof: bool
    figure: Path | None
    times: str | None
    precision: str | None
    threads: int | None

    @property
    def image(self) -> dict[str, int]:
        """The image fields that were asked for."""
        given = {"resolution": self.resolution, "classes": self.classes}
        return {key: value for key, value in given.items() if value is not None}


def plan_family(asked: Asked) -> int | None:
    """Solve a family for each combination of the knobs in `axis`, such as `expansion=2,3,4`, print the rows, and do
    with them what else was asked; 1 where counts differ. Raises UserError.
    """
    family = load_family(asked.family)
    points = knob_points(family, asked.axis or ())
    goal, size = family_goal(family, asked)
    within = parse_share(asked.tolerance, "--tolerance") if asked.tolerance else TOLERANCE
    clock = clock_of(asked.times, asked.match, goal, asked.batch, asked.precision, asked.threads)
    rule = family_rule(goal, asked.match, within, asked.batch, clock)
    rows = [solve_family(family, goal, point, rule.match, within, size, rule.batch, clock) for point in points]
    _print(family, goal, rule, rows, asked)
    if asked.figure:
        draw_family(asked.figure, rows)
    if asked.verify and not _verified(family, rows, quiet=asked.as_json):
        return 1
    if asked.write:
        _write(asked.write, family, goal, rows, asked)
    return None


def _print(family: Family, goal: Budget, rule: Rule, rows: list[FamilySolution], asked: Asked) -> None:
    """The ladder, as JSON or as tables."""
    if asked.as_json:
        answer = add_times(contract(goal, rule, rows), rule, goal, rows)
        print_json(add_family_proof(answer, family, rule, rows) if asked.proof else answer)
    else:
        show(family, goal, rule, rows)
        print("\n".join([explain(family, rule, rows), *explain_times(rule, goal, rows)]))
        if asked.proof:
            show_family_proof(family, rule, rows)


def _verified(family: Family, rows: list[FamilySolution], quiet: bool) -> bool:
    from ablation.plan.family_verify import family_differences, unseen_lines, verify_family
    from ablation.plan.verify import show_counts

    counts = [verify_family(family, row) for row in rows]
    if not quiet:
        show_counts(counts)
        for line in unseen_lines(counts):
            print(line)
    wrong = [line for count in counts for line in family_differences(count)]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return not wrong


def _write(path: Path, family: Family, goal: Budget, rows: list[FamilySolution], asked: Asked) -> None:
    from ablation.plan.write import write_panel

    ladder = family_ladder(family, goal, rows, asked.budget, own_design(family, asked.budget))
    done = write_panel(path, ladder, _panel(family, asked))
    print(done, file=sys.stderr if asked.as_json else sys.stdout)


def _panel(family: Family, asked: Asked) -> str | None:
    """The panel that is meant; where the budget is a design of the family the one of its name, since the numbers that
    the file has as its budget follow from the panel's own images."""
    own = own_design(family, asked.budget) is not None
    return asked.panel or (panel_name(family, asked.budget) if own else None)


def family_goal(family: Family, asked: Asked) -> tuple[Budget, dict[str, int]]:
    """The budget and the images; those of the panel's data set where they are to be written. Raises UserError."""
    if asked.write is None:
        if asked.panel is not None:
            raise UserError("--panel names a panel of a sweep file", remedy="Add --write FILE.")
        return family_budget(family, asked.budget, asked.image)
    from ablation.plan.write import dataset_of_panel

    panel = _panel(family, asked)
    named = None if own_design(family, asked.budget) else asked.budget
    dataset = dataset_of_panel(asked.write, named, panel)
    if dataset is None:
        found = family_budget(family, asked.budget, asked.image)[1]
        return _fitting(family, asked.budget, new_image(found), "a new panel")
    if asked.image:
        raise UserError(
            "--resolution and --classes don't go with a panel that is there: its dataset says them",
            remedy="Leave them out, or name another panel with --panel.",
        )
    facts = {"channels": dataset.facts.channels, "resolution": dataset.resolution, "classes": dataset.classes}
    return _fitting(family, asked.budget, facts, f"that panel's data set {dataset.name}")


def _fitting(family: Family, text: str, image: dict[str, int], whose: str) -> tuple[Budget, dict[str, int]]:
    goal, size = family_budget(family, text, image)
    if size != image:
        raise UserError(
            f"{family.name} is made for images of {spelled(family.image)}; {whose} has {spelled(image)}",
            remedy="Write into a panel whose dataset has such images: see `dataset` in the sweep file.",
        )
    return goal, size


def refuse_others(given: Mapping[str, Any]) -> None:
    """Raises UserError where an option that is a Design's was given with --family."""
    used = [name for name, value in given.items() if value]
    if "--tight" in used:
        raise UserError(
            "--tight frees the stage widths of a design; a family has one free knob, the one that is solved for",
            remedy="Leave it out; --tolerance says how near the budget a row must be.",
        )
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
    knobs = own_design(family, text)
    if knobs is None:
        base = budget_design(text)
        named = "=" not in text.replace(",base=", "")
        images = {key: getattr(base, key) for key in IMAGE} if named else {}
        size = family.images({**images, **given})
        return parse_budget(text, _replaced(base, size)), size
    size = family.images(given)
    price = checked(family, knobs, size)
    numbers = ",".join(f"{measure}={getattr(price, measure)}" for measure in MEASURES)
    own = family_design(family.name, knobs, source_of(family.name), **size)
    return replace(parse_budget(numbers, _replaced(budget_design(numbers), size)), of=own), size


def _replaced(base: Design, size: Mapping[str, int]) -> Design:
    return replace(base, **size)  # type: ignore[arg-type]


def own_design(family: Family, text: str) -> Knobs | None:
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
