"""YAML that knows where each value stands, so that an error can name file:line:column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ablation.errors import UserError, first_line

Key = tuple[str | int, ...]
LARGEST = 1 << 20
"""Bytes; no sweep or site file is so large, and YAML is slow to read."""
PLAIN = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


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
    text = _text(path)
    result = YamlFile(path, None)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        result.data = _construct(loader, node, (), result) if node else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what, remedy = f"not YAML: {error.problem}", _hint(error.problem or "")
        raise UserError(what, where=_place(path, mark) if mark else str(path), remedy=remedy) from None
    except RecursionError:
        remedy = "No sweep or site file goes deeper than ten levels."
        raise UserError("nested too deeply", where=str(path), remedy=remedy) from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"not YAML: {first_line(error)}", where=str(path), remedy=_hint("")) from None
    return result


def _hint(problem: str) -> str:
    """What to do about text that is no YAML."""
    if "\\t" in problem:
        return "Indent by spaces: YAML takes no tabs."
    if "end of stream" in problem:
        return "A quote or a bracket is opened above and not closed."
    return "Quote text that has : # [ { or ! in it; a key is followed by a colon and a space."


def _text(path: Path) -> str:
    """What the file says. Raises UserError where it can't be read, or is no text file of some size."""
    if path.exists() and not path.is_file():
        raise UserError("a folder or a device, not a file", where=str(path), remedy="Name a YAML file.")
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            what = f"larger than {LARGEST >> 20} MiB: no file of settings is"
            raise UserError(what, where=str(path), remedy="Is it another file? Split a sweep that is so large.")
        return data.decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"no such file: {path}", remedy="Sweeps lie in sweeps/; `plan --write` makes one.") from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        what = f"not UTF-8: byte 0x{data[error.start]:02x}"
        raise UserError(what, where=f"{path}:{line}", remedy="Save it as UTF-8.") from None
    except OSError as error:
        raise UserError(f"can't be read: {error.strerror or error}", where=str(path)) from None
    except ValueError:  # a NUL in its name
        raise UserError(f"no such file: {str(path)!r}") from None


def override_value(file: YamlFile, override: str) -> None:
    """Set one value, from `key.path=value`; a `*` in the path reaches every item of a list. Raises UserError."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"--set {override!r}", remedy="Write --set key.path=value, such as --set seeds=1.")
    wanted: list[Any] = [int(part) if re.fullmatch(r"[0-9]{1,9}", part) else part for part in path.split(".")]
    for keys in _expand(file.data, wanted):
        _assign(file.data, keys, parse_value(text), f"--set {path}")
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
        what = f"{len(data)} items, from 0" if isinstance(data, list) else "no list and no mapping"
        raise UserError(f"nothing there to set at {key!r}", where=where, remedy=f"Above it there is {what}.")
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


def parse_value(text: str) -> Any:
    """The value that `--set key=text` gives. Raises UserError."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = error.problem if isinstance(error, yaml.MarkedYAMLError) else first_line(error)
        said = "nested too deeply" if isinstance(error, RecursionError) else said
        shown = text if len(text) < 60 else f"{text[:57]}..."
        remedy = "Quote what is to be text: --set \"key='text'\"."
        raise UserError(f"--set: {shown!r} is not a YAML value: {said}", remedy=remedy) from None


def _place(path: Path, mark: yaml.Mark) -> str:
    return f"{path}:{mark.line + 1}:{mark.column + 1}"


def _construct(loader: yaml.SafeLoader, node: yaml.Node, key: Key, into: YamlFile) -> Any:
    into.places[key] = _place(into.path, node.start_mark)
    if len(key) > 50 or len(into.places) > 100_000:
        remedy = "Write values out once: an alias (*name) repeats all of what it names."
        raise UserError("nested too deeply, or too large", where=into.places[key], remedy=remedy)
    if isinstance(node, yaml.CollectionNode) and node.tag not in PLAIN:
        remedy = f"Leave out {node.tag.replace('tag:yaml.org,2002:', '!!')}: values here are plain."
        raise UserError("YAML tags are not supported", where=into.places[key], remedy=remedy)
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
