"""A step in parts: how it is shared, what fits the memory, and what someone else's network can't promise."""

import pytest
import ranks
import torch
from several import MODERN, agree, prepared, processes

from ablation.accumulate import largest_micro_batch
from ablation.errors import UserError
from ablation.execution import Execution
from ablation.family import load_family
from ablation.family.count import count
from ablation.network import BatchNorm, commit, commit_together, set_norm_batch
from ablation.records import read_records
from ablation.shares import even, micro_batches, shares, waiting

NET = '''\
"""Batch norm in one and two dimensions, a parameter that is never used; dropout and a counter where asked for."""
import torch
from torch import nn
from ablation.family import family


class Net(nn.Sequential):
    def __init__(self, *layers, counts):
        super().__init__(*layers)
        self.unused = nn.Parameter(torch.ones(3))
        self.counts = counts
        if counts:
            self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        if self.counts and self.training:
            self.passes += 1
        return super().forward(x)


@family(solve="width")
def net(width, drop=0.0, counts=0, channels=1, classes=10):
    return Net(
        nn.Conv2d(channels, width, 4, 4, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(drop), nn.Flatten(),
        nn.Linear(49 * width, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, classes), counts=bool(counts),
    )


class Pair(nn.Module):
    def __init__(self, width, channels, classes):
        super().__init__()
        self.members = nn.ModuleList(net(width, 0.0, 0, channels, classes) for _ in range(2))

    def forward(self, x):
        logits = torch.stack([member(x) for member in self.members], 2)
        return logits if self.training else logits.log_softmax(1).logsumexp(2)


@family(solve="width")
def pair(width, channels=1, classes=10):
    return Pair(width, channels, classes)
'''


@pytest.fixture
def start(tmp_path, small_fashion):
    """Make the folder of a family's run below a name; its paths, and what `ranks.train` needs to train it."""
    (tmp_path / "nets.py").write_text(NET)

    def start(name, function="net", **knobs):
        family, knobs = f"{tmp_path}/nets.py:{function}", {"width": 4, **knobs}
        price = count(load_family(family), knobs, {"channels": 1, "resolution": 28, "classes": 10})
        written = ", ".join(f"{key}: {value}" for key, value in knobs.items())
        (tmp_path / "own.yaml").write_text(f"""\
question: Does it train in parts?
panels:
  - name: own
    budget: params=33930,macs=1210880
    dataset: {{name: fashion_mnist, validation: 100}}
    recipe: {{base: fashion, epochs: 1, batch: 32, norm_batch: 4}}
    baseline: own
    arms:
      - {{name: own, family: '{family}', knobs: {{{written}}}, params: {price.params}, macs: {price.macs}}}
resources: {{gpus: 0}}
""")
        return prepared(tmp_path / "own.yaml", small_fashion, tmp_path / name, index=0)

    return start


def warned(paths):
    return [record["message"] for record in read_records(paths.log) if record.get("event") == "warning"]


def test_a_familys_network_trains_in_parts_as_in_one_piece(start):
    (one, whole), (many, parts) = start("one"), start("many")
    assert ranks.train(**whole) == ranks.train(**parts, micro_batch=12) == "done"
    assert agree(one, many)
    assert not warned(many)


def test_a_family_on_two_processes_is_the_one_on_one_unused_parameters_and_all(start):
    (one, whole), (many, parts) = start("one"), start("many")
    assert ranks.train(**whole) == "done"
    assert processes(2, 1, parts) == ["done"] * 2
    assert agree(one, many)


@pytest.mark.parametrize(("world", "micro"), [(1, 12), (3, 8)], ids=["in parts", "3 processes, in parts"])
def test_a_modern_recipe_is_the_same_run_in_parts(small_sweep, small_fashion, tmp_path, world, micro):
    (one, whole), (many, parts) = (prepared(small_sweep, small_fashion, tmp_path / name, *MODERN) for name in "ab")
    parts |= {"micro_batch": micro}
    assert ranks.train(**whole) == "done"
    assert (processes(world, 1, parts) if world > 1 else [ranks.train(**parts)]) == ["done"] * world
    assert agree(one, many)


def test_an_ensemble_is_the_same_run_in_parts(start):
    (one, whole), (many, parts) = (start(name, "pair") for name in "ab")
    assert ranks.train(**whole) == ranks.train(**parts, micro_batch=12) == "done"
    assert agree(one, many)


def test_dropout_in_parts_is_said(start):
    paths, where = start("runs", drop=0.1)
    assert ranks.train(**where, micro_batch=8) == "done"
    (warning,) = warned(paths)
    assert "draws random numbers while it trains" in warning


def test_a_network_with_state_of_its_own_is_refused_in_parts_only(start):
    _, where = start("runs", counts=1)
    assert ranks.train(**where, micro_batch=8).startswith("UserError: this family changes its buffer 'passes'")
    assert ranks.train(**where) == "done"


class Small(torch.nn.Sequential):
    """A network that runs out of memory beyond some images."""

    def __init__(self, room):
        super().__init__(torch.nn.Conv2d(1, 2, 3), BatchNorm(2), torch.nn.Flatten(), torch.nn.LazyLinear(3))
        self.room = room
        self(torch.zeros(4, 1, 8, 8))
        commit(self)

    def forward(self, x):
        if len(x) > self.room:
            raise torch.OutOfMemoryError("no room")
        return super().forward(x)


@pytest.mark.parametrize(("room", "found"), [(100, 28), (28, 28), (27, 12), (12, 12), (11, 4), (4, 4)])
def test_the_largest_micro_batch_is_found_by_halving_in_whole_groups(room, found):
    network = Small(room)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert largest_micro_batch(network, Execution("cpu", "fp32", 1), (1, 8, 8), 28, 4) == found
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert network[1].seen == 0 and all(parameter.grad is None for parameter in network.parameters())


def test_a_group_that_does_not_fit_is_said():
    with pytest.raises(UserError, match="a group of 8 images does not fit the memory"):
        largest_micro_batch(Small(4), Execution("cpu", "fp32", 1), (1, 8, 8), 32, 8)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_network_that_does_not_fit_a_gpu_in_one_piece_fits_in_parts():
    free = torch.cuda.mem_get_info()[0]
    network = torch.nn.Conv2d(1, 64, 3, padding=1).cuda()
    model = torch.nn.Sequential(network, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    image = 64 * 256 * 256 * 4
    images = 2 * free // image // 8 * 8
    assert 8 <= largest_micro_batch(model, Execution("cuda", "fp32", 1), (1, 256, 256), images, 8) < images


def test_running_statistics_are_of_all_groups_of_all_ranks():
    torch.manual_seed(0)
    whole, parts = (torch.nn.Sequential(BatchNorm(3).double()) for _ in range(2))
    images = torch.randn(24, 3, 5, 5, dtype=torch.float64)
    for network in (whole, parts):
        set_norm_batch(network, 4)
    whole(images)
    commit(whole)
    other = torch.nn.Sequential(BatchNorm(3).double())
    set_norm_batch(other, 4)
    other(images[16:])
    parts(images[:16])
    commit_together(parts, lambda sums: sums + other[0].sums())
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[key], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("batch", "norm_batch", "world"), [(256, 32, 8), (256, 32, 3), (48, 16, 2), (32, 32, 1)])
def test_ranks_share_a_batch_in_whole_groups_as_evenly_as_they_can(batch, norm_batch, world):
    found = shares(batch, norm_batch, world)
    assert [index for share in found for index in range(batch)[share]] == list(range(batch))
    sizes = [share.stop - share.start for share in found]
    assert all(size % norm_batch == 0 for size in sizes) and max(sizes) - min(sizes) in (0, norm_batch)
    assert (waiting(batch, norm_batch, world) is None) == (max(sizes) == min(sizes))


def test_micro_batches_are_the_share():
    assert micro_batches(slice(12, 32), 8) == [slice(12, 20), slice(20, 28), slice(28, 32)]
    assert even(2, 3) == [slice(0, 1), slice(1, 2), slice(2, 2)]


def test_one_group_for_the_whole_batch_is_not_shared():
    with pytest.raises(UserError, match="batch norm sees 32 images at a time, which makes 1 group"):
        shares(32, None, 2)
