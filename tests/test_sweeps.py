"""The sweeps that come with the toolkit: what they run, to the integer, and that each has its small twin."""

from pathlib import Path

import pytest

from ablation.sweep import load_sweep

SWEEPS = Path(__file__).parent.parent / "sweeps"
WITHOUT_TWIN = {"fashion_mnist", "fashion_mnist_gpu", "fashion_mnist_learning_rate", "calibration"}
FULL = sorted(path for path in SWEEPS.glob("*.yaml") if not path.stem.endswith("_small"))
COSTS = {
    "table3": {"resnext50_32x4d": (25_028_904, 4_230_479_872), "resnext101_8x14d": (45_104_328, 8_076_871_680)},
    "table4": {
        "resnet200_1x64d": (64_673_832, 15_007_481_856),
        "resnet101_1x100d": (85_611_336, 15_272_862_720),
        "resnext101_2x64d": (84_198_184, 15_123_087_360),
        "resnext101_64x4d": (83_455_272, 15_460_270_080),
    },
    "residual": {"resnet50_1x64d_shortcut-none": (22_780_456, 3_729_522_688)},
    "table7": {"resnext29_8x64d": (34_426_698, 5_387_266_048), "resnext29_16x64d": (68_155_210, 10_688_866_304)},
    "figure7": {"resnet29_1x64d": (4_914_250, 748_365_824)},
}
"""Recomputed from the paper."""


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_every_sweep_is_what_it_says_and_has_a_small_twin(path):
    sweep = load_sweep(path)
    sweep.count_families()
    assert len(sweep.runs()) == len(sweep.seeds) * sum(len(panel.arms) for panel in sweep.panels)
    assert path.with_name(f"{path.stem}_small.yaml").exists() or path.stem in WITHOUT_TWIN


@pytest.mark.parametrize("name", sorted(COSTS))
def test_arms_cost_what_the_paper_s_do(name):
    first = load_sweep(SWEEPS / f"{name}.yaml").panels
    found = {arm.name: (arm.cost.params, arm.cost.macs) for panel in reversed(first) for arm in panel.arms}
    assert {design: found[design] for design in COSTS[name]} == COSTS[name]


def test_the_field_and_more_data_are_evaluated_as_in_the_paper():
    five, six = (load_sweep(SWEEPS / f"{name}.yaml").panels for name in ("table5", "table6"))
    assert five[0].dataset.evaluations["320"].resolution == 320 and five[1].dataset.resolution == 299
    assert all(panel.dataset.evaluations["1K-way"].classes == "classes_1k.txt" for panel in six)
    assert {panel.recipe.epochs for panel in six} == {20}, "a fifth of the epochs, as many minibatches"
