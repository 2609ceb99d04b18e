"""A document as Markdown (GitHub's)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_SPECIAL = re.compile(r"[\\`*|$]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|\](?=[(\[:])|^(?:[#>+-]|\d+(?=[.)] ))")


def escape(plain: str) -> str:
    """Text on one line that Markdown shows as it is; an underscore inside a word means nothing to it and stays."""
    return _SPECIAL.sub(_escaped, " ".join(plain.split()))


def _escaped(match: re.Match[str]) -> str:
    return match[0] + "\\" if match[0].isdigit() else "\\" + match[0]


def to_markdown(document: dict[str, Any]) -> str:
    """The document of `document.py`, its figures as links."""
    return "\n\n".join([f"# {escape(document['title'])}", *(_BLOCKS[b["kind"]](b) for b in document["blocks"])]) + "\n"


def pipe_table(titles: Iterable[str], left: Iterable[bool], rows: Iterable[Iterable[str]]) -> str:
    """A table; text stands left, numbers right."""
    body = [[escape(cell) for cell in row] for row in rows]
    head = [[escape(title) for title in titles], [":--" if is_left else "--:" for is_left in left]]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *body])


def _table(block: dict[str, Any]) -> str:
    parts = [_caption(block), pipe_table(block["titles"], block["left"], block["rows"]), escape(block["note"])]
    return "\n\n".join(part for part in parts if part)


def _figures(block: dict[str, Any]) -> str:
    return "\n\n".join(f"![{f['label']}]({f['file']})\n\n{_caption(f)}" for f in block["figures"])


def _caption(block: dict[str, Any]) -> str:
    return f"**{escape(block['label'])}.** {escape(block['caption'])}".strip()


def _facts(block: dict[str, Any]) -> str:
    return "\n".join(f"- **{escape(name)}**: {escape(value)}" for name, value in block["facts"])


def _code(text: str) -> str:
    """Lines as they are, in a fence longer than any in them."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


_BLOCKS = {
    "heading": lambda block: f"## {escape(block['text'])}",
    "paragraph": lambda block: escape(block["text"]),
    "verdict": lambda block: "> **Verdict.** " + escape(block["text"]),
    "table": _table,
    "figures": _figures,
    "facts": _facts,
    "code": lambda block: _code(block["text"]),
}
