"""ConvNeXt (Liu et al. 2022): at one budget, a wider block or a wider inside of it?"""

import torch
from torch import nn

from ablation.family import family


class Norm(nn.LayerNorm):
    """Layer norm over channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (images, channels, height, width)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise 7x7, then two 1x1 with `expansion` times the channels between them."""

    def __init__(self, width: int, expansion: float) -> None:
        super().__init__()
        inside = round(width * expansion)
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.first, self.last = nn.Linear(width, inside), nn.Linear(inside, width)
        self.scale = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (images, channels, height, width)."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.last(nn.functional.gelu(self.first(y)))
        return x + y.permute(0, 3, 1, 2)


@family(solve="width", axes=["expansion"])
def convnext(width, expansion, blocks="3-3-9-3", patch=4, channels=3, classes=1000):
    """ConvNeXt; `width` channels in the first stage, twice as many in each next; 96 and 4 are ConvNeXt-T."""
    counts = [int(count) for count in blocks.split("-")]
    layers = [nn.Conv2d(channels, width, patch, patch), Norm(width)]
    for stage, count in enumerate(counts):
        if stage:
            layers += [Norm(width << stage - 1), nn.Conv2d(width << stage - 1, width << stage, 2, 2)]
        layers += [Block(width << stage, expansion) for _ in range(count)]
    last = width << len(counts) - 1
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(last), nn.Linear(last, classes))
