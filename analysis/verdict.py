"""The headline: what the runs of each panel allow one to say, with its scope, generated so that it can't say more."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ablation.budget import Budget
from ablation.sweep import Panel, Sweep
from analysis.collect import PENDING, Study
from analysis.statistics import Comparison, Contrast, compare

INTERIM = "interim: no verdict until every run is in"
DATASETS = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet-1K"}
METRICS = {"top1_error": "top-1 error", "top5_error": "top-5 error", "train_error": "training error"}


@dataclass(frozen=True)
class Finding:
    """A panel and what its finished runs say."""

    panel: Panel
    comparison: Comparison
    """Verdicts are withheld while runs are pending: to look early and stop at will makes false claims likelier."""
    images: int | None
    """How many images each error is over; None where no run finished."""
    pending: int
    failed: int


def findings(sweep: Sweep, study: Study) -> list[Finding]:
    """Each panel's arms against its baseline, in the sweep's metric."""
    return [_finding(sweep, panel, study) for panel in sweep.panels]


def _finding(sweep: Sweep, panel: Panel, study: Study) -> Finding:
    metric, margin = sweep.evidence.metric, sweep.evidence.margin
    groups = {arm.name: study.errors(panel.name, arm.name, metric) for arm in panel.arms}
    comparison = compare(groups, panel.baseline, margin=margin)
    states = [run["state"] for run in study.missing if run["panel"] == panel.name]
    pending = sum(state in PENDING for state in states)
    if pending:
        contrasts = [replace(contrast, verdict=INTERIM) for contrast in comparison.contrasts]
        comparison = replace(comparison, contrasts=contrasts)
    images = study.runs.loc[study.runs["panel"] == panel.name, "images"]
    return Finding(panel, comparison, int(images.iloc[0]) if len(images) else None, pending, len(states) - pending)


def headline(sweep: Sweep, found: list[Finding]) -> str:
    """One sentence a panel: its scope, then each arm's verdict against the baseline."""
    several = len(found) > 1
    return " ".join(
        f"{f'Panel {f.panel.name}: ' if several else ''}{scope(sweep, f)}: {_said(sweep, f)}." for f in found
    )


def scope(sweep: Sweep, finding: Finding) -> str:
    """Where a verdict holds: data set, measure, budget, epochs, seeds."""
    panel, budget = finding.panel, finding.panel.budget
    epochs = join(sorted({str(arm.recipe.epochs) for arm in panel.arms}))
    images = f" over {finding.images:,} images" if finding.images else ""
    return (
        f"{dataset_label(panel)}, {panel.dataset.evaluate} {METRICS[sweep.evidence.metric]}{images}, "
        f"budget {budget.name}{_stated(budget)}, "
        f"{epochs} {'epoch' if epochs == '1' else 'epochs'}, {_seeds(sweep, finding)}"
    )


def _stated(budget: Budget) -> str:
    parts = [f"{budget.params:,} parameters"] if budget.params else []
    parts += [f"{short(budget.macs)} MACs"] if budget.macs else []
    return f" ({', '.join(parts)})" if parts else ""


def dataset_label(panel: Panel) -> str:
    """The data set's name for people, with the resolution where it is not the usual one."""
    data = panel.dataset
    label = DATASETS.get(data.name, data.path)
    return label if data.resolution == data.facts.resolution else f"{label} at {data.resolution} pixels"


def _seeds(sweep: Sweep, finding: Finding) -> str:
    counts = sorted({estimate.n for estimate in finding.comparison.estimates.values()})
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    of = f" of {len(sweep.seeds)}" if counts != [len(sweep.seeds)] else ""
    failed = f" ({finding.failed} {'run' if finding.failed == 1 else 'runs'} failed)" if finding.failed else ""
    return f"{n}{of} {'seed' if n == '1' and not of else 'seeds'} an arm{failed}"


def _said(sweep: Sweep, finding: Finding) -> str:
    contrasts, base = finding.comparison.contrasts, finding.panel.baseline
    if finding.pending:
        planned = len(finding.panel.arms) * len(sweep.seeds)
        return f"no verdict yet, for {finding.pending} of {planned} runs are pending"
    if not contrasts:
        return f"{base} is the only arm, so there is nothing to compare"
    alike: dict[str, list[Contrast]] = {}
    for contrast in contrasts:
        alike.setdefault(contrast.verdict if contrast.kind == "none" else contrast.kind, []).append(contrast)
    order = ["improves", "worsens", "equivalent", "unresolved"]
    kinds = sorted(alike, key=lambda kind: order.index(kind) if kind in order else len(order))
    return f"against the baseline {base}, " + "; ".join(_together(kind, alike[kind]) for kind in kinds)


def _together(kind: str, same: list[Contrast]) -> str:
    """Arms with one kind of verdict, in one clause."""
    if kind in ("improves", "worsens"):
        return join([_moves(contrast, first=contrast is same[0]) for contrast in same])
    arms, verb = join([contrast.a for contrast in same]), "is" if len(same) == 1 else "are"
    if kind == "unresolved":
        return f"{arms} {verb} unresolved (these seeds resolve {max(c.resolvable for c in same):.2g} points)"
    if kind == "equivalent":
        return f"{arms} {verb} {same[0].verdict} points"
    return f"{arms}: {kind}"


def _moves(c: Contrast, *, first: bool) -> str:
    """`resnext11_2x5d improves by 0.61 points (simultaneous 95% interval 0.21 to 1.00)`; shorter after the first."""
    low, high = (-c.high, -c.low) if c.kind == "improves" else (c.low, c.high)
    interval = f"{low:z.2f} to {high:z.2f}".replace("-", "−") + ("" if low > 0 else ", only its sign is resolved")
    within = c.verdict.removeprefix(c.kind)
    if first:
        return f"{c.a} {c.kind} by {abs(c.difference):.2f} points (simultaneous 95% interval {interval}){within}"
    return f"{c.a} by {abs(c.difference):.2f} ({interval}){within}"


def completeness(study: Study) -> str:
    """How many runs finished and what became of the others: the report's first paragraph."""
    done = study.planned - len(study.missing)
    if not study.missing:
        return f"All {study.planned} runs finished."
    states = Counter(run["state"] for run in study.missing)
    named = {"missing": "missing", "running": "still running", "waiting": "waiting", "failed": "failed"}
    listed = join([f"{count} {named[state]}" for state, count in sorted(states.items())])
    text = f"{done} of {study.planned} runs finished; {listed} (listed below)."
    if study.pending:
        text += (
            " This is an interim report: its intervals will move, and no verdict is given yet where runs are pending."
        )
    diverged = [run for run in study.missing if run["message"].startswith("diverged")]
    if diverged:
        arms = join(list(dict.fromkeys(run["arm"] for run in diverged)))
        text += f" Means are over the runs that did not diverge; runs of {arms} did."
    return text


def join(words: Iterable[str]) -> str:
    """`a, b and c`; nothing for no words."""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def short(count: float) -> str:
    """Three digits and a prefix: `35.4k`, `2.13M`, `4.09G`."""
    for unit, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= unit:
            digits = max(0, 2 - int(math.log10(abs(count) / unit)))
            return f"{count / unit:.{digits}f}{prefix}"
    return f"{count:g}"
