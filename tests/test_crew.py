"""A crew of processes: killed ones are replaced, all are told to stop, none outlives the process above it."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from ablation.claim import process_started
from ablation.crew import Crew
from ablation.signals import StopFlag


@dataclass(frozen=True)
class Sleeper:
    """Says that it is there, and works until it is told to stop or the folder has `enough`."""

    folder: Path

    def __call__(self):
        with StopFlag() as stop:
            (self.folder / f"{os.getpid()}.started").touch()
            while not stop.reason() and not (self.folder / "enough").exists():
                time.sleep(0.02)
            (self.folder / f"{os.getpid()}.{'stopped' if stop.reason() else 'done'}").touch()


def fail():
    raise ValueError("broken")


def pids(folder, word="started"):
    return [int(path.stem) for path in folder.glob(f"*.{word}")]


def soon(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.02)


def test_a_killed_member_is_replaced_and_the_others_go_on(tmp_path):
    with StopFlag() as stop:
        crew = Crew(Sleeper(tmp_path), 2, stop)

        def disturb():
            soon(lambda: len(pids(tmp_path)) == 2)
            os.kill(pids(tmp_path)[0], signal.SIGKILL)
            soon(lambda: len(pids(tmp_path)) == 3)
            (tmp_path / "enough").touch()

        threading.Thread(target=disturb).start()
        crew.to_the_end()
    assert len(pids(tmp_path, "done")) == 2 and crew.deaths == 1 and not crew.failed


def test_a_stop_signal_reaches_every_member_and_none_is_replaced(tmp_path):
    with StopFlag() as stop:
        crew = Crew(Sleeper(tmp_path), 2, stop)

        def tell():
            soon(lambda: len(pids(tmp_path)) == 2)
            os.kill(os.getpid(), signal.SIGUSR2)

        threading.Thread(target=tell).start()
        crew.to_the_end()
    assert len(pids(tmp_path, "stopped")) == 2 and len(pids(tmp_path)) == 2 and stop.told_to_leave


def test_a_member_that_fails_by_itself_is_not_started_again():
    with StopFlag() as stop:
        crew = Crew(fail, 1, stop)
        crew.to_the_end()
    assert crew.failed and crew.deaths == 0


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_members_stop_when_the_process_above_them_is_killed(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from test_crew import Sleeper; from ablation.crew import Crew\n"
        "from ablation.signals import StopFlag\n"
        "if __name__ == '__main__':\n"
        "    with StopFlag() as stop: Crew(Sleeper(Path(sys.argv[2])), 1, stop).to_the_end()\n"
    )
    script = tmp_path / "above.py"
    script.write_text(code)
    above = subprocess.Popen([sys.executable, script, Path(__file__).parent, tmp_path])
    soon(lambda: pids(tmp_path))
    above.kill()
    above.wait()
    soon(lambda: pids(tmp_path, "stopped"))
    soon(lambda: process_started(pids(tmp_path)[0]) is None)
