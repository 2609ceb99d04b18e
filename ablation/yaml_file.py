"""YAML that knows where each value stands, so that an error can name file:line:column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ablation.errors import UserError

Key = tuple[str | int, ...]


@dataclass
class YamlFile:
    """The content of a YAML file, and the place of every value in it."""

    path: Path
    data: Any
    places: dict[Key, str] = field(default_factory=dict)
    """file:line:column of each value, by its path: ("panels", 0, "budget")."""

    def where(self, key: Sequence[str | int]) -> str:
        """The place of a value, or of the nearest one that holds it."""
        for end in range(len(key), -1, -1):
            if tuple(key[:end]) in self.places:
                return self.places[tuple(key[:end])]
        return str(self.path)


def read_yaml(path: Path) -> YamlFile:
    """Read a YAML file of plain values; equal keys and anything that is not plain are refused.

    Raises UserError with file:line:column.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"no such file: {path}", remedy="Sweeps lie in sweeps/; `plan --write` makes one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"can't be read: {error}", where=str(path)) from None
    result = YamlFile(path, None)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        result.data = _construct(loader, node, (), result) if node else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UserError(f"not YAML: {error.problem}", where=_place(path, mark) if mark else str(path)) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"not YAML: {error}", where=str(path)) from None
    return result


def override_value(file: YamlFile, override: str) -> None:
    """Set one value, from `key.path=value`; a `*` in the path reaches every item of a list. Raises UserError."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"--set {override!r}", remedy="Write --set key.path=value, such as --set seeds=1.")
    wanted: list[Any] = [int(part) if part.isdigit() else part for part in path.split(".")]
    for keys in _expand(file.data, wanted):
        _assign(file.data, keys, _parse(text), f"--set {path}")
        file.places = {key: place for key, place in file.places.items() if list(key[: len(keys)]) != keys}
        file.places[tuple(keys)] = f"--set {path}"


def _expand(data: Any, keys: Sequence[Any]) -> list[list[Any]]:
    """The paths that a path with `*` in it stands for."""
    if "*" not in keys:
        return [list(keys)]
    at, here = keys.index("*"), data
    for key in keys[:at]:
        here = here.get(key) if isinstance(here, dict) else None
    count = len(here) if isinstance(here, list) else 0
    return [path for index in range(count) for path in _expand(data, [*keys[:at], index, *keys[at + 1 :]])]


def _assign(data: Any, keys: Sequence[Any], value: Any, where: str) -> None:
    key, *rest = keys
    if not _has_room(data, key):
        raise UserError(f"nothing there to set at {key!r}", where=where)
    if not rest:
        data[key] = value
        return
    short = {"recipe": "base", "dataset": "name"}  # a name where changes to it are wanted
    if key in short and isinstance(data.get(key), str):
        data[key] = {short[key]: data[key]}
    if isinstance(data, dict):
        data.setdefault(key, {})
    _assign(data[key], rest, value, where)


def _has_room(data: Any, key: Any) -> bool:
    if isinstance(data, list):
        return isinstance(key, int) and key < len(data)
    return isinstance(data, dict) and isinstance(key, str)


def _parse(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set: {text!r} is not a YAML value: {error}") from None


def _place(path: Path, mark: yaml.Mark) -> str:
    return f"{path}:{mark.line + 1}:{mark.column + 1}"


def _construct(loader: yaml.SafeLoader, node: yaml.Node, key: Key, into: YamlFile) -> Any:
    into.places[key] = _place(into.path, node.start_mark)
    if len(key) > 50 or len(into.places) > 100_000:
        raise UserError("nested too deeply, or too large", where=into.places[key])
    if isinstance(node, yaml.MappingNode):
        return _mapping(loader, node, key, into)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, item, (*key, index), into) for index, item in enumerate(node.value)]
    return loader.construct_object(node)


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode, key: Key, into: YamlFile) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name_node, value_node in node.value:
        name, place = name_node.value, _place(into.path, name_node.start_mark)
        if not isinstance(name_node, yaml.ScalarNode):
            raise UserError("a key must be a word", where=place)
        if name == "<<":
            raise UserError("merge keys (<<) are not supported", where=place, remedy="Write the fields out.")
        if name in result:
            raise UserError(f"duplicate key {name!r}", where=place, remedy="YAML would keep the last one silently.")
        result[name] = _construct(loader, value_node, (*key, name), into)
        into.places.setdefault((*key, name, "key"), place)
    return result
