"""A sweep's small twin: the same question, arms and blocks at a size that two cores train in minutes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ablation.budget import Budget
from ablation.cost import cost
from ablation.design import Design
from ablation.errors import UserError
from ablation.plan.arms import inline
from ablation.plan.edit import scalar
from ablation.solver.twin import small_budget, twin

if TYPE_CHECKING:
    from ablation.recipe import Recipe
    from ablation.sweep import Arm, Panel

DIVISOR = 8
SMALL_RECIPE = {"imagenet-modern": "fashion-modern"}
"""How a twin trains, by how the full-size arm does; `fashion` where it is not here."""
USUAL = "fashion"
MARGIN = 0.5
SEEDS = 3
"""Or as many as the full-size sweep has, where that is less."""


def small_sweep(path: Path, divisor: int = DIVISOR) -> str:
    """The text of a sweep file: the twin of the sweep at `path`.

    Every width is divided (`ablation.solver.twin`), images are Fashion-MNIST's, epochs the small recipe's; panels,
    arms, blocks, forms, shortcuts and contrasts stay. Arms that come out equal are one arm; so are panels. Raises
    UserError where a panel or an arm has no small copy.
    """
    from ablation.sweep import load_sweep

    sweep = load_sweep(path)
    names: dict[str, str] = {}
    panels: dict[str, str] = {}
    for panel in sweep.panels:
        panels.setdefault(_panel(panel, divisor, names), f"  - name: {scalar(panel.name + ', small')}\n")
    contrasts = [[names.get(one, one) for one in pair] for pair in sweep.evidence.contrasts]
    contrasts = [pair for pair in contrasts if pair[0] != pair[1]]
    evidence = {"metric": sweep.evidence.metric, "margin": MARGIN} | ({"contrasts": contrasts} if contrasts else {})
    return (
        f"# The small twin of {path.name}: python -m ablation.plan --small {path.as_posix()} --divide {divisor} "
        f"--write {path.with_name(path.stem + '_small.yaml').as_posix()}\n"
        f"# Widths by {divisor}, Fashion-MNIST, a short recipe; blocks stay. Change the full one and write again.\n"
        f"question: {scalar(sweep.question)}\npanels:\n{''.join(name + text for text, name in panels.items())}"
        f"seeds: {list(sweep.seeds) if len(sweep.seeds) < SEEDS else SEEDS}\nprecision: fp32\nevidence: {inline(evidence)}\nresources: {{parallel: 4}}\n"
    )


def _panel(panel: Panel, divisor: int, names: dict[str, str]) -> str:
    budget = small_budget(panel.budget, divisor)
    arms: dict[str, str] = {}
    for arm in panel.arms:
        name, text = _arm(arm, panel, budget, divisor)
        names[arm.name] = name
        arms.setdefault(name, text)
    validation = ", evaluate: validation" if panel.dataset.evaluate == "validation" else ""
    lines = [
        f"    budget: {scalar(budget.name)}",
        f"    dataset: {{name: fashion_mnist{validation}}}",
        f"    recipe: {_recipe(panel.recipe)}",
        f"    baseline: {scalar(names[panel.baseline])}",
        *([f"    table: {panel.table}"] if panel.table else []),
        "    arms:",
        *(f"      - {text}" for text in arms.values()),
    ]
    return "\n".join(lines) + "\n"


def _recipe(recipe: Recipe) -> str:
    """The small recipe, at a learning rate as many times its own as the full-size recipe's is its base's."""
    from ablation.recipe import RECIPES

    name = SMALL_RECIPE.get(recipe.name, USUAL)
    usual = RECIPES.get(recipe.name, {}).get("lr", recipe.lr)
    if recipe.lr == usual:
        return name
    return inline({"base": name, "lr": float(f"{RECIPES[name]['lr'] * recipe.lr / usual:.3g}")})


def _arm(arm: Arm, panel: Panel, budget: Budget, divisor: int) -> tuple[str, str]:
    """The twin's name, and its fields in one line."""
    from ablation.sweep import axis_of

    if not isinstance(arm.design, Design):
        raise UserError(f"{arm.name} of panel {panel.name!r} is a family's: no small copy yet")
    copy = twin(arm.design, panel.budget, budget, divisor)
    price = cost(copy)
    called = {"name": arm.name} if arm.name != arm.design.name else {"name": copy.name} if copy.unusual else {}
    fields = {**called, "design": _design(copy), "params": price.params, "macs": price.macs}
    fields |= {} if arm.recipe == panel.recipe else {"recipe": yaml.safe_load(_recipe(arm.recipe))}
    fields |= {} if arm.axis == axis_of(copy, budget.base) else {"axis": arm.axis}
    return called.get("name", copy.name), inline({**fields, "twin_of": arm.design.name})


def _design(design: Design) -> str | dict[str, Any]:
    """As a sweep says it: its name, or where that can't be read what differs from the budget's design."""
    if not design.unusual:
        return design.name
    fields = design.to_dict()
    usual = {"form": "c", "shortcut": "projection"}
    names = ["blocks", "cardinality", "widths", *(name for name in usual if fields[name] != usual[name])]
    return {name: fields[name] for name in names}


def write_small(path: Path, target: Path, divisor: int) -> None:
    """Write the twin of the sweep at `path`, checked as launch would: the file is a whole sweep, or as it was."""
    from ablation.sweep import load_sweep

    text = small_sweep(path, divisor)
    beside = target.with_name(f".{target.stem}.{os.getpid()}.yaml")
    try:
        beside.write_text(text)
        load_sweep(beside)
        os.replace(beside, target)
    except OSError as error:
        raise UserError(f"can't be written: {error.strerror or error}", where=str(target)) from None
    finally:
        with suppress(OSError):
            beside.unlink()
