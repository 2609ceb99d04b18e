"""Inception-v3, v4 and Inception-ResNet-v2 (Szegedy et al. 2016, 2017): branches tuned by hand. One size each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablation.errors import UserError
from ablation.family import family

if TYPE_CHECKING:
    from torch import nn

CLASSIFIER = {"v3": 2048, "v4": 1536, "resnet-v2": 1536}
"""What enters the classifier."""
PARAMS = {"v3": 21_785_568, "v4": 41_142_816, "resnet-v2": 54_306_464}
"""Before the classifier."""
COUNTS: dict[str, dict[int, tuple[int, int]]] = {
    "v3": {
        224: (2_835_873_120, 4_648_336),
        256: (3_847_549_280, 6_226_704),
        299: (5_711_168_096, 8_967_488),
        320: (6_335_805_792, 10_077_712),
    },
    "v4": {
        224: (6_120_358_752, 7_767_840),
        256: (8_298_710_880, 10_431_328),
        299: (12_252_438_624, 15_089_184),
        320: (13_652_291_424, 16_939_104),
    },
    "resnet-v2": {
        224: (6_467_425_120, 12_567_952),
        256: (8_805_556_064, 17_006_640),
        299: (13_154_258_016, 25_058_976),
        320: (14_567_057_248, 27_902_896),
    },
}
"""(MACs, activations) before the classifier, by resolution; of images with three channels."""


def counted(kind: str, channels: int, resolution: int, classes: int) -> tuple[int, int, int] | None:
    """(params, macs, activations); None where the table has no such image: then the network is counted."""
    if channels != 3 or resolution not in COUNTS[kind]:
        return None
    macs, activations = COUNTS[kind][resolution]
    weights = CLASSIFIER[kind] * classes
    return PARAMS[kind] + weights + classes, macs + weights, activations + classes


def cost_v3(
    dropout: float = 0.5, channels: int = 3, resolution: int = 299, classes: int = 1000
) -> tuple[int, int, int] | None:
    """`counted`, of Inception-v3."""
    return counted("v3", channels, resolution, classes)


def cost_v4(
    dropout: float = 0.0, channels: int = 3, resolution: int = 299, classes: int = 1000
) -> tuple[int, int, int] | None:
    """`counted`, of Inception-v4."""
    return counted("v4", channels, resolution, classes)


def cost_resnet_v2(
    dropout: float = 0.0, channels: int = 3, resolution: int = 299, classes: int = 1000
) -> tuple[int, int, int] | None:
    """`counted`, of Inception-ResNet-v2."""
    return counted("resnet-v2", channels, resolution, classes)


@family(solve=None, cost=cost_v3)
def inception_v3(dropout: float = 0.5, channels: int = 3, resolution: int = 299, classes: int = 1000) -> nn.Module:
    """torchvision's, without the classifier that helps in training. Images of 75 pixels or more."""
    from torchvision.models import inception_v3 as theirs

    from ablation.systems.initial import he

    network = theirs(weights=None, aux_logits=False, init_weights=False, num_classes=classes, dropout=dropout)
    if channels != 3:
        from torch import nn

        network.Conv2d_1a_3x3.conv = nn.Conv2d(channels, 32, 3, 2, bias=False)
    return he(network)


@family(solve=None, cost=cost_v4)
def inception_v4(dropout: float = 0.0, channels: int = 3, resolution: int = 299, classes: int = 1000) -> nn.Module:
    """timm's. Images of 75 pixels or more."""
    return _timm("inception_v4", dropout, channels, classes)


@family(solve=None, cost=cost_resnet_v2)
def inception_resnet_v2(
    dropout: float = 0.0, channels: int = 3, resolution: int = 299, classes: int = 1000
) -> nn.Module:
    """timm's. Images of 75 pixels or more."""
    return _timm("inception_resnet_v2", dropout, channels, classes)


def _timm(name: str, dropout: float, channels: int, classes: int) -> nn.Module:
    """A network of timm's, never its weights. Raises UserError where timm is not installed."""
    try:
        from timm import create_model
    except ModuleNotFoundError:
        raise UserError(
            f"{name} is timm's, which is not installed", remedy="pip install 'cardinality-ablation[inception]'."
        ) from None
    from ablation.systems.initial import he
    from ablation.systems.norm_act import apart

    return he(apart(create_model(name, pretrained=False, in_chans=channels, num_classes=classes, drop_rate=dropout)))
