"""doctor over run folders: whole ones are whole, damage is named, what is safe to mend is mended."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ablation import checkpoint
from ablation.claim import attempts, take
from ablation.doctor.runs import check_runs, flaws
from ablation.records import read_records
from ablation.run import RunPaths, prepare
from ablation.seal import check_digest, with_digest
from ablation.sweep import load_sweep
from ablation.train import Settings, Stopped, Training

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def trained(small_fashion, tmp_path_factory):
    """One run that is done, and one that was stopped with two checkpoints."""
    folder = tmp_path_factory.mktemp("runs")
    file = folder / "small.yaml"
    file.write_text("""\
question: Is damage seen?
panels:
  - name: small
    budget: fashion
    dataset: {name: fashion_mnist, validation: 100}
    recipe: {base: fashion, epochs: 1, batch: 64, norm_batch: 16}
    baseline: resnet11_1x8d
    arms:
      - {design: resnet11_1x8d, params: 33930, macs: 1210880}
seeds: 2
precision: fp32
resources: {gpus: 0, threads: 1}
""")
    sweep = load_sweep(file)
    both = [sweep.paths(folder / "runs", run) for run in sweep.runs()]
    for run, paths, stops in zip(sweep.runs(), both, ((None,), (3, 2)), strict=True):
        prepare(run, paths)
        for stop in stops:
            claim, steps = take(paths.attempts), iter(range(999))
            asked = lambda stop=stop, steps=steps: "asked" if stop and next(steps) >= stop - 1 else None  # noqa: E731
            try:
                Training(paths, Settings(gpus=0, data_dir=small_fashion), asked, lambda: True).to_the_end()
                claim.end("done")
            except Stopped:
                claim.end("stopped")
    return folder / "runs"


@pytest.fixture
def runs(trained, tmp_path):
    """A copy that may be damaged: the runs' folder, the finished run, the begun one."""
    shutil.copytree(trained, tmp_path / "runs")
    done, begun = (RunPaths(tmp_path / "runs", "small", path.name) for path in sorted((trained / "small").iterdir()))
    return tmp_path / "runs", done, begun


def named(paths):
    return [f"{flaw.file} {flaw.says}" for flaw in flaws(paths)]


def states(runs, **options):
    return [(finding.state, finding.says) for finding in check_runs(runs, **options)]


def flip(path, part=0.5):
    data = bytearray(path.read_bytes())
    data[int(part * len(data))] ^= 1
    path.write_bytes(data)


def test_whole_runs_are_whole(runs):
    assert states(runs[0]) == [("ok", "2 of 2 are whole, and their files agree")]


@pytest.mark.parametrize("name", ["run.json", "log.jsonl", "result.json", "weights.pt", "correct.test.bits"])
def test_a_flipped_bit_of_a_finished_run_is_named(runs, name):
    _, done, _ = runs
    flip(done.folder / name)
    assert [says for says in named(done) if says.startswith(name)]


@pytest.mark.parametrize("name", ["log.jsonl", "weights.pt", "correct.test.bits"])
def test_a_missing_file_of_a_finished_run_is_named(runs, name):
    _, done, _ = runs
    (done.folder / name).unlink()
    assert f"{name} is missing, and the run is finished" in named(done)


def test_a_result_that_was_changed_with_its_digest_does_not_agree_with_its_bits_and_log(runs):
    _, done, _ = runs
    result = json.loads(done.result.read_text())
    result["evaluations"]["test"]["top1_error"] -= 1
    done.result.write_text(json.dumps(with_digest(result)))
    says = named(done)
    assert "correct.test.bits gives another top-1 error than result.json says of test" in says
    assert any(text.startswith("result.json has top1_error") for text in says)


def test_steps_that_fall_without_a_resume_are_named(runs):
    _, _, begun = runs
    with begun.log.open("a") as log:
        log.write(json.dumps({"kind": "event", "time": "", "event": "checkpoint", "step": 1}) + "\n")
    assert any("is at step 1, after step 5" in says for says in named(begun))


def test_a_run_from_before_there_were_digests_is_whole(runs):
    _, done, _ = runs
    result = json.loads(done.result.read_text())
    for key in ("files", "sha256"):
        del result[key]
    done.result.write_text(json.dumps(result))
    about = json.loads(done.run_json.read_text())
    del about["sha256"]
    done.run_json.write_text(json.dumps(about))
    assert named(done) == []
    flip(done.weights)
    assert named(done) == ["weights.pt is no whole archive"]


def test_what_is_safe_to_mend_is_mended_and_the_rest_named(runs):
    folder, done, begun = runs
    checkpoint.save(done.checkpoint, {"run": done.id})
    flip(begun.checkpoint)
    (begun.folder / ".log.jsonl.00c0ffee").touch()
    with begun.log.open("a") as log:
        log.write('{"kind": "ev')
    (begun.attempts / "0002.json").touch()
    os.utime(begun.attempts / "0002.json", (1, 1))
    flip(done.weights)
    assert [state for state, _ in states(folder)].count("problem") == 2
    mended = states(folder, repair=True)
    assert [state for state, _ in mended].count("problem") == 1
    assert len([says for _, says in mended if says.startswith("mended: ")]) == 5
    assert states(folder) == [
        ("problem", "weights.pt is not what it was when the run finished: changed, or damaged"),
        ("ok", "1 of 2 are whole, and their files agree"),
    ]
    assert not done.checkpoint.exists() and not begun.checkpoint.exists()
    assert begun.folder.joinpath("checkpoint.damaged.pt").exists() and begun.resumes
    assert len(read_records(begun.log)) == 4 and attempts(begun.attempts)[-1].ended == "failed"


def test_a_living_workers_files_are_left_alone(runs):
    folder, _, begun = runs
    with begun.log.open("a") as log:
        log.write('{"kind": "ev')
    (begun.folder / ".checkpoint.pt.00c0ffee").touch()
    held = take(begun.attempts)
    assert states(folder, repair=True) == [("ok", "2 of 2 are whole, and their files agree")]
    assert begun.folder.joinpath(".checkpoint.pt.00c0ffee").exists()
    held.end("stopped")


@pytest.mark.slow
def test_the_command_exits_by_it(runs, tmp_path):
    folder, done, _ = runs
    flip(done.result)
    (tmp_path / "site.yaml").write_text("{}\n")
    command = [sys.executable, "-m", "ablation.doctor", "--on", "local", "--runs", str(folder), "--json"]
    environment = os.environ | {"ABLATION_SITE": str(tmp_path / "site.yaml")}
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment)
    bad = [item for item in json.loads(found.stdout)["findings"] if item["group"] == "runs"]
    assert found.returncode == 1 and bad[0]["check"] == f"small/{done.id}" and bad[0]["state"] == "problem"


def test_a_resume_refuses_a_log_that_was_changed_and_a_run_json_that_was(runs, small_fashion):
    from ablation.errors import UserError

    _, _, begun = runs
    settings = Settings(gpus=0, data_dir=small_fashion)
    log, about = begun.log.read_text(), begun.run_json.read_text()
    begun.log.write_text(log.replace('"step": 3', '"step": 2'))
    with pytest.raises(UserError, match="damaged log: the records of before the checkpoint"):
        Training(begun, settings, lambda: None, lambda: True).to_the_end()
    begun.log.write_text(log)
    begun.run_json.write_text(about.replace('"python": "3', '"python": "2'))
    with pytest.raises(UserError, match="does not match its own digest"):
        Training(begun, settings, lambda: None, lambda: True)


def test_a_digest_is_of_all_fields_in_any_order():
    fields = with_digest({"b": 1, "a": [1.5, None]})
    check_digest(dict(sorted(fields.items())))
    with pytest.raises(Exception, match="does not match"):
        check_digest({**fields, "b": 2})
