"""Command: what the runs of a sweep say, as Markdown, PDF and HTML, with figures (SVG) and tables (CSV)."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation.command import print_json, run
from ablation.errors import UserError
from analysis import options

if TYPE_CHECKING:
    from ablation.sweep import Sweep
    from analysis.collect import Study
    from analysis.findings import Finding

    Part = tuple[Sweep, Study, list[Finding]]


def main(
    sweeps: options.Sweeps = None,
    results: options.Results = None,
    baseline: options.Baseline = None,
    margin: options.Margin = None,
    question: options.Question = "",
    name: options.Name = "",
    runs: options.Runs = Path("runs"),
    out: options.Out = Path("reports"),
    changes: options.Changes = None,
    figure: options.Figure = None,
    columns: options.Columns = None,
    csv: options.Csv = False,
    bundle: options.Bundle = None,
    anonymous: options.Anonymous = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Report what the finished runs of a sweep say, and no more: estimates, intervals, a verdict, what is missing.

    Leaves OUT/<sweep>/report.md, report.pdf, report.html, figures/*.svg and *.png, tables/*.csv and *.tex (LaTeX,
    booktabs) and references.bib, all of them or none. Several sweeps get one report, in OUT/<sweep>+<sweep>: each with
    its own verdict, what differs between them said, nothing tested across them.

    \b
    Example:
      python -m analysis.report sweeps/fashion_mnist.yaml
      python -m analysis.report sweeps/table3.yaml --dry-run
      python -m analysis.report sweeps/table3.yaml --runs /scratch/runs --json
      python -m analysis.report sweeps/table3.yaml --figure error_vs_cardinality --columns 2
      python -m analysis.report sweeps/table3.yaml sweeps/fashion_mnist.yaml
      python -m analysis.report --results mine.csv --baseline resnet50 --margin 0.2
      python -m analysis.report sweeps/table3.yaml --bundle table3.zip --anonymous
    """
    if columns and not figure:
        raise UserError("--columns is the width of one figure", remedy="Name it: --figure error_vs_cardinality.")
    _one_of({"--figure": figure, "--csv": csv, "--bundle": bundle, "--dry-run": dry_run})
    if anonymous and not bundle:
        raise UserError("--anonymous belongs to --bundle", remedy="Add --bundle FILE.zip.")
    table = {"--baseline": baseline, "--margin": margin, "--question": question, "--name": name}
    if results:
        _instead_of(sweeps)
        parts = [_outside(results, baseline, margin, question, name, changes or [])]
    else:
        parts = [_found(path, changes or [], runs) for path in _named(sweeps, table)]
    if dry_run:
        _paper_alone(parts, json)
        return
    if all(study.runs.empty for _, study, _ in parts):
        raise _nothing_to_report(*parts[0][:2])
    commands = _commands(parts, changes or [])
    if csv or bundle:
        _files_alone(parts, out, (bundle, runs, anonymous, changes or []), json)
    elif len(parts) == 1 and not figure:
        _report(*parts[0], out, commands, json)
    elif figure:
        _one_figure(parts, out, figure, columns, json)
    else:
        _side_by_side(parts, out, commands, json)


def _one_of(options: dict[str, Any]) -> None:
    given = [option for option, value in options.items() if value]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)}: each is written in place of the report", remedy="Give one of them.")


def _files_alone(
    parts: list[Part], out: Path, packed: tuple[Path | None, Path, bool, Sequence[str]], as_json: bool
) -> None:
    from analysis.bundle import write_bundle
    from analysis.folder import write_tables

    bundle, runs, anonymous, changes = packed
    if len(parts) > 1:
        raise UserError(f"{'--bundle' if bundle else '--csv'} is of one sweep", remedy="Give one sweep file.")
    if bundle:
        files = [write_bundle(bundle, parts[0], runs, anonymous=anonymous, changes=changes)]
    else:
        files = write_tables(*parts[0], out)
    if as_json:
        print_json({"bundle": str(bundle)} if bundle else {"tables": [str(file) for file in files]})
    else:
        print("\n".join(map(str, files)))


def _paper_alone(parts: list[Part], as_json: bool) -> None:
    """The paper's tables and the small twins of them, before there is anything to report."""
    from analysis.paper_tables import paper_frame, paper_tables
    from analysis.tables import to_json, to_terminal
    from analysis.twins import twin_tables

    tables = [table for part in parts for table in [*paper_tables(*part), *twin_tables(*part)]]
    if not tables:
        names = " and ".join(sweep.name for sweep, _, _ in parts)
        raise UserError(f"no panel of {names} runs a table of the paper", remedy="Name it in the panel: table: 3.")
    if as_json:
        print_json({"paper": [row for part in parts for row in to_json(paper_frame(*part))]})
    else:
        print("\n\n".join(map(to_terminal, tables)))


def _named(sweeps: list[Path] | None, table: dict[str, Any]) -> list[Path]:
    """The sweeps, where any is named and nothing is asked that belongs to a table of results."""
    if not sweeps:
        raise UserError("no sweep is named", remedy="Name its YAML file, or a CSV of runs: --results mine.csv.")
    stray = [option for option, value in table.items() if value not in (None, "")]
    if stray:
        remedy = "A sweep file says that itself; see --set evidence.margin=0.2."
        raise UserError(f"{stray[0]} belongs to --results", remedy=remedy)
    return sweeps


def _instead_of(sweeps: list[Path] | None) -> None:
    if sweeps:
        raise UserError("--results stands in place of a sweep", remedy=f"Leave out {sweeps[0]} or --results.")


def _outside(
    path: Path, baseline: str | None, margin: float | None, question: str, name: str, changes: Sequence[str]
) -> Part:
    from analysis.findings import findings
    from analysis.outside import evidence_of, read_outside

    evidence = evidence_of(changes) | ({} if margin is None else {"margin": margin})
    sweep, study = read_outside(path, baseline=baseline, question=question, name=name, evidence=evidence)
    return sweep, study, findings(sweep, study)


def _found(path: Path, changes: Sequence[str], runs: Path) -> Part:
    from ablation.sweep import load_sweep
    from analysis.collect import collect
    from analysis.findings import findings

    sweep = load_sweep(path, changes)
    study = collect(sweep, runs)
    return sweep, study, findings(sweep, study)


def _report(
    sweep: Sweep, study: Study, found: list[Finding], out: Path, commands: Sequence[str], as_json: bool
) -> None:
    from analysis.folder import write_report
    from analysis.verdict import headline

    written = write_report(sweep, study, found, out, commands)
    if as_json:
        print_json(_answer(sweep, study, found, written))
    else:
        print(f"{headline(sweep, found)}\n\n{_brief(sweep, found)}\n\n" + "\n".join(map(str, written.values())))


def _side_by_side(parts: list[Part], out: Path, commands: Sequence[str], as_json: bool) -> None:
    from analysis.folder import write_studies
    from analysis.studies import reported
    from analysis.verdict import headline

    studies = reported(parts)
    written = write_studies(studies, out, commands)
    if as_json:
        answers = [{"sweep": one.label, **_said(one.sweep, one.study, one.found)} for one in studies]
        print_json({"report": {form: str(path) for form, path in written.items()}, "studies": answers})
    else:
        told = [f"{one.label}: {headline(one.sweep, one.found)}" for one in studies]
        print("\n\n".join(told) + "\n\n" + "\n".join(map(str, written.values())))


def _one_figure(parts: list[Part], out: Path, name: str, columns: int | None, as_json: bool) -> None:
    from analysis.folder import write_figure_alone

    if len(parts) > 1:
        raise UserError("--figure draws the runs of one sweep", remedy="Give one sweep file.")
    files = write_figure_alone(*parts[0], out, name, columns)
    if as_json:
        print_json({"figure": {file.suffix[1:]: str(file) for file in files}})
    else:
        print("\n".join(map(str, files)))


def _nothing_to_report(sweep: Sweep, study: Study) -> UserError:
    failed = [run for run in study.missing if run["state"] == "failed"]
    text = f"no run of {sweep.name} has finished: {study.planned - len(failed)} to do, {len(failed)} failed"
    if failed:
        text += f", the first ({failed[0]['arm']}, seed {failed[0]['seed']}) with: {failed[0]['message']}"
    return UserError(text, remedy=f"Launch it: python -m ablation.launch {sweep.path}")


def _commands(parts: list[Part], changes: Sequence[str]) -> list[str]:
    """What a reader types to get the runs and this report again; no path of this machine is in it."""
    if parts[0][0].outside:
        from analysis.outside import command_of

        return [command_of(parts[0][0], parts[0][0].path.name, {})]
    paths = [s.path if not s.path.is_absolute() else Path("sweeps") / s.path.name for s, _, _ in parts]
    sets = "".join(f" --set {shlex.quote(change)}" for change in changes)
    commits = sorted({commit for _, study, _ in parts for commit in study.provenance["commits"]})
    start = [f"git checkout {commits[0]}"] if len(commits) == 1 else []
    launches = [f".venv/bin/python -m ablation.launch {path}{sets}" for path in paths]
    return [*start, "make setup", *launches, f".venv/bin/python -m analysis.report {' '.join(map(str, paths))}{sets}"]


def _answer(sweep: Sweep, study: Study, found: list[Finding], written: dict[str, Path]) -> dict[str, Any]:
    return {"report": {form: str(path) for form, path in written.items()}, **_said(sweep, study, found)}


def _said(sweep: Sweep, study: Study, found: list[Finding]) -> dict[str, Any]:
    from analysis.verdict import headline

    metric = sweep.evidence.metric
    return {
        "verdict": headline(sweep, found),
        "arms": [_arm(finding, arm, metric) for finding in found for arm in finding.panel.arms],
        "contrasts": [_contrast(f.panel.name, contrast) for f in found for contrast in f.comparison.contrasts],
        "missing": study.missing,
    }


def _arm(finding: Finding, arm: Any, metric: str) -> dict[str, Any]:
    e = finding.comparison.estimates[arm.name]
    numbers = {metric: e.mean, "sd": e.sd, "low": e.low, "high": e.high}
    return {
        **{"panel": finding.panel.name, "arm": arm.name, "n": e.n},
        **{key: _number(value) for key, value in numbers.items()},
        "published": None if arm.twin_of else arm.published.get(metric),
    }


def _contrast(panel: str, contrast: Any) -> dict[str, Any]:
    keys = ("difference", "low", "high", "p_adjusted")
    numbers = {key: _number(getattr(contrast, key)) for key in keys}
    return {"panel": panel, "a": contrast.a, "b": contrast.b, **numbers, "verdict": contrast.verdict}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _brief(sweep: Sweep, found: list[Finding]) -> str:
    """The results for a terminal, a line an arm."""
    from analysis.tables import in_columns, results_table

    lines: list[str] = []
    for finding in found:
        lines += [f"\n{finding.panel.name}" if lines else finding.panel.name] if len(found) > 1 else []
        table = results_table(finding, sweep.evidence.metric, "error")
        lines += in_columns(table, {"C", "d", "params", "MACs", "p"})
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
