"""A report's folder: built whole beside its place, then moved there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ablation.errors import UserError
from ablation.sweep import Sweep
from analysis.collect import Study
from analysis.document import document
from analysis.figures import draw, style, to_svg
from analysis.findings import Finding
from analysis.html import to_html
from analysis.latex import to_latex
from analysis.markdown import to_markdown
from analysis.pdf import to_pdf
from analysis.references import to_bibtex
from analysis.tables import ladder_frame, missing_table, results_frame, to_csv

FORMS = {"markdown": "report.md", "pdf": "report.pdf", "html": "report.html"}


def write_report(
    sweep: Sweep, study: Study, found: list[Finding], out: Path, commands: Sequence[str]
) -> dict[str, Path]:
    """Build the whole report beside its place, then move it there; the paths of `markdown`, `pdf` and `html`.

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
    return {form: out / sweep.name / file for form, file in FORMS.items()}


def _build(folder: Path, sweep: Sweep, study: Study, found: list[Finding], commands: Sequence[str]) -> None:
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
    (folder / "report.html").write_text(to_html(content, folder), encoding="utf-8")
    for block in content["blocks"]:
        if block["kind"] == "table" and block["name"]:
            text = to_latex(block, f"{sweep.name}-{block['name']}")
            (folder / "tables" / f"{block['name']}.tex").write_text(text, encoding="utf-8")
    cited = to_bibtex(sweep, found, study.provenance["versions"].get("ablation", []))
    (folder / "references.bib").write_text(cited, encoding="utf-8")


def _tables(sweep: Sweep, study: Study, found: list[Finding]) -> dict[str, str]:
    frames = {
        "ladder": pd.concat([ladder_frame(panel) for panel in sweep.panels]),
        "results": pd.concat([results_frame(finding, sweep.evidence.metric) for finding in found]),
        "runs": study.runs,
        "epochs": study.epochs,
        "missing": missing_table(study).frame,
    }
    return {name: to_csv(frame) for name, frame in frames.items()}


def _move(work: Path, target: Path) -> None:
    for name in ("figures", "tables"):
        (target / name).mkdir(parents=True, exist_ok=True)
    built = [path.relative_to(work) for path in sorted(work.rglob("*")) if path.is_file()]
    for path in built:
        os.replace(work / path, target / path)
    for pattern in ("figures/*.svg", "tables/*.csv", "tables/*.tex"):
        for old in target.glob(pattern):
            if old.relative_to(target) not in built:
                old.unlink()
