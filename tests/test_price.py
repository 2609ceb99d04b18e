"""What a launch will cost, by hand and by `price`."""

import json

import pytest
from studies import panel_fields, start_run, sweep_fields, write_run, write_sweep

from ablation.errors import UserError
from ablation.price import UNKNOWN, check_limit, duration, price

ARMS = ("resnet11_1x8d", "resnext11_4x3d")
FP32 = {"dtype": "fp32"}


@pytest.fixture
def sweep(tmp_path):
    """Two arms, three seeds, two epochs each, on one CPU thread, two runs at a time."""
    return write_sweep(tmp_path, sweep_fields(ARMS, resources={"gpus": 0, "parallel": 2}))


def finish(sweep, run, runs, seconds, **execution):
    return write_run(sweep, run, runs, 12.0, execution=FP32 | execution, result={"seconds": seconds})


def ids(sweep):
    return [run.id for run in sweep.runs()]


def of(sweep, arm, seed):
    return next(run for run in sweep.runs() if (run.arm, run.seed) == (arm, seed))


def how(cost):
    return [(arm.arm, arm.how) for arm in cost.arms]


def test_nothing_measured_is_unknown_and_said_so(sweep, tmp_path):
    cost = price(sweep, tmp_path / "runs", ids(sweep))
    assert cost.total is None and cost.wall_hours is None
    assert set(cost.runs.values()) == {None}
    assert how(cost) == [(arm, UNKNOWN) for arm in ARMS]
    assert UNKNOWN in cost.line()


def test_the_price_is_that_of_finished_runs_of_the_same_arm(sweep, tmp_path):
    runs = tmp_path / "runs"
    finish(sweep, of(sweep, ARMS[0], 0), runs, 3600)
    finish(sweep, of(sweep, ARMS[1], 0), runs, 7200)
    todo = [run.id for run in sweep.runs() if run.seed > 0]
    cost = price(sweep, runs, todo)
    assert [(arm.runs, arm.hours, arm.gpu_hours) for arm in cost.arms] == [(2, 1.0, 2.0), (2, 2.0, 4.0)]
    assert cost.total == 6.0 and cost.unit == "CPU-hours"
    assert cost.wall_hours == 4.0  # two workers: 1 + 1 + 2 and 2 hours
    assert how(cost) == [(arm, "1 finished run") for arm in ARMS]
    assert cost.runs[of(sweep, ARMS[1], 2).id] == 2.0


def test_threads_and_gpus_multiply_the_hours(tmp_path):
    fields = sweep_fields(ARMS[:1], resources={"gpus": 0, "threads": 4})
    sweep = write_sweep(tmp_path, fields)
    finish(sweep, sweep.runs()[0], tmp_path / "runs", 3600, threads=4)
    assert price(sweep, tmp_path / "runs", ids(sweep)[1:]).total == 8.0
    on_gpu = write_sweep(tmp_path, sweep_fields(ARMS[:1], resources={"gpus": 1}), "other")
    finish(on_gpu, on_gpu.runs()[0], tmp_path / "runs", 1800, device="cuda", device_name="H100")
    cost = price(on_gpu, tmp_path / "runs", ids(on_gpu)[1:])
    assert (cost.total, cost.unit, cost.arms[0].device) == (1.0, "GPU-hours", "H100")


def test_what_was_measured_on_other_threads_or_precision_or_a_gpu_does_not_count(sweep, tmp_path):
    runs = tmp_path / "runs"
    finish(sweep, of(sweep, ARMS[0], 0), runs, 3600, threads=2)
    finish(sweep, of(sweep, ARMS[0], 1), runs, 3600, dtype="bf16")
    finish(sweep, of(sweep, ARMS[0], 2), runs, 3600, device="cuda", device_name="H100")
    assert price(sweep, runs, [of(sweep, ARMS[0], 2).id]).total is None


def test_epochs_that_are_done_cost_nothing_again(sweep, tmp_path):
    runs = tmp_path / "runs"
    finish(sweep, of(sweep, ARMS[0], 0), runs, 3600)
    half = finish(sweep, of(sweep, ARMS[0], 1), runs, 1)
    half.result.unlink()
    half.log.write_text(half.log.read_text().splitlines(keepends=True)[0] + '{"kind": "ep')
    assert price(sweep, runs, [half.id]).total == 1.0, "without its checkpoint it starts again"
    half.checkpoint.touch()
    assert price(sweep, runs, [half.id]).total == 0.5


def test_a_run_under_way_tells_the_price_of_its_arm(sweep, tmp_path):
    runs = tmp_path / "runs"
    under_way = finish(sweep, of(sweep, ARMS[0], 0), runs, 1)
    under_way.result.unlink()
    seconds = [json.loads(line)["seconds"] for line in under_way.log.read_text().splitlines()]
    cost = price(sweep, runs, [of(sweep, ARMS[0], 1).id])
    assert cost.total == pytest.approx(sum(seconds) / 3600)
    assert cost.arms[0].how == "1 run under way"


def test_another_sweeps_run_of_the_design_is_scaled_to_these_epochs_and_images(sweep, tmp_path):
    runs, longer = tmp_path / "runs", {"base": "fashion", "epochs": 10}
    other = write_sweep(tmp_path, sweep_fields(ARMS[:1], resources={"gpus": 0}), "other")
    paths = finish(other, other.runs()[0], runs, 100)
    records = [json.loads(line) for line in paths.log.read_text().splitlines()]
    for record in records:  # 468 steps of 128 at 1024 images/s: 58.5 s; then 10,000 test images in 1.5 s
        record |= {"images_per_second": 1024.0, "seconds": 60.0}
    paths.log.write_text("".join(json.dumps(record) + "\n" for record in records))
    fields = sweep_fields(resources={"gpus": 0})
    fields["panels"] = [panel_fields(ARMS[:1], name="long", recipe=longer)]
    long = write_sweep(tmp_path, fields, "long")
    cost = price(long, runs, ids(long)[:1])
    assert cost.total == pytest.approx(10 * 60 / 3600)
    assert how(cost) == [(ARMS[0], "1 run of this design")]


def test_a_folder_of_unknown_size_is_said_to_be_so(tmp_path):
    folder = {"name": "folder", "path": "birds", "classes": 10, "resolution": 224}
    fields = {
        **sweep_fields(),
        "panels": [
            panel_fields(["resnet50_1x64d"], name="birds", dataset=folder, budget="resnet50", recipe="imagenet-paper")
        ],
    }
    sweep = write_sweep(tmp_path, fields)
    assert how(price(sweep, tmp_path / "runs", ids(sweep), throughput=100.0)) == [
        ("resnet50_1x64d", "unknown: no run has told yet how many images folder has")
    ]


def test_the_same_run_in_another_sweep_tells_the_price(sweep, tmp_path):
    other = write_sweep(tmp_path, sweep_fields(ARMS[:1], resources={"gpus": 0}), "other")
    paths = finish(other, other.runs()[0], tmp_path / "runs", 100)
    assert paths.id == of(sweep, ARMS[0], 0).id
    assert price(sweep, tmp_path / "runs", [paths.id]).arms[0].how == "1 run of this design"


def test_a_stated_throughput_is_an_assumption_scaled_by_macs(sweep, tmp_path):
    cost = price(sweep, tmp_path / "runs", ids(sweep), throughput=1000.0)
    macs = {arm.name: arm.cost.macs for arm in sweep.panels[0].arms}
    seconds = 2 * (468 * 128 / 1000 + 10_000 / 3 / 1000)
    expected = [seconds / 3600, seconds / 3600 * macs[ARMS[1]] / macs[ARMS[0]]]
    assert [arm.hours for arm in cost.arms] == pytest.approx(expected)
    assert all(arm.how.startswith("assumed: 1000 images/s") for arm in cost.arms)
    stated = price(sweep, tmp_path / "runs", ids(sweep), throughput={ARMS[0]: 500.0})
    assert stated.arms[0].hours == pytest.approx(2 * expected[0]) and stated.unknown == [ARMS[1]]


def test_what_was_measured_goes_before_what_is_stated(sweep, tmp_path):
    finish(sweep, of(sweep, ARMS[0], 0), tmp_path / "runs", 3600)
    cost = price(sweep, tmp_path / "runs", ids(sweep)[2:], throughput=1.0)
    assert cost.arms[0].hours == 1.0


def test_one_device_prices_all_arms_where_it_can(sweep, tmp_path):
    runs = tmp_path / "runs"
    finish(sweep, of(sweep, ARMS[0], 0), runs, 1800, device_name="fast")
    finish(sweep, of(sweep, ARMS[0], 1), runs, 3600, device_name="slow")
    finish(sweep, of(sweep, ARMS[1], 1), runs, 3600, device_name="slow")
    cost = price(sweep, runs, [run.id for run in sweep.runs() if run.seed == 2])
    assert [(arm.hours, arm.device) for arm in cost.arms] == [(1.0, "slow"), (1.0, "slow")]


def test_a_sweep_that_leaves_the_device_open_is_priced_on_the_one_that_was_measured(tmp_path):
    sweep = write_sweep(tmp_path, sweep_fields(ARMS[:1], resources={}))
    finish(sweep, sweep.runs()[0], tmp_path / "runs", 3600, device="cuda", device_name="H100")
    assert price(sweep, tmp_path / "runs", ids(sweep)[1:]).unit == "GPU-hours"
    other = write_sweep(tmp_path, sweep_fields(ARMS[1:], resources={}), "other")
    finish(other, other.runs()[0], tmp_path / "runs", 3600)
    assert price(other, tmp_path / "runs", ids(other)[1:]).unit == "CPU-hours"


def test_a_run_of_two_panels_is_paid_once(tmp_path):
    fields = sweep_fields(ARMS[:1], resources={"gpus": 0})
    fields["panels"].append(panel_fields(ARMS, name="again"))
    sweep = write_sweep(tmp_path, fields)
    cost = price(sweep, tmp_path / "runs", ids(sweep), throughput={ARMS[0]: 100.0, ARMS[1]: 100.0})
    assert [(arm.panel, arm.arm, arm.runs) for arm in cost.arms] == [("width 8", ARMS[0], 3), ("again", ARMS[1], 3)]
    assert len(cost.runs) == 6


def test_a_limit_refuses_what_costs_more_and_what_is_not_known(sweep, tmp_path):
    runs = tmp_path / "runs"
    finish(sweep, of(sweep, ARMS[0], 0), runs, 3600)
    with pytest.raises(UserError, match=f"not known what {ARMS[1]} will take\n"):
        check_limit(price(sweep, runs, [of(sweep, ARMS[1], 0).id]), 100)
    cost = price(sweep, runs, ids(sweep)[2:])
    with pytest.raises(UserError, match=f"not known what {ARMS[1]} will take; the rest takes 2 CPU-hours"):
        check_limit(cost, 100)
    with pytest.raises(UserError, match=r"takes 2 CPU-hours .* more than the 1 of --max-gpu-hours"):
        check_limit(cost, 1)
    finish(sweep, of(sweep, ARMS[1], 0), runs, 3600)
    check_limit(price(sweep, runs, ids(sweep)[2:]), 4)
    with pytest.raises(UserError, match=r"more than the 3\.9"):
        check_limit(price(sweep, runs, ids(sweep)[2:]), 3.9)


def test_damaged_and_half_written_runs_are_passed_over(sweep, tmp_path):
    runs = tmp_path / "runs"
    finish(sweep, of(sweep, ARMS[0], 0), runs, 3600).run_json.write_text("{")
    finish(sweep, of(sweep, ARMS[0], 1), runs, 3600).log.write_text("\n")
    start_run(sweep, of(sweep, ARMS[1], 0), runs)
    assert price(sweep, runs, ids(sweep)).unknown == list(ARMS)


def test_the_answer_is_json(sweep, tmp_path):
    finish(sweep, of(sweep, ARMS[0], 0), tmp_path / "runs", 3600)
    answer = json.loads(json.dumps(price(sweep, tmp_path / "runs", ids(sweep)[2:]).to_json(), allow_nan=False))
    assert answer["unit"] == "CPU-hours" and answer["gpu_hours"] is None and answer["known_gpu_hours"] == 2.0
    assert [arm["gpu_hours"] for arm in answer["arms"]] == [2.0, None]


@pytest.mark.parametrize(("hours", "words"), [(0.01, "36 s"), (0.5, "30 min"), (8.61, "8.61 h"), (60, "2.5 days")])
def test_durations_read_as_people_say_them(hours, words):
    assert duration(hours) == words
