"""Whatever happens to a sweep on a cluster, every run is finished once, with the numbers of an undisturbed one."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from ablation.claim import attempts, process_started
from ablation.records import last_epochs, read_records
from ablation.sweep import load_sweep

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.chaos]
SWEEP = """\
question: Does a sweep survive its cluster?
panels:
  - name: small
    budget: fashion
    dataset: {name: fashion_mnist, validation: 100}
    recipe: {base: fashion, epochs: 25, batch: 32, norm_batch: 16, augment: [crop, flip]}
    baseline: resnet11_1x8d
    arms:
      - {design: resnet11_1x8d, params: 33930, macs: 1210880}
      - {design: resnext11_4x3d, params: 32782, macs: 1243424}
seeds: 6
precision: fp32
resources: {gpus: 0, threads: 1, cpus: 1, parallel: 4, job_hours: 0.0166}
"""


class Study:
    """The sweep's runs below one folder, and what becomes of them."""

    def __init__(self, folder, name, data):
        self.file, self.runs, self.data = folder / f"{name}.yaml", folder / "runs", data
        self.file.write_text(SWEEP)
        self.sweep = load_sweep(self.file)
        self.paths = [self.sweep.paths(self.runs, run) for run in self.sweep.runs()]

    def start_launch(self, *options):
        command = [sys.executable, "-m", "ablation.launch", self.file, "--runs", self.runs, "--data-dir", self.data]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([str(part) for part in [*command, "--on", "slurm", *options]], cwd=ROOT, **pipes)

    def done(self):
        return sum(paths.result.exists() for paths in self.paths)

    def working(self):
        """Attempts under way whose process is there: all nodes of the test cluster are this machine."""
        last = [attempts(paths.attempts)[-1:] for paths in self.paths if not paths.result.exists()]
        return [
            one
            for found in last
            for one in found
            if not one.ended and one.fields and process_started(one.fields["pid"]) == one.fields["process_started"]
        ]

    def numbers(self, paths):
        epochs = last_epochs(read_records(paths.log))
        kept = ("epoch", "step", "train_loss", "train_error", "loss", "top1_error", "lr")
        weights = torch.load(paths.weights, weights_only=True)
        return (
            [[record[key] for key in kept] for record in epochs],
            {key: value.numpy().tobytes() for key, value in weights.items()},
            paths.bits("test").read_bytes(),
        )


def until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s: {what}"
        time.sleep(0.2)
    return found


def kill(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def host_space(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/uts")
    except OSError:
        return None


def kill_node(folder, name):
    """What a power cut does: the daemon and all that ran there are gone at once; each node has its own host name."""
    daemon = int((folder / "run" / f"slurmd-{name}.pid").read_text())
    there = host_space(daemon)
    kill(daemon)
    for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*")):
        if host_space(pid) == there:
            kill(pid)


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_twelve_runs_survive_everything_at_once(slurm, mend, small_fashion, tmp_path):
    folder = slurm.parent.parent
    for name in ("calm", "wild"):
        (tmp_path / name).mkdir()
    calm, wild = (Study(tmp_path / name, "study", small_fashion) for name in ("calm", "wild"))

    both = [wild.start_launch(), wild.start_launch()]
    said = [launch.communicate(timeout=120)[0] for launch in both]
    assert all(launch.returncode == 0 for launch in both), said
    until(lambda: len(wild.working()) >= 3, 120, "three runs under way")

    kill(parent(wild.working()[0].fields["pid"]))  # a worker, and what it trained
    output("sbatch", "-phigh", "-wn1", "--exclusive", "-t1", "--output=/dev/null", "--wrap=sleep 2")  # takes n1 away
    kill(int((folder / "run" / "slurmctld.pid").read_text()))
    time.sleep(1)
    mend()
    until(lambda: [one for one in wild.working() if one.fields["host"].startswith("n2")], 120, "a run on n2")
    kill_node(folder, "n2")
    until(lambda: "down" in output("sinfo", "-hNn", "n2", "-o", "%T"), 120, "the cluster to see that n2 is gone")
    mend()
    until(lambda: wild.done() == 12, 400, f"all runs; {wild.done()} are done")
    until(lambda: not output("squeue", "-h").strip(), 60, "workers to leave")

    calm.start_launch("--set", "resources.job_hours=24").communicate(timeout=120)
    until(lambda: calm.done() == 12, 400, "the undisturbed runs")
    for one, other in zip(wild.paths, calm.paths, strict=True):
        ended = [attempt.ended for attempt in attempts(one.attempts)]
        assert ended.count("done") == 1 and ended[-1] == "done", ended
        assert sum(record.get("event") == "done" for record in read_records(one.log)) == 1
        assert wild.numbers(one) == calm.numbers(other)
    every = [attempt for paths in wild.paths for attempt in attempts(paths.attempts)]
    assert {attempt.ended for attempt in every} >= {"stopped", None}, "nothing was told to leave, or nothing died"
    assert any(attempt.fields.get("restarts") for attempt in every), "no job was queued again"
