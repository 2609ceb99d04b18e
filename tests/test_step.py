"""What an optimiser step starts from: groups of parameters, and batch norms at zero."""

import pytest
import torch
from torch import nn

from ablation.design import Design
from ablation.errors import UserError
from ablation.execution import Execution
from ablation.network import Block
from ablation.recipe import Recipe, recipe_fields
from ablation.step import first_network, optimiser_of

CPU = Execution("cpu", "fp32", 1)
SMALL = Design(blocks=(1, 2), cardinality=2, widths=(3, 6), outputs=(8, 16), stem="small", stem_width=8)


def recipe(**changes):
    return Recipe.model_validate(recipe_fields({"base": "fashion", "weight_decay": 0.01, **changes}))


def test_scales_and_shifts_of_normalisation_have_a_weight_decay_of_their_own():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 2))
    norms, others = optimiser_of(network, recipe(norm_weight_decay=0.0)).param_groups
    assert (norms["weight_decay"], others["weight_decay"]) == (0.0, 0.01)
    assert [id(p) for p in norms["params"]] == [id(p) for layer in (network[1], network[3]) for p in layer.parameters()]
    assert [id(p) for p in others["params"]] == [id(p) for i in (0, 4) for p in network[i].parameters()]
    (all_of_them,) = optimiser_of(network, recipe()).param_groups
    assert len(all_of_them["params"]) == len(list(network.parameters()))


def test_a_network_without_normalisation_has_one_group():
    (group,) = optimiser_of(nn.Linear(2, 2), recipe(norm_weight_decay=0.0)).param_groups
    assert group["weight_decay"] == 0.01


def test_with_zero_gamma_each_block_starts_as_its_shortcut():
    block = first_network(SMALL, 0, CPU, None, zero_gamma=True).layer2[1]
    x = torch.rand(4, 16, 5, 5)
    assert isinstance(block, Block) and torch.equal(block(x), x)
    usual = first_network(SMALL, 0, CPU, None).layer2[1]
    assert not torch.equal(usual(x), x) and (usual.bn3.weight == 1).all()


def test_blocks_without_shortcut_can_not_start_at_zero():
    from dataclasses import replace

    with pytest.raises(UserError, match="no blocks of ours, each with a shortcut"):
        first_network(replace(SMALL, shortcut="none"), 0, CPU, None, zero_gamma=True)
