"""What stands below each figure."""

from __future__ import annotations

from analysis.collect import Study
from analysis.figures.training import MANY, together
from analysis.findings import Finding
from analysis.labels import LABELS
from analysis.methods import devices
from analysis.published import comparable
from analysis.verdict import join, level

DISTRIBUTIONS = (
    "Share of designs at or below each error, by cardinality, each design's mean over its seeds; the bands hold "
    "the whole curve with 95%."
)
BY_ARM = (
    "Error of each arm: mean with 95% t-interval, and every run as a dot; dashed: the baseline's mean. More than "
    "cardinality differs between these arms, or they share one."
)
CLASSES = (
    "Difference of each arm from the baseline over each class, with a 95% interval for that class alone: some of many "
    "leave out zero by chance."
)


def captions(study: Study, found: list[Finding]) -> dict[str, str]:
    """The caption of each figure in `analysis.figures.FIGURES`."""
    counted = {f"error_vs_{key}": _counted(key) for key in ("params", "macs", "activations")}
    return {
        **{"error_vs_cardinality": _cardinality(found), "error_by_arm": BY_ARM, "contrasts": _contrasts(found)},
        **{"learning_curves": _curves(found), **counted, "error_vs_time": _time(study)},
        **{"error_distributions": DISTRIBUTIONS, "class_differences": CLASSES},
        "ladder_residuals": "How far each arm is from the budget: what else differs beside cardinality.",
    }


def _cardinality(found: list[Finding]) -> str:
    text = "Error against cardinality at the budget: mean with 95% t-interval, and every run as a dot."
    hollow = any(comparable(f.panel.dataset.name) and any(arm.published for arm in f.panel.arms) for f in found)
    return text + (" Hollow: as published." if hollow else "")


def _contrasts(found: list[Finding]) -> str:
    bases = join(list(dict.fromkeys(finding.panel.baseline for finding in found)))
    sure = join(sorted({level(finding.look.alpha) for finding in found}))
    text = f"Difference of each arm from the baseline ({bases}) with its simultaneous {sure} interval."
    if any(finding.beyond for finding in found):
        text += " Below these the sweep's own contrasts."
    margin = found[0].comparison.margin
    return text + (f" Grey: the margin of ±{margin:g} points." if margin else "")


def _curves(found: list[Finding]) -> str:
    evaluations = join(sorted({finding.panel.dataset.evaluate for finding in found}))
    return (
        f"Top-1 error after each epoch: {evaluations} drawn through, training (on augmented images) dashed and hollow; "
        f"mean over seeds in a band, its 95% t-interval.{_cut(found)}"
    )


def _cut(found: list[Finding]) -> str:
    epochs = max(arm.recipe.epochs for finding in found for arm in finding.panel.arms)
    several = any(len(together(finding.panel)) > 1 for finding in found)
    text = " The baseline stands in each of the axes." if several else ""
    return text + (" The steep fall of the first epochs is above the axes." if epochs >= MANY else "")


def _counted(cost: str) -> str:
    name = LABELS[cost].name
    return (
        f"Error against {name}: means with 95% t-intervals. Ringed: the front of the means, arms that no other "
        f"arm beats in error with no more {name}."
    )


def _time(study: Study) -> str:
    kinds = study.runs.groupby("panel")["device"].nunique()
    mixed = [str(panel) for panel in kinds.index[kinds > 1]]
    text = (
        f"Error against the measured wall time of a run, training and evaluation, on {devices(study)}: "
        "means with 95% t-intervals, the front of the means ringed. Equal MACs are not equal time; other work on the "
        "machine is in it."
    )
    return text + (
        f" Panel {join(mixed)} ran on several kinds of device: its times are not comparable." if mixed else ""
    )
