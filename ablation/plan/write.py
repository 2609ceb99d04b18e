"""A ladder as the arms of a panel in a sweep file; everything else in the file stays as a person wrote it."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from ablation.budget import Budget, budget_design, parse_budget
from ablation.design import Design, design_from_dict, design_from_name
from ablation.errors import UserError
from ablation.plan.edit import Edit, end, item_texts, scalar, value_of
from ablation.solver import Solution

PANELS = {
    "imagenet": ("{name: imagenet, resolution: 224}", "imagenet-paper"),
    "cifar": ("cifar10", "cifar-paper"),
    "small": ("fashion_mnist", "fashion"),
}
"""What a new panel trains on and how, by the stem of its budget's design."""

STUDIES = {
    "imagenet": ("bf16", "margin: 0.2", "{gpus: 1, parallel: 4, job_hours: 24}"),
    "cifar": ("bf16", "margin: 0.2", "{gpus: 1, parallel: 4, job_hours: 24}"),
    "small": ("fp32", "margin: 0.5", "{parallel: 4}"),
}
"""Precision, evidence and resources of a new file."""


def write_panel(path: Path, budget: Budget, rows: list[Solution], panel: str | None = None) -> str:
    """Write `rows` into the sweep file at `path`; what was done, in words.

    Makes the file where it is absent; adds the panel where it is new; else changes that panel's arms in place: arms
    of a design that stays keep their name, published numbers and comments. The file changes whole or not at all.
    Raises UserError where a row is inadmissible or twice there, or the file is not a sweep that can be edited.
    """
    _check(rows)
    old = _read(path)
    name, dropped = panel or budget.name, list[str]()
    if not old.strip():
        new = _new_file(budget, rows, name)
    else:
        try:
            new, name, dropped = _edited(path, old, budget, rows, panel)
        except yaml.YAMLError:
            raise UserError("these arms can't be edited", where=str(path), remedy=_BY_HAND) from None
    note = _replace(path, new, name)
    done = f"{path}: {len(rows)} arms in panel {name!r}" + (
        f"; no longer there: {', '.join(dropped)}" if dropped else ""
    )
    return done + (f"\nThe file is not ready yet: {note}" if note else "")


def budget_of_panel(path: Path, budget: str, panel: str | None) -> Budget:
    """The budget named `budget`; where its panel is in the file already, at that panel's resolution and classes."""
    text = _read(path)
    node = _find(path, _compose(path, text), budget, panel) if text.strip() else None
    if node is None:
        return parse_budget(budget)
    from pydantic import ValidationError

    from ablation.sweep import Dataset

    try:
        dataset = Dataset.model_validate(yaml.safe_load(yaml.serialize(value_of(node, "dataset"))))
    except (ValidationError, yaml.YAMLError) as error:
        where = f"{path}:{node.start_mark.line + 1}"
        raise UserError("this panel's dataset can't be read", where=where, remedy=str(error).split("\n")[0]) from None
    return parse_budget(budget, dataset.fit(budget_design(budget)))


def _check(rows: list[Solution]) -> None:
    if {row.scale for row in rows} != {1.0}:
        raise UserError(
            "not written: a panel has one budget, and these rows have several scales of it",
            remedy="Scale the budget in its place: --budget 2*resnet50.",
        )
    bad = [row for row in rows if not row.admissible]
    if bad:
        raise UserError(
            "not written: no admissible width at " + ", ".join(f"C={row.design.cardinality}" for row in bad),
            remedy="Leave it out of --cardinality, free the stage widths with --tight, or allow a wider --tolerance.",
        )
    names = [row.design.name for row in rows]
    if len(set(names)) < len(names):
        raise UserError("not written: one design would be an arm twice", remedy="Give each cardinality once.")


def _new_file(budget: Budget, rows: list[Solution], panel: str) -> str:
    precision, margin, resources = STUDIES[budget.base.stem]
    return (
        "question: At one budget, does error fall as cardinality grows?\n"
        f"panels:\n{_new_panel(budget, rows, panel, '  ')}"
        f"seeds: 3\nprecision: {precision}\n"
        f"evidence: {{metric: top1_error, {margin}}}\nresources: {resources}\n"
    )


def _new_panel(budget: Budget, rows: list[Solution], name: str, indent: str) -> str:
    dataset, recipe = PANELS[budget.base.stem]
    fields = [
        f"- name: {scalar(name)}",
        f"  budget: {scalar(budget.name)}",
        f"  dataset: {dataset}",
        f"  recipe: {recipe}",
        f"  baseline: {_least(rows).design.name}",
        "  arms:                          # written by plan; costs are checked again at launch",
        *(f"    {_new_arm(row)}" for row in rows),
    ]
    return "".join(f"{indent}{line}\n" for line in fields)


def _new_arm(row: Solution) -> str:
    design = row.design
    costs = f"params: {row.cost.params}, macs: {row.cost.macs}"
    if "_blocks-" not in design.name:
        return f"- {{design: {design.name}, {costs}}}"
    shape = f"blocks: {list(design.blocks)}, cardinality: {design.cardinality}, widths: {list(design.widths)}"
    return f"- {{name: {design.name}, design: {{{shape}}}, {costs}}}"


def _least(rows: list[Solution]) -> Solution:
    return min(rows, key=lambda row: row.design.cardinality)


def _edited(path: Path, old: str, budget: Budget, rows: list[Solution], name: str | None) -> tuple[str, str, list[str]]:
    """The new text, the panel's name, and the designs whose arms went."""
    root = _compose(path, old)
    edit = Edit(old)
    node = _find(path, root, budget.name, name)
    if node is None:
        panels = value_of(root, "panels")
        if not isinstance(panels, yaml.SequenceNode) or panels.flow_style:
            raise UserError("panels must be a list, one `- ` a panel", where=f"{path}:{panels.start_mark.line + 1}")
        name, dropped = name or budget.name, []
        edit.after(panels, _new_panel(budget, rows, name, " " * panels.start_mark.column))
    else:
        name, dropped = str(value_of(node, "name").value), _change(edit, node, budget, rows)
    _only_that_changed(path, old, edit.text(), name)
    return edit.text(), name, dropped


def _change(edit: Edit, panel: yaml.MappingNode, budget: Budget, rows: list[Solution]) -> list[str]:
    """Plan the edits to a panel; the designs whose arms go."""
    arms = value_of(panel, "arms")
    texts = item_texts(edit.old, arms)
    items = arms.value if texts else []
    designs = [_name_of(item, budget.base) for item in items]
    kept: list[str] = []
    names: dict[str, str] = {}
    for row in rows:
        design = row.design.name
        mine = [index for index, name in enumerate(designs) if name == design]
        kept += [_with_costs(texts[index], row) for index in mine] or [_new_arm(row) + "\n"]
        names |= {_arm_name(items[index], design): design for index in mine} or {design: design}
    families = [index for index, item in enumerate(items) if _is_family(item)]
    kept += [texts[index] for index in families]
    names |= {_arm_name(items[index], ""): "" for index in families}
    edit.items(panel, "arms", kept)
    baseline = value_of(panel, "baseline")
    if baseline.value not in names and "" not in names:  # a family without a name may be the baseline
        first = next(name for name, design in names.items() if design == _least(rows).design.name)
        edit.value(panel, "baseline", scalar(first))
    named = [name for index, name in enumerate(designs) if index not in families]
    gone = [name or "an arm that could not be read" for name in named]
    return [name for name in gone if name not in {row.design.name for row in rows}]


def _with_costs(text: str, row: Solution) -> str:
    """An arm's own text, comments and all, with the costs of `row`."""
    edit = Edit(text)
    (item,) = yaml.compose(text, yaml.SafeLoader).value  # type: ignore[union-attr]
    for measure in ("params", "macs"):
        edit.value(item, measure, str(getattr(row.cost, measure)))
    return edit.text()


def _arm_name(item: yaml.Node, design: str) -> str:
    return value_of(item, "name").value or design


def _is_family(item: yaml.Node) -> bool:
    """Whether an arm is somebody's own architecture, which a ladder of designs leaves alone."""
    return isinstance(item, yaml.MappingNode) and any(key.value == "family" for key, _ in item.value)


def _name_of(item: yaml.Node, base: Design) -> str | None:
    """The name of an arm's design; None where it can't be read."""
    if not isinstance(item, yaml.MappingNode) or _is_family(item):
        return None
    content = yaml.safe_load(yaml.serialize(value_of(item, "design")))
    try:
        design = design_from_dict({**base.to_dict(), **content}) if isinstance(content, dict) else None
        return (design or design_from_name(str(content))).name
    except (UserError, TypeError):
        return None


def _compose(path: Path, text: str) -> yaml.MappingNode:
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}:{error.problem_mark.column + 1}" if error.problem_mark else ""
        raise UserError(f"not YAML: {error.problem}", where=f"{path}{line}") from None
    except yaml.YAMLError as error:
        raise UserError(f"not YAML: {error}", where=str(path)) from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError("a sweep is a mapping with question, panels, seeds ...", where=f"{path}:1:1")
    return root


def _find(path: Path, root: yaml.MappingNode, budget: str, name: str | None) -> yaml.MappingNode | None:
    """The panel of that name, or without one the only panel of that budget; None where there is none."""
    panels = value_of(root, "panels")
    nodes = [node for node in panels.value if isinstance(node, yaml.MappingNode)] if panels.value else []
    wanted = ("name", name) if name else ("budget", budget)
    found = [node for node in nodes if value_of(node, wanted[0]).value == wanted[1]]
    if len(found) > 1:
        names = [str(value_of(node, "name").value) for node in found]
        raise UserError(
            f"{path} has several panels of {wanted[0]} {wanted[1]!r}",
            remedy=f"Say which with --panel: {', '.join(names)}.",
        )
    if found and value_of(found[0], "budget").value != budget:
        theirs, line = value_of(found[0], "budget").value, found[0].start_mark.line + 1
        raise UserError(
            f"panel {name!r} has the budget {theirs!r}, not {budget!r}",
            where=f"{path}:{line}",
            remedy=f"Ask for --budget {theirs}, or name another panel.",
        )
    return found[0] if found else None


def _only_that_changed(path: Path, old: str, new: str, panel: str) -> None:
    """Hold the edit against what it promises: nothing outside that panel's arms and baseline reads differently."""

    def rest(text: str) -> Any:
        data = yaml.safe_load(text)
        same = [item for item in data["panels"] if item.get("name") != panel]
        mine = [item for item in data["panels"] if item.get("name") == panel]
        kept = [{key: item[key] for key in item if key not in ("arms", "baseline")} for item in mine]
        return {**data, "panels": same}, kept

    before, after = rest(old), rest(new)
    if before[0] != after[0] or (before[1] and before[1] != after[1]):
        raise UserError("can't be edited without changing more than the arms", where=str(path), remedy=_BY_HAND)


_BY_HAND = "Write its arms one a line, without aliases; or write to a new file and copy."


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode() if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"can't be read: {error}", where=str(path)) from None


def _replace(path: Path, text: str, panel: str) -> str | None:
    """Write beside, check as launch would, then rename: the file is the old one or the new one, never half of it.

    What is wrong elsewhere in the file is returned in words: it was so before.
    """
    target = path.resolve()
    beside = target.with_name(f".{target.stem}.{os.getpid()}.yaml")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(text.encode())
        if target.exists():
            shutil.copymode(target, beside)
        note = _check_sweep(beside, path, panel)
        os.replace(beside, target)
        return note
    except OSError as error:
        raise UserError(f"can't be written: {error.strerror or error}", where=str(path)) from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def _check_sweep(beside: Path, path: Path, panel: str) -> str | None:
    from ablation.sweep import load_sweep

    try:
        load_sweep(beside)
    except UserError as error:
        where = (error.where or str(path)).replace(str(beside), str(path))
        if _in_panel(beside, error.where, panel):
            raise UserError(f"not written: {error.message}", where=where, remedy=error.remedy) from None
        return f"{where}: {error.message}"
    return None


def _in_panel(beside: Path, where: str | None, panel: str) -> bool:
    """Whether a place such as `x.yaml:12:5` lies in the panel that was written."""
    line = (where or "").removeprefix(f"{beside}:").split(":")[0]
    text = _read(beside)
    nodes = [node for node in value_of(_compose(beside, text), "panels").value if value_of(node, "name").value == panel]
    if not (nodes and line.isdigit()):
        return True
    last = text.count("\n", 0, end(nodes[0])) + 1
    return nodes[0].start_mark.line + 1 <= int(line) <= last
