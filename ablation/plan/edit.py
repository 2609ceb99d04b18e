"""Edits to YAML text by the marks of its nodes, so that comments and layout outlive them."""

from __future__ import annotations

import yaml

_ABSENT = yaml.ScalarNode("tag:yaml.org,2002:null", "", yaml.Mark("", 0, 0, 0, None, 0))


def value_of(node: yaml.Node, key: str) -> yaml.Node:
    """The value of a key in a mapping; an empty scalar where it is absent."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for name, value in pairs if name.value == key), _ABSENT)


def scalar(text: str) -> str:
    """A text as YAML writes it: in quotes only where it needs them."""
    return yaml.safe_dump({"k": text}, width=10_000, allow_unicode=True)[3:].strip()


def end(node: yaml.Node) -> int:
    """Where a node's own text ends; the mark of a block collection lies beyond the comments that follow it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return end(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return end(node.value[-1])
    return node.end_mark.index


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def _lines_of(text: str, sequence: yaml.SequenceNode) -> list[tuple[int, int]]:
    """The lines of each item of a block sequence; a comment above an item is the item's.

    Raises YAMLError for an alias: its node stands elsewhere.
    """
    spans, start = [], _line_start(text, sequence.start_mark.index)
    for item in sequence.value:
        stop = _line_end(text, end(item))
        if not start <= item.start_mark.index < stop:
            raise yaml.YAMLError("an alias")
        spans.append((start, stop))
        start = stop
    return spans


def item_texts(text: str, sequence: yaml.Node) -> list[str]:
    """For a sequence, each item's lines as if its `- ` stood at the left margin, the comments above it included."""
    if not isinstance(sequence, yaml.SequenceNode):
        return []
    if sequence.flow_style:
        return [f"- {text[item.start_mark.index : end(item)]}\n" for item in sequence.value]
    indent = " " * sequence.start_mark.column
    chunks = [text[start:stop] for start, stop in _lines_of(text, sequence)]
    return ["".join(line.removeprefix(indent) for line in _closed(chunk).splitlines(True)) for chunk in chunks]


def _closed(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


class Edit:
    """Replacements in one text, made all at once at the end, so that its nodes' marks stay right until then."""

    def __init__(self, old: str) -> None:
        self.old = old
        self._changes: list[tuple[int, int, str]] = []

    def text(self) -> str:
        """The text with all edits made."""
        new = self.old
        for start, stop, insert in sorted(self._changes, reverse=True):
            new = new[:start] + insert + new[stop:]
        return new

    def after(self, node: yaml.Node, lines: str) -> None:
        """Put whole lines behind a node."""
        stop = _line_end(self.old, end(node))
        self._changes.append((stop, stop, lines if self.old[:stop].endswith("\n") else f"\n{lines}"))

    def value(self, mapping: yaml.MappingNode, key: str, text: str) -> None:
        """Set a scalar in a mapping; behind its first value where the key is absent."""
        node = value_of(mapping, key)
        if node is not _ABSENT:
            self._changes.append((node.start_mark.index, end(node), text))
        elif mapping.flow_style:
            stop = end(mapping.value[0][1])
            self._changes.append((stop, stop, f", {key}: {text}"))
        else:
            self.after(mapping.value[0][1], f"{' ' * mapping.start_mark.column}{key}: {text}\n")

    def items(self, mapping: yaml.MappingNode, key: str, items: list[str]) -> None:
        """Set a sequence in a mapping to items as `item_texts` gives them, one a line."""
        node, column = value_of(mapping, key), mapping.start_mark.column
        if isinstance(node, yaml.SequenceNode) and not node.flow_style:
            spans = _lines_of(self.old, node)
            lines = _indented(items, node.start_mark.column)
            self._changes.append((spans[0][0], spans[-1][1], lines))
        elif node is not _ABSENT:
            lines = _indented(items, column + 2).rstrip("\n")
            self._changes.append((node.start_mark.index, end(node), f"\n{lines}"))
        else:
            self.after(mapping, f"{' ' * column}{key}:\n{_indented(items, column + 2)}")


def _indented(items: list[str], column: int) -> str:
    return "".join(" " * column + line if line.strip() else line for text in items for line in text.splitlines(True))
