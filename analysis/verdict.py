"""The headline: what the runs of each panel allow one to say, with its scope, generated so that it can't say more."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from ablation.budget import Budget
from ablation.sweep import AXES, Panel, Sweep
from analysis.collect import Study
from analysis.findings import Finding
from analysis.labels import LABELS
from analysis.statistics import Comparison, Contrast, PopulationContrast, Trend

DATASETS = {
    **{"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"},
    **{"imagenet": "ImageNet-1K", "imagenet5k": "ImageNet-5K", "coco": "COCO"},
}
EXPLORATORY = ", exploratory: "


def headline(sweep: Sweep, found: list[Finding]) -> str:
    """A few sentences a panel: its scope, each arm's verdict against the baseline, then what else was asked."""
    several = len(found) > 1
    return " ".join(
        f"{f'Panel {f.panel.name}: ' if several else ''}{scope(sweep, f)}: {_said(sweep, f)}.{_more(f)}" for f in found
    )


def scope(sweep: Sweep, finding: Finding) -> str:
    """Where a verdict holds: data set, measure, budget, epochs, seeds; where these are known."""
    if sweep.outside:
        return f"{sweep.name}, {_seeds(sweep, finding)}"
    panel, budget = finding.panel, finding.panel.budget
    epochs = join(sorted({str(arm.recipe.epochs) for arm in panel.arms}))
    images = f" over {finding.images:,} images" if finding.images else ""
    return (
        f"{dataset_label(panel)}, {panel.dataset.evaluate} {LABELS[sweep.evidence.metric].name}{images}, "
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
    n, planned = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}", len(finding.look.seeds)
    of = f" of {planned}" if counts != [planned] and not sweep.outside else ""
    failed = f" ({finding.failed} {'run' if finding.failed == 1 else 'runs'} failed)" if finding.failed else ""
    look = f", look {finding.look.number} of {finding.look.of}" if finding.look.of > 1 and finding.look.number else ""
    return f"{n}{of} {'seed' if n == '1' and not of else 'seeds'} an arm{failed}{look}"


def _said(sweep: Sweep, finding: Finding) -> str:
    if finding.look.interim:
        planned = len(finding.panel.arms) * len(sweep.seeds)
        return f"no verdict yet, for {finding.pending} of {planned} runs are pending"
    return against(finding.comparison, finding.exploratory)


def against(comparison: Comparison, exploratory: Iterable[str] = ()) -> str:
    """What becomes of each arm against the baseline: the surest first, arms with one kind of verdict together."""
    if not comparison.contrasts:
        return f"{comparison.baseline} is the only arm, so there is nothing to compare"
    alike: dict[tuple[bool, str], list[Contrast]] = {}
    for contrast in comparison.contrasts:
        kind = plain(contrast) if contrast.kind == "none" else contrast.kind
        alike.setdefault((contrast.a in exploratory, kind), []).append(contrast)
    sure = level(comparison.alpha)
    clauses = [_together(kind, alike[new, kind], new, sure) for new, kind in sorted(alike, key=_order)]
    return f"against the baseline {comparison.baseline}, " + "; ".join(clauses)


def _order(key: tuple[bool, str]) -> tuple[bool, int]:
    order = ["improves", "worsens", "equivalent", "unresolved"]
    return key[0], order.index(key[1]) if key[1] in order else len(order)


def plain(contrast: Contrast) -> str:
    """The verdict without the reason why it is exploratory."""
    return contrast.verdict.partition(EXPLORATORY)[0]


def _together(kind: str, same: list[Contrast], new: bool, sure: str) -> str:
    """Arms with one kind of verdict, in one clause."""
    mark = " (exploratory)" if new else ""
    if kind in ("improves", "worsens"):
        return join([_moves(contrast, sure if contrast is same[0] else "") for contrast in same]) + mark
    arms, verb = join([contrast.a for contrast in same]), "is" if len(same) == 1 else "are"
    if kind == "unresolved":
        return f"{arms} {verb} unresolved (these seeds resolve {max(c.resolvable for c in same):.2g} points){mark}"
    if kind == "equivalent":
        return f"{arms} {verb} {plain(same[0])} points{mark}"
    return f"{arms}: {kind}{mark}"


def _more(finding: Finding) -> str:
    """What was asked beside each arm against the baseline, a sentence each."""
    sure = level(finding.look.alpha)
    sentences = [beyond(contrast, sure) for contrast in finding.beyond]
    sentences += [f"{trend_words(finding.trend, sure)}."] if finding.trend else []
    sentences += [population_words(contrast) for contrast in finding.populations]
    if finding.crossed:
        sentences.append(f"Whether what a design gains depends on the recipe (exploratory): {finding.crossed.verdict}.")
    if finding.confirmed:
        seeds = min(estimate.n for estimate in finding.confirmed.estimates.values())
        sentences.append(
            f"The {seeds} seeds an arm that were added after the registration say by themselves: "
            f"{against(finding.confirmed, finding.exploratory)}."
        )
    return "".join(f" {sentence}" for sentence in sentences)


def trend_words(trend: Trend, sure: str) -> str:
    """The trend over cardinalities: `Over all cardinalities, error falls with log2 C: 0.21 points a doubling (...)`."""
    said = trend.verdict.replace(" with x", " with log2 C").replace("along x", "along log2 C").replace("one x", "one C")
    text = f"Over all cardinalities, {said.replace(' end to end', ' points end to end')}"
    if trend.kind in ("falls", "rises"):
        low, high = sorted((abs(trend.low), abs(trend.high)))
        text += f": {abs(trend.slope):.2f} points a doubling ({sure} interval {low:.2f} to {high:.2f})"
    return text


def population_words(contrast: PopulationContrast) -> str:
    """Designs of one cardinality against those of another, as a sentence."""
    text = f"Designs with {contrast.a} against those with {contrast.b}: "
    if contrast.kind in ("improves", "worsens"):
        interval = f"{contrast.low:.0%} to {contrast.high:.0%}"
        return f"{text}a random one of the former errs less in {contrast.probability:.0%} of pairs ({interval})."
    return f"{text}{contrast.verdict}."


def beyond(contrast: Contrast, sure: str) -> str:
    """A contrast of axes or arms as a sentence: `Cardinality against width: improves by 0.30 points (...)`."""
    pair = f"{contrast.a} against {contrast.b}"
    pair = pair.capitalize() if contrast.a in AXES else pair  # an arm's name is spelled as it is
    new = " (exploratory)" if EXPLORATORY in contrast.verdict else ""
    if contrast.kind in ("improves", "worsens"):
        return f"{pair}: {_moves(contrast, sure).removeprefix(contrast.a + ' ')}{new}."
    return f"{pair}: {plain(contrast)}{new}."


def _moves(c: Contrast, sure: str) -> str:
    """`resnext11_2x5d improves by 0.61 points (simultaneous 95% interval 0.21 to 1.00)`; shorter without `sure`."""
    low, high = (-c.high, -c.low) if c.kind == "improves" else (c.low, c.high)
    interval = f"{low:z.2f} to {high:z.2f}".replace("-", "−") + ("" if low > 0 else ", only its sign is resolved")
    within = plain(c).removeprefix(c.kind)
    if sure:
        return f"{c.a} {c.kind} by {abs(c.difference):.2f} points (simultaneous {sure} interval {interval}){within}"
    return f"{c.a} by {abs(c.difference):.2f} ({interval}){within}"


def completeness(study: Study) -> str:
    """How many runs finished, what became of the others, what is lacking: the report's first paragraph."""
    return " ".join([_finished(study), *study.lacks])


def _finished(study: Study) -> str:
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


def level(alpha: float) -> str:
    """What an interval covers: `95%`; at a look that spends less of the error, more."""
    return f"{100 - 100 * alpha:.5g}%"


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
