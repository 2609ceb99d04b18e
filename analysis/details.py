"""What stands behind a verdict, as tables and facts: further contrasts, what else differs, new images, registration."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from ablation.registration import Registration, changes, content_of
from ablation.sweep import Sweep
from analysis.collect import Study
from analysis.confounds import confounds
from analysis.findings import Finding, first
from analysis.statistics import Contrast
from analysis.tables import Column, Row, Table, number, text
from analysis.verdict import level

Facts = list[tuple[str, str]]
BEFORE = "before any run told anything"


def beyond_table(finding: Finding) -> Table | None:
    """The sweep's own contrasts; None where none was asked."""
    asked = list(finding.beyond)
    if not asked:
        return None
    columns = [
        *(Column("a", text("a"), left=True), Column("b", text("b"), left=True)),
        *(Column("a less b", _difference), Column("p", _p("p_adjusted"), key="p_adjusted")),
        Column("verdict", text("verdict"), left=True),
    ]
    note = "Means over the arms of an axis, each arm counted alike; simultaneous intervals, Holm over these contrasts."
    return Table("Contrasts that the sweep asks for.", contrast_frame(finding.panel.name, asked), columns, note)


def crossed_table(finding: Finding) -> Table | None:
    """What each design gains under each recipe, and whether recipes differ in it; None where they are not crossed."""
    crossed = finding.crossed
    if crossed is None or not crossed.gains:
        return None
    apart = {contrast.a.replace(f" less {_other(contrast)}", ""): contrast for contrast in crossed.differences}
    frame = pd.DataFrame([_crossed_row(gain, apart.get(gain.a)) for gain in crossed.gains])
    columns = [
        *(Column("design", text("design"), left=True), Column("recipe", text("recipe"), left=True)),
        *(Column("gain", _difference, key="difference"), Column("verdict", text("verdict"), left=True)),
        *(Column("difference of differences", _interaction, key="apart"), Column("p", _p("apart_p"), key="apart_p")),
        Column("of gains", text("apart_verdict"), left=True),
    ]
    base, first = crossed.gains[0].b.split(" under ", 1)
    note = (
        f"Gain: a design's mean error less that of {base} under the same recipe, in points (negative: fewer errors). "
        f"Difference of differences: its gain under this recipe less its gain under {first}, from four means; "
        "negative: it gains more here. SD pooled over all cells; simultaneous intervals, Holm over the gains and over "
        f"the differences of differences. All of these at once: F({crossed.df1}, {crossed.df2}) = {crossed.f:.2f}, "
        f"p {'< 0.001' if crossed.p < 0.001 else f'= {crossed.p:.3f}'}. Exploratory: no sweep registers them."
    )
    return Table("Does what a design gains survive another recipe?", frame, columns, note)


def _other(contrast: Contrast) -> str:
    """The design that a difference of differences is about less which."""
    return contrast.a.split(" less ", 1)[1].split(" under ", 1)[0]


def _crossed_row(gain: Contrast, apart: Contrast | None) -> Row:
    design, recipe = gain.a.split(" under ", 1)
    ends = ("low", "high")
    return {
        **{"design": design, "recipe": recipe, "difference": gain.difference},
        "verdict": gain.verdict.replace(" (these seeds resolve", " (resolves"),
        **{end: getattr(gain, end) for end in ends},
        **{f"apart_{end}": getattr(apart, end) if apart else math.nan for end in ends},
        "apart": apart.difference if apart else math.nan,
        "apart_p": apart.p_adjusted if apart else math.nan,
        "apart_verdict": apart.verdict.replace(" (these seeds resolve", " (resolves") if apart else "",
    }


def _p(key: str) -> Any:
    return lambda row: "<0.001" if row[key] < 0.001 else number(key, ".3f")(row)


def _interaction(row: Row) -> str:
    shown, low, high = (number(key, "+z.2f")(row) for key in ("apart", "apart_low", "apart_high"))
    return shown if low == "–" else f"{shown} [{low}, {high}]"


def contrast_frame(panel: str, contrasts: list[Contrast]) -> pd.DataFrame:
    """A row a contrast, with all of its numbers."""
    return pd.DataFrame([{"panel": panel, **vars(contrast)} for contrast in contrasts])


def _difference(row: Row) -> str:
    shown, low, high = (number(key, "+z.2f")(row) for key in ("difference", "low", "high"))
    return shown if low == "–" else f"{shown} [{low}, {high}]"


def confounds_table(finding: Finding, study: Study) -> Table:
    """What differs between each arm and the baseline beside what the sweep varies."""
    frame = confounds(finding, study)
    columns = [Column("arm", text("arm"), left=True)]
    measures = {"params": "params", "macs": "MACs", "activations": "activations", "memory": "memory", "time": "time"}
    columns += [Column(title, number(key, "+z.1%")) for key, title in measures.items()]
    columns += [Column("epochs", number("epochs"))] if frame["epochs"].nunique() > 1 else []
    columns += [Column("failed", number("failed"))] if frame["failed"].any() else []
    columns += [Column("last tenth", _last_tenth)]
    note = (
        f"Each arm against the baseline {finding.panel.baseline}. Memory: a training step by formula. Time: a training "
        "image, medians over runs on one kind of device. Last tenth: change of error over the last tenth of the epochs "
        "(one at least), in points."
    )
    if frame["still_falls"].any():
        note += " *: still falls there with 95% confidence, so training was not at its end: not converged."
    return Table("What else differs between the arms that are compared.", frame, columns, note)


def _last_tenth(row: Row) -> str:
    return number("last_tenth", "+z.2f")(row) + (" *" if row["still_falls"] else "")


def images_table(finding: Finding) -> Table | None:
    """Each contrast once for other seeds on these images, once for other images too; None where no run kept bits."""
    if not finding.new_images:
        return None
    contrasts = {contrast.a: contrast for contrast in finding.comparison.contrasts}
    frame = pd.DataFrame([_images_row(contrasts[arm], own) for arm, own in finding.new_images.items()])
    columns = [
        *(Column("arm", text("arm"), left=True), Column("difference", number("difference", "+z.2f"))),
        *(Column("other seeds", _interval("seeds")), Column("other images too", _interval("images"))),
        *(Column("SE of seeds", number("seed_se", ".2f")), Column("SE of images", number("example_se", ".2f"))),
        Column("for new images", lambda row: "yes" if row["holds"] else "not shown", left=True),
    ]
    note = (
        "Other seeds: the simultaneous interval of the results table, which speaks of these test images. Other images "
        f"too: a {level(finding.look.alpha)} interval from which images each run got right (one contrast at a time, "
        "crossed variance components). Only where it leaves out zero does a difference hold for new images."
    )
    return Table("Do the differences hold for new images?", frame, columns, note)


def _images_row(contrast: Contrast, own: Any) -> Row:
    return {
        **{
            "arm": contrast.a,
            "difference": contrast.difference,
            "seeds_low": contrast.low,
            "seeds_high": contrast.high,
        },
        **{"images_low": own.low, "images_high": own.high, "seed_se": own.seed_se, "example_se": own.example_se},
        "holds": contrast.kind in ("improves", "worsens") and (own.low > 0 or own.high < 0),
    }


def _interval(whose: str) -> Any:
    def show(row: Row) -> str:
        ends = [number(f"{whose}_{end}", "+z.2f")(row) for end in ("low", "high")]
        return "–" if "–" in ends else f"[{ends[0]}, {ends[1]}]"

    return show


def again_text(finding: Finding) -> str:
    """How often the arm that did best would do so again; empty where nothing was tested."""
    if not finding.again:
        return ""
    best = max(finding.again, key=lambda arm: finding.again[arm])
    chance = f"{1 / len(finding.again):.0%}"
    return (
        f"Were the study repeated, {best} would have the lowest mean error again in roughly {finding.again[best]:.0%} "
        f"of cases; of {len(finding.again)} equal arms each would in {chance}. (Rough: too much for equal arms, too "
        "little for a clear winner.)"
    )


def registration_facts(sweep: Sweep, study: Study, found: list[Finding]) -> Facts:
    """What was registered, when, and what is otherwise now."""
    registered, facts = first(study), list[tuple[str, str]]()
    if registered is None:
        facts.append(("Registration", "none: the sweep was not launched here, so nothing shows what was asked first"))
    else:
        known = f"when {registered.known} of its runs had told something" if registered.known else BEFORE
        facts.append(("Registration", f"{_date(registered)} UTC, {known}; sha256 {registered.digest}"))
        since = changes(registered.content, content_of(sweep))
        facts += [("Changed since", "; ".join(since))] if since else []
    if study.abandoned:
        dates = ", ".join(map(_date, study.abandoned))
        facts.append(("Registered before under this name", f"{dates} UTC, with other recipes, data or designs"))
    if any(finding.look.of > 1 for finding in found):
        facts.append(("Looks", "; ".join(_look(sweep, finding) for finding in found)))
    return facts


def _date(registered: Registration) -> str:
    return registered.date[:16].replace("T", " ")


def _look(sweep: Sweep, finding: Finding) -> str:
    look, panel = finding.look, f"panel {finding.panel.name}: " if len(sweep.panels) > 1 else ""
    if look.interim:
        return f"{panel}none of {look.of} has all of its runs yet"
    return f"{panel}{look.number} of {look.of}, {len(look.seeds)} seeds an arm, at level {look.alpha:.2g}"


def side_by_side(found: list[Finding]) -> Table | None:
    """Panels that hold another measure equal, arm by arm: does the sign of a difference hold? None for one panel."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in found:
        panel = finding.panel
        groups.setdefault((panel.budget.name, panel.dataset.name, panel.baseline), []).append(finding)
    several = [own for own in groups.values() if len(own) > 1]
    if not several:
        return None
    frame = pd.DataFrame([row for own in several for row in _signs(own)])
    titles = [column for column in frame.columns if column not in ("budget", "cardinality", "sign")]
    columns = [Column("budget", text("budget"), left=True), Column("C", number("cardinality"))]
    columns += [Column(title, number(title, "+z.2f")) for title in titles]
    columns.append(Column("sign", text("sign"), left=True))
    note = "Differences to the baseline in points, one column a panel. The sign holds where all of them agree."
    return Table("One budget in several panels: does the sign of a difference hold?", frame, columns, note)


def _signs(own: list[Finding]) -> list[Row]:
    found: dict[int, dict[str, float]] = {}
    for finding in own:
        arms = {arm.name: arm for arm in finding.panel.arms}
        for contrast in finding.comparison.contrasts:
            c = arms[contrast.a].design.cardinality
            if c and math.isfinite(contrast.difference):
                found.setdefault(c, {})[finding.panel.name] = contrast.difference
    shared = {c: differences for c, differences in found.items() if len(differences) > 1}
    budget, panels = own[0].panel.budget.name, [finding.panel.name for finding in own]
    return [
        {
            **{"budget": budget, "cardinality": c},
            **{name: shared[c].get(name, math.nan) for name in panels},
            "sign": "holds" if len({value > 0 for value in shared[c].values()}) == 1 else "does not hold",
        }
        for c in sorted(shared)
    ]


def captioned(table: Table, name: str) -> Table:
    """The table with its panel's name before its caption."""
    return replace(table, caption=f"{name}{table.caption}")
