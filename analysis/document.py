"""What a report says, as one tree of plain values that Markdown, typst and HTML render alike.

A document is `{"title", "sweep", "blocks"}`; a block has a `kind`: heading, paragraph, verdict, table, figures, facts,
code. First a summary of two pages, then details, then methods and how to get it all again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ablation.sweep import Panel, Sweep
from analysis.captions import captions
from analysis.collect import Study
from analysis.confounds import tuning
from analysis.details import (
    again_text,
    beyond_table,
    captioned,
    confounds_table,
    images_table,
    side_by_side,
)
from analysis.figures import applicable
from analysis.findings import Finding
from analysis.labels import LABELS
from analysis.methods import methods
from analysis.pages import Pages
from analysis.published import comparable
from analysis.tables import ladder_table, missing_table, results_table
from analysis.verdict import completeness, dataset_label, headline, join


def document(sweep: Sweep, study: Study, found: list[Finding], commands: Sequence[str]) -> dict[str, Any]:
    """The whole report. `commands` are what a reader types to get it again."""
    pages = Pages()
    pages.add("paragraph", text=f"Sweep {sweep.name}: {_lower(completeness(study))}")
    pages.add("verdict", text=headline(sweep, found))
    _results(pages, sweep, study, found)
    _behind(pages, sweep, study, found)
    if study.missing:
        pages.add("heading", text="What is missing")
        pages.table(missing_table(study))
    _ladders(pages, sweep)
    pages.add("heading", text="Training")
    _figures(pages, study, found, "learning_curves", "ladder_residuals")
    pages.add("heading", text="Error against cost")
    _figures(pages, study, found, "error_vs_params", "error_vs_macs", "error_vs_activations", "error_vs_time")
    _methods(pages, sweep, study, found)
    _reproduce(pages, study, commands)
    return {"title": sweep.question, "sweep": sweep.name, "blocks": pages.blocks}


def _figures(pages: Pages, study: Study, found: list[Finding], *names: str) -> None:
    """Those of the named figures that have something to show; side by side where each has one axes."""
    said, known = captions(study, found), applicable(found)
    pages.figures_of([(name, said[name]) for name in names if name in known], across=2 if len(found) == 1 else 1)


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def measure(sweep: Sweep, panel: Panel) -> str:
    """What the panel's errors are: `test top-1 error`."""
    return f"{panel.dataset.evaluate} {LABELS[sweep.evidence.metric].name}"


def _results(pages: Pages, sweep: Sweep, study: Study, found: list[Finding]) -> None:
    pages.add("heading", text="Results")
    for finding in found:
        panel, what = finding.panel, measure(sweep, finding.panel)
        caption = f"{_name(sweep, panel)}{what} after the last epoch, on {dataset_label(panel)}."
        table = results_table(finding, sweep.evidence.metric, what)
        pages.table(table, caption[0].upper() + caption[1:], name=_file(sweep, panel))
    _figures(pages, study, found, "error_vs_cardinality", "contrasts")
    published = [panel for panel in sweep.panels if any(sweep.evidence.metric in arm.published for arm in panel.arms)]
    for note in [*dict.fromkeys(_published_note(panel) for panel in published), *study.notes]:
        pages.add("paragraph", text=note)


def _behind(pages: Pages, sweep: Sweep, study: Study, found: list[Finding]) -> None:
    """What else was asked, what else differs, and how far the verdict carries."""
    pages.add("heading", text="Behind the verdict")
    for finding in found:
        name = _name(sweep, finding.panel)
        for table in (beyond_table(finding), confounds_table(finding, study), images_table(finding)):
            if table:
                pages.table(captioned(table, name))
        pages.add("paragraph", text=" ".join(filter(None, (name + tuning(finding.panel), again_text(finding)))))
    together = side_by_side(found)
    if together:
        pages.table(together)


def _name(sweep: Sweep, panel: Panel) -> str:
    return f"Panel {panel.name}: " if len(sweep.panels) > 1 else ""


def _file(sweep: Sweep, panel: Panel) -> str:
    """What a panel's table of results is called as a file: `results`, numbered where there are several panels."""
    return f"results_{sweep.panels.index(panel) + 1}" if len(sweep.panels) > 1 else "results"


def _published_note(panel: Panel) -> str:
    label = dataset_label(panel)
    if not comparable(panel.dataset.name):
        return (
            f"Published errors are the paper's, on other data: errors on {label} can't be compared with them, "
            "and the order of the arms only loosely."
        )
    epochs = join(sorted({str(arm.recipe.epochs) for arm in panel.arms}))
    return (
        "Published errors are the paper's (ImageNet: single runs of 100 epochs; CIFAR: means of 10 runs of 300). "
        f"These runs had {epochs} epochs, on {label}: the two can be compared as far as the recipes agree."
    )


def _ladders(pages: Pages, sweep: Sweep) -> None:
    pages.add("heading", text="The ladder")
    for panel in sweep.panels:
        table = ladder_table(panel)
        last = panel is sweep.panels[-1]
        pages.table(replace(table, note=table.note if last else ""), f"{_name(sweep, panel)}{table.caption}")


def _methods(pages: Pages, sweep: Sweep, study: Study, found: list[Finding]) -> None:
    pages.add("heading", text="Methods")
    pages.add("facts", facts=methods(sweep, study, found))


def _reproduce(pages: Pages, study: Study, commands: Sequence[str]) -> None:
    origin = study.provenance
    commits = join(origin["commits"]) if origin["commits"] else "not known"
    dirty = ", with changes that were not committed" if origin["dirty"] else ""
    versions = ", ".join(f"{name} {' or '.join(map(str, v))}" for name, v in origin["versions"].items() if v)
    facts = [("Commit", commits + dirty), ("Versions", versions), ("Engine", join(map(str, origin["engines"])))]
    if origin["finished"]:
        first, last = (time[:16].replace("T", " ") for time in origin["finished"])
        facts.append(("Runs finished", f"{first} to {last} UTC" if first != last else f"{first} UTC"))
    facts.append(("Numbers", "every run is in tables/runs.csv, every epoch in tables/epochs.csv"))
    facts.append(("For a paper", "tables/*.tex (LaTeX, booktabs); references.bib: what to cite"))
    pages.add("heading", text="How to reproduce")
    pages.add("facts", facts=facts)
    pages.add("code", text="\n".join(commands))
