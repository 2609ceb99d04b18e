"""What every mistake says: message, place, remedy and exit code, as a user reads them, against golden/errors.txt."""

import contextlib
import importlib
import io
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from studies import sweep_fields, write_run, write_sweep

from ablation import command

GOLDEN = Path(__file__).parent / "golden" / "errors.txt"
WRITE = "ABLATION_WRITE_GOLDEN"
"""The variable by which the golden file is written anew."""
SWEEP = """\
question: Does error fall as cardinality grows?
panels:
  - name: small
    budget: fashion
    dataset: {name: fashion_mnist, validation: 100}
    recipe: {base: fashion, epochs: 2, batch: 32, norm_batch: 16}
    baseline: resnet11_1x8d
    arms:
      - {design: resnet11_1x8d, params: 33930, macs: 1210880}
      - {design: resnext11_4x3d, params: 32782, macs: 1243424}
seeds: 2
precision: fp32
resources: {gpus: 0, threads: 1, parallel: 2}
"""
IMAGES = {"name": "folder", "path": "set", "classes": 2, "resolution": 32, "validation": 1}
Lay = Callable[[Path], object]
"""Lays what a case needs in its folder."""


def text(content: str | bytes, name: str = "s.yaml") -> Lay:
    """A file."""
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def edit(old: str, new: str) -> Lay:
    """The sweep, one thing in it changed."""
    assert old in SWEEP
    return text(SWEEP.replace(old, new, 1))


def study(name: str = "", content: str | bytes = b"", seeds: int = 2) -> Lay:
    """A sweep whose runs are finished; one file of its first run is replaced."""

    def lay(folder: Path) -> None:
        sweep = write_sweep(folder, sweep_fields(("resnet11_1x8d", "resnext11_4x3d"), seeds=seeds), "s")
        for run in sweep.runs():
            write_run(sweep, run, folder / "runs", 10.0 + run.seed)
        if name:
            first = sweep.paths(folder / "runs", sweep.runs()[0]).folder
            (first / name).write_bytes(content if isinstance(content, bytes) else content.encode())
            if name == "log.jsonl":
                (first / "result.json").unlink()
                (first / "attempts").mkdir()
                (first / "attempts" / "0000.json").write_text(
                    json.dumps({"host": "n1", "pid": 1, "process_started": "1", "ended": "stopped"})
                )

    return lay


def launched(name: str, content: str) -> Lay:
    """A sweep with a launch of which one file is damaged."""

    def lay(folder: Path) -> None:
        text(SWEEP)(folder)
        launch = folder / "runs" / "s" / "launches" / "20260101T000000-abcdef"
        launch.mkdir(parents=True)
        (launch / name).write_text(content)

    return lay


def registered(folder: Path) -> None:
    """A finished study whose registration was changed afterwards."""
    study()(folder)
    fields = {"date": "2026-01-01", "digest": "0" * 64, "content": {"question": "Another?"}}
    (folder / "runs" / "s" / "registration.json").write_text(json.dumps(fields))


def images(*more: Lay, **changes: object) -> Lay:
    """A sweep over image files in ./set, and what lies there."""

    def lay(folder: Path) -> None:
        fields = sweep_fields(("resnet11_1x8d",), dataset={**IMAGES, **changes})
        (folder / "s.yaml").write_text(json.dumps(fields))  # JSON is YAML
        (folder / "set").mkdir()
        for one in more:
            one(folder)

    return lay


def tree(folder: Path) -> None:
    """Two classes with a picture each."""
    from PIL import Image

    for part in ("train", "val"):
        for kind in ("cat", "dog"):
            (folder / "set" / part / kind).mkdir(parents=True)
            Image.new("RGB", (40, 40)).save(folder / "set" / part / kind / "a.jpg")


def idx(name: str, content: bytes) -> Lay:
    """Fashion-MNIST's four files, one of them damaged, below ./data."""

    def lay(folder: Path) -> None:
        text(SWEEP)(folder)
        (folder / "data").mkdir()
        for part in ("train", "t10k"):
            for kind, header in (
                ("images-idx3", b"\0\0\x08\x03" + b"\0\0\0\x00" * 3),
                ("labels-idx1", b"\0\0\x08\x01" + bytes(4)),
            ):
                (folder / "data" / f"{part}-{kind}-ubyte").write_bytes(header)
        (folder / "data" / name).write_bytes(content)

    return lay


def family(code: str, **fields: object) -> Lay:
    """A sweep with an arm of a family in blocks.py."""

    def lay(folder: Path) -> None:
        (folder / "blocks.py").write_text(code)
        arm = {"family": "blocks.py:net", "knobs": {"width": 4}, "params": 10, "macs": 10, "name": "mine", **fields}
        sweep = sweep_fields(("resnet11_1x8d",))
        sweep["panels"][0]["arms"].append(arm)
        (folder / "s.yaml").write_text(json.dumps(sweep))

    return lay


def slurm(says: str, site: str = "", change: tuple[str, str] = ("seeds", "seeds")) -> Lay:
    """A cluster whose sbatch refuses with these words; the site file, and the sweep with a change."""

    def lay(folder: Path) -> None:
        edit(*change)(folder)
        (folder / "site.yaml").write_text(site)
        (folder / "bin").mkdir()
        programs = {
            "sinfo": "echo cpu",
            "squeue": "exit 0",
            "scontrol": "echo 'MaxArraySize = 1001'",
            "sbatch": f"echo 'sbatch: error: {says}' >&2; exit 1",
        }
        for name, does in programs.items():
            path = folder / "bin" / name
            path.write_text(f"#!/bin/sh\n{does}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return lay


CSV = "arm,seed,error\na,0,10.5\nb,0,9.5\n"
SLURM = "launch s.yaml --on slurm"
HERE = "launch s.yaml --on here --data-dir data"
MADE = "from ablation.family import family\n@family(solve='width')\ndef net(width, channels, resolution, classes):\n"

CASES: dict[str, tuple[Lay, str]] = {
    # a sweep file
    "no such sweep": (text("", "other.yaml"), "status s.yaml"),
    "a folder in a sweep's place": (lambda folder: (folder / "s.yaml").mkdir(), "status s.yaml"),
    "an empty sweep": (text(""), "status s.yaml"),
    "a list in a sweep's place": (text("- a\n- b\n"), "launch s.yaml --dry-run"),
    "a sweep with a tab": (edit("    budget", "\tbudget"), "status s.yaml"),
    "a quote without an end": (edit("question: Does", 'question: "Does'), "status s.yaml"),
    "a sweep that is not UTF-8": (text(SWEEP.encode().replace(b"Does", b"\xff")), "status s.yaml"),
    "a sweep that is larger than any": (text("#" * (1 << 21)), "status s.yaml"),
    "a name that is no folder's": (text(SWEEP, "..yaml"), "status ..yaml"),
    "a key twice": (edit("seeds: 2", "seeds: 2\nseeds: 3"), "status s.yaml"),
    "a misspelt key": (edit("budget:", "bugdet:"), "status s.yaml"),
    "a key that is missing": (edit("question: Does error fall as cardinality grows?\n", ""), "status s.yaml"),
    "a word for a number": (edit("seeds: 2", "seeds: two"), "status s.yaml"),
    "a number in quotes": (edit("threads: 1", "threads: '1'"), "status s.yaml"),
    "a rate that YAML takes for text": (edit("epochs: 2", "lr: 1e-2"), "status s.yaml"),
    "an object of Python": (
        edit("seeds: 2", "seeds: !!python/object/apply:os.system ['touch canary']"),
        "status s.yaml",
    ),
    "a merge key": (edit("seeds: 2", "<<: {a: 1}"), "status s.yaml"),
    "aliases without end": (edit("seeds: 2", "seeds: &a [*a]"), "status s.yaml"),
    "an unknown budget": (edit("budget: fashion", "budget: resnet5O"), "status s.yaml"),
    "a budget that is too small": (edit("budget: fashion", "budget: 0*resnet50"), "status s.yaml"),
    "an unknown design": (edit("resnext11_4x3d", "resnext11_4by3d"), "status s.yaml"),
    "a cost that is not the design's": (edit("32782", "32783"), "launch s.yaml --dry-run"),
    "a baseline that is no arm": (edit("baseline: resnet11_1x8d", "baseline: resnet11_1x9d"), "status s.yaml"),
    "an arm twice": (
        edit("resnext11_4x3d, params: 32782, macs: 1243424", "resnet11_1x8d, params: 33930, macs: 1210880"),
        "status s.yaml",
    ),
    "an unknown recipe": (edit("base: fashion", "base: fasion"), "status s.yaml"),
    "batches that norm_batch does not divide": (edit("batch: 32", "batch: 40"), "status s.yaml"),
    "an unknown data set": (edit("fashion_mnist", "fashion-mnist"), "status s.yaml"),
    "a data set outside the data root": (
        edit("{name: fashion_mnist, validation: 100}", "{name: folder, classes: 10, path: ../other}"),
        "status s.yaml",
    ),
    "a precision that there is not": (edit("fp32", "fp8"), "status s.yaml"),
    # a family
    "a family's file that is not there": (edit("design: resnext11_4x3d", "family: absent.py:net"), "status s.yaml"),
    "a family that can't be imported": (family("raise ValueError('no luck')\n"), "launch s.yaml --dry-run"),
    "a family that was edited": (family(MADE + "    return None\n", source="0" * 16), "launch s.yaml --dry-run"),
    "a family's name without a function": (edit("design: resnext11_4x3d", "family: blocks.py"), "status s.yaml"),
    # options
    "an option that there is not": (text(SWEEP), "status s.yaml --verbose"),
    "an option without its value": (text(SWEEP), "launch s.yaml --throughput fast"),
    "no sweep at all": (text(SWEEP), "launch"),
    "a --set without a value": (text(SWEEP), "launch s.yaml --set seeds"),
    "a --set of nothing there": (text(SWEEP), "launch s.yaml --set panels.7.name=x"),
    "a --set that is no YAML": (text(SWEEP), "launch s.yaml --set seeds=[1"),
    "a place to launch that there is not": (text(SWEEP), "launch s.yaml --on cloud"),
    "an --only that means nothing": (text(SWEEP), "launch s.yaml --on local --only resnext11_4x3 --dry-run"),
    "Slurm where there is none": (text(SWEEP), SLURM),
    "runs that can't be written": (
        lambda folder: (text(SWEEP)(folder), text("", "file")(folder)),
        "launch s.yaml --on local --runs file/runs",
    ),
    "a run to cancel that there is not": (text(SWEEP), "cancel s.yaml --run resnet99"),
    "a log of no run": (text(SWEEP), "status s.yaml --log resnet99"),
    "a budget to plan that there is not": (text(""), "plan --budget resnet51"),
    "an axis that there is not": (text(""), "plan --axis kernel"),
    "a tolerance that is no part": (text(""), "plan --tolerance lots"),
    "a cardinality of nothing": (text(""), "plan --cardinality 0"),
    "a budget with no room": (text(SWEEP), "plan --budget resnet50 --cardinality 5000 --write s.yaml"),
    # data
    "a data directory that is not there": (text(SWEEP), HERE),
    "an IDX file that is none": (idx("train-images-idx3-ubyte", b"P6 28 28 255"), HERE),
    "an IDX file of giant dimensions": (idx("train-images-idx3-ubyte", b"\0\0\x08\x03" + b"\xff" * 12), HERE),
    "IDX files without images": (idx("t10k-labels-idx1-ubyte", b"\0\0\x08\x01" + bytes(4)), HERE),
    "no images where they should lie": (images(), "launch s.yaml --on here --data-dir ."),
    "other classes than are stated": (images(tree, classes=3), "launch s.yaml --on here --data-dir ."),
    "a class list that is not there": (images(tree, class_list="classes.txt"), "launch s.yaml --on here --data-dir ."),
    "a class list with a path": (
        images(tree, text("cat\n../dog\n", "set/classes.txt"), class_list="classes.txt"),
        "launch s.yaml --on here --data-dir .",
    ),
    "a tar that is compressed": (
        images(text(b"\x1f\x8b\x08" + bytes(600), "set/train.tar")),
        "launch s.yaml --on here --data-dir .",
    ),
    # damaged files
    "run.json cut short": (study("run.json", '{"id": "'), "report s.yaml"),
    "run.json of another run": (study("run.json", "{}"), "report s.yaml"),
    "result.json that lacks its error": (study("result.json", '{"evaluations": {"test": {}}}'), "report s.yaml"),
    "result.json cut short": (study("result.json", "{"), "status s.yaml"),
    "result.json whose error is a word": (
        study("result.json", '{"evaluations": {"test": {"top1_error": "low"}}, "epochs": 2, "seconds": 3}'),
        "status s.yaml",
    ),
    "a record that is no JSON": (study("log.jsonl", '{"kind": "event"}\nnonsense\n'), "status s.yaml"),
    "a record whose loss is a word": (
        study("log.jsonl", '{"kind": "epoch", "epoch": 1, "loss": "low"}\n'),
        "status s.yaml",
    ),
    "a registration that was changed": (registered, "report s.yaml"),
    "launch.json cut short": (launched("launch.json", "{"), "status s.yaml"),
    "launch.json with a word for its runs": (launched("launch.json", '{"runs": "all"}'), "status s.yaml"),
    # a report
    "nothing has finished": (text(SWEEP), "report s.yaml"),
    "a sweep and a table": (
        lambda folder: (text(SWEEP)(folder), text(CSV, "r.csv")(folder)),
        "report s.yaml --results r.csv",
    ),
    "an unknown figure": (study(), "report s.yaml --figure pie"),
    "no such table": (text(""), "report --results r.csv"),
    "a table with semicolons": (text(CSV.replace(",", ";"), "r.csv"), "report --results r.csv"),
    "a table whose error is no number": (text(CSV + "b,1,9.5%\n", "r.csv"), "report --results r.csv"),
    "a table with a run twice": (text(CSV + "b,0,9.9\n", "r.csv"), "report --results r.csv"),
    "a table with a quote without an end": (text(CSV + '"b,1,9\n', "r.csv"), "report --results r.csv"),
    "a table whose name leads out": (text(CSV, "...csv"), "report --results ...csv"),
    "a report's name that leads out": (text(CSV, "r.csv"), "report --results r.csv --name ../x"),
    "a baseline that is not in the table": (text(CSV, "r.csv"), "report --results r.csv --baseline c"),
    # a site file
    "a misspelt key of a site": (slurm("", "partitoin: gpu\n"), SLURM),
    "a site's option on two lines": (slurm("", 'partition: "gpu\\nrm -rf x"\n'), SLURM),
    "a site's option that launch sets": (slurm("", "sbatch: {array: 1-9}\n"), SLURM),
    "a site's scratch that moves": (slurm("", "scratch: /tmp/$SLURM_JOB_ID\n"), SLURM),
    "a site's variable that is not set": (slurm("", "scratch: /scratch/$UNSET_HERE\n"), SLURM),
    # Slurm
    "Slurm: no such partition": (slurm("invalid partition specified: gpux", "account: lab\npartition: gpux\n"), SLURM),
    "Slurm: no such account": (slurm("Batch job submission failed: Invalid account", "account: labx\n"), SLURM),
    "Slurm: too long": (
        slurm("Batch job submission failed: Requested time limit is invalid", change=("parallel: 2", "job_hours: 999")),
        SLURM,
    ),
    "Slurm: too much memory": (
        slurm("Memory specification can not be satisfied", change=("parallel: 2", "memory_gb: 9999")),
        SLURM,
    ),
}
COMMANDS = {"report": "analysis.report"}


@pytest.fixture(scope="module")
def golden():
    """What each case says, by its name; written anew where that is asked for."""
    found = dict(_parts(GOLDEN.read_text())) if GOLDEN.exists() else {}
    said: dict[str, str] = {}
    yield found, said
    if os.environ.get(WRITE):
        GOLDEN.write_text(
            "\n".join(f"## {name}\n{said.get(name, found.get(name))}" for name in CASES), encoding="utf-8"
        )


def _parts(text: str):
    for part in text.split("## ")[1:]:
        name, _, rest = part.partition("\n")
        yield name, rest.rstrip("\n") + "\n"


def outcome(folder: Path, line: str, monkeypatch) -> str:
    """What a command says in a folder, with its exit code."""
    name, *arguments = line.split()
    module = _module(name)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    errors = io.StringIO()
    with (
        contextlib.redirect_stderr(errors),
        contextlib.redirect_stdout(io.StringIO()),
        pytest.raises(SystemExit) as stop,
    ):
        command.run(module.main, several=getattr(module, "SEVERAL", ()))
    said = re.sub(r"^registered .*\n", "", errors.getvalue().replace(str(folder), "FOLDER"))
    return f"$ {line}\n{said}exit {stop.value.code or 0}\n"


def _module(name: str):
    try:
        return importlib.import_module(f"ablation.{name}.__main__")
    except ModuleNotFoundError:
        return importlib.import_module(COMMANDS.get(name, f"ablation.{name}"))


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No cluster, site file or data of this machine; no cache of its user."""
    for name in ("ABLATION_DATA", "ABLATION_SITE", "ABLATION_STAGE", "SLURM_JOB_ID", "SLURM_CONF"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_says_what_where_and_what_to_do(name, golden, tmp_path, monkeypatch):
    lay, line = CASES[name]
    lay(tmp_path)
    if (tmp_path / "site.yaml").exists():
        monkeypatch.setenv("ABLATION_SITE", "site.yaml")
    said = outcome(tmp_path, line, monkeypatch)
    golden[1][name] = said
    assert said.endswith("\nexit 2\n") and "\nerror: " in said and "Traceback" not in said, said
    if not os.environ.get(WRITE):
        how = f"look at the difference, then: {WRITE}=1 python -m pytest -n0 tests/test_errors_golden.py"
        assert said == golden[0].get(name), how


def test_every_golden_case_is_tested(golden):
    assert list(golden[0]) == list(CASES) or os.environ.get(WRITE)
    assert len(CASES) >= 50


def test_a_fault_of_the_toolkit_shows_where_and_what_to_report(tmp_path):
    text(SWEEP)(tmp_path)
    script = (
        "import ablation.status.__main__ as s; from ablation.command import run; import sys\n"
        "def broken(*a, **k): raise ZeroDivisionError('inside')\n"
        "s.load_sweep = broken; sys.argv = ['status', 's.yaml', '--runs', 'mine']; run(s.main, several=s.SEVERAL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 1 and "Traceback" in done.stderr and "ZeroDivisionError: inside" in done.stderr
    for words in ("fault of the toolkit", "CONTRIBUTING.md", "Python 3.", f"mine{os.sep}s"):
        assert words in done.stderr
