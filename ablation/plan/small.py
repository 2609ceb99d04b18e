"""A sweep's small twin: the same question, arms and blocks at a size that two cores train in minutes."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ablation.budget import Budget
from ablation.design import Design
from ablation.errors import UserError
from ablation.family import Architecture, cost_of, load_family
from ablation.family.search import solve_family
from ablation.plan.arms import inline
from ablation.plan.edit import scalar
from ablation.solver.twin import share, small_budget, twin

if TYPE_CHECKING:
    from ablation.recipe import Recipe
    from ablation.sweep import Arm, Panel

DIVISOR = 8
SMALL_RECIPE: dict[str, dict[str, Any]] = {"imagenet-modern": {"base": "fashion-modern", "lr": 0.2}}
"""How a twin trains, by how the full-size arm does; as `USUAL` where it is not here. The rate is a quarter of
the small networks' own, as `fashion-deep`'s is of `fashion`'s."""
USUAL: dict[str, Any] = {"base": "fashion-deep"}
MARGIN = 0.5
SEEDS = 3
"""Or as many as the full-size sweep has, where that is less."""


def small_sweep(path: Path, divisor: int = DIVISOR) -> str:
    """The text of a sweep file: the twin of the sweep at `path`.

    Every width is divided (`ablation.solver.twin`), images are Fashion-MNIST's, epochs the small recipe's; panels,
    arms, blocks, forms, shortcuts and contrasts stay. Arms that come out equal are one arm; so are panels. Networks
    of one size have no twin, nor has a panel whose baseline is one. Raises UserError where another has none.
    """
    from ablation.sweep import load_sweep

    sweep = load_sweep(path)
    names: dict[str, str] = {}
    panels: dict[str, str] = {}
    for panel in sweep.panels:
        if text := _panel(panel, divisor, names):
            panels.setdefault(text, f"  - name: {scalar(panel.name + ', small')}\n")
    contrasts = [[names.get(one, one) for one in pair] for pair in sweep.evidence.contrasts]
    contrasts = [pair for pair in contrasts if pair[0] != pair[1]]
    evidence = {"metric": sweep.evidence.metric, "margin": MARGIN} | ({"contrasts": contrasts} if contrasts else {})
    seeds = list(sweep.seeds) if len(sweep.seeds) < SEEDS else SEEDS
    return (
        f"# The small twin of {path.name}: python -m ablation.plan --small {path.as_posix()} --divide {divisor} "
        f"--write {path.with_name(path.stem + '_small.yaml').as_posix()}\n"
        f"# Widths by {divisor}, Fashion-MNIST, a short recipe; blocks stay. Change the full one and write again.\n"
        f"question: {scalar(sweep.question)}\npanels:\n{''.join(name + text for text, name in panels.items())}"
        f"seeds: {seeds}\nprecision: fp32\nevidence: {inline(evidence)}\nresources: {{parallel: 4}}\n"
    )


def _panel(panel: Panel, divisor: int, names: dict[str, str]) -> str:
    budget = small_budget(panel.budget, divisor)
    arms: dict[str, str] = {}
    for arm in panel.arms:
        if copy := _arm(arm, panel, budget, divisor):
            names[arm.name] = copy[0]
            arms.setdefault(*copy)
    if panel.baseline not in names:
        return ""
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

    own = SMALL_RECIPE.get(recipe.name, USUAL)
    times = recipe.lr / RECIPES.get(recipe.name, {}).get("lr", recipe.lr)
    if times != 1:
        usual = own.get("lr", RECIPES[own["base"]]["lr"])
        own = {**own, "lr": float(f"{usual * times:.3g}")}
    return inline(own) if len(own) > 1 else str(own["base"])


def _arm(arm: Arm, panel: Panel, budget: Budget, divisor: int) -> tuple[str, str] | None:
    """The twin's name, and its fields in one line; None of a network that has but one size."""
    from ablation.sweep import axis_of

    copy = _copy(arm, panel, budget, divisor)
    if copy is None:
        return None
    named = arm.name if arm.name != arm.design.name else copy.name
    fields: dict[str, Any] = {} if named == copy.name and not _unusual(copy) else {"name": named}
    fields |= _stated(copy)
    fields |= {} if arm.recipe == panel.recipe else {"recipe": yaml.safe_load(_recipe(arm.recipe))}
    fields |= {} if arm.axis == axis_of(copy, budget.base) else {"axis": arm.axis}
    return named, inline({**fields, "twin_of": arm.design.name})


def _copy(arm: Arm, panel: Panel, budget: Budget, divisor: int) -> Architecture | None:
    if isinstance(arm.design, Design):
        return twin(arm.design, panel.budget, budget, divisor)
    family = load_family(arm.design.family)
    if family.solve is None:
        return None
    knobs = {name: value for name, value in family.complete(arm.design.knobs).items() if name != family.solve}
    given = {name: value for name, value in knobs.items() if name in arm.design.knobs}
    given |= {name: max(1, knobs[name] // divisor) for name in family.widths}
    given |= {"stem": "small"} if isinstance(knobs.get("stem"), str) else {}
    wanted = share(arm.cost, panel.budget, budget)
    goal = replace(budget, params=wanted.params, macs=wanted.macs, activations=None, block_params=None)
    image = {name: getattr(budget.base, name) for name in ("channels", "resolution", "classes")}
    return solve_family(family, goal, given, image=image).design


def _unusual(design: Architecture) -> bool:
    return isinstance(design, Design) and design.unusual


def _stated(design: Architecture) -> dict[str, Any]:
    """What an arm states of its network and of its cost."""
    price = cost_of(design)
    costs = {"params": price.params, "macs": price.macs}
    if isinstance(design, Design):
        return {"design": _design(design), **costs}
    source = {} if design.family.startswith("ablation.") else {"source": design.source}
    return {"family": design.family, "knobs": design.knobs, **costs, **source}


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
        load_sweep(beside, name=target.stem)
        os.replace(beside, target)
    except OSError as error:
        raise UserError(f"can't be written: {error.strerror or error}", where=str(target)) from None
    finally:
        with suppress(OSError):
            beside.unlink()
