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
    crossed_table,
    images_table,
    side_by_side,
)
from analysis.figures import applicable, count_axes
from analysis.findings import Finding
from analysis.labels import LABELS
from analysis.methods import methods
from analysis.pages import Pages
from analysis.paper_tables import paper_tables
from analysis.published import comparable
from analysis.tables import (
    Table,
    evaluations_table,
    ladder_table,
    missing_table,
    results_table,
    shows_published,
    without_blanks,
)
from analysis.training import training_table
from analysis.twins import twin_tables
from analysis.verdict import completeness, dataset_label, headline, join


def document(sweep: Sweep, study: Study, found: list[Finding], commands: Sequence[str]) -> dict[str, Any]:
    """The whole report. `commands` are what a reader types to get it again."""
    pages = Pages()
    kind = "Results" if sweep.outside else "Sweep"
    pages.add("paragraph", text=f"{kind} {sweep.name}: {_lower(completeness(study))}")
    pages.add("verdict", text=headline(sweep, found))
    _paper(pages, sweep, study, found)
    _results(pages, sweep, study, found)
    _behind(pages, sweep, study, found)
    if study.missing:
        pages.add("heading", text="What is missing")
        pages.table(missing_table(study))
    _ladders(pages, sweep)
    _training(pages, sweep, study, found)
    costs = ("params", "macs", "activations", "time")
    _figures(pages, study, found, *(f"error_vs_{cost}" for cost in costs), heading="Error against cost")
    _methods(pages, sweep, study, found)
    _reproduce(pages, sweep, study, commands)
    return {"title": sweep.question, "sweep": sweep.name, "blocks": pages.blocks}


def _figures(pages: Pages, study: Study, found: list[Finding], *names: str, heading: str = "") -> None:
    """Those of the named figures that have something to show; side by side where each has one axes."""
    said, known = captions(study, found), applicable(found, study)
    shown = [(name, said[name]) for name in names if name in known]
    if heading and shown:
        pages.add("heading", text=heading)
    for group in _beside({name: count_axes(name, found, study) == 1 for name, _ in shown}, len(found) == 1):
        pages.figures_of([figure for figure in shown if figure[0] in group], across=len(group))


def _beside(halves: dict[str, bool], pairs: bool) -> list[list[str]]:
    """Figures in the order given, two that are half a page wide beside each other where `pairs`."""
    groups: list[list[str]] = []
    for name, half in halves.items():
        last = groups[-1] if groups else []
        if pairs and half and len(last) == 1 and halves[last[0]]:
            last.append(name)
        else:
            groups.append([name])
    return groups


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def measure(sweep: Sweep, panel: Panel) -> str:
    """What the panel's errors are: `test top-1 error`."""
    return "error" if sweep.outside else f"{panel.dataset.evaluate} {LABELS[sweep.evidence.metric].name}"


def _paper(pages: Pages, sweep: Sweep, study: Study, found: list[Finding]) -> None:
    """The paper's own tables first; small twins under a heading that says what they are."""
    tables, twins = paper_tables(sweep, study, found), twin_tables(sweep, study, found)
    if tables:
        pages.add("heading", text="The paper's table" if len(tables) == 1 else "The paper's tables")
    for index, table in enumerate(tables):
        pages.table(table, name="paper" if len(tables) == 1 else f"paper_{index + 1}")
    if twins:
        pages.add("heading", text="Small twins, not the paper's networks")
    for index, table in enumerate(twins):
        pages.table(table, name="twins" if len(twins) == 1 else f"twins_{index + 1}")


def _results(pages: Pages, sweep: Sweep, study: Study, found: list[Finding]) -> None:
    pages.add("heading", text="Results")
    for finding in found:
        panel, what = finding.panel, measure(sweep, finding.panel)
        where = " of each arm" if sweep.outside else f" after the last epoch, on {dataset_label(panel)}"
        caption = f"{_name(sweep, panel)}{what}{where}."
        table = results_table(finding, sweep.evidence.metric, what)
        pages.table(_known(sweep, table), caption[0].upper() + caption[1:], name=_file(sweep, panel))
        further = evaluations_table(finding, study)
        if further:
            pages.table(captioned(further, _name(sweep, panel)))
    _figures(pages, study, found, "error_vs_cardinality", "error_by_arm", "contrasts")
    published = [panel for panel in sweep.panels if shows_published(panel, sweep.evidence.metric)]
    said = ["Published errors are as the table states them."] if sweep.outside else map(_published_note, published)
    for note in [*dict.fromkeys(said if published else []), *study.notes]:
        pages.add("paragraph", text=note)


def _behind(pages: Pages, sweep: Sweep, study: Study, found: list[Finding]) -> None:
    """What else was asked, what else differs, and how far the verdict carries."""
    pages.add("heading", text="Behind the verdict")
    for finding in found:
        name = _name(sweep, finding.panel)
        for table in (
            beyond_table(finding),
            crossed_table(finding),
            confounds_table(finding, study),
            images_table(finding),
        ):
            if table and len(_known(sweep, table).columns) > 1:
                pages.table(captioned(_known(sweep, table), name))
        tuned = "" if sweep.outside else tuning(finding.panel)
        if text := " ".join(filter(None, (tuned, again_text(finding)))):
            pages.add("paragraph", text=name + text)
    together = side_by_side(found)
    if together:
        pages.table(together)
    _figures(pages, study, found, "error_distributions", "class_differences")


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


def _known(sweep: Sweep, table: Table) -> Table:
    """The table without what a table of results did not say."""
    return without_blanks(table) if sweep.outside else table


def _ladders(pages: Pages, sweep: Sweep) -> None:
    costs = (value for panel in sweep.panels for arm in panel.arms for value in (arm.cost.params, arm.cost.macs))
    if all(value is None for value in costs):
        return
    pages.add("heading", text="The ladder")
    for panel in sweep.panels:
        table = _known(sweep, ladder_table(panel))
        last = panel is sweep.panels[-1]
        pages.table(
            replace(table, note=table.note if last and not sweep.outside else ""),
            f"{_name(sweep, panel)}{table.caption}",
        )


def _training(pages: Pages, sweep: Sweep, study: Study, found: list[Finding]) -> None:
    """Curves, then training error beside test error."""
    trained = "" if study.epochs.empty else "Training"
    _figures(pages, study, found, "learning_curves", "ladder_residuals", heading=trained)
    tables = [] if sweep.outside else [training_table(finding, study, sweep.evidence.metric) for finding in found]
    for finding, table in zip(found, tables, strict=False):
        if table:
            pages.table(captioned(table, _name(sweep, finding.panel)))


def _methods(pages: Pages, sweep: Sweep, study: Study, found: list[Finding]) -> None:
    pages.add("heading", text="Methods")
    pages.add("facts", facts=methods(sweep, study, found))


def _reproduce(pages: Pages, sweep: Sweep, study: Study, commands: Sequence[str]) -> None:
    pages.add("heading", text="How to reproduce")
    pages.add("facts", facts=[*([] if sweep.outside else _origin(study)), *_FILES])
    pages.add("code", text="\n".join(commands))


_FILES = [
    ("Numbers", "every run is in tables/runs.csv, every epoch in tables/epochs.csv"),
    ("For a paper", "tables/*.tex (LaTeX, booktabs); references.bib: what to cite"),
]


def _origin(study: Study) -> list[tuple[str, str]]:
    origin = study.provenance
    commits = join(origin["commits"]) if origin["commits"] else "not known"
    dirty = ", with changes that were not committed" if origin["dirty"] else ""
    versions = ", ".join(f"{name} {' or '.join(map(str, v))}" for name, v in origin["versions"].items() if v)
    facts = [("Commit", commits + dirty), ("Versions", versions), ("Engine", join(map(str, origin["engines"])))]
    if origin["finished"]:
        first, last = (time[:16].replace("T", " ") for time in origin["finished"])
        facts.append(("Runs finished", f"{first} to {last} UTC" if first != last else f"{first} UTC"))
    return facts
