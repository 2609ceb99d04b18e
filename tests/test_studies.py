"""Several studies in one report: each with its own verdict, what differs said, nothing tested across."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from studies import TRUTH, draw, panel_fields, sweep_fields, write_run, write_study, write_sweep

from ablation.errors import UserError
from ablation.sweep import load_sweep
from analysis.collect import collect
from analysis.findings import findings
from analysis.report import main
from analysis.studies import differences, reported, summary_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two studies, `study` and `longer`, whose runs lie in one folder."""
    place = tmp_path_factory.mktemp("studies")
    write_study(place)
    longer = sweep_fields(tuple(TRUTH)[:3], seeds=4, evidence={"margin": 0.5})
    longer["panels"][0]["recipe"] = {"base": "fashion", "epochs": 6, "lr": 0.2}
    sweep = write_sweep(place, longer, "longer")
    for run in sweep.runs():
        write_run(sweep, run, place / "runs", draw(run, TRUTH[run.design.name] - 1, 0.1))
    return place


@pytest.fixture(scope="module")
def made(folder):
    main([folder / "study.yaml", folder / "longer.yaml"], runs=folder / "runs", out=folder / "reports")
    return folder / "reports" / "study+longer"


@pytest.fixture(scope="module")
def both(folder):
    sweeps = [load_sweep(folder / f"{name}.yaml") for name in ("study", "longer")]
    found = [collect(sweep, folder / "runs") for sweep in sweeps]
    return reported([(s, study, findings(s, study)) for s, study in zip(sweeps, found, strict=True)])


def test_one_report_holds_all_studies(made):
    text = (made / "report.md").read_text()
    assert text.startswith("# study and longer, side by side\n\nSweep study: All 15 runs finished.")
    assert text.count("> **Verdict.**") == 2 and "nothing is tested across them" in text
    assert "They differ in seeds, margin, epochs and lr." in text
    figures = {f"{index}_{name}" for index in (1, 2) for name in ("error_vs_cardinality", "contrasts")}
    assert {path.stem for path in made.glob("figures/*")} == figures
    assert {path.name for path in made.glob("tables/*")} == {"summary.csv", "summary.tex", "differences.csv"}
    assert all((made / f"report.{form}").exists() for form in ("pdf", "html")) and (made / "references.bib").exists()


def test_every_arm_has_its_own_studys_verdict(both, made):
    rows = summary_table(both).rows()
    assert [row[0] for row in rows] == ["study"] * 5 + ["longer"] * 3
    expected = {
        c.a: c.verdict for one in both for f in one.found for c in f.comparison.contrasts if one.label == "longer"
    }
    assert {row[2]: row[-1] for row in rows[5:] if row[-1] != "baseline"} == expected
    assert list(pd.read_csv(made / "tables" / "summary.csv")["n"]) == [3] * 5 + [4] * 3


def test_what_differs_is_said_and_what_does_not_is_not(both):
    rows = {row["what"]: row for row in differences(both).to_dict("records")}
    assert {what for what, row in rows.items() if row["differs"]} == {"seeds", "margin", "epochs", "lr"}
    assert (rows["lr"]["study"], rows["lr"]["longer"]) == ("0.4", "0.2")
    assert rows["engine"]["differs"] is False and "momentum" not in rows


def test_studies_of_one_name_and_other_data_are_not_refused(tmp_path):
    for place, dataset in (("a", "fashion_mnist"), ("b", "cifar10")):
        (tmp_path / place).mkdir()
        panel = panel_fields(["resnet11_1x8d", "resnext11_4x3d"], name=place, dataset=dataset)
        write_study(tmp_path / place, {"question": "?", "panels": [panel], "resources": {"gpus": 0}})
    shutil.copytree(tmp_path / "b" / "runs", tmp_path / "a" / "runs", dirs_exist_ok=True)
    paths = [tmp_path / place / "study.yaml" for place in "ab"]
    main(paths, runs=tmp_path / "a" / "runs", out=tmp_path / "out")
    text = (tmp_path / "out" / "study+study" / "report.md").read_text()
    assert "Sweep study (2): All 6 runs finished." in text and "They differ in data" in text


def test_a_study_without_runs_stands_beside_one_that_has_some(folder, tmp_path):
    write_sweep(folder, sweep_fields(tuple(TRUTH)[:2], name="later"), "waiting")
    paths = [folder / "study.yaml", folder / "waiting.yaml"]
    main(paths, runs=folder / "runs", out=tmp_path)
    text = (tmp_path / "study+waiting" / "report.md").read_text()
    assert "Sweep waiting: 0 of 6 runs finished" in text and "no verdict yet" in text
    with pytest.raises(UserError, match="no run of waiting has finished"):
        main([folder / "waiting.yaml"] * 2, runs=folder / "runs", out=tmp_path)


def test_json_has_each_studys_answer(folder, tmp_path, capsys):
    paths = [folder / "study.yaml", folder / "longer.yaml"]
    main(paths, runs=folder / "runs", out=tmp_path, json=True)
    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == ["report", "studies"] and Path(answer["report"]["html"]).exists()
    assert [one["sweep"] for one in answer["studies"]] == ["study", "longer"]
    assert list(answer["studies"][0]) == ["sweep", "verdict", "arms", "contrasts", "missing"]


def test_a_figure_is_of_one_sweep(folder, tmp_path):
    with pytest.raises(UserError, match="--figure draws the runs of one sweep"):
        main([folder / "study.yaml"] * 2, runs=folder / "runs", out=tmp_path, figure="contrasts")
