"""A document as PDF, by typst."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from ablation.errors import UserError


def to_pdf(content: dict[str, Any], folder: Path) -> bytes:
    """The document as PDF, its figures read from `folder`; the same bytes for the same document.

    Raises UserError where typst is not installed.
    """
    try:
        import typst
    except ImportError:
        raise UserError("typst is not installed", remedy="It makes the PDF: pip install typst.") from None
    template, data = folder / "report.typ", folder / "report.json"
    template.write_text(files("analysis").joinpath("report.typ").read_text(encoding="utf-8"), encoding="utf-8")
    data.write_text(json.dumps(content), encoding="utf-8")
    try:
        return typst.compile(template, root=folder, ignore_system_fonts=True)
    finally:
        template.unlink()
        data.unlink()
