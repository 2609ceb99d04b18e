"""A report's folder: built whole beside its place, then moved there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ablation.errors import UserError
from ablation.sweep import Sweep
from analysis.collect import Study
from analysis.document import document
from analysis.figures import FIGURES, applicable, draw, style, write_figure, write_figures
from analysis.findings import Finding
from analysis.html import to_html
from analysis.latex import to_latex
from analysis.markdown import to_markdown
from analysis.paper_tables import paper_frame
from analysis.pdf import to_pdf
from analysis.references import cited, to_bibtex
from analysis.studies import Reported, differences, studies_document, studies_figures, summary_frame
from analysis.tables import tidy, to_csv
from analysis.training import training_frame

FORMS = {"markdown": "report.md", "pdf": "report.pdf", "html": "report.html"}


@dataclass(frozen=True)
class Content:
    """All that stands in a report's folder."""

    name: str
    document: dict[str, Any]
    draw: Callable[[], dict[str, Figure]]
    tables: dict[str, pd.DataFrame]
    references: str


def write_report(
    sweep: Sweep, study: Study, found: list[Finding], out: Path, commands: Sequence[str]
) -> dict[str, Path]:
    """Write the whole report of one study (see `write`)."""
    content = Content(
        name=sweep.name,
        document=document(sweep, study, found, commands),
        draw=lambda: draw(sweep, study, found),
        tables=_frames(sweep, study, found),
        references=to_bibtex(cited(sweep, found), _versions(study)),
    )
    return write(content, out)


def _frames(sweep: Sweep, study: Study, found: list[Finding]) -> dict[str, pd.DataFrame]:
    """Every table as numbers; those that have something only where they have."""
    trained = [] if sweep.outside else [training_frame(f, study, sweep.evidence.metric) for f in found]
    more = {"paper": paper_frame(sweep, study, found), "training": pd.concat(trained) if trained else pd.DataFrame()}
    return tidy(sweep, study, found) | {name: frame for name, frame in more.items() if len(frame)}


def write_studies(studies: Sequence[Reported], out: Path, commands: Sequence[str]) -> dict[str, Path]:
    """Write one report of several studies (see `write`), into a folder with all of their names."""
    used = set().union(*(cited(one.sweep, one.found) for one in studies))
    content = Content(
        name="+".join(one.sweep.name for one in studies),
        document=studies_document(studies, commands),
        draw=lambda: studies_figures(studies),
        tables={"summary": summary_frame(studies), "differences": differences(studies)},
        references=to_bibtex(used, sorted({version for one in studies for version in _versions(one.study)})),
    )
    return write(content, out)


def _versions(study: Study) -> list[str]:
    return study.provenance["versions"].get("ablation", [])


def write(content: Content, out: Path) -> dict[str, Path]:
    """Build a report beside its place below `out`, then move it there; the paths of `markdown`, `pdf` and `html`.

    Files of an earlier report give way; others in the folder stay. Raises UserError where typst is missing or `out`
    can't be written to; then nothing has changed.
    """
    with built(out, content.name) as work:
        _build(work, content)
        new = _files(work)
    _remove_old(new, out / content.name)
    return {form: out / content.name / file for form, file in FORMS.items()}


def write_tables(sweep: Sweep, study: Study, found: list[Finding], out: Path) -> list[Path]:
    """Write the tables alone, as CSV, into the report's folder; their paths. Raises UserError as `write` does."""
    frames = _frames(sweep, study, found)
    with built(out, sweep.name) as work:
        (work / "tables").mkdir()
        for name, frame in frames.items():
            (work / "tables" / f"{name}.csv").write_text(to_csv(frame), encoding="utf-8")
    return [out / sweep.name / "tables" / f"{name}.csv" for name in frames]


def write_figure_alone(
    sweep: Sweep, study: Study, found: list[Finding], out: Path, name: str, columns: int | None
) -> list[Path]:
    """Draw one figure into the report's folder, as wide as `columns` of a paper say; the paths of SVG and PNG.

    Raises UserError, with the names, where there is no such figure or it has nothing to show.
    """
    known = applicable(found, study)
    if name not in known:
        why = f"{name} has nothing to show for {sweep.name}" if name in FIGURES else f"no figure {name!r}"
        raise UserError(why, remedy=f"Choose from: {', '.join(known)}.")
    with built(out, sweep.name) as work, style():
        (work / "figures").mkdir()
        figure = draw(sweep, study, found, only=[name], columns=columns)[name]
        files = write_figure(work / "figures", f"{name}_{columns}col" if columns else name, figure)
    return [out / sweep.name / "figures" / file.name for file in files]


@contextmanager
def built(out: Path, name: str) -> Iterator[Path]:
    """An empty folder whose files move to `out`/`name` at the end of the block, unless it raises.

    Raises UserError where files can't be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=out))
    except OSError as error:
        raise UserError(f"can't write reports: {error.strerror or error}", where=str(out)) from None
    try:
        yield work
        for path in _files(work):
            (out / name / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(work / path, out / name / path)
    except OSError as error:
        raise UserError(f"can't write the report: {error.strerror or error}", where=str(out / name)) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]


def _remove_old(new: list[Path], target: Path) -> None:
    """Remove what an earlier report left and this one no longer has."""
    for pattern in ("figures/*.svg", "figures/*.png", "tables/*.csv", "tables/*.tex"):
        for old in target.glob(pattern):
            if old.relative_to(target) not in new:
                old.unlink()


def _build(folder: Path, content: Content) -> None:
    for name in ("figures", "tables"):
        (folder / name).mkdir()
    with style():
        write_figures(folder / "figures", content.draw())
    for name, frame in content.tables.items():
        (folder / "tables" / f"{name}.csv").write_text(to_csv(frame), encoding="utf-8")
    (folder / "report.md").write_text(to_markdown(content.document), encoding="utf-8")
    (folder / "report.pdf").write_bytes(to_pdf(content.document, folder))
    (folder / "report.html").write_text(to_html(content.document, folder), encoding="utf-8")
    for block in content.document["blocks"]:
        if block["kind"] == "table" and block["name"]:
            text = to_latex(block, f"{content.name}-{block['name']}")
            (folder / "tables" / f"{block['name']}.tex").write_text(text, encoding="utf-8")
    (folder / "references.bib").write_text(content.references, encoding="utf-8")
