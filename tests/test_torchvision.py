"""The paper's networks are torchvision's: weights go both ways, in every form, and each is an arm."""

from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

from ablation.cost import cost
from ablation.design import design_from_name
from ablation.network import Network, convert, initialise
from ablation.sweep import load_sweep

THEIRS = {
    "resnet50": "resnet50_1x64d",
    "resnet101": "resnet101_1x64d",
    "resnet152": "resnet152_1x64d",
    "wide_resnet50_2": "resnet50_1x128d",
    "wide_resnet101_2": "resnet101_1x128d",
    "resnext50_32x4d": "resnext50_32x4d",
    "resnext101_32x8d": "resnext101_32x8d",
    "resnext101_64x4d": "resnext101_64x4d",
}
PATHS = [name for name in THEIRS if name.startswith("resnext")]
IMAGES = (1, 3, 40, 40)


def empty(design, form="c"):
    """A network without weights, in evaluation."""
    with torch.device("meta"):
        return Network(replace(design_from_name(design), form=form)).eval()


@pytest.fixture(scope="module")
def reference():
    """torchvision's network in float64, with weights and statistics that are not the first ones; what it says."""

    def reference(name):
        torch.manual_seed(0)
        network = torchvision.models.get_model(name, weights=None).eval().double()
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):  # statistics of a trained network are not 0 and 1
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.5, 1.5)
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.1)
            images = torch.randn(IMAGES, dtype=torch.float64)
            return network.state_dict(), images, network(images)

    return reference


@pytest.mark.parametrize("name", THEIRS)
def test_their_weights_give_their_logits_here(name, reference):
    state, images, logits = reference(name)
    ours = empty(THEIRS[name])
    ours.load_state_dict(state, strict=True, assign=True)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), logits, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["a", "b"])
@pytest.mark.parametrize("name", PATHS)
def test_their_weights_give_their_logits_in_forms_of_separate_paths(name, form, reference):
    state, images, logits = reference(name)
    ours = empty(THEIRS[name], form)
    ours.load_state_dict(convert(state, design_from_name(THEIRS[name]).cardinality, form), strict=True, assign=True)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), logits, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", THEIRS)
def test_our_weights_give_our_logits_there(name):
    ours = initialise(Network(design_from_name(THEIRS[name])), 0).eval()
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True, assign=True)
    images = torch.randn(IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), ours(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["a", "b"])
def test_weights_of_a_form_of_separate_paths_go_there_too(form):
    design = design_from_name(f"resnext50_32x4d_form-{form}")
    ours = initialise(Network(design), 0).eval()
    with torch.device("meta"):
        theirs = torchvision.models.resnext50_32x4d(weights=None).eval()
    theirs.load_state_dict(convert(ours.state_dict(), 32, "c"), strict=True, assign=True)
    images = torch.randn(IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), ours(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", THEIRS)
def test_it_costs_what_torchvision_s_has(name):
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None)
    assert cost(design_from_name(THEIRS[name])).params == sum(weights.numel() for weights in theirs.parameters())


ARMS = {
    "imagenet": [
        *THEIRS.values(),
        "resnet200_1x64d",
        "resnet101_1x100d",
        *[f"resnext50_32x4d_form-{form}" for form in "ab"],
        *[f"resnet50_1x64d_shortcut-{kind}" for kind in ("none", "projection-only", "identity")],
        *[f"resnext50_32x4d_shortcut-{kind}" for kind in ("none", "projection-only")],
    ],
    "cifar10": ["resnet29_1x64d", "resnext29_8x64d", "resnext29_16x64d", "resnet29_1x64d_shortcut-none"],
}


@pytest.mark.parametrize("dataset", ARMS)
def test_each_of_the_paper_s_networks_is_an_arm(dataset, tmp_path):
    names = ARMS[dataset]
    price = {name: cost(design_from_name(name)) for name in names}
    arms = "\n".join(f"      - {{design: {n}, params: {price[n].params}, macs: {price[n].macs}}}" for n in names)
    recipe = {"imagenet": "imagenet-paper", "cifar10": "cifar-paper"}[dataset]
    (tmp_path / "all.yaml").write_text(f"""\
question: Is each an arm?
panels:
  - name: all
    budget: {names[0]}
    dataset: {{name: {dataset}}}
    recipe: {recipe}
    baseline: {names[0]}
    arms:
{arms}
seeds: 1
precision: bf16
""")
    assert [arm.name for arm in load_sweep(tmp_path / "all.yaml").panels[0].arms] == names


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("resnext29_8x64d", 34_426_698),
        ("resnext29_16x64d", 68_155_210),
        ("resnet29_1x64d", 4_914_250),
        ("resnet50_1x64d_shortcut-none", 22_780_456),
    ],
)
def test_the_paper_s_counts(name, params):
    assert cost(design_from_name(name)).params == params
