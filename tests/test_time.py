"""Ladders that cost the same wall-clock: the search, the stopwatch, the times that runs recorded, the command."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from studies import seconds_of, sweep_fields, write_run, write_sweep

from ablation import stopwatch
from ablation.budget import parse_budget
from ablation.cost import cost
from ablation.design import design_from_name
from ablation.errors import UserError
from ablation.family import cost_of, load_family
from ablation.family.search import solve_family
from ablation.plan.families import family_budget
from ablation.solver import Rule, Timed, prove, solve, solve_ladder, spread
from ablation.stopwatch import Stopwatch
from ablation.timings import Recorded, read_timings


class Law:
    """A clock that knows a formula in place of measuring."""

    def __init__(self, seconds):
        self.seconds, self.asked = seconds, []

    def ratio(self, design, reference, near=None):
        self.asked.append(design)
        value = self.seconds(design) / self.seconds(reference)
        return Timed(value, value, value, "law")

    def bounds(self, design, field):
        return None

    def about(self, reference):
        return {"seconds": self.seconds(reference)}


def miss(clock: Law, budget, design) -> float:
    return abs(clock.seconds(design) / clock.seconds(budget.of) / budget.scale - 1)


@given(st.integers(1, 24), st.floats(0.3, 3), st.floats(0, 5e3), st.floats(0.5, 1.5))
@settings(max_examples=200, deadline=None)
def test_the_width_is_the_nearest_in_time_of_all(paths, scale, overhead, power):
    budget = parse_budget(f"{scale:.3f}*fashion")
    clock = Law(lambda design: overhead * design.cardinality + cost(design).macs ** power)
    row = solve(budget, paths, "time", clock=clock)
    base = replace(budget.base, cardinality=paths)
    best = min(range(1, 300), key=lambda d: (miss(clock, budget, base.with_width(d)), d))
    assert miss(clock, budget, row.design) == miss(clock, budget, base.with_width(best))
    assert row.admissible == (miss(clock, budget, row.design) <= 0.05)


@given(st.integers(1, 30), st.floats(0.3, 3))
@settings(max_examples=100, deadline=None)
def test_along_groups_the_cardinality_is_the_nearest_in_time(width, scale):
    budget = parse_budget(f"{scale:.3f}*fashion")
    clock = Law(lambda design: cost(design).macs + 1e4 * design.cardinality)
    (row,) = solve_ladder(budget, "groups", widths=[width], match="time", clock=clock)
    best = min(range(1, 400), key=lambda c: miss(clock, budget, replace(budget.base, cardinality=c).with_width(width)))
    assert row.design.cardinality == best


def test_where_time_does_not_grow_the_answer_is_the_nearest_of_all_that_were_timed():
    clock = Law(lambda design: 50 if design.widths[0] == 8 else 100 - design.widths[0])
    budget = parse_budget("fashion")
    row = solve(budget, 1, "time", clock=clock)
    assert row.design.widths[0] == 8
    assert miss(clock, budget, row.design) == min(miss(clock, budget, design) for design in clock.asked)


def test_a_row_its_proof_and_the_spread_hold_the_time():
    clock = Law(lambda design: cost(design).macs)
    rows = solve_ladder("resnet50", cardinalities=[1, 32], clock=clock)
    assert [row.error("time") for row in rows] == pytest.approx([row.macs_error for row in rows])
    assert spread(rows, 32)["time"] == pytest.approx(spread(rows, 32)["macs"])
    proof = prove(Rule.of(rows[1].budget, clock=clock), rows[1], frozenset({"cardinality"}))
    assert proof.errors["time"] == pytest.approx(proof.errors["macs"])
    assert [pick.errors["time"] for pick in proof.neighbours] == pytest.approx(
        [pick.errors["macs"] for pick in proof.neighbours]
    )


def test_times_of_a_multiple_are_held_against_that_multiple():
    clock = Law(lambda design: cost(design).macs)
    (row,) = solve_ladder("2*resnet101", "width", clock=clock, match="time")
    assert row.error("time") == pytest.approx(row.macs_error)
    assert row.time.ratio == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("budget", "axis", "clock", "says"),
    [
        ("fashion", "cardinality", None, "needs a clock"),
        ("params=34k,macs=1.2M,base=fashion", "cardinality", Law(lambda design: 1), "is numbers"),
        ("resnet18,base=resnet50", "cardinality", Law(lambda design: 1), "is numbers"),
        ("fashion", "depth", Law(lambda design: 1), "split by a formula"),
    ],
)
def test_what_time_can_not_match_is_refused(budget, axis, clock, says):
    with pytest.raises(UserError, match=says):
        solve_ladder(budget, axis, cardinalities=[2] if axis == "cardinality" else None, match="time", clock=clock)


def test_the_range_of_nine_repeats_leaves_out_the_extremes():
    assert Timed.of([9, 1, 2, 3, 4, 5, 6, 7, 8], "x") == Timed(5, 2, 8, "x")
    assert Timed.of([3, 1], "x") == Timed(2, 1, 3, "x")


@pytest.fixture
def weighed(monkeypatch):
    """A world in which a step takes as long as its network has parameters; the networks that stepped."""
    clock, stepped = [0.0], []

    def step(network, optimiser, execution, batch, smoothing):
        stepped.append(sum(parameter.numel() for parameter in network.parameters()))
        clock[0] += stepped[-1]

    monkeypatch.setattr(stopwatch, "step", step)
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: clock[0])
    return stepped


def test_a_stopwatch_times_turn_and_turn_about(weighed):
    own, other = design_from_name("resnext11_4x3d"), design_from_name("resnet11_1x8d")
    timed = Stopwatch(batch=2).ratio(own, other)
    assert timed.ratio == timed.low == timed.high == pytest.approx(32_782 / 33_930)
    warm_up = [33_930, 32_782, 33_930, 33_930]
    pairs = [[32_782, 33_930], [33_930, 32_782]] * 5
    assert weighed == warm_up + [params for pair in pairs[:9] for params in pair]


def test_what_is_far_off_is_timed_three_times_and_again_only_when_asked_exactly(weighed):
    own, other = design_from_name("resnext11_4x8d"), design_from_name("resnet11_1x8d")
    watch = Stopwatch(batch=2)
    assert watch.ratio(own, other, near=1.0).how == "3 pairs of timings"
    assert watch.ratio(own, other).how == "9 pairs of timings"
    count = len(weighed)
    assert watch.ratio(own, other, near=1.0).how == "9 pairs of timings"
    assert watch.ratio(other, other) == Timed(1, 1, 1, "the reference")
    assert len(weighed) == count


def test_a_stopwatch_trains_real_networks():
    watch = Stopwatch(batch=4, precision="fp32", threads=1)
    reference = design_from_name("resnet11_1x8d")
    row = solve("fashion", 4, clock=watch)
    assert row.time.ratio > 0 and row.time.low <= row.time.ratio <= row.time.high
    assert watch.about(reference)["seconds"] > 0
    timer = stopwatch.Timer(reference, watch.execution, 4)
    before = timer.network.fc.weight.detach().clone()
    timer.seconds(1)
    assert not before.equal(timer.network.fc.weight)


SECONDS = {"resnet11_1x8d": 1.0, "resnext11_4x2d": 0.9, "resnext11_4x4d": 1.3, "resnext11_8x1d": 0.99}


@pytest.fixture
def recorded(tmp_path):
    """A folder of runs, two seeds a design, whose steps of 128 images took `SECONDS` (seed 1: 2% longer)."""
    sweep = write_sweep(tmp_path, sweep_fields(list(SECONDS), seeds=2))
    for run in sweep.runs():
        paths = write_run(sweep, run, tmp_path / "runs", 12.0)
        records = [json.loads(line) for line in paths.log.read_text().splitlines()]
        for record in records:
            record["images_per_second"] = 128 / (SECONDS[run.design.name] * (1 + 0.02 * run.seed))
        paths.log.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert seconds_of(sweep.runs()[0]) > 0
    return tmp_path / "runs"


def in_fashion(name: str):
    return replace(design_from_name(name), classes=10, resolution=28, channels=1)


def test_recorded_times_are_compared_and_interpolated(recorded):
    reference = in_fashion("resnet11_1x8d")
    clock = Recorded(read_timings(recorded), reference)
    measured = clock.ratio(in_fashion("resnext11_4x2d"), reference)
    assert (measured.ratio, measured.how) == (pytest.approx(0.9), "2 runs")
    assert (measured.low, measured.high) == (pytest.approx(0.9 / 1.01), pytest.approx(0.918 / 1.01))
    between = clock.ratio(in_fashion("resnext11_4x3d"), reference)
    assert (between.ratio, between.how) == (pytest.approx(1.1), "between d=2 and d=4")
    assert clock.bounds(in_fashion("resnext11_4x9d"), "width") == (2, 4)
    assert clock.about(reference)["seconds"] == pytest.approx(1.01)


def test_a_time_that_no_run_tells_is_refused(recorded):
    clock = Recorded(read_timings(recorded), in_fashion("resnet11_1x8d"))
    with pytest.raises(UserError, match="no run of the runs tells the time of resnext11_4x5d"):
        clock.ratio(in_fashion("resnext11_4x5d"), in_fashion("resnet11_1x8d"))
    with pytest.raises(UserError, match="no run of the runs was like"):
        solve("fashion", 16, "time", clock=clock)


def test_times_of_two_machines_are_not_compared(recorded):
    timings = read_timings(recorded)
    other = [replace(timing, kind=replace(timing.kind, device="another")) for timing in timings]
    with pytest.raises(UserError, match="of several kinds"):
        Recorded([*timings, *other], in_fashion("resnet11_1x8d"))
    with pytest.raises(UserError, match="has no run of resnext11_4x3d"):
        Recorded(timings, in_fashion("resnext11_4x3d"))


def test_plan_matches_recorded_times(plan, recorded):
    options = ("--budget", "fashion", "--cardinality", 1, 4, 8, "--match", "time", "--times", recorded)
    code, out, _ = plan(*options, "--json")
    answer = json.loads(out)
    rows = [(row["name"], round(row["time"]["error"], 3), row["time"]["how"]) for row in answer["designs"]]
    assert code == 0
    assert rows == [
        ("resnet11_1x8d", 0.0, "2 runs"),
        ("resnext11_4x2d", -0.1, "2 runs"),
        ("resnext11_8x1d", -0.01, "2 runs"),
    ]
    assert [row["admissible"] for row in answer["designs"]] == [True, False, True]
    assert answer["time"]["device"] == "Example CPU, 2 cores"
    code, out, _ = plan(*options)
    assert "resnext11_8x1d: 0.990" in out and "Example CPU, 2 cores, float32, threads: 1, batch 128" in out


def test_plan_shows_recorded_times_beside_another_match(plan, recorded):
    code, out, _ = plan("--budget", "fashion", "--tight", "5%", "--cardinality", 1, 3, "--times", recorded, "--json")
    times = [row["time"] for row in json.loads(out)["designs"]]
    assert code == 0
    assert times[0]["error"] == 0 and times[1] is None  # no run had its widths


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--precision", "bf16"), "are of times measured here"),
        (("--times", "here", "--precision", "int8"), "unknown precision"),
        (("--times", "nowhere"), "no such folder of runs"),
        (("--budget", "params=25M", "--match", "time"), "the budget's own design"),
    ],
)
def test_what_makes_no_sense_is_one_plain_error(plan, options, says):
    code, out, err = plan(*options)
    assert (code, out) == (2, "")
    assert says in err and "Traceback" not in err


MLP = "docs/examples/mlp.py:mlp"


def test_a_family_is_matched_in_time_as_in_cost():
    family = load_family(MLP)
    clock = Law(lambda design: cost_of(design).macs)
    goal, size = family_budget(family, "width=64,ratio=2", {})
    row = solve_family(family, goal, {"ratio": 4}, "time", 0.2, size, clock=clock)
    by_macs = solve_family(family, goal, {"ratio": 4}, "macs", 0.2, size)
    assert row.design == by_macs.design
    assert row.error("time") == pytest.approx(by_macs.error("macs"))
    assert by_macs.time is None and by_macs.error("time") is None


def test_plan_times_a_family_here(plan):
    code, out, _ = plan(
        "--family", MLP, "--axis", "ratio=2", "--budget", "width=64,ratio=2", "--times", "here", "--json"
    )
    answer = json.loads(out)
    assert code == 0
    assert answer["designs"][0]["time"] == {"ratio": 1.0, "low": 1.0, "high": 1.0, "how": "the reference", "error": 0.0}
    assert answer["time"]["seconds"] > 0


def test_a_family_in_numbers_has_no_time(plan):
    code, _, err = plan("--family", MLP, "--axis", "ratio=2", "--budget", "params=90k", "--match", "time")
    assert code == 2 and "the budget's own design" in err
