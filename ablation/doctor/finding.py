"""A finding: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ablation.errors import UserError

OK, NOTE, PROBLEM = "ok", "note", "problem"
COLOURS = {OK: "green", NOTE: "yellow", PROBLEM: "red"}
GAP = 24


@dataclass(frozen=True)
class Finding:
    """One check's outcome."""

    group: str
    """this machine, runs folder, cluster, or a compute node."""
    check: str
    state: str
    """ok; note: fine, but know it; problem: something that is asked for won't work."""
    says: str
    remedy: str | None = None


class Findings:
    """Those of one group, in order."""

    def __init__(self, group: str) -> None:
        self.group, self.all = group, list[Finding]()

    def ok(self, check: str, says: str) -> None:
        """As it should be."""
        self.all.append(Finding(self.group, check, OK, says))

    def note(self, check: str, says: str, remedy: str | None = None) -> None:
        """Fine, but to be known."""
        self.all.append(Finding(self.group, check, NOTE, says, remedy))

    def problem(self, check: str, says: str, remedy: str) -> None:
        """Something won't work."""
        self.all.append(Finding(self.group, check, PROBLEM, says, remedy))

    def mistake(self, check: str, error: UserError) -> None:
        """What a UserError says."""
        place = f"{error.where}: " if error.where else ""
        self.problem(check, place + error.message, error.remedy or "Mend that.")


def to_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """`doctor --json`."""
    counts = Counter(finding.state for finding in findings)
    return {
        "findings": [asdict(finding) for finding in findings],
        "states": {state: counts[state] for state in (OK, NOTE, PROBLEM)},
    }


def show(findings: Sequence[Finding]) -> None:
    """Print findings, group by group, and the sum."""
    from rich.console import Console
    from rich.text import Text

    console, group = Console(soft_wrap=True, highlight=False), None
    for finding in findings:
        if finding.group != group:
            group = finding.group
            console.print(Text(group, style="bold"))
        state = Text(f"  {finding.state:8}", style=COLOURS[finding.state])
        console.print(state + Text(f"{finding.check:{GAP}}{finding.says}", style=""))
        if finding.remedy:
            console.print(Text(f"  {'':8}{'':{GAP}}-> {finding.remedy}"))
    counts = Counter(finding.state for finding in findings)
    notes, problems = counts[NOTE], counts[PROBLEM]
    console.print(
        f"{counts[OK]} ok, {notes} note{'s' * (notes != 1)}, {problems or 'no'} problem{'s' * (problems != 1)}"
    )
