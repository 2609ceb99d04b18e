"""Networks: torchvision's weights go both ways, three forms are one function, batch norm in groups."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from ablation.design import FORMS, SHORTCUTS, Design, design_from_name
from ablation.network import BatchNorm, Network, commit, convert, initialise, pooled, set_norm_batch, stream

SMALL = Design(
    blocks=(2, 1), cardinality=3, widths=(2, 5), outputs=(8, 16), stem="cifar", stem_width=4, classes=5, resolution=9
)
TORCHVISION = {
    "resnet50": "resnet50_1x64d",
    "resnet101": "resnet101_1x64d",
    "resnext50_32x4d": "resnext50_32x4d",
    "resnext101_64x4d": "resnext101_64x4d",
}


def network_of(design: Design, seed: int = 0) -> Network:
    return initialise(Network(design), seed)


def images(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=stream(seed, "test"), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("theirs", sorted(TORCHVISION))
def test_torchvision_s_weights_give_the_same_logits(theirs):
    torch.manual_seed(0)
    reference = torchvision.models.get_model(theirs, weights=None).eval()
    with torch.no_grad():
        for module in reference.modules():
            if isinstance(module, nn.BatchNorm2d):  # statistics of a trained network are not 0 and 1
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    with torch.device("meta"):
        ours = Network(design_from_name(TORCHVISION[theirs])).eval()
    ours.load_state_dict(reference.state_dict(), strict=True, assign=True)
    x = images(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), reference(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("theirs", sorted(TORCHVISION))
def test_our_weights_have_torchvision_s_names_and_shapes(theirs):
    with torch.device("meta"):
        reference = torchvision.models.get_model(theirs, weights=None).state_dict()
        ours = Network(design_from_name(TORCHVISION[theirs])).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in reference.items()}


def outputs_and_gradients(network: Network, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    y = network(x)
    F.cross_entropy(y, torch.arange(len(x)) % y.shape[1]).backward()
    return y.detach(), {name: parameter.grad for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("form", ["a", "b"])
def test_forms_are_one_function_with_one_gradient(form, shortcut):
    design = replace(SMALL, shortcut=shortcut)
    reference = network_of(design).double()
    other = Network(replace(design, form=form)).double()
    other.load_state_dict(convert(reference.state_dict(), design.cardinality, form), strict=True)
    x = images(6, 3, 9, 9, dtype=torch.float64)
    y, gradients = outputs_and_gradients(reference, x)
    other_y, other_gradients = outputs_and_gradients(other, x)
    assert (y - other_y).abs().max() < 1e-10
    for name, gradient in convert(other_gradients, design.cardinality, "c").items():
        assert (gradient - gradients[name]).abs().max() < 1e-10, name
    assert gradients.keys() == convert(other_gradients, design.cardinality, "c").keys()


@pytest.mark.parametrize("start", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_converting_there_and_back_changes_nothing(start, form):
    state = network_of(replace(SMALL, form=start)).state_dict()
    back = convert(convert(state, SMALL.cardinality, form), SMALL.cardinality, start)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


def test_a_converted_state_shares_no_memory_with_its_source():
    state = network_of(SMALL).state_dict()
    other = convert(state, SMALL.cardinality, "a")
    before = {key: value.clone() for key, value in state.items()}
    for key, value in other.items():
        if ".paths." in key:
            value.zero_()
    assert all(torch.equal(state[key], before[key]) for key in state)


@pytest.mark.parametrize("form", ["a", "b"])
def test_a_seed_is_the_same_function_in_every_form(form):
    x = images(4, 3, 9, 9)
    expected = network_of(SMALL, seed=3)(x)
    torch.testing.assert_close(network_of(replace(SMALL, form=form), seed=3)(x), expected, rtol=1e-4, atol=1e-5)


def test_equal_seeds_give_equal_weights_and_unequal_ones_do_not():
    first, same, other = (network_of(SMALL, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert all(not torch.equal(first[key], other[key]) for key in first if first[key].ndim == 4)


def test_initialisation_ignores_the_global_random_state():
    torch.manual_seed(1)
    first = network_of(SMALL).state_dict()
    torch.manual_seed(2)
    assert all(torch.equal(value, first[key]) for key, value in network_of(SMALL).state_dict().items())


def test_a_weight_s_draw_depends_on_its_own_name_alone():
    narrow, deep = network_of(SMALL), network_of(replace(SMALL, blocks=(2, 3)))
    assert torch.equal(narrow.layer1[0].conv1.weight, deep.layer1[0].conv1.weight)


def test_convolutions_start_as_the_paper_s():
    network = network_of(replace(SMALL, widths=(16, 32), outputs=(64, 128)))
    weight = network.layer1[0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * weight.shape[0])) ** 0.5, rel=0.05)
    assert torch.equal(network.layer1[0].bn3.weight, torch.ones(64))


def test_batch_norm_in_groups_is_batch_norm_of_each_group():
    x = images(8, 3, 5, 5)
    grouped, separate = BatchNorm(3), BatchNorm(3)
    grouped.norm_batch = 4
    torch.testing.assert_close(grouped(x), torch.cat([separate(x[:4]), separate(x[4:])]), rtol=0, atol=0)
    grouped.commit()
    separate.commit()
    assert torch.equal(grouped.running_mean, separate.running_mean)
    assert torch.equal(grouped.running_var, separate.running_var)


def test_running_statistics_move_once_a_step_to_the_mean_over_groups():
    x, norm = images(8, 3, 5, 5), BatchNorm(3)
    norm.norm_batch = 4
    norm(x)
    assert torch.equal(norm.running_mean, torch.zeros(3))
    norm.commit()
    means = torch.stack([group.mean((0, 2, 3)) for group in x.split(4)])
    variances = torch.stack([group.transpose(0, 1).flatten(1).var(1) for group in x.split(4)])
    torch.testing.assert_close(norm.running_mean, 0.1 * means.mean(0))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * variances.mean(0))
    assert norm.num_batches_tracked == 1


def test_one_group_is_torch_s_batch_norm():
    x, ours, theirs = images(8, 3, 5, 5), BatchNorm(3), nn.BatchNorm2d(3)
    torch.testing.assert_close(ours(x), theirs(x))
    ours.commit()
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_a_step_without_images_moves_nothing():
    norm = BatchNorm(3)
    norm.commit()
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_var, torch.ones(3))


def test_evaluation_leaves_no_trace():
    network = network_of(SMALL).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network(images(4, 3, 9, 9))
    commit(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_network_s_gradient_in_groups_is_the_mean_over_groups():
    x, whole, halves = images(8, 3, 9, 9, dtype=torch.float64), network_of(SMALL).double(), network_of(SMALL).double()
    set_norm_batch(whole, 4)
    whole(x).mean().backward()
    for part in x.split(4):
        (halves(part).mean() / 2).backward()
    for ours, theirs in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize(
    ("shortcut", "projections", "added"),
    [("projection", 2, 3), ("identity", 0, 3), ("projection-only", 2, 2), ("none", 0, 0)],
)
def test_shortcuts_are_what_they_are_called(shortcut, projections, added):
    network = network_of(replace(SMALL, shortcut=shortcut))
    blocks = [*network.layer1, *network.layer2]
    assert sum("downsample.0" in name for name, _ in network.named_parameters()) == projections
    x, seen = images(2, 3, 9, 9), []
    for block in blocks:
        block.register_forward_hook(lambda block, inputs, _: seen.append(block.skip(inputs[0])))
    network.eval()(x)
    assert sum(skip is not None for skip in seen) == added


def test_an_identity_shortcut_pads_channels_and_skips_pixels():
    block = network_of(replace(SMALL, shortcut="identity")).layer2[0]
    x = images(1, 8, 9, 9)
    skip = block.skip(x)
    assert torch.equal(skip[:, :8], x[:, :, ::2, ::2])
    assert torch.equal(skip[:, 8:], torch.zeros(1, 8, 5, 5))


@pytest.mark.parametrize(("stem", "side", "channels"), [("imagenet", 3, 3), ("cifar", 10, 3), ("small", 5, 1)])
def test_stems_leave_the_map_they_should(stem, side, channels):
    network = network_of(replace(SMALL, stem=stem, resolution=10, channels=channels))
    sides = []
    network.layer1.register_forward_hook(lambda _, inputs, __: sides.append(inputs[0].shape[-1]))
    assert network(images(2, channels, 10, 10)).shape == (2, 5)
    assert sides == [side]


def test_streams_are_functions_of_their_key_alone():
    def draw(*key: object) -> list[float]:
        return torch.rand(3, generator=stream(*key)).tolist()

    assert draw(0, "order", 1) == draw(0, "order", 1)
    assert len({tuple(draw(*key)) for key in [(0, "order", 1), (1, "order", 0), (0, "order", 11)]}) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("channels", "side"), [(128, 4), (10, 5), (33, 1), (256, 7)])
def test_a_pooled_map_gives_the_bits_of_the_plain_mean_and_a_gradient_in_its_layout(channels, side, dtype):
    x = 10 * torch.randn(9, channels, side, side, generator=torch.Generator().manual_seed(0))
    x = x.to(dtype).to(memory_format=torch.channels_last).requires_grad_()
    plain, own = x.mean((2, 3)), pooled(x)
    (expected,), (gradient,) = (torch.autograd.grad(y, x, torch.ones_like(y) / 3) for y in (plain, own))
    assert torch.equal(plain, own) and torch.equal(expected, gradient)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_a_shortcut_added_in_place_gives_the_bits_of_a_sum_and_leaves_its_input(shortcut):
    network = network_of(replace(SMALL, shortcut=shortcut)).to(memory_format=torch.channels_last)
    for block in (network.layer1[1], network.layer2[0]):
        x = images(4, 8, 9, 9).to(memory_format=torch.channels_last).requires_grad_()
        skip = block.skip(x)
        y = block.bn3(block.transform(x))
        expected, before = F.relu(y if skip is None else y + skip), x.detach().clone()
        own = block(x)
        gradients = [torch.autograd.grad(out.square().sum(), [x, *block.parameters()]) for out in (expected, own)]
        assert torch.equal(expected, own) and torch.equal(x, before)
        assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
