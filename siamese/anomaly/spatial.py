"""The spatial encoder: words that say where a mask lies. pSp's feature pyramid on an IR-50, without squeeze-excite."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from siamese.config.anomaly import AnomalyRow

STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))  # channels and units; the first unit of each halves the side
PYRAMID = 512
SMALL = (16, 32, 64, 64)


class Unit(nn.Module):
    """Two convolutions beside a shortcut, which is subsampled where the width stays."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = nn.MaxPool2d(1, stride)
        wider = (nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = same if inputs == outputs else nn.Sequential(*wider)

    def forward(self, features: Tensor) -> Tensor:
        """Return features (B, outputs, h / stride, w / stride)."""
        return self.body(features) + self.shortcut(features)


class EqualLinear(nn.Linear):
    """A linear layer whose weights are stored with deviation 1 and divided by the root of their inputs when used."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs)."""
        return functional.linear(features, self.weight / math.sqrt(self.in_features), self.bias)


def _head(width: int, side: int) -> nn.Sequential:
    """Return what makes one word of the pyramid's largest map, whose side is a power of two."""
    layers: list[nn.Module] = []
    for number in range(side.bit_length() - 1):
        layers += [nn.Conv2d(width if number else PYRAMID, width, 3, 2, 1), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers, nn.Flatten(), EqualLinear(width, width))


def _enlarged(features: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(features, size=like.shape[2:], mode="bilinear", align_corners=True)


class SpatialEncoder(nn.Module):
    """Words of width D for a mask of side S, a power of two: 356,019,392 weights for four words at 1280 and 256 px."""

    def __init__(self, words: int, width: int, side: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        inputs, stages = 64, []
        for outputs, count in STAGES:
            stages.append(
                nn.Sequential(*(Unit(outputs if i else inputs, outputs, 1 if i else 2) for i in range(count)))
            )
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList([nn.Conv2d(256, PYRAMID, 1), nn.Conv2d(128, PYRAMID, 1)])
        self.heads = nn.ModuleList(_head(width, side // 4) for _ in range(words))

    def maps(self, masks: Tensor) -> list[Tensor]:
        """Return c1 (B, 128, S/4, S/4), c2 (B, 256, S/8, S/8) and c3 (B, 512, S/16, S/16)."""
        features, maps = self.stem(masks.mul(2).sub(1).expand(-1, 3, -1, -1)), []
        for stage in self.stages:
            maps.append(features := stage(features))
        return maps[1:]

    def forward(self, masks: Tensor) -> Tensor:
        """Return words (B, words, D) for masks (B, 1, S, S), 0 or 1."""
        c1, c2, c3 = self.maps(masks)
        second = self.lateral[0](c2)
        second = second + _enlarged(c3, second)
        first = self.lateral[1](c1)
        first = first + _enlarged(second, first)
        return torch.stack([head(first) for head in self.heads], dim=1)


class SmallEncoder(nn.Module):
    """The same for toys: four convolutions that halve the side, and the mean over space."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *SMALL), SMALL, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(4, outputs), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.words = nn.Linear(SMALL[-1], words * width)
        self.shape = (words, width)

    def forward(self, masks: Tensor) -> Tensor:
        """Return words (B, words, D) for masks (B, 1, S, S), 0 or 1."""
        features = self.body(masks.mul(2).sub(1).expand(-1, 3, -1, -1)).mean((2, 3))
        return self.words(features).unflatten(1, self.shape)


def build_spatial(row: AnomalyRow, width: int) -> nn.Module:
    """Return the network that a row asks for, with words of the width of the prompt."""
    if row.encoder == "small":
        return SmallEncoder(row.spatial_words, width)
    return SpatialEncoder(row.spatial_words, width, row.encoder_px)


def encoder_masks(lesion: Tensor, side: int) -> Tensor:
    """Return masks (B, 1, side, side) of 0 and 1 from masks (B, 1, H, W): a pixel is lesion by its nearest one.

    A lesion that this loses takes every pixel that it touches, as on the latents' grid.
    """
    nearest = functional.interpolate(lesion, size=(side, side), mode="nearest-exact")
    lost = nearest.flatten(1).amax(1) == 0
    return torch.where(lost[:, None, None, None], functional.adaptive_max_pool2d(lesion, side), nearest)
