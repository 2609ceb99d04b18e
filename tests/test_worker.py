"""A worker's rounds: what it tries again, gives up, takes over and leaves alone."""

import json
import os
import shutil
import subprocess
import time
from dataclasses import replace

import pytest

from ablation import worker
from ablation.claim import attempts, take
from ablation.job import WorkerJob
from ablation.records import read_records
from ablation.run import prepare
from ablation.sweep import load_sweep
from ablation.train import Settings
from ablation.worker import TRIES, Worker


@pytest.fixture
def study(small_sweep, small_fashion, tmp_path):
    """The small sweep with one epoch: its run folders, and a function that lets a worker of a launch loose on them."""
    sweep = load_sweep(small_sweep, ["panels.0.recipe.epochs=1"])
    paths = [sweep.paths(tmp_path / "runs", run) for run in sweep.runs()]
    for run, own in zip(sweep.runs(), paths, strict=True):
        prepare(run, own)
    settings = Settings(gpus=0, data_dir=small_fashion)

    def work(launch="first", stop=lambda: None, ids=None, settings=settings, **options):
        ids = [own.id for own in paths] if ids is None else ids
        return Worker(tmp_path / "runs", sweep.name, ids, settings, launch, stop, **options).work()

    work.settings = settings
    return paths, work


def raising(monkeypatch, error, only):
    """Let training fail for one run."""
    real = worker.Training

    class Failing:
        def __init__(self, paths, *rest):
            self.paths, self.real = paths, real(paths, *rest)

        def to_the_end(self):
            if self.paths.id == only:
                raise error
            self.real.to_the_end()

    monkeypatch.setattr(worker, "Training", Failing)


def die(paths, **about):
    """An attempt whose process is gone."""
    claim = take(paths.attempts, **about)
    claim._over.set()
    fields = {**claim.fields, "process_started": "1"}
    claim.path.write_text(json.dumps(fields))


def elsewhere(paths, **about):
    """An attempt on another machine, whose lease holds."""
    claim = take(paths.attempts, **about)
    claim._over.set()
    claim.path.write_text(json.dumps({**claim.fields, "host": "another"}))
    return claim.path


def test_an_unexpected_error_is_tried_three_times_and_does_not_stop_the_others(study, monkeypatch):
    paths, work = study
    raising(monkeypatch, RuntimeError("CUDA error: unspecified launch failure"), paths[0].id)
    report = work()
    tries = attempts(paths[0].attempts)
    assert [attempt.ended for attempt in tries] == ["failed"] * (TRIES + 1)
    assert tries[-1].message.startswith("given up after 3 tries that got no further: RuntimeError: CUDA error")
    assert len(report.done) == 3


def test_a_users_mistake_is_not_tried_again_in_a_launch_but_is_in_the_next(study, monkeypatch):
    from ablation.errors import UserError

    paths, work = study
    with monkeypatch.context() as patch:
        raising(patch, UserError("diverged"), paths[0].id)
        work()
    assert len(attempts(paths[0].attempts)) == 1
    work("first")
    assert not paths[0].result.exists()
    work("second")
    assert paths[0].result.exists()


def test_a_run_whose_processes_die_without_progress_is_given_up_with_the_reason(study):
    paths, work = study
    for _ in range(TRIES):
        die(paths[0], launch="first", step=0)
    report = work(ids=[paths[0].id])
    assert report.failed == [paths[0].id]
    assert "out of memory" in attempts(paths[0].attempts)[-1].message


def test_a_run_that_gets_on_between_deaths_is_not_given_up(study):
    paths, work = study
    for step in range(TRIES + 2):
        die(paths[0], launch="first", step=step)
    with paths[0].log.open("w") as log:
        log.write(json.dumps({"kind": "event", "time": "", "event": "checkpoint", "step": TRIES + 2}) + "\n")
    assert work(ids=[paths[0].id]).done == [paths[0].id]


def test_being_told_to_stop_is_no_lack_of_progress(study):
    paths, work = study
    for _ in range(TRIES + 1):
        take(paths[0].attempts, launch="first", step=0).end("stopped")
    assert work(ids=[paths[0].id]).done == [paths[0].id]


def test_a_run_that_another_worker_finishes_while_it_is_claimed_has_one_attempt(study, monkeypatch):
    paths, work = study
    real, first = worker.take, paths[0]

    def late(folder, **about):
        if folder == first.attempts and not first.result.exists():
            take(folder).end("done")
            first.result.write_text("{}")
        return real(folder, **about)

    monkeypatch.setattr(worker, "take", late)
    assert len(work().done) == 3
    assert [attempt.ended for attempt in attempts(first.attempts)] == ["done"]


def test_a_job_that_was_queued_again_takes_its_own_runs_back_at_once(study, monkeypatch):
    paths, work = study
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    elsewhere(paths[0], launch="first", job="7", restarts=0)
    assert paths[0].id in work().done


@pytest.mark.parametrize("other", [{"job": "8"}, {"launch": "zeroth"}, {"restarts": 1}], ids=["job", "launch", "start"])
def test_another_jobs_run_is_left_to_it(study, monkeypatch, other):
    paths, work = study
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    monkeypatch.setattr(worker, "live_jobs", lambda: {"7", "8"})
    elsewhere(paths[0], **{"launch": "first", "job": "7", "restarts": 0} | other)
    assert len(work().done) == 3


@pytest.mark.parametrize(("live", "done"), [({"1"}, 4), ({"7"}, 3), (None, 3)], ids=["gone", "there", "no answer"])
def test_a_job_that_slurm_says_is_gone_is_taken_over(study, monkeypatch, live, done):
    paths, work = study
    monkeypatch.setattr(worker, "live_jobs", lambda: live)
    elsewhere(paths[0], launch="first", job="7", restarts=0)
    assert len(work().done) == done


def test_a_claim_that_is_not_yet_written_is_nobodys_to_take(study, monkeypatch):
    paths, work = study
    monkeypatch.setattr(worker, "live_jobs", lambda: set())
    paths[0].attempts.mkdir()
    (paths[0].attempts / "0000.json").touch()
    assert len(work().done) == 3


def test_a_silent_worker_elsewhere_is_waited_for_until_its_lease_is_over(study, monkeypatch):
    paths, work = study
    monkeypatch.setattr(worker, "live_jobs", lambda: None)
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.1)
    path = elsewhere(paths[0], launch="first", job="7")
    os.utime(path, (time.time() - 176, time.time() - 176))
    assert len(work().done) == 4


def test_a_cancelled_run_is_left_and_the_others_go_on(study, monkeypatch):
    paths, work = study
    paths[0].cancelled.touch()
    assert len(work().done) == 3 and not paths[0].attempts.exists()


def test_a_run_that_is_cancelled_while_it_trains_stops_and_its_worker_goes_on(study, monkeypatch):
    paths, work = study
    monkeypatch.setattr(worker, "CANCEL_SECONDS", -1)
    looks = iter(range(10**6))

    def stop():
        if next(looks) == 5:
            paths[0].cancelled.touch()

    report = work(stop=stop)
    assert len(report.done) == 3 and report.stopped is None
    assert attempts(paths[0].attempts)[-1].message == "cancelled"
    assert any(record.get("event") == "stop" for record in read_records(paths[0].log))


def test_nothing_is_claimed_when_the_jobs_time_is_nearly_over(study):
    paths, work = study
    report = work(until=time.time() - 1)
    assert not report.done and report.stopped == "the job's time is nearly over"
    assert not any(own.attempts.exists() for own in paths)


def test_a_run_folder_that_is_deleted_while_it_trains_does_not_stop_the_others(study):
    paths, work = study
    looks = iter(range(10**6))

    def stop():
        if next(looks) == 5:
            shutil.rmtree(paths[0].folder)

    assert len(work(stop=stop).done) == 3
    assert not paths[0].result.exists()


@pytest.fixture
def small_disk(study, tmp_path, unavailable):
    """The runs on a file system of their own, of 600 kB; a function that gives it more."""
    paths, _ = study
    runs = paths[0].runs
    shutil.move(runs, tmp_path / "kept")
    runs.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", runs], capture_output=True).returncode:
        unavailable("a small file system can't be mounted here")
    shutil.copytree(tmp_path / "kept", runs, dirs_exist_ok=True)
    yield lambda: subprocess.run(["mount", "-o", "remount,size=50m", runs], check=True)
    subprocess.run(["umount", "-l", runs], check=True)


def test_a_full_disk_during_a_checkpoint_is_said_and_gone_on_from_when_there_is_room(study, small_disk):
    paths, work = study
    (paths[0].runs / "ballast").write_bytes(bytes(300_000))
    report = work(ids=[paths[0].id], settings=replace(work.settings, checkpoint_minutes=0))
    assert not report.done
    assert not [path for path in paths[0].folder.iterdir() if path.name.startswith(".")], "something half-written"
    assert "No space left" in (attempts(paths[0].attempts)[-1].message or paths[0].log.read_text())
    small_disk()
    assert work("second", ids=[paths[0].id]).done == [paths[0].id]


def test_a_job_knows_its_end_where_the_controllers_clock_is_an_hour_off(monkeypatch, tmp_path):
    job = WorkerJob(tmp_path, "small", (), "first", {}, minutes=60)
    ends = [job._until()]
    for name, seconds in (("START", 3600), ("END", 7200)):
        monkeypatch.setenv(f"SLURM_JOB_{name}_TIME", str(int(time.time()) + seconds))
    ends.append(job._until())
    assert ends == pytest.approx([time.time() + 3600 - 90 - 60] * 2, abs=60)


def test_a_run_that_cannot_be_claimed_does_not_stop_the_others(study, monkeypatch):
    paths, work = study
    real = worker.take

    def full(folder, **about):
        if folder == paths[0].attempts:
            raise OSError(28, "No space left on device")
        return real(folder, **about)

    monkeypatch.setattr(worker, "take", full)
    assert len(work().done) == 3


def test_all_that_a_sweep_says_of_a_runs_settings_reaches_its_workers():
    from dataclasses import fields

    from ablation.launch.request import SETTINGS
    from ablation.schema import Resources

    assert set(SETTINGS) == {field.name for field in fields(Settings)} & Resources.model_fields.keys()
