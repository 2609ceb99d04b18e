"""`plan --seeds`, `--resolve`, `--within`: seeds planned from noise, and what can be paid."""

import json

import numpy as np
import pytest
from studies import sweep_fields, write_run, write_study, write_sweep

from ablation.budget import parse_budget
from ablation.plan.seeds import Seeds, parse_bytes, parse_hours, plan_seeds
from ablation.solver import Timed
from analysis.pilots import noise_of
from analysis.statistics import estimate, pooled_sd, resolvable_difference, sd_range, seeds_needed


class Steady:
    """A clock whose reference takes a second for a batch of 100."""

    def about(self, reference):
        return {"seconds": 1.0, "batch": 100}

    def ratio(self, design, reference, near=None):
        return Timed(1, 1, 1, "law")

    def bounds(self, design, field):
        return None


def test_auto_takes_the_seeds_that_resolve_what_is_asked(plan):
    code, out, _ = plan(
        "--budget", "resnet50", "--cardinality", 1, 2, 4, 8, 32, "--seeds", "auto", "--resolve", 0.2, "--json"
    )
    evidence = json.loads(out)["evidence"]
    assert code == 0
    assert evidence["seeds"] == seeds_needed(0.15, 0.2, arms=5, contrasts=4)
    assert evidence["range"] == [seeds_needed(sd, 0.2, arms=5, contrasts=4) for sd in (0.11, 0.18)]
    assert evidence["runs"] == 5 * evidence["seeds"] and evidence["device_hours"] is None
    assert evidence["resolves"] <= 0.2


def test_a_number_of_seeds_says_what_it_resolves(plan):
    code, out, _ = plan("--budget", "fashion", "--cardinality", 1, 2, "--seeds", 4)
    resolves = resolvable_difference(0.35, 4, 4, 6)
    assert code == 0
    assert f"4 seeds an arm, 8 runs, resolve {resolves:.2g} points" in out
    assert "measured: 2 epochs" in out


def test_pilots_give_their_own_noise(tmp_path):
    _, runs = write_study(tmp_path, sweep_fields(["resnet11_1x8d", "resnext11_4x3d"], seeds=4), sd=0.3)
    sd_found, low, high, _ = noise_of(runs)
    rows = [[float(json.loads((p / "result.json").read_text())["evaluations"]["test"]["top1_error"])
             for p in sorted(runs.glob(f"*/{name}-*"))] for name in ("resnet11_1x8d", "resnext11_4x3d")]  # fmt: skip
    sd, df = pooled_sd({str(i): estimate(row) for i, row in enumerate(rows)})
    assert (sd_found, df) == (pytest.approx(sd), 6)
    assert (low, high) == pytest.approx(sd_range(sd, 6))
    evidence = plan_seeds(Seeds("auto", 0.5, runs, None, None), parse_budget("fashion"), 5, Steady())
    assert evidence["noise"]["sd"] == pytest.approx(sd)
    assert evidence["device_hours"] == pytest.approx(5 * evidence["seeds"] * 60_000 / 100 * 2 / 3600)


def test_two_pilots_with_bits_give_at_least_what_they_disagree_on(tmp_path):
    sweep = write_sweep(tmp_path, sweep_fields(["resnet11_1x8d"], seeds=2))
    right = np.ones((2, 10_000), bool)
    right[0, :1200], right[1, 200:1400] = False, False  # equal errors, 400 images told apart
    for run, row in zip(sweep.runs(), right, strict=True):
        paths = write_run(sweep, run, tmp_path / "runs", 12.0)
        paths.bits("test").write_bytes(np.packbits(row).tobytes())
    sd, _, _, source = noise_of(tmp_path / "runs")
    assert sd == pytest.approx(100 * np.sqrt(0.04 / 20_000))
    assert "disagree at least 0.141" in source


def test_within_says_what_can_be_paid():
    evidence = plan_seeds(Seeds(None, None, None, "10h", "1GB"), parse_budget("fashion"), 5, Steady())
    rows = {(row["scale"], row["epochs"]): row for row in evidence["within"]}
    assert rows[1.0, 2]["hours_a_run"] == pytest.approx(1200 / 3600)
    assert rows[1.0, 2]["seeds"] == 6
    assert rows[1.0, 2]["resolves"] == pytest.approx(resolvable_difference(0.35, 6, 6, 25, contrasts=4))
    assert rows[2.0, 1]["hours_a_run"] == pytest.approx(1200 / 3600)
    small = plan_seeds(Seeds(None, None, None, "10h", "1MB"), parse_budget("fashion"), 5, Steady())
    assert not any(row["fits"] or row["seeds"] for row in small["within"])


def test_times_and_sizes_are_read():
    assert [parse_hours(text) for text in ("60h", "90m", "3d")] == [60, 1.5, 72]
    assert [parse_bytes(text) for text in ("24GB", "80GiB", "512 MB")] == [24 * 10**9, 80 * 2**30, 512 * 10**6]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--seeds", "auto"), "--seeds auto needs a difference"),
        (("--seeds", "auto", "--resolve", "-1"), "must be above 0"),
        (("--seeds", "one"), "must be auto or a whole number"),
        (("--seeds", "1"), "must be auto or a whole number"),
        (("--within", "60h"), "--within needs times"),
        (("--within", "soon", "--times", "here"), "is no time"),
        (("--memory", "24GB"), "--memory says what fits with --within"),
        (("--pilots", "runs"), "--pilots tells noise to plan with"),
        (("--seeds", "3", "--resolve", "0.2"), "that --seeds already says"),
        (("--within", "60h", "--seeds", "3", "--times", "here"), "--seeds can't go with --within"),
        (("--space", "--seeds", "3"), "--seeds can't go with --space"),
        (("--seeds", "3", "--cardinality", "1"), "nothing to be compared with"),
        (("--seeds", "3", "--pilots", "nowhere"), "no two finished runs"),
    ],
)
def test_what_makes_no_sense_is_one_plain_error(plan, options, says):
    code, out, err = plan("--budget", "fashion", *options)
    assert (code, out) == (2, "")
    assert says in err and "Traceback" not in err
