"""What every command shares: several values, exit codes, plain errors."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablation import command
from ablation.errors import UserError


def outcome(monkeypatch, function, *arguments, several=()):
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as exit:
        command.run(function, several=several)
    return exit.value.code


@pytest.mark.parametrize(("value", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_function_says_how_it_went(monkeypatch, value, code):
    assert (outcome(monkeypatch, lambda: value) or 0) == code  # an exit with None is an exit with 0


def test_an_option_takes_several_values(monkeypatch):
    seen = []

    import typer

    def options(numbers: list[int] = typer.Option([], "--numbers"), name: str = "") -> None:  # noqa: B008
        seen.append((numbers, name))

    outcome(monkeypatch, options, "--numbers", "1", "2", "4", "--name", "x", several=("--numbers",))
    assert seen == [([1, 2, 4], "x")]


def refuse(error):
    def main() -> None:
        raise error

    return main


def test_a_users_mistake_is_one_plain_error(monkeypatch, capsys):
    assert outcome(monkeypatch, refuse(UserError("wrong", where="x.yaml:1:2", remedy="Do this."))) == 2
    assert capsys.readouterr().err == "error: x.yaml:1:2: wrong\n  Do this.\n"


def test_an_unknown_option_is_one_plain_error(monkeypatch, capsys):
    assert outcome(monkeypatch, lambda: None, "--absent") == 2
    assert "--absent" in capsys.readouterr().err


def test_a_full_disk_is_one_plain_error(monkeypatch, capsys):
    assert outcome(monkeypatch, refuse(OSError(errno.ENOSPC, "No space left", "/x/y"))) == 2
    assert "the disk is full (/x/y)" in capsys.readouterr().err


def test_a_bug_is_not_hidden(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(ZeroDivisionError):
        command.run(refuse(ZeroDivisionError()))


def test_a_pipe_that_breaks_inside_is_not_taken_for_a_reader_who_left(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(BrokenPipeError):
        command.run(refuse(BrokenPipeError(errno.EPIPE, "Broken pipe")))


PRINTS = {
    "plain": "print('x' * 10**6)",
    "small": "print('x')",
    "json": "from ablation.command import print_json; print_json(['x'] * 10**5)",
    "table": "from rich.console import Console; Console().print('x\\n' * 10**4)",
    "error": "from ablation.errors import UserError; raise UserError('wrong')",
}


ROOT = Path(__file__).parent.parent


def without_reader(*arguments, errors_too=False):
    """The exit code, and standard error where it has a reader, of Python that writes to a pipe nobody reads."""
    end, pipe = os.pipe()
    os.close(end)
    errors = subprocess.STDOUT if errors_too else subprocess.PIPE
    try:
        done = subprocess.run([sys.executable, *arguments], stdout=pipe, stderr=errors, text=True, cwd=ROOT)
    finally:
        os.close(pipe)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize("what", sorted(PRINTS))
@pytest.mark.parametrize("errors_too", [False, True])
def test_a_reader_who_leaves_ends_it_in_silence(what, errors_too):
    script = f"from ablation.command import run\ndef main():\n    {PRINTS[what]}\nrun(main)\n"
    found = without_reader("-c", script, errors_too=errors_too)
    heard = what == "error" and not errors_too  # nothing went to the pipe
    assert found == ((2, "error: wrong\n") if heard else (141, ""))


COMMANDS = {
    "plan": "ablation.plan --budget 2*resnet101 --axis depth",
    "plan --json": "ablation.plan --json",
    "plan --space": "ablation.plan --space --widths 1-8",
    "status": "ablation.status sweeps/fashion_mnist.yaml",
    "cancel": "ablation.cancel sweeps/fashion_mnist.yaml --runs absent",
    "clean": "ablation.clean sweeps/fashion_mnist.yaml --runs absent",
    "launch": "ablation.launch sweeps/fashion_mnist.yaml --dry-run",
    "report": "analysis.report --help",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_so(name):
    assert without_reader("-m", *COMMANDS[name].split()) == (141, "")


def test_a_pipe_into_head(tmp_path):
    line = f"{sys.executable} -m ablation.plan 2> {tmp_path}/said | head -1; echo ${{PIPESTATUS[0]}}"
    shell = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT)
    title, code = shell.stdout.splitlines()
    assert title.startswith("Designs at the budget resnet50") and (tmp_path / "said").read_text() == ""
    assert code in ("0", "141")  # 0 where all was written before head had read its line


def test_ctrl_c(monkeypatch):
    assert outcome(monkeypatch, refuse(KeyboardInterrupt())) == 130
