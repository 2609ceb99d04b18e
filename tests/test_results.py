"""Reports of runs that were trained anywhere, from a CSV: the same verdicts, and what such a report lacks."""

import json

import pytest
from scipy import stats
from studies import TRUTH, write_study

from ablation.errors import UserError
from analysis.collect import collect
from analysis.findings import findings
from analysis.outside import read_outside
from analysis.report import main

ERRORS = {"base": [24.0, 24.2, 24.1], "wide": [23.9, 24.1, 24.2], "paths": [22.1, 22.3, 22.0]}
PLAIN = "arm,seed,error\n" + "".join(f"{arm},{seed},{e}\n" for arm, own in ERRORS.items() for seed, e in enumerate(own))


def write(tmp_path, text, name="mine.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def answer(tmp_path, text, capsys, **options):
    """What `report --results --json` prints, and the report's Markdown."""
    main(results=write(tmp_path, text), out=tmp_path / "reports", json=True, **options)
    found = json.loads(capsys.readouterr().out)
    return found, (tmp_path / "reports" / "mine" / "report.md").read_text()


def refused(tmp_path, text, **options):
    """The error, and that nothing was written."""
    with pytest.raises(UserError) as error:
        main(results=write(tmp_path, text), out=tmp_path / "reports", **options)
    assert not (tmp_path / "reports").exists()
    return error.value


def test_estimates_and_verdicts_are_those_of_scipy(tmp_path, capsys):
    found, _ = answer(tmp_path, PLAIN, capsys, margin=0.4)
    for arm in found["arms"]:
        low, high = stats.t.interval(0.95, 2, stats.tmean(ERRORS[arm["arm"]]), stats.sem(ERRORS[arm["arm"]]))
        assert arm["n"] == 3 and arm["top1_error"] == pytest.approx(stats.tmean(ERRORS[arm["arm"]]))
        assert (arm["low"], arm["high"]) == (pytest.approx(low), pytest.approx(high))
    assert [(c["a"], c["b"], c["verdict"].split()[0]) for c in found["contrasts"]] == [
        ("wide", "base", "equivalent"),
        ("paths", "base", "improves"),
    ]


def test_the_same_numbers_give_the_same_verdicts_as_run_folders(tmp_path, capsys):
    sweep, runs = write_study(tmp_path)
    study = collect(sweep, runs)
    rows = "".join(f"{r.arm},{r.seed},{r.top1_error!r}\n" for r in study.runs.itertuples())
    found, _ = answer(tmp_path, "arm,seed,error\n" + rows, capsys)
    (finding,) = findings(sweep, study)
    wanted = [(c.difference, c.low, c.high, c.p_adjusted, c.verdict) for c in finding.comparison.contrasts]
    keys = ("difference", "low", "high", "p_adjusted", "verdict")
    assert [tuple(c[key] for key in keys) for c in found["contrasts"]] == wanted


def test_the_first_paragraph_says_what_is_lacking(tmp_path, capsys):
    _, text = answer(tmp_path, PLAIN, capsys)
    first = text.split("\n\n")[1]
    assert first.startswith("Results mine: all 9 runs finished. They were trained elsewhere")
    assert "no registration" in first and "nor parameters or MACs or times" in first
    for absent in ("epoch", "ladder", "Fashion", "Dataset", "Recipe", "precision", "nan", "None"):
        assert absent not in text.replace("every epoch in tables/epochs.csv", ""), absent
    heads = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert heads == ["Results", "Behind the verdict", "Methods", "How to reproduce"]


FULL = "panel,arm,seed,error,params,macs,seconds,cardinality,published\n" + "".join(
    f"{panel},{arm},{seed},{error + shift},{1000 + c},{2000 - c},{60 + seed},{c},{error}\n"
    for panel, shift in (("one", 0.0), ("two", 0.5))
    for c, (arm, errors) in zip((1, 2, 4), ERRORS.items(), strict=True)
    for seed, error in enumerate(errors)
).replace("24.2\n", "24.0\n")


def test_what_else_is_known_is_shown(tmp_path, capsys):
    lines = [line.rsplit(",", 1)[0] + ("" if i else ",published") for i, line in enumerate(FULL.splitlines())]
    lines[1:] = [line + (",23.9" if ",base," in line else ",") for line in lines[1:]]
    found, text = answer(tmp_path, "\n".join(lines), capsys, question="Do paths help?", name="mine")
    assert [arm["panel"] for arm in found["arms"]] == ["one"] * 3 + ["two"] * 3
    assert found["arms"][0]["published"] == 23.9 and text.startswith("# Do paths help?\n")
    first = text.split("\n\n")[1]
    assert "nor" not in first.split("whether")[0] and "published" in text
    figures = {path.stem for path in (tmp_path / "reports" / "mine" / "figures").glob("*.svg")}
    assert figures == {
        *("contrasts", "error_vs_cardinality", "error_vs_params", "error_vs_macs", "error_vs_time", "ladder_residuals")
    }


def test_a_baseline_can_be_named(tmp_path, capsys):
    found, text = answer(tmp_path, PLAIN, capsys, baseline="paths")
    assert {c["b"] for c in found["contrasts"]} == {"paths"}
    assert "python -m analysis.report --results mine.csv --baseline paths --name mine" in text


def test_a_run_that_diverged_has_failed_and_is_listed(tmp_path, capsys):
    found, text = answer(tmp_path, PLAIN + "paths,3,nan\nwide,3,inf\n", capsys)
    assert [(run["arm"], run["seed"], run["state"]) for run in found["missing"]] == [
        ("paths", 3, "failed"),
        ("wide", 3, "failed"),
    ]
    assert "9 of 11 runs finished; 2 failed" in text.split("\n\n")[1] and "2 runs failed" in found["verdict"]


def test_errors_below_one_are_read_as_percent_and_that_is_said_first(tmp_path, capsys):
    found, text = answer(tmp_path, "arm,seed,error\na,0,0.24\na,1,0.25\nb,0,0.22\nb,1,0.23\n", capsys)
    assert "if they are fractions, multiply them by 100" in text.split("\n\n")[1]
    assert found["arms"][0]["top1_error"] == pytest.approx(0.245)


def test_one_seed_gives_no_verdict(tmp_path, capsys):
    found, text = answer(tmp_path, "arm,seed,error\na,0,24\nb,0,22\n", capsys)
    assert [c["verdict"] for c in found["contrasts"]] == ["one seed: no verdict"] and "one seed" in text


def test_an_arm_with_one_seed_among_others(tmp_path, capsys):
    found, _ = answer(tmp_path, PLAIN + "late,0,23.0\n", capsys)
    assert found["arms"][-1]["n"] == 1 and "1 to 3 seeds an arm" in found["verdict"]


def test_one_arm_has_nothing_to_be_compared_with(tmp_path, capsys):
    found, text = answer(tmp_path, "arm,seed,error\na,0,24\na,1,22\n", capsys)
    assert "a is the only arm, so there is nothing to compare" in found["verdict"] and found["contrasts"] == []
    assert "contrasts.svg" not in text


def test_a_run_that_has_not_finished_makes_it_interim(tmp_path, capsys):
    text = (
        PLAIN.replace("error\n", "error,state\n")
        .replace("\nbase,2,24.1", "\nbase,2,,running")
        .replace("\npaths,0,22.1", "\npaths,0,22.1,done")
    )
    lines = [line if line.count(",") == 3 else f"{line}," for line in text.splitlines()]
    found, _ = answer(tmp_path, "\n".join(lines), capsys)
    assert "no verdict yet" in found["verdict"] and found["missing"][0]["state"] == "running"


def test_seconds_before_a_byte_order_mark_and_spaces_are_fine(tmp_path, capsys):
    found, _ = answer(tmp_path, b"\xef\xbb\xbf" + PLAIN.replace(",", " , ").replace("\n", "\r\n").encode(), capsys)
    assert [arm["arm"] for arm in found["arms"]] == list(ERRORS)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", "mine.csv", "the file is empty"),
        ("arm,seed,error\n", "mine.csv:1", "no rows"),
        ("arm,error\na,1\n", "mine.csv:1", "no column seed"),
        ("arm,seed,top_error\na,1,2\n", "mine.csv:1", "no column error"),
        ("arm;seed;error\na;1;2\n", "mine.csv:1", "no column arm or seed or error"),
        ("arm,seed,error,error\na,0,2,2\n", "mine.csv:1", "stands twice"),
        ("arm,seed,error,parms\na,0,2,3\n", "mine.csv:1", "unknown column 'parms'"),
        ("arm,seed,error\na,0,low\n", "mine.csv:2", "error 'low' is no number"),
        ("arm,seed,error\na,0,22\na,1,\n", "mine.csv:3", "no error"),
        ('arm,seed,error\na,0,"22,5"\n', "mine.csv:2", "is no number"),
        ("arm,seed,error\na,0,22\n\na,0,23\n", "mine.csv:4", "seed 0 of arm 'a' stands twice: first in"),
        ("arm,seed,error\na,0,22,5\n", "mine.csv:2", "4 cells in a table of 3 columns"),
        ("arm,seed,error\na,0.5,22\n", "mine.csv:2", "seed '0.5' is no whole number"),
        ("arm,seed,error\na,-1,22\n", "mine.csv:2", "seed '-1' is no whole number"),
        ("arm,seed,error\na,9999999999999999999999,22\n", "mine.csv:2", "is no whole number"),
        ("arm,seed,error\na,nan,22\n", "mine.csv:2", "seed 'nan' is no whole number"),
        ("arm,seed,error\n,0,22\n", "mine.csv:2", "no arm"),
        ("arm,seed,error\na,0,-2\n", "mine.csv:2", "error -2 is no percentage"),
        ("arm,seed,error\na,0,2200\n", "mine.csv:2", "error 2200 is no percentage"),
        ("arm,seed,error\na,0,nan\na,1,nan\n", "mine.csv", "no run has an error"),
        ("arm,seed,error,params\na,0,22,5\na,1,22,6\n", "mine.csv:3", "params of arm 'a' is 6 here and 5 in"),
        ("arm,seed,error,params\na,0,22,5\na,1,22,\n", "mine.csv:3", "params of arm 'a' is not given here"),
        ("arm,seed,error,params\na,0,22,2.5\n", "mine.csv:2", "params '2.5' is no whole number"),
        ("arm,seed,error,axis\na,0,22,deep\n", "mine.csv:2", "axis 'deep'"),
        ("arm,seed,error,state\na,0,22,won\n", "mine.csv:2", "state 'won'"),
        (b"arm,seed,error\nr\xe9sum\xe9,0,22\n", "mine.csv:2", "not UTF-8: byte 0xe9"),
        (PLAIN.encode("utf-16"), "mine.csv:1", "not UTF-8: byte 0xff"),
        ('arm,seed,error\n"a,0,22\n', "mine.csv:2", "not CSV"),
    ],
)
def test_a_table_that_can_not_be_read_is_one_error_with_its_line(tmp_path, text, where, what):
    error = refused(tmp_path, text)
    assert what in error.message and error.where == str(tmp_path / where)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"baseline": "bse"}, "baseline 'bse' is not an arm"),
        ({"changes": ["evidence.margn=1"]}, "only evidence can be set"),
        ({"changes": ["seeds=2"]}, "only evidence can be set"),
        ({"margin": -1.0}, "margin"),
        ({"name": "../up"}, "no name for a sweep"),
    ],
)
def test_an_option_that_does_not_fit_is_one_error(tmp_path, options, what):
    assert what in refused(tmp_path, PLAIN, **options).message


def test_a_table_and_a_sweep_are_not_mixed(tmp_path):
    with pytest.raises(UserError, match="in place of a sweep"):
        main([tmp_path / "study.yaml"], results=tmp_path / "x.csv")
    with pytest.raises(UserError, match="--margin belongs to --results"):
        main([tmp_path / "study.yaml"], margin=0.2)
    with pytest.raises(UserError, match="no sweep is named"):
        main()


def test_no_such_file_is_one_error(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_outside(tmp_path / "absent.csv")
    with pytest.raises(UserError, match="a folder"):
        read_outside(tmp_path)


def test_arms_are_in_the_order_of_the_file(tmp_path):
    rows = "".join(f"{arm},{seed},12.{seed}\n" for seed in range(2) for arm in TRUTH)
    sweep, study = read_outside(write(tmp_path, "arm,seed,error\n" + rows))
    assert [arm.name for arm in sweep.panels[0].arms] == list(TRUTH) and study.planned == 10
