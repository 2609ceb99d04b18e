"""One loss for networks with one output and with several: members of an ensemble train as if each were alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ablation.accumulate import PartedStep, Parts
from ablation.distributed import alone
from ablation.execution import Execution
from ablation.loss import cross_entropy, told, truth
from ablation.network import BatchNorm, set_norm_batch
from ablation.recipe import Recipe, recipe_fields
from ablation.step import WholeStep, optimiser_of

RECIPE = Recipe.model_validate(recipe_fields({"base": "fashion", "batch": 12, "norm_batch": 4, "lr": 0.1}))


class Both(nn.Module):
    """Members side by side, as an ensemble in training mode."""

    def __init__(self, *members):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x):
        return torch.stack([member(x) for member in self.members], dim=2)


def member(seed):
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 3, 3, bias=False), BatchNorm(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)
    network = nn.Sequential(*layers).double()
    set_norm_batch(network, 4)
    return network


def batches(soft):
    random = torch.Generator().manual_seed(1)
    for _ in range(5):
        images = torch.randn(12, 1, 6, 6, generator=random, dtype=torch.float64)
        labels = torch.randint(5, (12,), generator=random)
        yield images, torch.rand(12, 5, generator=random).softmax(1) if soft else labels


def train(network, soft, micro):
    optimiser, execution = optimiser_of(network, RECIPE), Execution("cpu", "fp64", 1)
    whole = WholeStep(network, optimiser, execution)
    parts = PartedStep(network, optimiser, execution, Parts(12, slice(0, 12), micro), alone()) if micro else None
    return [(parts or whole)(batch, 0.1, step) for step, batch in enumerate(batches(soft))]


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "mixed labels"])
@pytest.mark.parametrize("micro", [None, 8], ids=["whole", "in parts"])
def test_an_ensemble_trains_as_its_members_alone(soft, micro):
    singles = [member(0), member(1)]
    both = Both(*copy.deepcopy(singles))
    together, alone = train(both, soft, micro), [train(single, soft, micro) for single in singles]
    for own, single in zip(both.members, singles, strict=True):
        for key, value in single.state_dict().items():
            torch.testing.assert_close(own.state_dict()[key], value, rtol=0, atol=1e-10)
    for (loss, guesses), *others in zip(together, *alone, strict=True):
        mean = sum(logits.softmax(1) for _, logits in others) / 2
        torch.testing.assert_close(guesses, mean.log(), rtol=0, atol=1e-10)
        torch.testing.assert_close(loss, sum(other for other, _ in others) / 2, rtol=0, atol=1e-10)


def test_one_output_is_taken_as_it_is():
    logits, labels = torch.randn(6, 4), torch.randint(4, (6,))
    loss = cross_entropy(logits, labels, 0.1)
    assert torch.equal(loss, F.cross_entropy(logits, labels, label_smoothing=0.1))
    assert told(loss, logits) == (loss, logits)


def test_a_mixed_image_counts_as_its_greater_part():
    assert truth(torch.tensor([[0.3, 0.0, 0.7], [0.6, 0.4, 0.0]])).tolist() == [2, 0]
    assert truth(torch.tensor([1, 2])).tolist() == [1, 2]
