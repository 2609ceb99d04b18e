"""A vision transformer (Dosovitskiy et al. 2021): how many heads, at one budget?"""

import torch
from torch import nn

from ablation.family import family


class Layer(nn.Module):
    """Attention over the patches, then two linear layers."""

    def __init__(self, width: int, heads: int, ratio: float) -> None:
        super().__init__()
        inside = round(width * ratio)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, inside), nn.GELU(), nn.Linear(inside, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (images, patches, width)."""
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Patches to tokens, layers, the mean over tokens, a classifier."""

    def __init__(self, width, heads, layers, patch, ratio, channels, resolution, classes) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.position = nn.Parameter(torch.randn(1, (resolution // patch) ** 2, width) * 0.02)
        self.layers = nn.Sequential(*(Layer(width, heads, ratio) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (images, channels, resolution, resolution) -> logits (images, classes)."""
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.layers(x)).mean(1))


@family(solve="width", axes=["heads", "ratio"], multiple=lambda knobs: knobs["heads"])
def vit(width, heads, layers=12, patch=16, ratio=4, channels=3, resolution=224, classes=1000):
    """Heads divide the width between them; 384 and 6 are nearly ViT-S."""
    return Transformer(width, heads, layers, patch, ratio, channels, resolution, classes)
