"""What every command shares: several values, exit codes, plain errors."""

import errno
import sys

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


def test_ctrl_c(monkeypatch):
    assert outcome(monkeypatch, refuse(KeyboardInterrupt())) == 130
