"""The systems' costs: closed form, built network and fvcore agree; the solver sizes them; mistakes are said plainly."""

import pytest
import torch
import torchvision
from systems import CIFAR, FASHION, IMAGENET, design_of, numbers, system
from torch import nn

from ablation.budget import parse_budget
from ablation.cost import cost
from ablation.design import design_from_name
from ablation.errors import UserError
from ablation.family.count import checked, closed_form, count
from ablation.family.search import FamilySolution, solve_family
from ablation.plan.family_verify import verify_family

KNOBS = [
    ("vgg", {"width": 3, "depth": 16, "hidden": 12, "pool": 2}),
    ("vgg", {"width": 2, "depth": 19, "batch_norm": True, "hidden": 0, "pool": 1}),
    ("vgg", {"width": 4, "depth": 11, "batch_norm": True, "hidden": 8}),
    ("wrn", {"width": 5, "depth": 10}),
    ("wrn", {"width": 16, "depth": 16, "dropout": 0.3}),
    ("wrn", {"width": 6, "depth": 22, "stem": 6}),
    ("grouped", {"width": 8, "pattern": 4, "outputs": 24}),
    ("grouped", {"width": 4, "pattern": "root-4", "blocks": "1-2-1", "outputs": 12, "stem": "cifar"}),
    ("grouped", {"width": 4, "pattern": "4-8-1", "blocks": "1-2-1", "outputs": 12, "stem": "small"}),
    ("grouped", {"width": 7, "pattern": "channel-wise", "blocks": "2-1-1-1", "outputs": 16, "stem_width": 5}),
    ("grouped", {"width": 7, "pattern": "separable", "blocks": "2-1-1", "outputs": 16, "stem": "cifar"}),
    ("grouped", {"width": 7, "pattern": "low-rank", "blocks": "2-1-1", "outputs": 16, "stem": "small"}),
    ("ensemble", {"width": 5, "members": 3, "blocks": "1-1-1", "stem": "small"}),
    ("ensemble", {"width": 3, "members": 2}),
]


@pytest.mark.parametrize("image", [FASHION, CIFAR, IMAGENET], ids=["28x28x1", "32x32x3", "224x224x3"])
@pytest.mark.parametrize(("name", "knobs"), KNOBS)
def test_the_closed_form_is_what_the_built_network_costs(name, knobs, image):
    said = closed_form(system(name), knobs, image)
    assert numbers(said) == numbers(count(system(name), knobs, image))


@pytest.mark.parametrize("resolution", [29, 33, 47, 50, 75])
@pytest.mark.parametrize("name", ["vgg", "wrn", "grouped"])
def test_the_closed_form_holds_at_odd_resolutions(name, resolution):
    knobs = {"width": 2, **({"pattern": "low-rank"} if name == "grouped" else {})}
    image = {"channels": 2, "resolution": resolution, "classes": 3}
    assert numbers(closed_form(system(name), knobs, image)) == numbers(count(system(name), knobs, image))


@pytest.mark.parametrize(("name", "knobs"), [(name, knobs) for name, knobs in KNOBS if name != "vgg"] + KNOBS[1:2])
def test_fvcore_counts_the_same(name, knobs):
    price, budget = checked(system(name), knobs, CIFAR), parse_budget("resnet50")
    row = FamilySolution(design_of(name, knobs, CIFAR), price, budget, admissible=True, neighbours=())
    assert verify_family(system(name), row).equal


@pytest.mark.parametrize(
    ("knobs", "params", "theirs"),
    [
        ({"depth": 16}, 138_357_544, "vgg16"),
        ({"depth": 19}, 143_667_240, "vgg19"),
        ({"depth": 16, "batch_norm": True}, 138_365_992, "vgg16_bn"),
        ({"depth": 19, "batch_norm": True}, 143_678_248, "vgg19_bn"),
    ],
)
def test_a_vgg_of_width_64_is_torchvision_s(knobs, params, theirs):
    knobs = {"width": 64, **knobs}
    with torch.device("meta"):
        ours = system("vgg").function(**knobs).state_dict()
        reference = torchvision.models.get_model(theirs, weights=None).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in reference.items()}
    assert closed_form(system("vgg"), knobs, IMAGENET).params == params


def test_torchvision_s_vgg_weights_give_its_logits():
    torch.manual_seed(0)
    reference = torchvision.models.vgg16_bn(weights=None).eval()
    statistics_of_a_trained_network(reference)
    with torch.device("meta"):
        ours = system("vgg").function(width=64, batch_norm=True, resolution=64).eval()
    ours.load_state_dict(reference.state_dict(), strict=True, assign=True)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), reference(x), rtol=1e-5, atol=1e-6)


def statistics_of_a_trained_network(network):
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)


def test_wrn_28_10_has_36_5_million_parameters():
    assert closed_form(system("wrn"), {"width": 160}, {**CIFAR, "classes": 10}).params == 36_479_194


@pytest.mark.parametrize(
    ("name", "knobs", "design"),
    [
        ("grouped", {"width": 64, "pattern": 1}, "resnet50_1x64d"),
        ("grouped", {"width": 128, "pattern": 32}, "resnext50_32x4d"),
        ("grouped", {"width": 256, "pattern": 64, "blocks": "3-4-23-3"}, "resnext101_64x4d"),
        ("grouped", {"width": 128, "pattern": "32-32-32-32"}, "resnext50_32x4d"),
        ("ensemble", {"width": 64, "members": 1}, "resnet50_1x64d"),
    ],
)
def test_what_is_a_design_costs_what_the_design_costs(name, knobs, design):
    assert numbers(closed_form(system(name), knobs, IMAGENET)) == numbers(cost(design_from_name(design)))


def groups_of(network):
    return [network.get_submodule(f"layer{stage}")[0].conv2.groups for stage in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [(4, [4] * 4), ("root-4", [4, 2, 1, 1]), ("root-16", [16, 8, 4, 2]), ("2-2-4-4", [2, 2, 4, 4])],
)
def test_a_pattern_gives_each_stage_its_groups(pattern, groups):
    with torch.device("meta"):
        assert groups_of(system("grouped").function(width=16, pattern=pattern)) == groups


def test_channel_wise_has_a_group_a_channel():
    with torch.device("meta"):
        assert groups_of(system("grouped").function(width=5, pattern="channel-wise")) == [5, 10, 20, 40]


@pytest.mark.parametrize(
    ("pattern", "multiple"), [(32, 32), ("root-8", 8), ("1-2-4-8", 1), ("4-4-4-24", 12), ("separable", 1), (6, 6)]
)
def test_the_width_is_a_multiple_of_what_the_groups_need(pattern, multiple):
    family = system("grouped")
    assert family.step({"pattern": pattern}) == multiple
    with torch.device("meta"):
        family.function(width=multiple, pattern=pattern, outputs=8)


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [("separable", [(6, 1, 3, 3), (6, 6, 1, 1)]), ("low-rank", [(6, 6, 3, 1), (6, 6, 1, 3)])],
)
def test_factors_stand_in_the_place_of_a_3x3(kind, shapes):
    with torch.device("meta"):
        factors = system("grouped").function(width=6, pattern=kind).layer1[0].conv2
    assert [tuple(factor.weight.shape) for factor in factors] == shapes


@pytest.mark.parametrize(
    ("name", "knobs", "message"),
    [
        ("vgg", {"width": 4, "depth": 17}, "there is no VGG-17"),
        ("wrn", {"width": 4, "depth": 20}, "no wide ResNet of depth 20"),
        ("grouped", {"width": 4, "pattern": "rot-4"}, "unknown pattern 'rot-4'"),
        ("grouped", {"width": 4, "pattern": "4-2"}, "does not fit 4 stages"),
        ("grouped", {"width": 4, "pattern": "root-6"}, "does not fit 4 stages"),
        ("grouped", {"width": 4, "blocks": "3-x"}, "blocks must be whole numbers"),
        ("grouped", {"pattern": 4, "width": 5}, "fails to build at pattern=4, width=5"),
        ("ensemble", {"width": 4, "members": 0}, "members must be a whole number"),
    ],
)
def test_mistakes_are_said_plainly(name, knobs, message):
    with pytest.raises(UserError, match=message):
        checked(system(name), knobs, IMAGENET)


@pytest.mark.parametrize("blocks", ["3-x", "3-4-6-3-0"])
def test_a_search_says_mistakes_plainly_too(blocks):
    with pytest.raises(UserError, match="blocks must be"):
        solve_family(system("grouped"), parse_budget("resnet50"), {"blocks": blocks})


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("vgg", {"hidden": 0, "pool": 1, "batch_norm": True}),
        ("wrn", {"depth": 16}),
        *[("grouped", {"pattern": pattern}) for pattern in (32, "channel-wise", "separable", "low-rank")],
        ("ensemble", {"members": 2}),
    ],
)
def test_the_solver_brings_it_to_a_budget(name, knobs):
    budget = parse_budget("resnext29_8x64d" if name == "wrn" else "resnet50")
    match = "params" if name in ("vgg", "wrn") else "both"
    assert solve_family(system(name), budget, knobs, match).admissible
