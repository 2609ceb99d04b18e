"""The committed page: one section for each kind of evidence, each replaced alone."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from calibration.promise import Promise

REPORTS = Path(__file__).parents[2] / "reports" / "calibration"
HEAD = """\
# Calibration: do the statistics keep their promises?

Made by `make calibration`, never edited by hand; each section says on what machine, from which commit and when.
"""
SIMULATED = """\
Studies whose truth is known, drawn as each row says, then judged by the functions that the report uses. Five arms,
one of them the baseline, seed SD 0.12 points, where nothing else is said. *Found* is the share of studies, give or take
one standard error. The test suite holds the same promises over fewer studies. All rows:
[simulated.csv](simulated.csv)."""
FIELDS = ("part", "what", "found", "standard_error", "studies", "low", "high", "holds")


def simulated(promises: list[Promise], about: dict[str, str]) -> str:
    """The section on simulated studies, in Markdown."""
    held = [one for one in promises if one.bounded]
    kept = sum(one.holds for one in held)
    parts = [
        SIMULATED,
        "\n".join(f"- {key}: {value}" for key, value in about.items()),
        f"**{kept} of {len(held)} promises held.**",
        "### Promised",
        _table(held),
        "### Shown, not promised",
        _table(one for one in promises if not one.bounded),
    ]
    return "\n\n".join(parts)


def _table(promises: Iterable[Promise]) -> str:
    lines = ["| study | what | promised | found | held |", "|---|---|---|---|---|"]
    for one in promises:
        held = ("yes" if one.holds else "**no**") if one.bounded else ""
        found = f"{one.found:.1%} ± {one.error:.1%}"
        lines.append(f"| {one.part} | {one.what} | {one.promised if one.bounded else ''} | {found} | {held} |")
    return "\n".join(lines)


def put_section(title: str, text: str, page: Path = REPORTS / "README.md") -> None:
    """Write `text` under the page's heading `title`, in place of what stood there; other sections stay."""
    page.parent.mkdir(parents=True, exist_ok=True)
    old = page.read_text(encoding="utf-8") if page.exists() else HEAD
    _, *sections = re.split(r"^(?=## )", old, flags=re.MULTILINE)
    by_title = {section.partition("\n")[0].removeprefix("## "): section.rstrip() for section in sections}
    by_title[title] = f"## {title}\n\n{text.rstrip()}"
    page.write_text("\n\n".join([HEAD.rstrip(), *by_title.values()]) + "\n", encoding="utf-8")


def write_csv(promises: list[Promise], path: Path = REPORTS / "simulated.csv") -> None:
    """One row a promise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for one in promises:
            bounds = [f"{bound:.4f}" if abs(bound) <= 1 else "" for bound in (one.low, one.high)]
            held = str(one.holds).lower() if one.bounded else ""
            writer.writerow([one.part, one.what, f"{one.found:.5f}", f"{one.error:.5f}", one.studies, *bounds, held])
