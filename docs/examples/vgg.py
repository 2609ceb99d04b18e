"""A plain network (Simonyan and Zisserman 2015): its width, at one budget and several depths."""

from torch import nn

from ablation.family import family


@family(solve="width", axes=["depth"])
def vgg(width, depth=2, stages=3, channels=3, classes=1000):
    """`stages` times `depth` 3x3 convolutions and a pooling; the width doubles from stage to stage."""
    layers, inputs = [], channels
    for stage in range(stages):
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, width << stage, 3, padding=1, bias=False), nn.BatchNorm2d(width << stage)]
            layers.append(nn.ReLU(inplace=True))
            inputs = width << stage
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
