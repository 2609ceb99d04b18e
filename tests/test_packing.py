"""Grouped convolutions in fewer groups: the same outputs, gradients and state dict as in their own groups."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from ablation.design import Design
from ablation.execution import Execution
from ablation.packing import Layer, PackedConv2d, block_diagonal, divisors, layers_of_design, pack
from ablation.step import first_network

SMALL = Design(
    blocks=(2, 1), cardinality=4, widths=(2, 3), outputs=(8, 16), stem="small", stem_width=8, channels=1, resolution=12
)


def layer(groups, inputs, outputs, kernel=3, stride=1, side=5):
    pair = ((n, n) for n in (kernel, stride, kernel // 2, 1, side))
    return Layer(groups, inputs, outputs, *pair)


def passed(conv, images, packed):
    """The output, and the gradients of the input and the weight, with so many groups in one."""
    conv.packed = {tuple(images.shape[2:]): packed}
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    output = conv(images)
    weights = torch.rand(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype)
    return output, *torch.autograd.grad((output * weights).sum(), [images, conv.weight])


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("groups", "inputs", "outputs"), [(2, 5, 5), (4, 3, 3), (6, 1, 1), (6, 2, 4), (8, 3, 1)])
def test_packed_groups_give_the_same_outputs_and_gradients(groups, inputs, outputs, kernel, stride, layout):
    conv = layer(groups, inputs, outputs, kernel, stride, 7).build().double().to(memory_format=layout)
    images = torch.randn(3, groups * inputs, 7, 7, dtype=torch.float64).to(memory_format=layout)
    native = passed(conv, images, 1)
    for packed in divisors(groups)[1:]:
        for own, other in zip(native, passed(conv, images, packed), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-12)


def test_a_packed_convolution_has_fewer_groups():
    conv = layer(6, 2, 4).build()
    seen = []

    class Look(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is torch.conv2d:
                seen.append((tuple(args[1].shape), args[6]))
            return func(*args, **(kwargs or {}))

    conv.packed = {(5, 5): 3}
    with Look():
        conv(torch.zeros(1, 12, 5, 5))
        conv(torch.zeros(1, 12, 6, 6))
    assert seen == [((24, 6, 3, 3), 2), ((24, 2, 3, 3), 6)]


def test_the_zeros_get_no_gradient_whatever_flows_there():
    weight = torch.ones(4, 1, 1, 1, requires_grad=True)
    packed = block_diagonal(weight, 4, 2)
    assert packed.squeeze().tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    flows = torch.tensor([[1.0, float("inf")], [float("nan"), 2], [3, float("inf")], [float("nan"), 4]])
    packed.backward(flows.view_as(packed))
    assert weight.grad.flatten().tolist() == [1, 2, 3, 4]


def test_a_layer_spells_its_ways_and_reads_them_again():
    found = layer(16, 2, 2, stride=2, side=14)
    assert found.name == "16 groups of 2, 3x3, stride 2x2, at 14x14"
    assert [found.way(p) for p in (1, 4)] == ["16 groups of 2", "4 groups of 8"]
    assert all(found.packs(found.way(p)) == p for p in divisors(16))
    with pytest.raises(ValueError, match="can't be computed in 3 groups of 5"):
        found.packs("3 groups of 5")


def test_names_tell_layers_apart():
    ones = layer(4, 3, 3)
    changes = {"groups": 2, "inputs": 4, "outputs": 4, "kernel": (5, 5), "stride": (2, 2), "padding": (0, 0)}
    others = [replace(ones, **{key: value}) for key, value in {**changes, "dilation": (2, 2), "map": (6, 6)}.items()]
    assert len({each.name for each in [ones, *others]}) == 9


def test_the_layers_of_a_design_are_its_grouped_convolutions_each_once():
    names = [each.name for each in layers_of_design(SMALL)]
    assert names == ["4 groups of 2, 3x3, at 6x6", "4 groups of 3, 3x3, stride 2x2, at 6x6"]
    assert layers_of_design(SMALL, 16)[0].map == (8, 8)
    assert layers_of_design(replace(SMALL, cardinality=1)) == layers_of_design(replace(SMALL, form="b")) == []


KERNELS = (
    ("4 groups of 2, 3x3, at 6x6", "2 groups of 4"),
    ("4 groups of 3, 3x3, stride 2x2, at 6x6", "1 groups of 12"),
)


def networks():
    own = Execution("cpu", "fp64", 1)
    return [first_network(SMALL, 0, execution, None) for execution in (own, replace(own, kernels=KERNELS))]


def test_an_execution_decides_how_a_network_computes():
    native, packed = networks()
    assert not [m for m in native.modules() if isinstance(m, PackedConv2d)]
    assert [m.packed for m in packed.modules() if isinstance(m, PackedConv2d)] == [{(6, 6): 2}] * 2 + [{(6, 6): 4}]


def test_a_packed_network_is_the_same_function_with_the_same_gradients_and_state():
    native, packed = networks()
    images, labels = torch.randn(4, 1, 12, 12, dtype=torch.float64), torch.tensor([0, 1, 2, 3])
    for network in (native, packed, copy.deepcopy(packed)):
        network.train()
        nn.functional.cross_entropy(network(images), labels).backward()
        for (name, own), (other, value) in zip(native.named_parameters(), network.named_parameters(), strict=True):
            assert name == other
            torch.testing.assert_close(own.grad, value.grad, rtol=1e-10, atol=1e-12)
    shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in (native, packed)]
    assert shapes[0] == shapes[1]


def test_a_subclass_of_a_convolution_is_left_alone():
    class Own(nn.Conv2d):
        pass

    network = nn.Sequential(Own(4, 4, 3, padding=1, groups=2), nn.Conv2d(4, 4, 3, groups=2, padding="same"))
    pack(network, {"2 groups of 2, 3x3, at 6x6": "1 groups of 4"})
    assert [type(module) for module in network] == [Own, nn.Conv2d]


def test_someone_elses_network_packs_too():
    network = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2).double())
    images = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    before = network(images)
    pack(network, {"2 groups of 2, 3x3, at 6x6": "1 groups of 4"})
    assert isinstance(network[0], PackedConv2d)
    torch.testing.assert_close(network(images), before, rtol=1e-12, atol=1e-12)
