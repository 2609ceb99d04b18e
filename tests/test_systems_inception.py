"""The Inceptions: committed counts are the built networks'; a family of one size is said to be one."""

import builtins
import json

import pytest
import timm
import torch
import torchvision
from systems import design_of, name_of, system
from torch import nn

from ablation.errors import UserError
from ablation.family.count import build, checked, closed_form, count
from ablation.family.network import member
from ablation.network import BatchNorm, set_norm_batch, stream
from ablation.sweep import load_sweep
from ablation.systems.inception import COUNTS, PARAMS

KINDS = {"inception_v3": "v3", "inception_v4": "v4", "inception_resnet_v2": "resnet-v2"}
SIZED = [(name, resolution) for name, kind in KINDS.items() for resolution in COUNTS[kind]]


def image(resolution=299, classes=1000, channels=3):
    return {"channels": channels, "resolution": resolution, "classes": classes}


@pytest.mark.parametrize("classes", [1000, 37])
@pytest.mark.parametrize(("name", "resolution"), SIZED)
def test_committed_counts_are_the_built_network_s(name, resolution, classes):
    family, size = system(name), image(resolution, classes)
    assert closed_form(family, {}, size) == count(family, {}, size)


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("inception_v3", 23_834_568, 5_713_216_096),
        ("inception_v4", 42_679_816, 12_253_974_624),
        ("inception_resnet_v2", 55_843_464, 13_155_794_016),
    ],
)
def test_at_299_pixels_they_cost_what_is_known(name, params, macs):
    price = closed_form(system(name), {}, image())
    assert (price.params, price.macs) == (params, macs)


def test_224_299_and_320_pixels_are_in_the_table():
    assert all({224, 299, 320} <= COUNTS[kind].keys() and PARAMS[kind] for kind in KINDS.values())


def test_another_image_is_counted_on_the_network():
    family, size = system("inception_v3"), image(75, 10, channels=1)
    assert closed_form(family, {}, size) is None
    assert checked(family, {}, size).params == 23_834_568 - 990 * 2049 - 2 * 32 * 9


def test_images_that_are_too_small_are_one_plain_error():
    with pytest.raises(UserError, match="fails on an image of 3x32x32"):
        checked(system("inception_v3"), {}, image(32, 10))


def theirs(name):
    if name == "inception_v3":
        return torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    return timm.create_model(name, pretrained=False)


@pytest.mark.parametrize("name", KINDS)
def test_their_weights_give_their_logits(name):
    torch.manual_seed(0)
    reference = theirs(name).eval()
    with torch.no_grad():
        for module in reference.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    ours = member(design_of(name, {}, image(96)), 0).eval()
    ours.load_state_dict(reference.state_dict(), strict=True)
    x = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), reference(x), rtol=1e-4, atol=1e-5)


def test_timm_s_batch_norms_see_groups():
    network = member(design_of("inception_v4", {}, image(75, 10)), 0)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(isinstance(norm, BatchNorm) for norm in norms)
    set_norm_batch(network, 2)
    x = torch.randn(4, 3, 75, 75, generator=stream(0, "test"))
    with torch.no_grad():
        torch.testing.assert_close(network(x), torch.cat([network(x[:2]), network(x[2:])]), rtol=1e-4, atol=1e-5)


def test_without_timm_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without_timm(name, *rest, **more):
        if name.partition(".")[0] == "timm":
            raise ModuleNotFoundError("No module named 'timm'", name="timm")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_timm)
    with pytest.raises(UserError) as error:
        build(system("inception_v4"), {}, image())
    assert "cardinality-ablation[inception]" in str(error.value) and len(str(error.value).splitlines()) == 2


def asked(*more):
    return "--family", name_of("inception_v3"), "--resolution", "299", *more


def test_plan_says_that_it_can_not_be_sized_and_what_it_costs(plan):
    code, out, _ = plan(*asked("--budget", "resnet50"))
    assert code == 0
    assert "has one size and can't be brought to the budget: no knob is solved for" in out
    assert "23,834,568 (-6.7%)" in out and "one size, not at the budget" in out and "no admissible" not in out
    assert "knobs: {}, params: 23834568, macs: 5713216096" in out


def test_plan_says_it_in_json_with_proof(plan):
    code, out, _ = plan(*asked("--budget", "resnet50", "--json", "--proof"))
    (row,) = json.loads(out)["designs"]
    assert code == 0 and not row["admissible"] and row["neighbours"] == [] and row["rules"] == {}
    assert row["params_error"] == pytest.approx(23_834_568 / 25_557_032 - 1, abs=1e-4)


def test_at_its_own_budget_it_is_admissible_and_verified(plan):
    code, out, _ = plan(*asked("--budget", "params=23.8M,macs=5.7G", "--verify"))
    assert code == 0 and "not at the budget" not in out and "yes" in out


def test_what_is_not_at_the_budget_is_not_written(plan, tmp_path):
    path = tmp_path / "sweep.yaml"
    code, _, err = plan(*asked("--budget", "resnet50", "--write", path))
    assert code == 2 and "It has one size" in err and not path.exists()


def test_it_is_an_arm_beside_a_design(tmp_path):
    path = tmp_path / "field.yaml"
    price = closed_form(system("inception_v3"), {}, image(224))
    path.write_text(f"""\
question: Against the field?
panels:
  - name: field
    budget: resnet50
    dataset: {{name: imagenet, resolution: 224}}
    recipe: imagenet-paper
    baseline: resnet50_1x64d
    arms:
      - {{design: resnet50_1x64d, params: 25557032, macs: 4089184256}}
      - {{family: 'ablation.systems.inception:inception_v3', params: {price.params}, macs: {price.macs}}}
seeds: 1
precision: bf16
""")
    sweep = load_sweep(path)
    sweep.count_families()
    assert [arm.name for arm in sweep.panels[0].arms] == ["resnet50_1x64d", "inception_v3"]
