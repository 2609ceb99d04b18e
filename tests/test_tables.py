"""Tables show what their frames hold."""

import io

import pandas as pd
import pytest
from studies import sweep_fields, write_study, write_sweep

from analysis.collect import collect
from analysis.findings import findings
from analysis.tables import ladder_frame, ladder_table, missing_table, results_frame, results_table, to_csv


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    fields = sweep_fields()
    fields["panels"][0]["arms"][1]["published"] = {"top1_error": 22.2}
    sweep, runs = write_study(tmp_path_factory.mktemp("study"), fields)
    found = collect(sweep, runs)
    return sweep, found, findings(sweep, found)


def test_the_ladder_is_table_2_for_resnet_50(tmp_path):
    from studies import panel_fields

    arms = ["resnet50_1x64d", "resnext50_2x40d", "resnext50_4x24d", "resnext50_8x14d", "resnext50_32x4d"]
    panel = panel_fields(arms, name="depth 50", dataset="imagenet", budget="resnet50", recipe="imagenet-paper")
    sweep = write_sweep(tmp_path, {"question": "?", "panels": [panel]})
    rows = ladder_table(sweep.panels[0]).rows()
    assert [row[2] for row in rows] == ["64", "40", "24", "14", "4"]
    assert rows[-1][4:10] == ["70,144", "+0.7%", "25,028,904", "−2.1%", "4,230,479,872", "+3.5%"]
    assert rows[0][4:] == ["69,632", "0.0%", "25,557,032", "0.0%", "4,089,184,256", "0.0%", "11,114,984", "0.0%"]


def test_group_widths_are_c_times_d_of_every_stage(study):
    widths = dict(ladder_frame(study[0].panels[0])[["arm", "group_width"]].to_numpy())
    assert (widths["resnext11_2x5d"], widths["resnext11_3x4-7-15d"]) == ("10", "12-21-45")


def test_results_show_mean_sd_interval_difference_and_verdict(study):
    _, found, (finding,) = study
    table = results_table(finding, "top1_error", "error")
    titles = [column.title for column in table.columns]
    assert titles[-5:] == ["95% interval", "difference", "p", "verdict", "published, %"]
    by_arm = {row[0]: dict(zip(titles, row, strict=True)) for row in table.rows()}
    own = pd.Series(found.errors("width 8", "resnext11_2x5d"))
    assert by_arm["resnext11_2x5d"]["error, %"] == f"{own.mean():.2f} ± {own.std():.2f}"
    assert by_arm["resnext11_2x5d"]["verdict"] == "improves, if spreads are equal"
    assert by_arm["resnext11_2x5d"]["published, %"] == "22.20"
    assert by_arm["resnet11_1x8d"]["difference"] == "baseline" and by_arm["resnet11_1x8d"]["published, %"] == "–"


def test_no_published_column_where_the_sweep_has_none(tmp_path):
    sweep, runs = write_study(tmp_path)
    (finding,) = findings(sweep, collect(sweep, runs))
    assert "published" not in [c.title for c in results_table(finding, "top1_error", "error").columns][-1]


def test_one_seed_shows_dashes_in_place_of_intervals(tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(seeds=1))
    (finding,) = findings(sweep, collect(sweep, runs))
    row = results_table(finding, "top1_error", "error").rows()[1]
    assert row[7] == "–" and row[9] == "–" and row[10] == "one seed: no verdict" and "±" not in row[6]


def test_csv_keeps_the_plain_numbers(study):
    frame = results_frame(study[2][0], "top1_error")
    again = pd.read_csv(io.StringIO(to_csv(frame)))
    assert list(again["top1_error"]) == list(frame["top1_error"])


def test_the_verdict_can_be_had_from_the_runs_csv_alone(study):
    from statsmodels.stats.multitest import multipletests

    sweep, found, (finding,) = study
    runs = pd.read_csv(io.StringIO(to_csv(found.runs)))
    groups = {arm: rows["top1_error"] for arm, rows in runs.groupby("arm")}
    df = sum(len(g) - 1 for g in groups.values())
    sd = (sum((g - g.mean()).pow(2).sum() for g in groups.values()) / df) ** 0.5
    from scipy import stats

    base = groups[sweep.panels[0].baseline]
    t = {a: (g.mean() - base.mean()) / sd / (1 / len(g) + 1 / len(base)) ** 0.5 for a, g in groups.items()}
    others = [contrast.a for contrast in finding.comparison.contrasts]
    p = multipletests([2 * stats.t.sf(abs(t[arm]), df) for arm in others], method="holm")[1]
    expected = [
        "unresolved" if q > 0.05 else "improves" if t[a] < 0 else "worsens" for a, q in zip(others, p, strict=True)
    ]
    assert [contrast.kind for contrast in finding.comparison.contrasts] == expected


def test_nothing_missing_is_an_empty_table(study):
    assert missing_table(study[1]).rows() == []


def test_counts_beside_blanks_are_whole():
    from analysis.tables import number

    rows = pd.DataFrame({"C": [4, None]}).to_dict("records")
    assert [number("C")(row) for row in rows] == ["4", "–"]


def test_further_evaluations_stand_in_results_and_a_table(tmp_path):
    import json

    from analysis.tables import evaluations_table, tidy

    sweep, runs = write_study(tmp_path)
    (finding,) = findings(sweep, collect(sweep, runs))
    assert evaluations_table(finding, collect(sweep, runs)) is None
    for run in sweep.runs():
        path = sweep.paths(runs, run).result
        result = json.loads(path.read_text())
        result["evaluations"]["320"] = {"top1_error": 5.0 + run.seed, "top5_error": 1.0, "images": 10}
        path.write_text(json.dumps(result))
    study = collect(sweep, runs)
    table = evaluations_table(finding, study)
    assert table.rows()[0] == ["resnet11_1x8d", "6.00 [3.52, 8.48]", "1.00 [1.00, 1.00]"]
    assert set(tidy(sweep, study, [finding])["results"]["top1_error at 320"]) == {6.0}
