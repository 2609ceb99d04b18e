"""What the project is built on is listed with its licence; nothing is fetched that was not asked for, nor unchecked."""

import os
import subprocess
import sys
from pathlib import Path

import dependencies
import pytest
from studies import sweep_fields, write_study

from ablation.errors import UserError
from ablation.sources import TORCHVISION, read_small

ROOT = Path(__file__).parent.parent
ALL = frozenset({"dev", "inception"})
OFFLINE = """
import runpy, socket, sys
def hook(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"):
        local = event == "socket.connect" and isinstance(arguments[1], (str, bytes))  # a socket of this machine
        if not local:
            raise SystemExit(f"network: {event} {arguments[1:]}")
sys.addaudithook(hook)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def offline(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A command that ends where it turns to the network."""
    command = [sys.executable, "-c", OFFLINE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"MPLBACKEND": "Agg"})


def test_every_direct_dependency_is_listed_with_its_licence():
    listed = dependencies.PAGE.read_text(encoding="utf-8")
    for name in dependencies.direct(ALL):
        line = next((line for line in listed.splitlines() if line.startswith(f"| {name} |")), "")
        assert "direct" in line and "not stated" not in line, (
            f"{name}: python tests/dependencies.py writes the page anew"
        )


def test_every_direct_dependency_has_a_tested_version():
    pinned = {line.partition("==")[0] for line in dependencies.CONSTRAINTS.read_text().splitlines() if "==" in line}
    assert set(dependencies.direct(ALL)) <= pinned, "python tests/dependencies.py writes constraints.txt anew"


def test_constraints_bind_nothing_elsewhere():
    from packaging.requirements import Requirement

    for line in dependencies.CONSTRAINTS.read_text().splitlines()[1:]:
        marker = Requirement(line).marker
        assert marker and not marker.evaluate({"python_version": "3.99"}) and "==" in line


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A sweep all of whose runs are finished."""
    folder = tmp_path_factory.mktemp("offline")
    return write_study(folder, sweep_fields(("resnet11_1x8d", "resnext11_4x3d")))


@pytest.mark.parametrize("command", ["plan", "launch", "status", "report"])
def test_commands_need_no_network(command, study, tmp_path):
    sweep, runs = study
    arguments = {
        "plan": ("ablation.plan", "--budget", "fashion"),
        "launch": ("ablation.launch", sweep.path, "--runs", runs, "--dry-run", "--on", "local"),
        "status": ("ablation.status", sweep.path, "--runs", runs),
        "report": ("analysis.report", sweep.path, "--runs", runs, "--out", tmp_path),
    }[command]
    done = offline(*arguments)
    assert done.returncode == 0, done.stderr


def test_the_network_is_really_watched():
    script = OFFLINE.replace("runpy.run_module(", "socket.create_connection(('127.0.0.1', 9)); dict(")
    done = subprocess.run([sys.executable, "-c", script, "x"], capture_output=True, text=True)
    assert "network: socket" in done.stderr


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_download_that_was_tampered_with_is_refused(name, tmp_path, monkeypatch):
    import torchvision.datasets.utils as utils

    fetched = []

    def serve(url, filename, *rest, **more):
        fetched.append(url)
        Path(filename).write_bytes(b"not what was asked for")

    monkeypatch.setattr(utils, "_urlretrieve", serve)
    monkeypatch.setattr(utils, "_get_redirect_url", lambda url, **more: url)
    monkeypatch.setattr("ablation.sources.DEBIAN", tmp_path / "absent")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ABLATION_DATA", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match=r"corrupted|Error downloading"):
        read_small(name, None)
    assert fetched
