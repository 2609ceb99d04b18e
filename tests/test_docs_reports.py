"""docs/reports.md is so: its Python runs, values behind expressions are theirs, its commands end well."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from studies import write_study

from analysis import cache

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reports.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the page's study, its table, and sweeps/, as a person's checkout has them."""
    (tmp_path / "sweeps").mkdir()
    write_study(tmp_path, registered=True)
    (tmp_path / "study.yaml").rename(tmp_path / "sweeps" / "study.yaml")
    (tmp_path / "mine.csv").write_text(blocks("csv")[0])
    monkeypatch.setattr(cache, "SETTLED", 0.0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_of_the_page_runs_and_says_what_it_says(place, capsys):
    space = {}
    shown = 0
    for block in blocks("python"):
        exec(block, space)
        for expression, value in re.findall(r"^([^ #].*?)  # ([\[(].*)$", block, re.MULTILINE):
            assert eval(expression, space) == ast.literal_eval(value), expression
            shown += 1
    assert shown == 5 and (place / "contrasts.pdf").exists()
    assert "resnext11_2x5d improves by" in capsys.readouterr().out


def test_the_commands_of_the_page_end_well(place):
    commands = re.findall(r"`(python -m analysis\.report .*?)`", PAGE) + blocks("sh")
    for command in commands:
        words = command.split()[1:]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, *words], cwd=place, env=env, check=True, capture_output=True)
    assert len(commands) == 5
    assert (place / "study.zip").exists() and (place / "reports" / "mine" / "report.html").exists()
