"""Command: what the runs of a sweep say, as Markdown and PDF, with figures (SVG) and tables (CSV)."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablation.command import print_json, run
from ablation.errors import UserError

if TYPE_CHECKING:
    from ablation.sweep import Sweep
    from analysis.collect import Study
    from analysis.verdict import Finding


def main(
    sweep: Annotated[Path, typer.Argument(help="The sweep's YAML file.")],
    runs: Annotated[Path, typer.Option(help="Where run folders lie.")] = Path("runs"),
    out: Annotated[Path, typer.Option(help="Where reports go, one folder a sweep.")] = Path("reports"),
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change the sweep; can be repeated.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the estimates and verdicts for machines.")] = False,
) -> None:
    """Report what the finished runs of a sweep say, and no more: estimates, intervals, a verdict, what is missing.

    Leaves OUT/<sweep>/report.md, report.pdf, figures/*.svg and tables/*.csv, all of them or none.

    \b
    Example:
      python -m analysis.report sweeps/fashion_mnist.yaml
      python -m analysis.report sweeps/table3.yaml --runs /scratch/runs --json
    """
    from ablation.sweep import load_sweep
    from analysis.collect import collect
    from analysis.verdict import findings, headline

    plan = load_sweep(sweep, changes or [])
    study = collect(plan, runs)
    if study.runs.empty:
        raise _nothing_to_report(plan, study)
    found = findings(plan, study)
    written = write_report(plan, study, found, out, _commands(plan, study, runs, out, changes or []))
    if json:
        print_json(_answer(plan, study, found, written))
    else:
        print(f"{headline(plan, found)}\n\n{_brief(plan, found)}\n\n" + "\n".join(map(str, written.values())))


def _nothing_to_report(sweep: Sweep, study: Study) -> UserError:
    failed = [run for run in study.missing if run["state"] == "failed"]
    text = f"no run of {sweep.name} has finished: {study.planned - len(failed)} to do, {len(failed)} failed"
    if failed:
        text += f", the first ({failed[0]['arm']}, seed {failed[0]['seed']}) with: {failed[0]['message']}"
    return UserError(text, remedy=f"Launch it: python -m ablation.launch {sweep.path}")


def write_report(
    sweep: Sweep, study: Study, found: list[Finding], out: Path, commands: Sequence[str]
) -> dict[str, Path]:
    """Build the whole report beside its place, then move it there; the paths of `markdown` and `pdf`.

    Files of an earlier report give way; others in the folder stay. Raises UserError where typst is missing or `out`
    can't be written to; then nothing has changed.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{sweep.name}.", dir=out))
    except OSError as error:
        raise UserError(f"can't write reports: {error.strerror or error}", where=str(out)) from None
    try:
        _build(work, sweep, study, found, commands)
        _move(work, out / sweep.name)
    except OSError as error:
        raise UserError(f"can't write the report: {error.strerror or error}", where=str(out / sweep.name)) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return {"markdown": out / sweep.name / "report.md", "pdf": out / sweep.name / "report.pdf"}


def _build(folder: Path, sweep: Sweep, study: Study, found: list[Finding], commands: Sequence[str]) -> None:
    from analysis.document import document
    from analysis.figures import draw, style, to_svg
    from analysis.markdown import to_markdown

    for name in ("figures", "tables"):
        (folder / name).mkdir()
    with style():
        for name, figure in draw(sweep, study, found).items():
            (folder / "figures" / f"{name}.svg").write_text(to_svg(figure), encoding="utf-8")
    for name, text in _tables(sweep, study, found).items():
        (folder / "tables" / f"{name}.csv").write_text(text, encoding="utf-8")
    content = document(sweep, study, found, commands)
    (folder / "report.md").write_text(to_markdown(content), encoding="utf-8")
    (folder / "report.pdf").write_bytes(to_pdf(content, folder))


def _tables(sweep: Sweep, study: Study, found: list[Finding]) -> dict[str, str]:
    import pandas as pd

    from analysis.tables import ladder_frame, missing_table, results_frame, to_csv

    frames = {
        "ladder": pd.concat([ladder_frame(panel) for panel in sweep.panels]),
        "results": pd.concat([results_frame(finding, sweep.evidence.metric) for finding in found]),
        "runs": study.runs,
        "epochs": study.epochs,
        "missing": missing_table(study).frame,
    }
    return {name: to_csv(frame) for name, frame in frames.items()}


def to_pdf(content: dict[str, Any], folder: Path) -> bytes:
    """The document as PDF, its figures read from `folder`; the same bytes for the same document.

    Raises UserError where typst is not installed.
    """
    import json
    from importlib.resources import files

    try:
        import typst
    except ImportError:
        raise UserError("typst is not installed", remedy="It makes the PDF: pip install typst.") from None
    template, data = folder / "report.typ", folder / "report.json"
    template.write_text(files("analysis").joinpath("report.typ").read_text(encoding="utf-8"), encoding="utf-8")
    data.write_text(json.dumps(content), encoding="utf-8")
    try:
        return typst.compile(template, root=folder, ignore_system_fonts=True)
    finally:
        template.unlink()
        data.unlink()


def _move(work: Path, target: Path) -> None:
    for name in ("figures", "tables"):
        (target / name).mkdir(parents=True, exist_ok=True)
    built = [path.relative_to(work) for path in sorted(work.rglob("*")) if path.is_file()]
    for path in built:
        os.replace(work / path, target / path)
    for pattern in ("figures/*.svg", "tables/*.csv"):
        for old in target.glob(pattern):
            if old.relative_to(target) not in built:
                old.unlink()


def _commands(sweep: Sweep, study: Study, runs: Path, out: Path, changes: Sequence[str]) -> list[str]:
    """What a reader types to get the runs and this report again; no path of this machine is in it."""
    path = sweep.path if not sweep.path.is_absolute() else Path("sweeps") / sweep.path.name
    sets = "".join(f" --set {shlex.quote(change)}" for change in changes)
    commits = study.provenance["commits"]
    start = [f"git checkout {commits[0]}"] if len(commits) == 1 else []
    modules = ("ablation.launch", "analysis.report")
    return [*start, "make setup", *(f".venv/bin/python -m {module} {path}{sets}" for module in modules)]


def _answer(sweep: Sweep, study: Study, found: list[Finding], written: dict[str, Path]) -> dict[str, Any]:
    from analysis.verdict import headline

    metric = sweep.evidence.metric
    return {
        "report": {**{name: str(path) for name, path in written.items()}, "html": None},
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
        "published": arm.published.get(metric),
    }


def _contrast(panel: str, contrast: Any) -> dict[str, Any]:
    keys = ("difference", "low", "high", "p_adjusted")
    numbers = {key: _number(getattr(contrast, key)) for key in keys}
    return {"panel": panel, "a": contrast.a, "b": contrast.b, **numbers, "verdict": contrast.verdict}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _brief(sweep: Sweep, found: list[Finding]) -> str:
    """The results for a terminal, a line an arm."""
    from analysis.tables import results_table

    lines: list[str] = []
    for finding in found:
        lines += [f"\n{finding.panel.name}" if lines else finding.panel.name] if len(found) > 1 else []
        table = results_table(finding, sweep.evidence.metric, "error")
        keep = [i for i, column in enumerate(table.columns) if column.title not in ("C", "d", "params", "MACs", "p")]
        rows = [[column.title for column in table.columns], *table.rows()]
        widths = [max(len(row[i]) for row in rows) for i in keep]
        left = [table.columns[i].left for i in keep]
        for row in rows:
            cells = zip((row[i] for i in keep), widths, left, strict=True)
            lines.append(
                "  ".join(c.ljust(width) if is_left else c.rjust(width) for c, width, is_left in cells).rstrip()
            )
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
