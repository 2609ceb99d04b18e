"""The systems' networks: each trains, starts as the paper's, and an ensemble's members are independent."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from systems import FASHION, PLACES, design_of, name_of
from torch import nn

from ablation.execution import Execution
from ablation.family.network import member
from ablation.network import BatchNorm, set_norm_batch, stream
from ablation.recipe import Recipe, recipe_fields
from ablation.step import first_network, optimiser_of, step

ROOT = Path(__file__).parent.parent
SMALL = {
    "vgg": {"width": 2, "depth": 11, "batch_norm": True, "hidden": 8, "pool": 1, "dropout": 0.0},
    "wrn": {"width": 4, "depth": 10, "stem": 4},
    "grouped": {"width": 4, "pattern": "root-4", "blocks": "1-1-1", "outputs": 16, "stem": "small", "stem_width": 8},
    "ensemble": {"width": 4, "members": 2, "blocks": "1-1-1", "stem": "small"},
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_each_trains_in_the_engine(name, precision):
    trains(design_of(name, SMALL[name], FASHION), precision)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["inception_v3", "inception_v4", "inception_resnet_v2"])
def test_each_inception_trains_in_the_engine(name, precision):
    trains(design_of(name, {}, {"channels": 1, "resolution": 75, "classes": 10}), precision, images=4)


def trains(design, precision, images=16):
    execution = Execution("cpu", precision, 1)
    recipe = Recipe(**{**recipe_fields("fashion"), "batch": images, "norm_batch": images // 2, "lr": 0.05})
    network = first_network(design, 0, execution, recipe.norm_batch)
    optimiser = optimiser_of(network, recipe)
    generator = stream(0, "test", "images")
    shape = (images, design.channels, design.resolution, design.resolution)
    batch = torch.randn(shape, generator=generator), torch.arange(images) % design.classes
    before = {name: value.clone() for name, value in network.state_dict().items()}
    loss, logits = step(network, optimiser, execution, batch, 0.0)
    assert loss.isfinite() and logits.shape[:2] == (images, design.classes)
    same = [name for name, value in network.state_dict().items() if torch.equal(value, before[name])]
    assert not same, "what no step reaches"


def test_a_vgg_without_batch_norm_starts_with_signals_of_one_size():
    image = {"channels": 3, "resolution": 160, "classes": 10}
    network, sizes = member(design_of("vgg", {"width": 16, "hidden": 64}, image), 0).eval(), []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda _, __, y: sizes.append(y.std().item()))
    with torch.no_grad():
        network(torch.randn(2, 3, 160, 160, generator=stream(0, "test", "images")))
    assert len(sizes) == 16 and max(sizes[:-1]) < 4 * min(sizes[:-1])


@pytest.mark.parametrize("name", sorted(SMALL))
def test_no_batch_norm_starts_at_zero_and_convolutions_start_as_the_paper_s(name):
    knobs = {**SMALL[name], "width": 16, **({"pattern": 4} if name == "grouped" else {})}
    network = member(design_of(name, knobs, FASHION), 0)
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    assert norms and all(torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in norms)
    for layer in (module for module in network.modules() if isinstance(module, nn.Conv2d)):
        expected = (2 / (layer.out_channels * layer.weight[0, 0].numel())) ** 0.5
        assert layer.weight.std().item() == pytest.approx(expected, rel=5 / layer.weight.numel() ** 0.5)


@pytest.fixture
def ensemble():
    return member(design_of("ensemble", {"width": 4, "members": 3, "blocks": "1-1-1", "stem": "small"}, FASHION), 0)


def digits(images=8):
    return torch.randn(images, 1, 28, 28, generator=stream(0, "test", "digits"))


def test_members_start_unlike_each_other(ensemble):
    first, *others = (dict(one.named_parameters()) for one in ensemble.members)
    for other in others:
        drawn = [name for name, value in other.items() if value.ndim == 4 or name == "fc.weight"]
        assert drawn and not any(torch.equal(other[name], first[name]) for name in drawn)


def test_a_member_starts_the_same_in_a_larger_ensemble(ensemble):
    knobs = {"width": 4, "members": 5, "blocks": "1-1-1", "stem": "small"}
    larger = member(design_of("ensemble", knobs, FASHION), 0).state_dict()
    assert all(torch.equal(value, larger[name]) for name, value in ensemble.state_dict().items())


def member_losses(ensemble, x):
    logits = ensemble.train()(x)
    labels = (torch.arange(len(x)) % 10)[:, None].expand(-1, logits.shape[-1])
    return F.cross_entropy(logits, labels, reduction="none").mean(0)


def test_in_training_each_member_gives_its_own_logits(ensemble):
    x = digits()
    logits = ensemble.train()(x)
    assert logits.shape == (8, 10, 3)
    for index, one in enumerate(ensemble.members):
        assert torch.equal(logits[..., index], one(x))


def test_a_member_s_gradient_is_that_of_training_it_alone(ensemble):
    set_norm_batch(ensemble, 4)
    member_losses(ensemble, digits()).sum().backward()
    for one in ensemble.members:
        together = [parameter.grad.clone() for parameter in one.parameters()]
        one.zero_grad()
        F.cross_entropy(one(digits()), torch.arange(8) % 10).backward()
        for parameter, gradient in zip(one.parameters(), together, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-7)


def test_a_member_s_loss_reaches_no_other_member(ensemble):
    member_losses(ensemble, digits())[1].backward()
    reached = [
        any(parameter.grad is not None and parameter.grad.any() for parameter in one.parameters())
        for one in ensemble.members
    ]
    assert reached == [False, True, False]


def test_in_evaluation_it_gives_the_log_of_the_mean_probability(ensemble):
    ensemble.eval()
    with torch.no_grad():
        logits = ensemble(digits())
        mean = torch.stack([one(digits()).softmax(1) for one in ensemble.members]).mean(0)
    torch.testing.assert_close(logits, mean.log())
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(8))


def test_members_batch_norms_see_groups(ensemble):
    set_norm_batch(ensemble, 4)
    x = digits()
    torch.testing.assert_close(ensemble(x), torch.cat([ensemble(x[:4]), ensemble(x[4:])]))


# What two seeds' networks say to fixed images: where a change to ablation/network.py or to torch changes one of these,
# runs of that system have other numbers under the same id. A system's own files are digested; those are not. Then
# bump ENGINE in ablation/run.py, and put the new value here.
SAID = {"ensemble": -2.0422737497, "grouped": -0.5099764605, "vgg": -1.2575178386, "wrn": 0.3997690393}


@pytest.mark.parametrize("name", sorted(SAID))
def test_a_seed_s_network_says_what_it_said(name):
    network = member(design_of(name, SMALL[name], FASHION), 7).double().train()
    logits = network(digits().double())
    pattern = torch.arange(logits.numel(), dtype=torch.float64).cos().reshape(logits.shape)
    assert (logits * pattern).sum().item() == pytest.approx(SAID[name], rel=1e-6)


LIGHT = """
import sys
from ablation.family import load_family
for name in sys.argv[1:]:
    load_family(name)
sys.exit(f"imported {found}" if (found := {"torch", "torchvision", "timm"} & sys.modules.keys()) else 0)
"""


def test_a_family_s_file_and_its_closed_form_need_no_torch():
    names = [name_of(system) for system in PLACES]
    done = subprocess.run([sys.executable, "-c", LIGHT, *names], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
