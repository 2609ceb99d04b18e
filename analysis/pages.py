"""The blocks of a document as they are added: tables and figures are numbered here, alike for every form of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.tables import Table

Block = dict[str, Any]


@dataclass
class Pages:
    """The blocks so far; counts tables and figures."""

    blocks: list[Block] = field(default_factory=list)
    tables: int = 0
    figures: int = 0

    def add(self, kind: str, **fields: Any) -> None:
        """Add a block: heading, paragraph, verdict (text), facts (pairs) or code (text)."""
        self.blocks.append({"kind": kind, **fields})

    def table(self, table: Table, caption: str = "", name: str = "") -> None:
        """Add a table; one with a `name` is written as LaTeX too."""
        self.tables += 1
        titles, left = [c.title for c in table.columns], [c.left for c in table.columns]
        shown = {"titles": titles, "left": left, "rows": table.rows(), "values": table.values(), "note": table.note}
        self.add("table", label=f"Table {self.tables}", caption=caption or table.caption, name=name, **shown)

    def figures_of(self, figures: Sequence[tuple[str, str]], across: int) -> None:
        """Add figures by (name, caption), `across` of them beside each other."""
        for start in range(0, len(figures), across):
            self.add("figures", figures=[self._figure(*figure) for figure in figures[start : start + across]])

    def _figure(self, name: str, caption: str) -> Block:
        self.figures += 1
        return {"file": f"figures/{name}.svg", "label": f"Figure {self.figures}", "caption": caption}
