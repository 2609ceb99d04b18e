"""A ladder as the arms of a panel in a sweep file; everything else in the file stays as a person wrote it."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ablation.budget import Budget, budget_design, parse_budget
from ablation.errors import UserError
from ablation.plan.arms import Arm, Ladder, name_of
from ablation.plan.edit import Edit, end, item_texts, scalar, value_of
from ablation.plan.new_file import new_file, new_panel

if TYPE_CHECKING:
    from ablation.sweep import Dataset


def write_panel(path: Path, ladder: Ladder, panel: str | None = None) -> str:
    """Write a ladder into the sweep file at `path`; what was done, in words.

    Makes the file where it is absent; adds the panel where it is new; else changes that panel's arms in place: arms
    of a design that stays keep their name, published numbers and comments. The file changes whole or not at all.
    Raises UserError where the file is not a sweep that can be edited.
    """
    old = _read(path)
    name, dropped = panel or ladder.panel, list[str]()
    if not old.strip():
        new = new_file(ladder, name)
    else:
        try:
            new, name, dropped = _edited(path, old, ladder, panel)
        except yaml.YAMLError:
            raise UserError("these arms can't be edited", where=str(path), remedy=_BY_HAND) from None
    note = _replace(path, new, name)
    done = f"{path}: {len(ladder.arms)} arms in panel {name!r}" + (
        f"; no longer there: {', '.join(dropped)}" if dropped else ""
    )
    return done + (f"\nThe file is not ready yet: {note}" if note else "")


def budget_of_panel(path: Path, budget: str, panel: str | None) -> Budget:
    """The budget named `budget`; where its panel is in the file already, at that panel's resolution and classes."""
    dataset = dataset_of_panel(path, budget, panel)
    return parse_budget(budget, dataset.fit(budget_design(budget)) if dataset else None)


def dataset_of_panel(path: Path, budget: str | None, panel: str | None) -> Dataset | None:
    """The data set of the panel of that name, or without one of that budget, where it is in the file already.

    `budget` None: it is not known before the images are, so the panel may have any.
    """
    text = _read(path)
    node = _find(path, _compose(path, text), budget, panel) if text.strip() else None
    if node is None:
        return None
    from pydantic import ValidationError

    from ablation.sweep import Dataset

    try:
        return Dataset.model_validate(yaml.safe_load(yaml.serialize(value_of(node, "dataset"))))
    except (ValidationError, yaml.YAMLError) as error:
        where = f"{path}:{node.start_mark.line + 1}"
        raise UserError("this panel's dataset can't be read", where=where, remedy=str(error).split("\n")[0]) from None


def _edited(path: Path, old: str, ladder: Ladder, name: str | None) -> tuple[str, str, list[str]]:
    """The new text, the panel's name, and the designs whose arms went."""
    root = _compose(path, old)
    edit = Edit(old)
    node = _find(path, root, ladder.budget, name)
    if node is None:
        panels = value_of(root, "panels")
        if not isinstance(panels, yaml.SequenceNode) or panels.flow_style:
            raise UserError("panels must be a list, one `- ` a panel", where=f"{path}:{panels.start_mark.line + 1}")
        name, dropped = name or ladder.panel, []
        edit.after(panels, new_panel(ladder, name, " " * panels.start_mark.column))
    else:
        name, dropped = str(value_of(node, "name").value), _change(edit, node, ladder)
    _only_that_changed(path, old, edit.text(), name)
    return edit.text(), name, dropped


def _change(edit: Edit, panel: yaml.MappingNode, ladder: Ladder) -> list[str]:
    """Plan the edits to a panel; the designs whose arms go."""
    base = budget_design(ladder.budget)
    arms = value_of(panel, "arms")
    texts = item_texts(edit.old, arms)
    items = arms.value if texts else []
    designs = [name_of(item, base) for item in items]
    others = [index for index, item in enumerate(items) if not ladder.owns(item)]
    own = [index for index in range(len(items)) if index not in others]
    names = {_arm_name(items[index], designs[index]): designs[index] for index in others}
    fresh: list[str] = []
    for arm in ladder.arms:
        mine = [index for index in own if designs[index] == arm.name]
        fresh += [_brought_up_to_date(texts[index], arm) for index in mine] or [arm.text + "\n"]
        names |= {_arm_name(items[index], arm.name): arm.name for index in mine} or {arm.name: arm.name}
    before = [index for index in others if not own or index < own[0]]
    edit.items(panel, "arms", [*(texts[i] for i in before), *fresh, *(texts[i] for i in others if i not in before)])
    _keep_baseline(edit, panel, ladder, names)
    gone = [designs[index] or "an arm that could not be read" for index in own]
    return [name for name in gone if name not in {arm.name for arm in ladder.arms}]


def _keep_baseline(edit: Edit, panel: yaml.MappingNode, ladder: Ladder, names: dict[str | None, str | None]) -> None:
    """Give the panel another baseline where its own went; `names`: each arm's design. One that can't be read may be
    the baseline."""
    if value_of(panel, "baseline").value not in names and None not in names:
        first = next(name for name, design in names.items() if design == ladder.baseline)
        edit.value(panel, "baseline", scalar(str(first)))


def _brought_up_to_date(text: str, arm: Arm) -> str:
    """An arm's own text, comments and all, with what `arm` states."""
    edit = Edit(text)
    (item,) = yaml.compose(text, yaml.SafeLoader).value  # type: ignore[union-attr]
    for key, value in arm.stated.items():
        edit.value(item, key, value)
    return edit.text()


def _arm_name(item: yaml.Node, design: str | None) -> str | None:
    return value_of(item, "name").value or design


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


def _find(path: Path, root: yaml.MappingNode, budget: str | None, name: str | None) -> yaml.MappingNode | None:
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
    if found and budget is not None and value_of(found[0], "budget").value != budget:
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
        load_sweep(beside, name=path.stem)
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
