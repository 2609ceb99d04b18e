"""The slice for CI of `make fuzz`: two thousand cases for each parser, and what planted faults look like."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
from fuzz import guard
from fuzz.all import PARSERS
from fuzz.campaign import fuzz
from fuzz.parser import Parser

from ablation.errors import UserError

CASES = int(os.environ.get("ABLATION_FUZZ_CASES", "2000"))


@pytest.mark.parametrize("name", PARSERS)
def test_hostile_input_is_taken_or_refused(name):
    outcome = fuzz(PARSERS[name], CASES)
    found = [f"{finding}\n    {case}" for finding, case in outcome.examples.items()]
    assert not found, f"{len(found)} findings in {outcome.cases} cases:\n" + "\n".join(found[:5])
    assert outcome.cases >= 0.9 * CASES


def planted(feed):
    """What a parser with such a fault is found to do."""
    outcome = fuzz(Parser("planted", "", lambda folder: None, lambda folder, shared, case: feed(folder)), 1)
    return list(outcome.kinds)


def refuse(folder):
    raise UserError("refused")


def unpickle(folder):
    import pickle

    pickle.loads(b"cos\ngetcwd\n(tR.")


def spin(folder):
    while True:
        pass


FAULTS = {
    "refuses": (refuse, []),
    "writes inside": (lambda folder: (folder / "x").write_text("x"), []),
    "raises": (lambda folder: {}["x"], ["traceback"]),
    "runs": (lambda folder: subprocess.run(["true"]), ["execution"]),
    "unpickles": (unpickle, ["execution"]),
    "connects": (lambda folder: socket.socket(socket.AF_UNIX).connect("/absent"), ["execution"]),
    "writes beside": (lambda folder: (folder.parent / "x").write_text("x"), ["outside"]),
    "makes a folder elsewhere": (lambda folder: Path("/tmp/fuzz-planted-elsewhere").mkdir(exist_ok=True), ["outside"]),
    "takes all memory": (lambda folder: bytes(1 << 34), ["traceback"]),
    "has no end": (spin, ["time"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault, monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.2)
    feed, found = FAULTS[fault]
    assert planted(feed) == found
    if (elsewhere := Path("/tmp/fuzz-planted-elsewhere")).exists():
        elsewhere.rmdir()
