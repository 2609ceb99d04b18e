"""The tables alone, and the bundle: its main table made again without torch; the same bytes twice; nobody named."""

import json
import os
import shlex
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from studies import fail_run, panel_fields, sweep_fields, write_run, write_study, write_sweep

from ablation.errors import UserError
from ablation.registration import register
from analysis.report import main

ROOT = Path(__file__).parent.parent
WITHOUT_TORCH = """
import runpy, sys

class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "torchvision", "fvcore"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
sys.argv = ["report", *sys.argv[1:]]
runpy.run_module("analysis.report", run_name="__main__", alter_sys=True)
"""


def pack(folder, name="study.zip", **options):
    main([folder / "study.yaml"], runs=folder / "runs", out=folder / "reports", bundle=folder / name, **options)
    return folder / name


def texts(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def rebuilt(bundle, folder):
    """What the README's own command answers, in a process that can't import torch."""
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    command = next(line for line in (folder / "README.md").read_text().splitlines() if line.startswith("python -m"))
    words = shlex.split(command)[3:]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words, "--json"], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def reported(folder, capsys):
    capsys.readouterr()
    main([folder / "study.yaml"], runs=folder / "runs", out=folder / "reports", json=True)
    return json.loads(capsys.readouterr().out)


def test_csv_writes_the_tables_and_nothing_else(tmp_path, capsys):
    write_study(tmp_path)
    main([tmp_path / "study.yaml"], runs=tmp_path / "runs", out=tmp_path / "out", csv=True)
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert found == [
        f"study/tables/{name}.csv" for name in ("epochs", "ladder", "missing", "results", "runs", "training")
    ]
    assert capsys.readouterr().out.split() == [
        str(tmp_path / f"out/study/tables/{name}.csv")
        for name in ("ladder", "results", "runs", "epochs", "missing", "training")
    ]
    assert len(pd.read_csv(tmp_path / "out/study/tables/epochs.csv")) == 30


@pytest.mark.parametrize("anonymous", [False, True])
def test_the_main_table_can_be_made_again_from_the_bundle_alone(tmp_path, capsys, anonymous):
    fields = sweep_fields(evidence={"margin": 0.3, "contrasts": [["resnext11_2x5d", "resnext11_4x3d"]]})
    fields["panels"].append(panel_fields(["resnext11_4x3d", "resnext11_2x5d"], name="again"))
    fields["panels"][1]["baseline"] = "resnext11_2x5d"  # not the first one
    sweep, runs = write_study(tmp_path, fields, registered=True)
    write_run(sweep, sweep.runs()[0], runs, 12.0, result={"train_loss": float("nan")})
    wanted = reported(tmp_path, capsys)
    found = rebuilt(pack(tmp_path, anonymous=anonymous), tmp_path / "elsewhere")
    by_arm = {(arm["panel"], arm["arm"]): arm for arm in found["arms"]}
    assert [by_arm[arm["panel"], arm["arm"]] for arm in wanted["arms"]] == wanted["arms"]
    by_pair = {(c["panel"], c["a"]): c for c in found["contrasts"]}
    assert [by_pair[c["panel"], c["a"]] for c in wanted["contrasts"]] == wanted["contrasts"]
    assert found["missing"] == wanted["missing"]


def test_looks_and_later_seeds_are_made_again_too(tmp_path, capsys):
    write_study(tmp_path, sweep_fields(seeds=4, evidence={"looks": [2, 4]}), registered=True)
    write_study(tmp_path, sweep_fields(seeds=6, evidence={"looks": [2, 4]}))
    wanted = reported(tmp_path, capsys)
    found = rebuilt(pack(tmp_path), tmp_path / "elsewhere")
    assert [arm["n"] for arm in found["arms"]] == [4] * 5
    assert found["arms"] == wanted["arms"]
    assert [c["low"] for c in found["contrasts"]] == [c["low"] for c in wanted["contrasts"]]


def test_an_interim_study_stays_interim(tmp_path, capsys):
    import shutil

    sweep, runs = write_study(tmp_path)
    shutil.rmtree(sweep.paths(runs, sweep.runs()[7]).folder)
    wanted = reported(tmp_path, capsys)
    found = rebuilt(pack(tmp_path), tmp_path / "elsewhere")
    assert found["contrasts"] == wanted["contrasts"] and "no verdict yet" in found["verdict"]


def test_the_same_study_gives_the_same_bytes(tmp_path):
    write_study(tmp_path)
    assert pack(tmp_path, "1.zip").read_bytes() == pack(tmp_path, "2.zip").read_bytes()


def test_it_holds_sweep_registration_tables_and_how_to_go_on(tmp_path):
    write_study(tmp_path, registered=True)
    found = texts(pack(tmp_path))
    assert sorted(found) == [
        *("README.md", "registration.json", "study.yaml"),
        *(f"tables/{name}.csv" for name in ("epochs", "ladder", "missing", "results", "runs")),
    ]
    assert found["study.yaml"] == (tmp_path / "study.yaml").read_text()
    assert found["registration.json"] == (tmp_path / "runs" / "study" / "registration.json").read_text()
    assert "c0ffee" in found["README.md"] and "All 15 runs finished." in found["README.md"]


def test_what_was_changed_beside_the_file_is_named(tmp_path):
    write_study(tmp_path)
    readme = texts(pack(tmp_path, changes=["seeds=2", "evidence.margin=0.2"]))["README.md"]
    assert "changed by --set seeds=2 --set evidence.margin=0.2." in readme and "--set evidence.margin=0.2\n" in readme


PLANTED = ["alice", "gpu-node17", "/home/alice", "lab.example.org", "alice@lab.example.org", "c0ffee", "secret-remote"]


def plant(folder):
    """A study with names of people, hosts, paths and remotes wherever a bundle could get them from."""
    sweep, runs = write_study(folder, sweep_fields(question="Does it help? (from /home/alice/notes/q.md)"))
    path = folder / "study.yaml"
    path.write_text(f"# by alice@lab.example.org, on gpu-node17\n{path.read_text()}")
    register(sweep, runs)
    registration = runs / "study" / "registration.json"
    fields = json.loads(registration.read_text()) | {"commit": "c0ffee" * 6, "command": "launch /home/alice/s.yaml"}
    registration.write_text(json.dumps(fields | {"remote": "git@secret-remote:alice/x.git"}))
    for run in sweep.runs()[:2]:
        paths = sweep.paths(runs, run)
        paths.result.unlink()
        paths.run_json.unlink()
        fail_run(sweep, run, runs, "gpu-node17: [Errno 13] '/home/alice/data' (alice)")
        attempt = paths.attempts / "0000.json"
        attempt.write_text(
            json.dumps(json.loads(attempt.read_text()) | {"host": "gpu-node17 pid:[1]", "user": "alice"})
        )
    write_run(sweep, sweep.runs()[3], runs, 12.0, execution={"device_name": "GPU of gpu-node17.lab.example.org"})
    return sweep, runs


def test_anonymous_it_names_nobody(tmp_path):
    plant(tmp_path)
    open_, closed = texts(pack(tmp_path, "open.zip")), texts(pack(tmp_path, "closed.zip", anonymous=True))
    assert all(any(name in text for text in open_.values()) for name in PLANTED)
    names = [*PLANTED, str(tmp_path), socket.gethostname()]
    left = [(name, file) for file, text in closed.items() for name in names if name in text or name in file]
    assert left == []
    assert "resnext11_2x5d" in closed["tables/runs.csv"] and "2 failed" in closed["README.md"]


def test_anonymous_a_family_keeps_its_file_s_name_alone(tmp_path):
    from analysis.bundle import _scrubbed

    text = "family: /home/alice/nets/blocks.py:convnext\nsee https://git.example.org/alice/nets and 3/4 or a/b/c"
    assert _scrubbed(text, ["alice"]) == "family: blocks.py:convnext\nsee (left out) and 3/4 or a/b/c"


def test_what_is_written_in_place_of_the_report_is_one_thing(tmp_path):
    write_sweep(tmp_path)
    with pytest.raises(UserError, match="--csv and --bundle: each is written in place of the report"):
        main([tmp_path / "study.yaml"], csv=True, bundle=tmp_path / "x.zip")
    with pytest.raises(UserError, match="--anonymous belongs to --bundle"):
        main([tmp_path / "study.yaml"], anonymous=True)


def test_a_bundle_that_can_not_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    write_study(tmp_path)
    before = pack(tmp_path).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(UserError, match="can't write the bundle: No space left on device"):
            pack(tmp_path)
    assert (tmp_path / "study.zip").read_bytes() == before
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_table_of_results_is_packed_too(tmp_path, capsys):
    table = tmp_path / "mine.csv"
    table.write_text("arm,seed,error\na,0,24.0\na,1,24.2\nb,0,22.0\nb,1,22.3\n")
    main(results=table, out=tmp_path / "reports", json=True)
    wanted = json.loads(capsys.readouterr().out)
    main(results=table, bundle=tmp_path / "mine.zip")
    found = rebuilt(tmp_path / "mine.zip", tmp_path / "elsewhere")
    assert found["arms"] == [arm | {"panel": "runs"} for arm in wanted["arms"]]
