"""The moving average of weights: torchvision's arithmetic, as a function of the step."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ablation.average import Average
from ablation.network import BatchNorm
from ablation.recipe import Recipe, recipe_fields

STEPS = 7
"""An epoch's."""


def recipe(**changes):
    changes = {"epochs": 4, "ema_decay": 0.999, "ema_steps": 3, **changes}
    return Recipe.model_validate(recipe_fields({"base": "fashion", **changes}))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), BatchNorm(2)).double()


def drift(net, step):
    """What a step does to weights and running statistics."""
    random = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for value in net.state_dict().values():
            value += 1 if not value.is_floating_point() else torch.randn(value.shape, generator=random)


@pytest.mark.parametrize("warmup", [0, 1, 2])
def test_it_is_torchs_average_updated_as_torchvision_does(warmup):
    asked, net = recipe(warmup_epochs=warmup), network()
    own = Average(net, asked, STEPS)
    rate = asked.average_rate
    theirs = AveragedModel(net, avg_fn=lambda old, new, count: old * (1 - rate) + new * rate, use_buffers=True)
    for step in range(4 * STEPS):
        drift(net, step)
        own.update(net, step)
        if step % STEPS % 3 == 0:
            theirs.update_parameters(net)
            if step // STEPS < warmup:
                theirs.n_averaged.fill_(0)
    expected = theirs.module.state_dict()
    for key, value in own.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[key], rtol=1e-12, atol=1e-12)
    assert own.state_dict()["1.num_batches_tracked"] == net[1].num_batches_tracked - (STEPS - 1) % 3


def test_it_never_touches_the_network():
    net = network()
    average = Average(net, recipe(), STEPS)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    average.update(net, 0)
    average.update(net, 3)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_the_rate_is_torchvisions():
    modern = Recipe.model_validate(recipe_fields("imagenet-modern"))
    assert modern.average_rate == pytest.approx((1 - 0.99998) * 8 * 128 * 32 / 600)
    assert recipe(ema_decay=0.1, ema_steps=32).average_rate == 1
