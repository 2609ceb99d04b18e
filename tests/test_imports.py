"""Who may import whom: design.md's import table, read from the source; and what `--help` may cost."""

import ast
import graphlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "torchvision", "fvcore"}  # the latter two import torch


class May(NamedTuple):
    """What a module may import, in words without the package's name for ablation's own modules."""

    top: str = ""  # at import
    inside: str = ""  # inside functions only
    heavy: str = "never"  # torch and what imports it: "top", "inside" functions, or "never"


SPINE = "design cost budget dataset recipe records claim run sweep registration slurm launches outlook board family"
ABLATION = {
    "__init__": May(),
    "errors": May(),  # may be imported by all
    "fields": May(),  # may be imported by all: what damaged files may say
    "private": May(),
    "command": May(),  # may be imported by all: what the commands share
    "design": May(),
    "cost": May("design"),
    "budget": May("design cost"),
    "solver": May("design cost budget"),
    "space": May("design cost budget"),
    "family": May("design cost budget solver", "network", heavy="inside"),
    "records": May(),
    "yaml_file": May(),
    "site": May("schema yaml_file"),
    "stated": May(),
    "dataset": May("design family stated"),
    "recipe": May("stated"),
    "claim": May("records"),
    "run": May("design family dataset recipe records claim seal"),
    "schema": May("dataset recipe yaml_file"),
    "sweep": May("design cost budget family dataset recipe run schema yaml_file"),
    "registration": May("design records run sweep"),
    "slurm": May(),
    "launches": May("claim private run slurm"),
    "outlook": May("claim launches slurm"),
    "board": May("claim outlook run slurm sweep"),
    "network": May("design", heavy="top"),
    "data": May("dataset network recipe", "image_folder sources trivial", heavy="top"),
    "sources": May("data dataset", heavy="top"),
    "image_folder": May("data dataset network recipe run sources trivial", heavy="top"),
    "execution": May("run seal", heavy="top"),
    "seal": May(),
    "plain": May("seal", heavy="top"),
    "checkpoint": May("plain run seal", heavy="top"),
    "loss": May("execution", heavy="top"),
    "average": May("recipe", heavy="top"),
    "augment": May("data network recipe", heavy="top"),
    "trivial": May("data network", heavy="top"),
    "settings": May(),
    "packing": May("design family network", heavy="top"),
    "kernels": May("execution packing records run", heavy="top"),
    "step": May("design family data execution loss network packing recipe", heavy="top"),
    "graphs": May("family data network step", heavy="top"),
    "layouts": May("execution graphs kernels records run settings step", heavy="top"),
    "prefetch": May("data", heavy="top"),
    "mps": May(),
    "stopwatch": May("design solver family execution recipe step", heavy="top"),
    "timings": May("design solver family records run"),
    "measured": May("dataset run schema timings"),
    "price": May("schema run sweep measured"),
    "probe": May("family records run sweep", "execution stopwatch", heavy="inside"),
    "shares": May(),
    "distributed": May(heavy="top"),
    "accumulate": May("data distributed execution family loss network run shares step", heavy="top"),
    "evaluate": May("data dataset distributed execution shares", heavy="top"),
    "train": May(
        "design family data execution kernels network checkpoint records run seal step settings shares distributed "
        "accumulate evaluate augment average loss graphs layouts prefetch watchdog",
        heavy="top",
    ),
    "signals": May(),
    "memory": May(),
    "watchdog": May(),
    "crew": May("memory signals"),
    "worker": May("checkpoint claim data distributed execution memory records run slurm train watchdog", heavy="top"),
    "job": May("signals", "crew distributed mps run train worker", heavy="inside"),
    "snapshot": May("family private records run"),
    "progress": May("board records slurm sweep"),
    "plan": May(
        "design cost budget solver family space",
        "sweep recipe run network stopwatch timings analysis.pilots analysis.statistics analysis.figures",
        heavy="inside",
    ),
    "launch": May(f"{SPINE} job price private shares site snapshot", "mps probe progress sources worker"),
    "status": May(SPINE),
    "cancel": May(SPINE),
    "clean": May(SPINE),
    "doctor": May(f"{SPINE} schema seal site", "execution sources image_folder launch", heavy="inside"),
    "systems": May("design cost family network", heavy="top"),  # a family's own file: test_systems.py
}
DRAWN = (
    "analysis.labels analysis.collect analysis.statistics analysis.published analysis.looks analysis.findings "
    "analysis.verdict"
)
FORMS = "analysis.markdown analysis.html analysis.pdf analysis.latex analysis.references"
PAPER = "analysis.paper analysis.comparable"
SHOWN = (
    "analysis.tables analysis.figures analysis.document analysis.studies analysis.paper_tables analysis.twins "
    "analysis.training"
)
ANALYSIS = {
    "__init__": May(),
    "statistics": May(),
    "published": May(),
    "bits": May("run"),
    "logs": May("records"),
    "cache": May("run analysis.logs"),
    "finished": May(f"{SPINE} analysis.logs analysis.cache"),
    "checks": May(f"{SPINE} analysis.bits"),
    "collect": May(f"{SPINE} analysis.bits analysis.cache analysis.checks analysis.finished"),
    "results": May("schema"),
    "outside": May(f"{SPINE} schema yaml_file analysis.collect analysis.results"),
    "pilots": May(f"{SPINE} analysis.bits analysis.statistics"),
    "looks": May(f"{SPINE} analysis.statistics"),
    "findings": May(f"{SPINE} analysis.collect analysis.statistics analysis.looks"),
    "classes": May(f"{SPINE} {DRAWN}"),
    "details": May(f"{SPINE} {DRAWN} analysis.confounds analysis.tables"),
    "confounds": May(f"{SPINE} analysis.collect analysis.findings"),
    "labels": May(),
    "verdict": May(f"{SPINE} analysis.labels analysis.collect analysis.statistics analysis.findings"),
    "tables": May(f"{SPINE} {DRAWN}"),
    "figures": May(f"{SPINE} {DRAWN} analysis.tables analysis.classes"),
    "methods": May(f"{SPINE} {DRAWN} analysis.details"),
    "captions": May(f"{SPINE} {DRAWN} analysis.methods analysis.figures"),
    "pages": May("analysis.tables"),
    "paper": May(f"{SPINE} analysis.published"),
    "comparable": May(f"{SPINE} {DRAWN} analysis.paper"),
    "against": May(f"{SPINE} {DRAWN} {PAPER}"),
    "paper_tables": May(f"{SPINE} {DRAWN} {PAPER} analysis.against analysis.tables"),
    "twins": May(f"{SPINE} {DRAWN} {PAPER} analysis.against analysis.tables"),
    "training": May(f"{SPINE} {DRAWN} analysis.tables"),
    "document": May(
        f"{SPINE} {DRAWN} analysis.tables analysis.figures analysis.captions analysis.pages analysis.details "
        "analysis.confounds analysis.methods analysis.paper_tables analysis.twins analysis.training"
    ),
    "studies": May(f"{SPINE} {DRAWN} analysis.tables analysis.figures analysis.captions analysis.pages"),
    "markdown": May(),
    "html": May(),
    "latex": May(),
    "references": May(f"{SPINE} {DRAWN}"),
    "pdf": May(),
    "folder": May(f"{SPINE} {DRAWN} {SHOWN} {FORMS}"),
    "bundle": May(f"{SPINE} {DRAWN} analysis.outside analysis.results analysis.tables"),
    "options": May(),
    "report": May(f"{SPINE} {DRAWN} {SHOWN} analysis.options analysis.outside analysis.bundle analysis.folder"),
}
TABLE = {f"ablation.{name}": may for name, may in ABLATION.items()} | {
    f"analysis.{name}": may for name, may in ANALYSIS.items()
}
FOR_ALL = {"ablation.errors", "ablation.fields", "ablation.command"}
COMMANDS = [
    *("ablation.plan", "ablation.launch", "ablation.status", "ablation.cancel", "ablation.clean"),
    *("ablation.doctor", "analysis.report"),
]


def allowed(words: str) -> set[str]:
    return {word if "." in word else f"ablation.{word}" for word in words.split()}


def module_of(path: Path) -> str:
    """`ablation.network` for ablation/network.py and for all that is in ablation/network/, should it grow."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:2])


def files() -> list[Path]:
    return sorted(path for package in ("ablation", "analysis") for path in (ROOT / package).rglob("*.py"))


def names(node: ast.Import | ast.ImportFrom, path: Path) -> Iterator[str]:
    """Full names of all that an import statement brings in."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    package = list(path.relative_to(ROOT).parent.parts)[: None if node.level < 2 else 1 - node.level]
    base = ".".join([*(package if node.level else []), *([node.module] if node.module else [])])
    yield from (f"{base}.{alias.name}" for alias in node.names)


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path: Path) -> Iterator[tuple[str, bool, int]]:
    """(imported module, whether at import, line); ours as `ablation.design`, others by their first name."""

    def walk(node: ast.AST, top: bool) -> Iterator[tuple[str, bool, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                for name in names(child, path):
                    parts = name.split(".")
                    ours = parts[0] in ("ablation", "analysis")
                    yield ".".join(parts[:2]) if ours else parts[0], top, child.lineno
            lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_for_types_only(child)
            yield from walk(child, top and not lazy)

    return walk(ast.parse(path.read_text(encoding="utf-8")), True)


def is_module(name: str) -> bool:
    return name in TABLE or (ROOT / f"{name.replace('.', '/')}.py").exists() or (ROOT / name.replace(".", "/")).is_dir()


def problem(module: str, name: str, top: bool) -> str | None:
    """Why `module` may not import `name` there, or None."""
    may, where = TABLE[module], "at import" if top else "inside a function"
    if name in HEAVY:
        fine = may.heavy == "top" or (may.heavy == "inside" and not top)
    elif name.startswith(("ablation.", "analysis.")) and is_module(name):
        here = allowed(may.top) if top else allowed(may.top) | allowed(may.inside)
        fine = name in {module} | FOR_ALL | here
    else:
        fine = True  # the standard library, a dependency, `from ablation import __version__`
    return None if fine else f"{module} may not import {name} {where}"


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_imports_only_what_the_table_allows(path):
    module = module_of(path)
    assert module in TABLE, f"{module} is new: give it a line in the table of tests/test_imports.py"
    found = [(problem(module, name, top), line) for name, top, line in imports(path)]
    assert not [f"{path.name}:{line}: {what}" for what, line in found if what]


def test_the_table_itself_runs_downward_only():
    graph = {module: allowed(may.top) for module, may in TABLE.items()}
    assert set().union(*graph.values()) <= TABLE.keys()
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize(
    ("module", "source", "problems"),
    [
        ("ablation.cost", "from ablation.solver import solve", 1),
        ("ablation.cost", "from .design import Design", 0),
        ("ablation.cost", "from . import design, solver", 1),
        ("ablation.launch", "import ablation.worker", 1),
        ("ablation.launch", "def job():\n    from ablation.worker import work", 0),
        ("ablation.run", "def late():\n    import analysis.collect", 1),
        ("analysis.report", "def late():\n    import torch.nn", 1),
        ("analysis.report", "from ablation import errors, train", 1),
    ],
)
def test_the_check_sees_what_it_should(module, source, problems, monkeypatch, tmp_path):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / f"{module.replace('.', '/')}.py"
    path.parent.mkdir()
    path.write_text(source)
    assert len([1 for name, top, _ in imports(path) if problem(module, name, top)]) == problems


HELP = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    code = 0
except SystemExit as stop:
    code = stop.code
loaded = {"torch", "pandas"} & sys.modules.keys()
sys.exit(code or (f"--help imported {sorted(loaded)}" if loaded else 0))
"""


@pytest.mark.parametrize("module", COMMANDS)
def test_help_answers_without_torch_and_pandas(module):
    plain = os.environ | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", HELP, module], cwd=ROOT, env=plain, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert f"python -m {module}" in done.stdout, "no example"
