"""A registration: what a sweep was going to ask, frozen beside its runs before any of them told anything."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablation.design import Design
from ablation.errors import UserError
from ablation.records import now
from ablation.run import ENGINE, provenance, read_json, write_json
from ablation.sweep import Arm, Panel, Sweep

TESTS = {
    "means": "two-sided t-test of each arm against the panel's baseline, SD pooled over the panel's arms, Holm",
    "intervals": "simultaneous over a panel's contrasts (Bonferroni)",
    "equivalence": "two one-sided t-tests within the margin, Holm",
    "trend": "straight line in log2 C over a panel's arms",
    "level": 0.05,
}
EXCLUSIONS = "a run that failed, or whose numbers are not finite, has no error; it is listed and counted, not replaced"


@dataclass(frozen=True)
class Registration:
    """What was registered, and when."""

    content: dict[str, Any]
    date: str
    """UTC, ISO 8601."""
    number: int
    """1 is the first; a later one says what the sweep was changed into."""
    known: int = 0
    """Runs of the sweep that had recorded an epoch by then: what they told may have shaped it."""

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal: a git tag or a web archive can hold it."""
        return digest(self.content)


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def content_of(sweep: Sweep) -> dict[str, Any]:
    """All that decides what a verdict of this sweep means. Not: resources, published numbers, where files lie."""
    return {
        "question": sweep.question,
        "evidence": sweep.evidence.model_dump(mode="json"),
        "seeds": list(sweep.seeds),
        "looks": list(sweep.looks),
        "precision": sweep.precision,
        "engine": ENGINE,
        "tests": TESTS,
        "exclusions": EXCLUSIONS,
        "panels": {panel.name: _panel(panel) for panel in sweep.panels},
    }


def _panel(panel: Panel) -> dict[str, Any]:
    budget = {name: getattr(panel.budget, name) for name in ("name", "params", "macs")}
    return {
        "budget": budget,
        "dataset": panel.dataset.model_dump(mode="json"),
        "baseline": panel.baseline,
        "arms": {arm.name: _arm(arm) for arm in panel.arms},
    }


def _arm(arm: Arm) -> dict[str, Any]:
    design = arm.design
    return {
        "design": design.to_dict() if isinstance(design, Design) else design.identity(),
        "recipe": arm.recipe.model_dump(mode="json", exclude={"name"}),
        "axis": arm.axis,
    }


def register(sweep: Sweep, runs: Path) -> tuple[Registration, bool]:
    """The registration in force for the sweep as it is, and whether it was made just now.

    The first one of these runs, or another where the sweep has changed since. While no run of the sweep has recorded an
    epoch nothing is known, and the first one is made anew. Raises UserError where an earlier one is damaged.
    """
    content, every = content_of(sweep), registrations(runs, sweep.name)
    earlier = related(every, content)
    if earlier and earlier[-1].digest == digest(content):
        return earlier[-1], False
    known = _known(sweep, runs)
    again = len(earlier) == 1 and not known
    made = Registration(content, now(), earlier[0].number if again else len(every) + 1, known)
    path = _path(runs, sweep.name, made.number)
    path.parent.mkdir(parents=True, exist_ok=True)
    made_by = {key: provenance()[key] for key in ("commit", "dirty", "command")}
    fields = {"date": made.date, "digest": made.digest, "known": known, **made_by, "content": content}
    try:
        write_json(path, fields, anew=not again)
    except FileExistsError:  # another launch was quicker
        return register(sweep, runs)
    return made, True


def related(registered: list[Registration], content: dict[str, Any]) -> list[Registration]:
    """Those that share a run with this content: a trial with other epochs registers nothing for the study itself."""
    own = _runs(content)
    return [one for one in registered if _runs(one.content) & own]


def _runs(content: dict[str, Any]) -> set[str]:
    """Every run, as far as its id digests it."""
    return {
        digest({**arm, "axis": None, "dataset": panel["dataset"], "seed": seed, "in": common})
        for common in [[content["precision"], content["engine"]]]
        for panel in content["panels"].values()
        for arm in panel["arms"].values()
        for seed in content["seeds"]
    }


def _path(runs: Path, sweep: str, number: int) -> Path:
    return runs / sweep / ("registration.json" if number == 1 else f"registration-{number}.json")


def _known(sweep: Sweep, runs: Path) -> int:
    """How many runs of the sweep have recorded an epoch."""
    logs = {sweep.paths(runs, run).log for run in sweep.runs()}
    return sum(log.exists() and b'"epoch"' in log.read_bytes() for log in logs)


def registration_files(runs: Path, sweep: str) -> list[Path]:
    """The files of a sweep's registrations, the first one first."""
    found: list[Path] = []
    while (path := _path(runs, sweep, len(found) + 1)).exists():
        found.append(path)
    return found


def registrations(runs: Path, sweep: str) -> list[Registration]:
    """All that were made for a sweep, the first one first; none where it was never launched.

    Raises UserError where one is damaged or was changed by hand.
    """
    return [_read(path, number) for number, path in enumerate(registration_files(runs, sweep), 1)]


def _read(path: Path, number: int) -> Registration:
    fields = read_json(path)
    content, known = fields.get("content"), fields.get("known", 0)
    if not isinstance(content, dict) or digest(content) != fields.get("digest") or not isinstance(known, int):
        raise UserError(
            "this registration was changed after it was made: its digest does not fit",
            where=str(path),
            remedy="Bring it back from a copy. Without it nothing here counts as registered.",
        )
    return Registration(content, str(fields.get("date")), number, known)


def changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What a sweep says otherwise than when it was registered, in words."""
    plain = {key: then[key] for key in _PLAIN}, {key: now[key] for key in _PLAIN}
    found = [
        f"{name}: {_short(before.get(name))} then, {_short(value)} now"
        for before, after in (plain, (then["evidence"], now["evidence"]))
        for name, value in after.items()
        if before.get(name) != value
    ]
    for name in then["panels"].keys() | now["panels"].keys():
        found += _panel_changes(name, then["panels"].get(name), now["panels"].get(name))
    return sorted(found)


_PLAIN = ("question", "seeds", "looks", "precision", "engine", "tests", "exclusions")


def _panel_changes(name: str, then: dict[str, Any] | None, now: dict[str, Any] | None) -> list[str]:
    if then is None or now is None:
        return [f"panel {name} was {'added' if then is None else 'removed'}"]
    found = [f"{key} of panel {name}" for key in ("budget", "dataset", "baseline") if then[key] != now[key]]
    arms = {"added": now["arms"].keys() - then["arms"], "removed": then["arms"].keys() - now["arms"]}
    arms["changed"] = {arm for arm in then["arms"].keys() & now["arms"] if then["arms"][arm] != now["arms"][arm]}
    return found + [f"arm {arm} of panel {name} was {how}" for how, own in arms.items() for arm in sorted(own)]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "..."
