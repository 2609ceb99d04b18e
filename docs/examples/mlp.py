"""A plain perceptron: at one budget, how much wider inside than out? Its closed form is its own."""

from torch import nn

from ablation.family import family


def cost(width, ratio, layers=2, channels=1, resolution=28, classes=10):
    """(params, macs, activations): weights and biases; one multiply-add a weight; what each layer gives."""
    pixels, inside = channels * resolution**2, width * ratio
    weights = pixels * width + layers * 2 * width * inside + width * classes
    outputs = width + layers * (inside + width) + classes
    return weights + outputs, weights, outputs


@family(solve="width", axes=["ratio"], cost=cost)
def mlp(width, ratio, layers=2, channels=1, resolution=28, classes=10):
    """`layers` pairs of layers, `ratio` times wider between the two."""
    inside = [
        layer
        for _ in range(layers)
        for layer in (nn.Linear(width, ratio * width), nn.ReLU(), nn.Linear(ratio * width, width), nn.ReLU())
    ]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * resolution**2, width), nn.ReLU(), *inside, nn.Linear(width, classes)
    )
