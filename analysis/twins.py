"""Small twins beside the full-size networks that they copy: two things, never compared in points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ablation.cost import cost
from ablation.design import Design, design_from_name
from ablation.errors import UserError
from ablation.sweep import Arm, Panel, Sweep
from analysis.against import is_twin, measured
from analysis.collect import Study
from analysis.comparable import RESOLUTION, paper_recipes
from analysis.findings import Finding
from analysis.labels import LABELS
from analysis.paper import LAYOUTS, Line, key_of, lines
from analysis.published import Published
from analysis.statistics import Contrast
from analysis.tables import Column, Table, number, text
from analysis.verdict import DATASETS, dataset_label, join, plain

WORDS = {"improves": "better", "worsens": "worse"}


def twin_tables(sweep: Sweep, study: Study, found: Sequence[Finding]) -> list[Table]:
    """A table for each panel of small twins: their errors, and beside them the paper's for the full-size networks."""
    return [twin_table(sweep, study, finding) for finding in found if finding.panel.table and is_twin(finding.panel)]


def twin_table(sweep: Sweep, study: Study, finding: Finding) -> Table:
    """One panel's. There is no column of differences, for there is nothing to be said in points."""
    panel, metric = finding.panel, sweep.evidence.metric
    numbers = {arm.name: _published(panel, arm) for arm in panel.arms}
    records = [_record(study, finding, arm, numbers, metric) for arm in panel.arms]
    layout, data = LAYOUTS[str(panel.table)], _papers_data(panel)
    titles = [p.title for p in layout.parts if any(p.title in own for own in numbers.values())]
    what = f"{panel.dataset.evaluate} {LABELS[metric].name}, %"
    columns = [
        *(Column("small twin", text("arm"), left=True), Column(f"twin's {what}", _mean, key="mean")),
        *(Column("n", number("n")), Column("full size", text("full"), left=True)),
        *(Column(f"published {title}", number(title, f".{layout.digits}f"), key=title) for title in titles),
        *(Column(key, text(key), left=True) for key in ("twin", "paper", "sign")),
    ]
    caption = (
        f"Small twins on {dataset_label(panel)} (left), and what the paper publishes for the full-size networks on "
        f"{data} (right; {layout.title.replace('The', 'the', 1)}). These are different quantities: their difference "
        "means nothing."
    )
    return Table(caption, pd.DataFrame(records), columns, f"{scaled(panel)} {NOTE}")


NOTE = (
    "Twin's error: mean over n seeds with a 95% interval. Twin: against its baseline, as in the table of results. "
    "Paper: against the full-size baseline, by its published numbers alone, single runs or means without intervals. "
    "Sign: whether both agree, said only where the twin's own is resolved; neither confirms the other."
)


def _record(
    study: Study, finding: Finding, arm: Arm, numbers: dict[str, dict[str, Published]], metric: str
) -> dict[str, Any]:
    found = measured(study, finding, arm, metric)
    here = next((c for c in finding.comparison.contrasts if c.a == arm.name), None)
    paper = direction(numbers[arm.name], numbers[finding.panel.baseline]) if here else ""
    return {
        **{"arm": arm.name, "n": found.n},
        **{"mean": found.mean, "low": found.low, "high": found.high, "full": arm.twin_of or "–"},
        **{title: row.value for title, row in numbers[arm.name].items()},
        **{"twin": _here(here) if found.n or here is None else "–", "paper": paper or ("–" if here else "")},
        "sign": agreement(here, paper) if found.n else "",
    }


def _published(panel: Panel, arm: Arm) -> dict[str, Published]:
    """The paper's numbers for the network that an arm copies, by column; none for an arm that copies none."""
    if not arm.twin_of:
        return {}
    key = key_of(arm)
    every: list[Line] = lines(str(panel.table), [key])
    return {title: row for line in every for title, row in line.numbers.items() if line.keys[title] == key}


def direction(own: dict[str, Published], base: dict[str, Published]) -> str:
    """What the paper's numbers say of a network against another: better, worse, mixed, the same; empty if nothing."""
    pairs = [(a.value, b.value) for a in own.values() for b in base.values() if _alike(a, b)]
    signs = {(a > b) - (a < b) for a, b in pairs}
    words = {-1: "better", 1: "worse", 0: "the same"}
    return "mixed" if len(signs) > 1 else words[signs.pop()] if signs else ""


def _alike(a: Published, b: Published) -> bool:
    """Whether two numbers are one measure: a shortcut is what the residual table varies, a crop is not."""
    return (a.metric, a.dataset) == (b.metric, b.dataset) and (a.table == "residual" or a.setting == b.setting)


def _here(contrast: Contrast | None) -> str:
    if contrast is None:
        return "baseline"
    said = plain(contrast).partition(" (")[0].partition(":")[0] if contrast.kind == "none" else contrast.kind
    return {"improves": "better", "worsens": "worse"}.get(said, said) + (
        " (exploratory)" if "exploratory" in contrast.verdict else ""
    )


def agreement(contrast: Contrast | None, paper: str) -> str:
    """Whether the twin's resolved sign is the paper's, in words; never more than the twin's verdict allows."""
    if contrast is None or not paper:
        return ""
    own = WORDS.get(contrast.kind)
    if own is None:
        return "not resolved" if contrast.kind == "unresolved" else "not told"
    if paper not in WORDS.values():
        return "not told"
    return "the same" if own == paper else "opposite"


def _mean(row: dict[str, Any]) -> str:
    mean, low, high = (number(key, ".2f")(row) for key in ("mean", "low", "high"))
    return mean if low == "–" else f"{mean} [{low}, {high}]"


def _papers_data(panel: Panel) -> str:
    names = dict.fromkeys(row.dataset for line in lines(str(panel.table)) for row in line.numbers.values())
    return join([DATASETS.get(name, name) for name in names])


def scaled(panel: Panel) -> str:
    """What was made smaller, as a sentence."""
    recipe, data = paper_recipes(str(panel.table))[0], panel.dataset
    epochs = join(sorted({str(arm.recipe.epochs) for arm in panel.arms}))
    size = f"{_papers_data(panel)} at {32 if panel.table == '7' else RESOLUTION} pixels"
    own = DATASETS.get(data.name, data.path)
    parts = [f"data ({own} at {data.resolution} pixels in place of {size})"]
    parts += [part for part in (_widths(panel), _depths(panel), _paths(panel)) if part]
    return f"Scaled down: {', '.join(parts)}, epochs ({epochs} in place of {recipe['epochs']})."


def _pairs(panel: Panel) -> list[tuple[Arm, Design]]:
    found = []
    for arm in panel.arms:
        try:
            found.append((arm, design_from_name(arm.twin_of or "")))
        except UserError:  # a twin of another family's network, which has no such name
            continue
    return found


def _widths(panel: Panel) -> str:
    shares = [arm.cost.params / (cost(full).params or 1) for arm, full in _pairs(panel) if arm.cost.params]
    if not shares:
        return "widths"
    low, high = (f"{100 * share:.2g}%" for share in (min(shares), max(shares)))
    return f"widths ({low if low == high else f'{low} to {high}'} of the full-size parameters)"


def _depths(panel: Panel) -> str:
    same = {isinstance(arm.design, Design) and arm.design.blocks == full.blocks for arm, full in _pairs(panel)}
    return "depth" if False in same else ""


def _paths(panel: Panel) -> str:
    """Where too few channels were left for as many paths."""
    pairs = [(arm.design.cardinality, full.cardinality) for arm, full in _pairs(panel)]
    fewer = dict.fromkeys(f"C = {own} in place of {its}" for own, its in pairs if own != its)
    return f"paths ({join(fewer)})" if fewer else ""
