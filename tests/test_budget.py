"""Budgets by name, by design, by multiple."""

import pytest

from ablation.budget import NAMED, budget_design, parse_budget
from ablation.cost import cost
from ablation.design import design_from_name
from ablation.errors import UserError


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_named_budget_is_the_cost_of_its_design(name):
    budget, price = parse_budget(name), cost(design_from_name(NAMED[name]))
    assert (budget.params, budget.macs, budget.activations) == (price.params, price.macs, price.activations)
    assert budget.block_params == price.block_params
    assert budget.default_match == "block"


def test_the_paper_calls_it_25_5_million_parameters():
    budget = parse_budget("resnet50")
    assert (budget.params, budget.macs, budget.block_params) == (25_557_032, 4_089_184_256, 69_632)


def test_any_design_is_a_budget():
    assert parse_budget("resnext101_64x4d").macs == 15_460_270_080


@pytest.mark.parametrize(("text", "factor"), [("2*resnet101", 2), ("0.5*resnet101", 0.5), ("2 * resnet101", 2)])
def test_a_multiple_scales_all_but_the_block(text, factor):
    once, scaled = parse_budget("resnet101"), parse_budget(text)
    assert scaled.params == factor * once.params
    assert scaled.macs == round(factor * once.macs)
    assert scaled.block_params is None
    assert scaled.default_match == "both"


def test_a_data_set_s_own_base_changes_the_cost():
    base = parse_budget("resnet50").base.with_width(32)
    assert parse_budget("resnet50", base).params == cost(base).params


@pytest.mark.parametrize(
    "text", ["resnet5O", "", "2*", "-1*resnet50", "resnext50_32x4", "two*resnet50", "2*2*resnet50"]
)
def test_an_unknown_budget_is_a_plain_error(text):
    with pytest.raises(UserError, match="unknown budget"):
        parse_budget(text)


def test_an_unknown_budget_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean resnet50"):
        budget_design("resnet5O")


def test_nothing_is_no_budget():
    with pytest.raises(UserError, match="must be positive"):
        parse_budget("0*resnet50")


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_basic_blocks_are_a_cost_and_refused_as_a_shape(name):
    import torchvision

    network = getattr(torchvision.models, name)()
    assert parse_budget(f"{name},base=resnet50").params == sum(weight.numel() for weight in network.parameters())
    with pytest.raises(UserError, match=r"one wide, dense block \(paper, section 3.3\)"):
        parse_budget(name)


def test_resnet_18_s_macs_and_activations_are_what_others_count():
    import torch
    import torchvision

    from ablation.plan.verify import count_with_fvcore

    budget = parse_budget("resnet18,base=resnet50")
    with torch.no_grad():
        counted = count_with_fvcore(torchvision.models.resnet18(), torch.zeros(1, 3, 224, 224))
    assert (budget.macs, budget.activations) == counted


@pytest.mark.parametrize(
    ("text", "params", "macs"),
    [
        ("params=25M,macs=4.1G", 25_000_000, 4_100_000_000),
        ("params = 2.5e7", 25_000_000, None),
        ("macs=4.1g", None, 4_100_000_000),
    ],
)
def test_a_budget_may_be_bare_numbers(text, params, macs):
    budget = parse_budget(text)
    assert (budget.params, budget.macs, budget.block_params) == (params, macs, None)
    assert budget.base == parse_budget("resnet50").base


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("params=-25M", "must be positive"),
        ("params=many", "is no number"),
        ("flops=4G", "states 'flops'"),
        ("params=1M,params=2M", "twice"),
        ("params=25M,base=resnet5O", "unknown budget 'resnet5O'"),
    ],
)
def test_numbers_that_make_no_sense_are_plain_errors(text, said):
    with pytest.raises(UserError, match=said):
        parse_budget(text)


def test_another_base_keeps_the_cost_and_changes_the_shape():
    budget = parse_budget("resnet50,base=resnet101")
    assert (budget.params, budget.base.depth) == (25_557_032, 101)
