"""A slice of `make chaos`: every scenario a few times, each held to what the long run promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from chaos.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.chaos, pytest.mark.slow]
SCALE = 0.005


@pytest.fixture(scope="module")
def rows():
    """Every row of one small run of the harness, which must be a process of its own: it forks before it trains."""
    command = [sys.executable, "-m", "chaos.run", "--json", "--scale", str(SCALE)]
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, env=os.environ | paths, cwd=ROOT)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(SCENARIOS), done.stdout + done.stderr
    return {(row["scenario"], row["way"]): row for row in found}


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.way == "ours"], ids=lambda scenario: scenario.name)
def test_nothing_is_lost_done_twice_or_wrong(rows, unavailable, scenario):
    row = rows[scenario.name, "ours"]
    if row["tally"] is None:
        unavailable("a small file system can't be mounted here")
    assert row["tally"]["faults"] >= 1
    assert row["holds"], row["tally"]


def test_the_harness_sees_what_the_plain_way_loses(rows):
    aimed = next(row for (name, way), row in rows.items() if "inside" in name and way == "plain")
    assert aimed["tally"]["unreadable"] + aimed["tally"]["wrong"] > 0
