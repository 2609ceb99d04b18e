"""Frames to tables that people read: what a row shows, and as CSV."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd

from ablation.budget import Budget
from ablation.sweep import Panel, Sweep
from analysis.collect import Study, further_column
from analysis.findings import Finding
from analysis.labels import LABELS
from analysis.statistics import IF_EQUAL, estimate
from analysis.verdict import level, short

Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One displayed column."""

    title: str
    show: Callable[[Row], str]
    left: bool = False
    """Text stands left, numbers right."""
    key: str = ""
    """The field with the number that the column sorts by, where `show` has no key of its own; empty for text."""


@dataclass(frozen=True)
class Table:
    """Rows and how to show them. The frame keeps the plain numbers, and more of them than are shown."""

    caption: str
    frame: pd.DataFrame
    columns: list[Column]
    note: str = ""

    def rows(self) -> list[list[str]]:
        """What each cell shows."""
        records: list[Any] = self.frame.to_dict("records")
        return [[column.show(record) for column in self.columns] for record in records]

    def values(self) -> list[list[float | None]]:
        """The plain number behind each cell; None for text and where there is none."""
        records: list[Any] = self.frame.to_dict("records")
        keys = [column.key or getattr(column.show, "key", "") for column in self.columns]
        return [[_plain(record, key) for key in keys] for record in records]


def without_blanks(table: Table) -> Table:
    """The table without columns that have nothing to show in any row."""
    cells = zip(*table.rows(), strict=True)
    kept = [column for column, shown in zip(table.columns, cells, strict=True) if set(shown) != {"–"}]
    return replace(table, columns=kept)


def _plain(row: Row, key: str) -> float | None:
    value = row.get(key)
    return None if value is None or pd.isna(value) else float(value)


@dataclass(frozen=True)
class Number:
    """Shows the number in a field, and knows which: a column sorts by it."""

    key: str
    style: str

    def __call__(self, row: Row) -> str:
        value = row[self.key]
        if value is None or pd.isna(value):
            return "–"
        value = int(value) if self.style == "," and value == int(value) else value  # beside blanks counts are floats
        return format(value, self.style if value else self.style.replace("+", "")).replace("-", "−")


def number(key: str, style: str = ",") -> Number:
    """Shows a number in a format of Python's, with a true minus; a dash where there is none."""
    return Number(key, style)


def numeric(key: str, style: str = ",", title: str = "") -> Column:
    """A column of plain numbers, headed by the field's label."""
    return Column(title or head(key), number(key, style))


def head(key: str) -> str:
    """What stands over a column: the field's label, else its name."""
    return LABELS[key].head if key in LABELS else key


def text(key: str) -> Callable[[Row], str]:
    """Shows a field as it is."""
    return lambda row: str(row[key])


def ladder_frame(panel: Panel) -> pd.DataFrame:
    """A row an arm: its cost, and how far it is from the budget (relative: 0.04 is +4%)."""
    return pd.DataFrame([_ladder_row(panel.name, panel.budget, arm) for arm in panel.arms])


def _ladder_row(panel: str, budget: Budget, arm: Any) -> Row:
    design, price = arm.design, arm.cost
    block = _error(price.block_params, budget.block_params)
    return {
        **{"panel": panel, "arm": arm.name, "design": design.name, "cardinality": design.cardinality},
        **{"width": design.width, "group_width": _widths(design.group_widths)},
        **{"block_params": price.block_params, "block_error": block},
        **{"params": price.params, "params_error": _error(price.params, budget.params)},
        **{"macs": price.macs, "macs_error": _error(price.macs, budget.macs)},
        **{"activations": price.activations, "activations_error": _error(price.activations, budget.activations)},
    }


def _error(value: int | None, target: int | None) -> float | None:
    return value / target - 1 if target and value is not None else None


def stated(budget: Budget) -> str:
    """What the budget states, in words: `33,930 parameters, 1,210,880 MACs`."""
    values = {key: getattr(budget, key) for key in ("params", "macs", "activations")}
    return ", ".join(f"{value:,} {LABELS[key].name}" for key, value in values.items() if value)


def _widths(widths: tuple[int, ...]) -> str:
    if not widths:
        return "–"
    doubles = all(width == widths[0] << stage for stage, width in enumerate(widths))
    return str(widths[0]) if doubles else "-".join(map(str, widths))


def ladder_table(panel: Panel) -> Table:
    """Table 2 for this panel's budget."""
    columns = [
        *(Column("arm", text("arm"), left=True), numeric("cardinality"), Column(head("width"), text("width"))),
        Column(head("group_width"), text("group_width")),
    ]
    for key in ("block_params", "params", "macs", "activations"):
        columns += [numeric(key), numeric(f"{key.removesuffix('_params')}_error", "+z.1%", "Δ")]
    budget = panel.budget
    return Table(
        f"Every arm's cost, and its distance Δ from the budget {budget.name} ({stated(budget)}).",
        ladder_frame(panel),
        columns,
        "d: width of a path in the first stage (it doubles from stage to stage), or in each stage. Block params: "
        "convolution weights of a first-stage block, as in the paper's Table 2. MACs: multiply-adds of convolutions "
        "and classifier, for one image. Activations: outputs of these.",
    )


def results_frame(finding: Finding, metric: str) -> pd.DataFrame:
    """A row an arm: its estimate, its contrast to the baseline, the published number where the sweep has one."""
    contrasts = {contrast.a: contrast for contrast in finding.comparison.contrasts}
    rows = []
    for arm in finding.panel.arms:
        estimate, contrast = finding.comparison.estimates[arm.name], contrasts.get(arm.name)
        keys = ("difference", "low", "high", "p", "p_adjusted", "welch_p", "welch_adjusted", "resolvable")
        against = {key: getattr(contrast, key) if contrast else math.nan for key in keys} | {
            "verdict": contrast.verdict if contrast else ""
        }
        rows.append(
            {
                **{"panel": finding.panel.name, "arm": arm.name, "cardinality": arm.design.cardinality},
                **{"width": arm.design.width, "params": arm.cost.params, "macs": arm.cost.macs, "n": estimate.n},
                **{metric: estimate.mean, "sd": estimate.sd, "low": estimate.low, "high": estimate.high},
                **{(f"difference_{key}" if key in ("low", "high") else key): value for key, value in against.items()},
                "published": math.nan if arm.twin_of else arm.published.get(metric, math.nan),
            }
        )
    return pd.DataFrame(rows)


def results_table(finding: Finding, metric: str, title: str) -> Table:
    """Every arm's error over its seeds, and what it says against the baseline. `title` names the error."""
    columns = [
        *(Column("arm", text("arm"), left=True), numeric("cardinality"), Column(head("width"), text("width"))),
        *(Column(head(key), _short(key), key=key) for key in ("params", "macs")),
        *(numeric("n"), Column(f"{title}, {LABELS[metric].unit}", lambda row: _mean_sd(row, metric), key=metric)),
        Column("95% interval", lambda row: _interval(row, "low", "high", "z.2f"), key="low"),
        *(Column("difference", _difference, key="difference"), Column("p", _p, key="p_adjusted")),
        Column("verdict", _verdict, left=True),
    ]
    frame = results_frame(finding, metric)
    if shows_published(finding.panel, metric):
        columns.append(numeric("published", ".2f"))
    return Table("", frame, columns, _results_note(finding))


def shows_published(panel: Panel, metric: str) -> bool:
    """Whether published errors stand in a panel's results: those of the paper's tables have one of their own."""
    return not panel.table and any(metric in arm.published and not arm.twin_of for arm in panel.arms)


def evaluated(finding: Finding, study: Study) -> pd.DataFrame:
    """A row an arm with its means of further evaluations: `top1_error at 320`, and the ends of its interval."""
    columns = [further_column(key, name) for name in study.evaluations for key in ("top1_error", "top5_error")]
    rows = []
    for arm in finding.panel.arms:
        every = {c: estimate(study.errors(finding.panel.name, arm.name, c, finding.look.seeds)) for c in columns}
        ends = {f"{c} {end}": getattr(found, end) for c, found in every.items() for end in ("low", "high")}
        rows.append({"arm": arm.name, **{c: found.mean for c, found in every.items()}, **ends})
    return pd.DataFrame(rows)


def evaluations_table(finding: Finding, study: Study) -> Table | None:
    """Every arm in every evaluation beside the first one; None where there is none."""
    frame = evaluated(finding, study)
    names = [n for n in study.evaluations if frame[further_column("top1_error", n)].notna().any()]
    if not names:
        return None
    columns = [Column("arm", text("arm"), left=True)]
    for name in names:
        for key in ("top1_error", "top5_error"):
            column = further_column(key, name)
            columns.append(Column(f"{name}: {LABELS[key].head}", partial(_further, key=column), key=column))
    note = "Mean over seeds with a 95% interval. The verdict is about the first evaluation alone."
    return Table("Further evaluations of the same networks.", frame, columns, note)


def _further(row: Row, key: str) -> str:
    interval = _interval(row, f"{key} low", f"{key} high", ".2f")
    return number(key, ".2f")(row) + ("" if interval == "–" else f" {interval}")


def _short(key: str) -> Callable[[Row], str]:
    return lambda row: "–" if pd.isna(row[key]) else short(row[key])


def _mean_sd(row: Row, metric: str) -> str:
    mean, sd = number(metric, ".2f")(row), number("sd", ".2f")(row)
    return mean if sd == "–" else f"{mean} ± {sd}"


def _interval(row: Row, low: str, high: str, style: str) -> str:
    ends = number(low, style)(row), number(high, style)(row)
    return "–" if "–" in ends else f"[{ends[0]}, {ends[1]}]"


def _difference(row: Row) -> str:
    if not row["verdict"]:
        return "baseline"
    shown, interval = number("difference", "+z.2f")(row), _interval(row, "difference_low", "difference_high", "+z.2f")
    return shown if interval == "–" else f"{shown} {interval}"


def _p(row: Row) -> str:
    value = row["p_adjusted"]
    return "<0.001" if value < 0.001 else number("p_adjusted", ".3f")(row)


def _verdict(row: Row) -> str:
    return (
        row["verdict"].replace(" (these seeds resolve", " (resolves").removesuffix(": no verdict until every run is in")
    )


def _results_note(finding: Finding) -> str:
    found = finding.comparison
    if not found.tested:
        return "Mean over n seeds."
    note = (
        f"Mean ± SD over n seeds. Difference: arm less baseline {found.baseline}, in points (negative: fewer errors), "
        f"with a simultaneous {level(found.alpha)} interval; SD pooled over the arms: {found.sd:.2f} "
        f"({found.df} degrees of freedom); "
        f"p adjusted by Holm over {found.tested} contrast{'s' if found.tested > 1 else ''}."
    )
    if any(c.kind in ("improves", "worsens") and c.low <= 0 <= c.high for c in found.contrasts):
        note += " Holm's test is sharper: where the interval beside a verdict reaches zero, only a sign is claimed."
    if any(IF_EQUAL in c.verdict for c in found.contrasts):
        note += " If spreads are equal: Welch's test, which uses each arm's own SD, does not find the difference."
    if any(c.kind == "unresolved" for c in found.contrasts):
        note += " Resolves: the smallest true difference that such seeds find with 80% power at this SD."
    return note


def missing_table(study: Study) -> Table:
    """What did not finish, and why."""
    keys = ["panel", "arm", "seed", "state", "message"]
    columns = [numeric(key) if key == "seed" else Column(key, text(key), left=True) for key in keys]
    return Table("Runs that are not in this report.", pd.DataFrame(study.missing, columns=keys), columns)


def tidy(sweep: Sweep, study: Study, found: list[Finding]) -> dict[str, pd.DataFrame]:
    """Everything a report rests on, as frames by name: ladder, results, runs, epochs, missing."""
    return {
        "ladder": pd.concat([ladder_frame(panel) for panel in sweep.panels]),
        "results": pd.concat([results_frame(f, sweep.evidence.metric).merge(evaluated(f, study)) for f in found]),
        "runs": study.runs,
        "epochs": study.epochs,
        "missing": missing_table(study).frame,
    }


def to_csv(frame: pd.DataFrame) -> str:
    """Plain numbers, all their digits, one line a row."""
    return frame.to_csv(index=False, lineterminator="\n")


def to_json(frame: pd.DataFrame) -> list[Row]:
    """A row each; null where there is no number."""
    records: list[Any] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return records


def in_columns(table: Table, without: Collection[str] = ()) -> list[str]:
    """The table as lines for a terminal, `without` some columns."""
    keep = [index for index, column in enumerate(table.columns) if column.title not in without]
    rows = [[column.title for column in table.columns], *table.rows()]
    widths = [(index, max(len(row[index]) for row in rows), table.columns[index].left) for index in keep]
    cells = [[row[i].ljust(width) if left else row[i].rjust(width) for i, width, left in widths] for row in rows]
    return ["  ".join(line).rstrip() for line in cells]


def to_terminal(table: Table) -> str:
    """Caption, lines and note."""
    return "\n".join([table.caption, *in_columns(table), *([table.note] if table.note else [])])
