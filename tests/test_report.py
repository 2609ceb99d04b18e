"""The report: complete, the same bytes twice, all of it or none, and one plain error where there can be none."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from studies import TRUTH, fail_run, sweep_fields, write_run, write_study, write_sweep

from ablation.errors import UserError
from analysis.figures import FIGURES
from analysis.markdown import escape, pipe_table
from analysis.report import main

ROOT = Path(__file__).parent.parent
HERE = set(FIGURES) - {"error_by_arm", "error_distributions", "class_differences"}
"""Figures that the study's runs have something for."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    write_study(folder)
    return folder


@pytest.fixture(scope="module")
def made(finished):
    return make(finished, "reports")


def make(folder, out, **options):
    """A report as the command makes it; its folder."""
    main([folder / "study.yaml"], runs=folder / "runs", out=folder / out, **options)
    return folder / out / "study"


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_leaves_what_it_promises(made):
    assert set(files(made)) == {
        *(f"figures/{name}.{form}" for name in HERE for form in ("svg", "png")),
        *("references.bib", "report.html", "report.md", "report.pdf"),
        *(f"tables/{name}.csv" for name in ("epochs", "ladder", "missing", "results", "runs", "training")),
        "tables/results.tex",
    }
    assert sorted(path.name for path in made.parent.iterdir()) == ["study"]


def test_made_again_by_another_process_it_has_the_same_bytes(finished, made):
    command = [sys.executable, "-m", "analysis.report", str(finished / "study.yaml"), "--out", "again"]
    env = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=finished, env=env, check=True, capture_output=True)
    first, again = files(made), files(finished / "again" / "study")
    assert [name for name in first if first[name] != again[name]] == [] and len(first) == len(again)


def test_markdown_holds_every_part_of_a_report(made):
    text = (made / "report.md").read_text()
    assert text.startswith(
        "# At one budget, does error fall as cardinality grows?\n\nSweep study: all 15 runs finished."
    )
    heads = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    parts = ["Results", "Behind the verdict", "The ladder", "Training", "Error against cost"]
    assert heads == [*parts, "Methods", "How to reproduce"]
    for part in (
        "> **Verdict.** Fashion-MNIST, test top-1 error over 10,000 images, budget fashion",
        "![Figure 1](figures/error_vs_cardinality.svg)",
        "trained on 60,000 images, evaluated on exactly 10,000 after the last epoch",
        "- **Recipe fashion**: epochs 2; batch 128",
        "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff",
        "torch 2.14.1",
        "python -m ablation.launch sweeps/study.yaml",
    ):
        assert part in text, part


def test_every_figure_of_the_markdown_is_there(made):
    named = [line.split("](")[1][:-1] for line in (made / "report.md").read_text().splitlines() if line[:2] == "!["]
    assert len(named) == len(HERE) and all((made / name).is_file() for name in named)


def test_no_path_of_this_machine_is_in_it(finished, made):
    found = [name for name, content in files(made).items() if str(finished).encode() in content or b"/tmp" in content]
    assert found == []


def test_json_is_the_contract(finished, capsys):
    make(finished, "json", json=True)
    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == ["report", "verdict", "arms", "contrasts", "missing"]
    assert list(answer["report"]) == ["markdown", "pdf", "html"]
    assert Path(answer["report"]["html"]).read_text().startswith("<!doctype html>")
    assert Path(answer["report"]["pdf"]).read_bytes().startswith(b"%PDF")
    arms = ["panel", "arm", "n", "top1_error", "sd", "low", "high", "published"]
    assert [list(arm) for arm in answer["arms"]] == [arms] * 5
    assert [arm["arm"] for arm in answer["arms"]] == list(TRUTH)
    contrasts = ["panel", "a", "b", "difference", "low", "high", "p_adjusted", "verdict"]
    assert [list(contrast) for contrast in answer["contrasts"]] == [contrasts] * 4
    assert answer["missing"] == []


def test_the_terminal_gets_verdict_results_and_paths(finished, made, capsys):
    make(finished, "reports")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Fashion-MNIST, ") and len(lines) == 12
    assert lines[2].split()[:3] == ["arm", "n", "error,"]
    assert lines[-3:] == [str(made / f"report.{form}") for form in ("md", "pdf", "html")]


def test_one_figure_is_drawn_alone_as_wide_as_a_paper_wants_it(finished, tmp_path, capsys):
    def drawn(**options):
        main([finished / "study.yaml"], runs=finished / "runs", out=tmp_path, figure="contrasts", **options)
        return capsys.readouterr().out.split()

    folder = tmp_path / "study" / "figures"
    assert drawn() == [str(folder / "contrasts.svg"), str(folder / "contrasts.png")]
    wide = json.loads("".join(drawn(columns=2, json=True)))["figure"]["svg"]
    assert 'width="496.8pt"' in Path(wide).read_text() and 'width="241.2pt"' in (folder / "contrasts.svg").read_text()
    assert sorted(path.name for path in folder.parent.rglob("*.png")) == ["contrasts.png", "contrasts_2col.png"]


def test_a_figure_that_is_not_there_is_an_error_with_the_names(finished, tmp_path):
    with pytest.raises(UserError, match="no figure 'error_vs_flops'") as error:
        main([finished / "study.yaml"], runs=finished / "runs", out=tmp_path, figure="error_vs_flops")
    assert "error_vs_macs, " in error.value.remedy and not any(tmp_path.iterdir())
    with pytest.raises(UserError, match="--columns is the width of one figure"):
        main([finished / "study.yaml"], columns=2)


def test_figures_come_as_pixels_too_200_to_an_inch(made):
    from matplotlib.image import imread

    assert imread(made / "figures" / "contrasts.png").shape[1] == 670  # 3.35 inches


def test_one_seed_is_reported_without_a_verdict(tmp_path, capsys):
    write_study(tmp_path, sweep_fields(seeds=1))
    make(tmp_path, "reports", json=True)
    answer = json.loads(capsys.readouterr().out)
    assert {contrast["verdict"] for contrast in answer["contrasts"]} == {"one seed: no verdict"}
    assert answer["arms"][0]["low"] is None and answer["contrasts"][0]["p_adjusted"] is None


def test_a_half_finished_sweep_says_so_first_and_lists_what_is_missing(tmp_path):
    sweep, runs = write_study(tmp_path)
    for run in sweep.runs()[8:]:
        shutil.rmtree(sweep.paths(runs, run).folder)
    fail_run(sweep, sweep.runs()[8], runs, "No space left on device")
    write_run(sweep, sweep.runs()[0], runs, 90.0, evaluation={"loss": float("nan")})
    text = (make(tmp_path, "reports") / "report.md").read_text()
    first = text.split("\n\n")[1]
    assert first.startswith("Sweep study: 7 of 15 runs finished; 2 failed and 6 missing")
    assert "## What is missing" in text and "No space left on device" in text and "diverged: loss is nan" in text


def test_other_files_stay_and_old_figures_go(finished):
    folder = make(finished, "kept")
    (folder / "notes.md").write_text("mine")
    (folder / "figures" / "old.svg").write_text("")
    make(finished, "kept")
    assert (folder / "notes.md").read_text() == "mine" and not (folder / "figures" / "old.svg").exists()


def test_nothing_is_written_where_no_run_finished(tmp_path):
    write_sweep(tmp_path)
    with pytest.raises(UserError, match="no run of study has finished: 15 to do, 0 failed") as error:
        make(tmp_path, "reports")
    assert "ablation.launch" in error.value.remedy and not (tmp_path / "reports").exists()


def test_where_every_run_failed_the_first_message_is_said(tmp_path):
    sweep = write_sweep(tmp_path)
    for run in sweep.runs():
        fail_run(sweep, run, tmp_path / "runs", "out of memory")
    with pytest.raises(UserError, match=r"15 failed, the first \(resnet11_1x8d, seed 0\) with: out of memory"):
        make(tmp_path, "reports")


def test_no_typst_is_one_plain_error_and_leaves_the_old_report(finished, monkeypatch):
    folder = make(finished, "without")
    before = files(folder.parent)
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(UserError, match="typst is not installed") as error:
        make(finished, "without")
    assert "pip install typst" in error.value.remedy and files(folder.parent) == before


def test_a_full_disk_is_one_plain_error_and_leaves_nothing(finished, monkeypatch):
    def full(self, *_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(UserError, match="No space left on device"):
            make(finished, "full")
    assert files(finished / "full") == {}


def test_a_file_in_place_of_the_reports_folder_is_one_plain_error(finished):
    (finished / "taken").write_text("")
    with pytest.raises(UserError, match="can't write reports"):
        make(finished, "taken")


def test_the_command_ends_with_2_and_one_line_for_a_mistake(tmp_path):
    write_sweep(tmp_path)
    command = [sys.executable, "-m", "analysis.report", "study.yaml"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: no run of study has finished")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("plain", "markdown"),
    [
        ("resnext11_3x4-7-15d", "resnext11_3x4-7-15d"),
        ("<b>a|b</b> *x* _y_", r"\<b>a\|b\</b> \*x\* \_y\_"),
        ("p <0.001 in [1, 2]", "p <0.001 in [1, 2]"),
        ("[text](link)", r"[text\](link)"),
        ("1. first\n# head", r"1\. first # head"),
        ("0.5 points", "0.5 points"),
    ],
)
def test_markdown_shows_text_as_it_is(plain, markdown):
    assert escape(plain) == markdown


def test_pipe_tables_align_numbers_right():
    assert pipe_table(["arm", "C"], [True, False], [["a", "1"]]) == "| arm | C |\n| :-- | --: |\n| a | 1 |"
