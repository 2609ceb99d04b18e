"""What was measured in the place of each number of the paper: side by side, and their difference where that is fair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ablation.sweep import Arm, Panel, Sweep
from analysis.collect import Study, further_column
from analysis.comparable import reasons
from analysis.findings import Finding
from analysis.paper import LAYOUTS, Key, Line, Part, data_of, evaluation_of, key_of, lines
from analysis.published import Published
from analysis.statistics import Estimate, estimate

NOTHING = Estimate(0, math.nan, math.nan, math.nan, math.nan)
OTHERS = "not in the paper's table"


@dataclass(frozen=True)
class Cell:
    """One number of the paper, and what was measured in its place; either may be absent."""

    published: float | None = None
    measured: Estimate = NOTHING
    panel: str = ""
    arm: str = ""
    dataset: str = ""
    evaluation: str = ""
    """Of the measured number: `test`, `320` ..."""
    why: tuple[str, ...] = ()
    """Why the two can't be compared."""
    says: tuple[str, ...] = ()
    """What else there is to say."""

    @property
    def difference(self) -> Estimate:
        """Measured less published, with the measured mean's interval; nothing where that would not be fair."""
        if self.published is None or self.why or not self.measured.n:
            return NOTHING
        m, p = self.measured, self.published
        return replace(m, mean=m.mean - p, low=m.low - p, high=m.high - p)


Row = tuple[Line, dict[str, Cell]]
"""A line of a table, and its cells by column."""


@dataclass(frozen=True)
class _Place:
    """An arm and where it was run."""

    finding: Finding
    arm: Arm

    @property
    def panel(self) -> Panel:
        return self.finding.panel


def is_twin(panel: Panel) -> bool:
    """Whether a panel is a small copy of another, so that the paper's numbers are not for it."""
    return any(arm.twin_of for arm in panel.arms)


def rows(study: Study, found: Sequence[Finding], table: str) -> list[Row]:
    """Every line of a table of the paper, then the arms that it does not have. `found`: the panels that run it."""
    arms = [_Place(finding, arm) for finding in found for arm in finding.panel.arms]
    used: set[tuple[str, str]] = set()
    filled: list[Row] = []
    for line in lines(table, {key_of(place.arm) for place in arms}):
        cells = {part.title: _cell(study, line, part, arms) for part in LAYOUTS[table].parts}
        used |= {(cell.panel, cell.arm) for cell in cells.values()}
        filled.append((line, cells))
    rest = [place for place in arms if (place.panel.name, place.arm.name) not in used]
    return filled + [_other(study, place, table) for place in rest]


def _cell(study: Study, line: Line, part: Part, arms: Sequence[_Place]) -> Cell:
    number = line.numbers.get(part.title)
    if number is None:
        return Cell()
    placed = [place for place in arms if _runs(place, line.keys[part.title], part)]
    told = [(place, reasons(study, place.panel, place.arm, number)) for place in placed]
    if not told:
        return Cell(number.value)
    place, why = min(told, key=lambda one: len(one[1]))  # of two recipes the one that is the paper's
    return _measured(study, place, number, part, why)


def _runs(place: _Place, key: Key, part: Part) -> bool:
    return key_of(place.arm) == key and part.dataset in ("", data_of(place.panel.dataset))


def _measured(study: Study, place: _Place, number: Published, part: Part, why: Sequence[str]) -> Cell:
    panel, evaluation = place.panel, evaluation_of(number.setting, place.panel.dataset)
    found = measured(study, place.finding, place.arm, part.metric, evaluation)
    says = [] if not number.design or number.table != "residual" or not number.note else [number.note]
    own = place.arm.published.get(part.metric) if not evaluation else None
    if own is not None and own != number.value:
        says.append(f"the sweep states {own:g} as published, the paper's table {number.value:g}")
    if evaluation and not found.n and len(study.of(panel.name, place.arm.name)):
        says.append(f"evaluation {evaluation} was not made")
    if place.finding.look.interim and found.n:
        says.append("interim: runs are pending")
    return Cell(
        number.value,
        found,
        panel.name,
        place.arm.name,
        number.dataset,
        evaluation or panel.dataset.evaluate,
        tuple(why),
        tuple(says),
    )


def measured(study: Study, finding: Finding, arm: Arm, metric: str, evaluation: str = "") -> Estimate:
    """An arm's error over the seeds of its look, in the first evaluation or the one that is named."""
    column = further_column(metric, evaluation) if evaluation else metric
    if column not in study.runs:
        return NOTHING
    return estimate(study.errors(finding.panel.name, arm.name, column, finding.look.seeds))


def _other(study: Study, place: _Place, table: str) -> Row:
    """An arm that the paper's table does not have: measured in the first column, with what the sweep states."""
    parts, panel, arm = LAYOUTS[table].parts, place.panel, place.arm
    own = next((part for part in parts if part.dataset in ("", data_of(panel.dataset))), parts[0])
    stated = arm.published.get(own.metric)
    cell = Cell(
        stated,
        measured(study, place.finding, arm, own.metric),
        panel.name,
        arm.name,
        data_of(panel.dataset),
        panel.dataset.evaluate,
        (OTHERS,),
        ("published as the sweep states it",) if stated is not None else (),
    )
    return Line(arm.name, "", "", {}, {}), {own.title: cell}


def tables_of(sweep: Sweep) -> list[str]:
    """The paper's tables that panels of a sweep run, in the sweep's order; table 8 beside table 5."""
    named = list(dict.fromkeys(panel.table for panel in sweep.panels if panel.table))
    return named if "5" not in named or "8" in named else [*named, "8"]
