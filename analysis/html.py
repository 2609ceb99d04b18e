"""A document as one HTML page that needs no other file and no network: tables sort, figures open large.

Its content security policy runs no script but `report.js`, known by its digest, and fetches nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

_ASIDE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", re.DOTALL)
_ID = re.compile(r'(\bid="|url\(#|href="#)')

LONG = 24
"""Letters of a name from which on it may be broken into lines."""


def to_html(document: dict[str, Any], folder: Path) -> str:
    """The document of `document.py`, its figures read from `folder`; the same text for the same document."""
    script = _resource("report.js")
    return Template(_resource("report.html")).substitute(
        title=escape(document["title"]),
        sweep=escape(document["sweep"]),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        contents=_contents(document["blocks"]),
        blocks="\n".join(_sections(document["blocks"], folder)),
        script=script,
    )


def _resource(name: str) -> str:
    return files("analysis").joinpath(name).read_text(encoding="utf-8")


def _contents(blocks: list[dict[str, Any]]) -> str:
    heads = [block["text"] for block in blocks if block["kind"] == "heading"]
    return "".join(f'<li><a href="#{_anchor(head)}">{escape(head)}</a></li>' for head in heads)


def _sections(blocks: list[dict[str, Any]], folder: Path) -> list[str]:
    """The blocks as elements, in one section up to the first heading and one from each heading on."""
    parts = ["<section>"]
    for block in blocks:
        if block["kind"] == "heading":
            anchor = _anchor(block["text"])
            parts += ["</section>", f'<section aria-labelledby="{anchor}">']
            parts.append(f'<h2 id="{anchor}">{escape(block["text"])}</h2>')
        elif block["kind"] == "figures":
            parts.append(_figures(block, folder))
        else:
            parts.append(_BLOCKS[block["kind"]](block))
    return [*parts, "</section>"]


def _anchor(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _table(block: dict[str, Any]) -> str:
    label, anchor = escape(block["label"]), _anchor(block["label"])
    heads = zip(block["titles"], block["left"], strict=True)
    head = "".join(f'<th scope="col"{_side(left)}>{escape(title)}</th>' for title, left in heads)
    rows = "\n".join(_row(row, block["left"], v) for row, v in zip(block["rows"], block["values"], strict=True))
    note = f'\n<p class="note">{escape(block["note"])}</p>' if block["note"] else ""
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">\n<table id="{anchor}">\n'
        f"<caption><span>{_caption(block)}</span></caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n"
        f"</tbody>\n</table>\n</div>{note}"
    )


def _row(row: list[str], left: list[bool], values: list[float | None]) -> str:
    first, *rest = zip(row, left, values, strict=True)
    cells = "".join(f"<td{_side(is_left)}{_plain(is_left, value)}>{escape(text)}</td>" for text, is_left, value in rest)
    long = ' class="text long"' if len(first[0]) > LONG else _side(first[1])
    return f'<tr><th scope="row"{long}>{escape(first[0])}</th>{cells}</tr>'


def _side(left: bool) -> str:
    return ' class="text"' if left else ""


def _plain(left: bool, value: float | None) -> str:
    """The number that a cell sorts by."""
    return "" if left or value is None else f' data-value="{value!r}"'


def _figures(block: dict[str, Any], folder: Path) -> str:
    return '<div class="figures">\n' + "\n".join(_figure(figure, folder) for figure in block["figures"]) + "\n</div>"


def _figure(figure: dict[str, Any], folder: Path) -> str:
    anchor = _anchor(figure["label"])
    image = svg((folder / figure["file"]).read_text(encoding="utf-8"), anchor)
    return (
        f'<figure id="{anchor}">\n<div class="image">{image}</div>\n<figcaption>{_caption(figure)}</figcaption>\n'
        "</figure>"
    )


def svg(text: str, name: str) -> str:
    """An SVG file as an element of a page: `name` keeps its ids apart from those of other figures."""
    bare = _ASIDE.sub("", text).strip()
    return _ID.sub(rf"\1{name}-", bare).replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)


def _caption(block: dict[str, Any]) -> str:
    return f"<strong>{escape(block['label'])}.</strong> {escape(block['caption'])}"


def _facts(block: dict[str, Any]) -> str:
    listed = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in block["facts"])
    return f"<dl>\n{listed}\n</dl>"


_BLOCKS = {
    "paragraph": lambda block: f"<p>{escape(block['text'])}</p>",
    "verdict": lambda block: f'<p class="verdict"><strong>Verdict.</strong> {escape(block["text"])}</p>',
    "table": _table,
    "facts": _facts,
    "code": lambda block: f"<pre><code>{escape(block['text'])}</code></pre>",
}
