"""Several studies in one document: each with its own verdict, what differs between them said, nothing tested across."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ablation.sweep import Sweep
from analysis.captions import captions
from analysis.collect import Study
from analysis.figures import applicable, draw
from analysis.findings import Finding
from analysis.labels import LABELS
from analysis.pages import Pages
from analysis.tables import Column, Row, Table, missing_table, number, numeric, text
from analysis.verdict import completeness, dataset_label, headline, join

FIGURES = ("error_vs_cardinality", "error_by_arm", "contrasts")
"""Those of each study that stand in the document."""


@dataclass(frozen=True)
class Reported:
    """One study among several."""

    label: str
    """The sweep's name, numbered where two bear the same."""
    sweep: Sweep
    study: Study
    found: list[Finding]

    def figures(self) -> list[str]:
        """Which figures it has."""
        return [name for name in FIGURES if name in applicable(self.found, self.study)]


def reported(parts: Sequence[tuple[Sweep, Study, list[Finding]]]) -> list[Reported]:
    """The studies, each with a label of its own."""
    names = Counter(sweep.name for sweep, _, _ in parts)
    labels = [f"{s.name} ({i + 1})" if names[s.name] > 1 else s.name for i, (s, _, _) in enumerate(parts)]
    return [Reported(label, *part) for label, part in zip(labels, parts, strict=True)]


def studies_document(studies: Sequence[Reported], commands: Sequence[str]) -> dict[str, Any]:
    """The document of `document.py`'s kind for several studies. `commands` are what a reader types to get it again."""
    pages = Pages()
    for one in studies:
        pages.add("paragraph", text=f"Sweep {one.label}: {completeness(one.study)}")
    pages.add("paragraph", text=_caveat(studies))
    for one in studies:
        pages.add("verdict", text=f"{one.label}: {headline(one.sweep, one.found)}")
    pages.add("heading", text="Side by side")
    pages.table(summary_table(studies), name="summary")
    pages.table(differences_table(studies))
    for index, one in enumerate(studies):
        pages.add("heading", text=f"Study {one.label}")
        pages.add("paragraph", text=one.sweep.question)
        said = captions(one.study, one.found)
        shown = [(f"{index + 1}_{name}", f"{one.label}: {said[name]}") for name in one.figures()]
        pages.figures_of(shown, across=2 if len(one.found) == 1 else 1)
        if one.study.missing:
            pages.table(missing_table(one.study), f"{one.label}: runs that are not in this report.")
    pages.add("heading", text="How to reproduce")
    pages.add("code", text="\n".join(commands))
    names = [one.label for one in studies]
    return {"title": f"{join(names)}, side by side", "sweep": "+".join(names), "blocks": pages.blocks}


def _caveat(studies: Sequence[Reported]) -> str:
    apart = [row["what"] for row in differences(studies).to_dict("records") if row["differs"]]
    told = f"They differ in {join(apart)}." if apart else "In what was recorded they do not differ."
    return (
        "These studies are set side by side as each was reported by itself: nothing is tested across them, so that a "
        f"difference between their numbers is no finding. {told}"
    )


def studies_figures(studies: Sequence[Reported]) -> dict[str, Figure]:
    """Each study's figures, numbered as the studies are."""
    drawn = {}
    for index, one in enumerate(studies):
        for name, figure in draw(one.sweep, one.study, one.found, only=FIGURES).items():
            drawn[f"{index + 1}_{name}"] = figure
    return drawn


def summary_frame(studies: Sequence[Reported]) -> pd.DataFrame:
    """A row an arm of every study: its estimate, in its own study's error, and its verdict there."""
    return pd.DataFrame([row for one in studies for finding in one.found for row in _rows(one, finding)])


def _rows(one: Reported, finding: Finding) -> Iterable[Row]:
    verdicts = {contrast.a: contrast.verdict for contrast in finding.comparison.contrasts}
    for arm in finding.panel.arms:
        found = finding.comparison.estimates[arm.name]
        yield {
            **{"study": one.label, "panel": finding.panel.name, "arm": arm.name, "n": found.n},
            **{"metric": one.sweep.evidence.metric, "error": found.mean, "sd": found.sd},
            **{"low": found.low, "high": found.high, "verdict": verdicts.get(arm.name, "baseline")},
        }


def summary_table(studies: Sequence[Reported]) -> Table:
    """Every arm of every study."""
    metrics = sorted({LABELS[one.sweep.evidence.metric].name for one in studies})
    columns = [
        *(Column(key, text(key), left=True) for key in ("study", "panel", "arm")),
        *(numeric("n"), Column(f"{join(metrics)}, %", _error, key="error")),
        *(Column("95% interval", _interval, key="low"), Column("verdict in its study", text("verdict"), left=True)),
    ]
    note = "Mean ± SD over n seeds. Each verdict is against the baseline of the arm's own panel, in its own study."
    return Table("Every arm of every study.", summary_frame(studies), columns, note)


def _error(row: Row) -> str:
    mean, sd = (number(key, ".2f")(row) for key in ("error", "sd"))
    return mean if sd == "–" else f"{mean} ± {sd}"


def _interval(row: Row) -> str:
    ends = [number(key, "z.2f")(row) for key in ("low", "high")]
    return "–" if "–" in ends else f"[{ends[0]}, {ends[1]}]"


FACTS: dict[str, Callable[[Reported], Iterable[Any]]] = {
    "data": lambda one: [f"{dataset_label(p)}, {p.dataset.evaluate}" for p in one.sweep.panels],
    "data digest": lambda one: [_short(data.get("digest")) for data in one.study.provenance["data"]],
    "budget": lambda one: [panel.budget.name for panel in one.sweep.panels],
    "recipe": lambda one: [arm.recipe.name for panel in one.sweep.panels for arm in panel.arms],
    "engine": lambda one: one.study.provenance["engines"],
    "precision": lambda one: [one.sweep.precision],
    "device": lambda one: one.study.provenance["devices"],
    "seeds": lambda one: [len(one.sweep.seeds)],
    "measure": lambda one: [LABELS[one.sweep.evidence.metric].name],
    "margin": lambda one: [one.sweep.evidence.margin or "none"],
    "baseline": lambda one: [panel.baseline for panel in one.sweep.panels],
}
"""What is compared of each study; several values where its panels differ."""


def _short(digest: str | None) -> str:
    return str(digest).rpartition(":")[2][:16]


def differences(studies: Sequence[Reported]) -> pd.DataFrame:
    """A row a fact: `what`, each study's value under its label, and whether they differ; of a recipe what differs."""
    rows = [_fact(what, {one.label: tell(one) for one in studies}) for what, tell in FACTS.items()]
    fields = [field for field in type(studies[0].sweep.panels[0].recipe).model_fields if field != "name"]
    recipes = [_fact(_words(field), {one.label: _of_recipes(one, field) for one in studies}) for field in fields]
    return pd.DataFrame([*rows, *(row for row in recipes if row["differs"])])


def _fact(what: str, values: dict[str, Iterable[Any]]) -> Row:
    told = {label: join(sorted({str(value) for value in own})) or "not recorded" for label, own in values.items()}
    return {"what": what, **told, "differs": len(set(told.values())) > 1}


def _words(field: str) -> str:
    return field.replace("_", " ")


def _of_recipes(one: Reported, field: str) -> list[str]:
    values = [getattr(arm.recipe, field) for panel in one.sweep.panels for arm in panel.arms]
    return [", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value) for value in values]


def differences_table(studies: Sequence[Reported]) -> Table:
    """What differs between the studies, and what of the rest would matter if it did."""
    labels = [one.label for one in studies]
    columns = [Column("fact", text("what"), left=True), *(Column(label, text(label), left=True) for label in labels)]
    columns.append(Column("differs", lambda row: "yes" if row["differs"] else "", left=True))
    return Table("What the studies are, and what differs between them.", differences(studies), columns)
