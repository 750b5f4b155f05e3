"""The parts of StyleGAN2 (Karras et al. 2020) in plain torch: equalised layers, modulated convolution, binomial filter.

Weights start from N(0, 1) and are divided by the root of their fan-in when used, so that one rate of Adam suits all.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

GAIN = math.sqrt(2)  # of leaky_relu(0.2), to keep the variance
LARGEST_HALF = 256.0  # of an activation in half precision
HALVES = (torch.float16, torch.bfloat16)


def activate(features: Tensor) -> Tensor:
    """Return leaky_relu(x, 0.2) * sqrt(2); in half precision cut at 256 on both sides."""
    active = functional.leaky_relu(features, 0.2) * GAIN
    return active.clamp(-LARGEST_HALF, LARGEST_HALF) if active.dtype in HALVES else active


def _binomial(like: Tensor, gain: float) -> Tensor:
    """Return the filter [1, 3, 3, 1] in both directions, of sum `gain`, one for each channel of (B, C, H, W)."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=like.dtype, device=like.device)
    return (line.outer(line) * (gain / 64)).expand(like.shape[1], 1, 4, 4)


def smooth(images: Tensor, pad: int, *, gain: float = 1.0, stride: int = 1) -> Tensor:
    """Return (B, C, H, W) filtered by [1, 3, 3, 1] beyond a border of `pad` px of zeros, every `stride`-th px."""
    kernel = _binomial(images, gain)
    return functional.conv2d(images, kernel, padding=pad, stride=stride, groups=images.shape[1])


def double(images: Tensor) -> Tensor:
    """Return (B, C, 2H, 2W): zeros inserted and filtered, which is bilinear but for the border of 1 px."""
    kernel = _binomial(images, 4.0)
    return functional.conv_transpose2d(images, kernel, stride=2, padding=1, groups=images.shape[1])


class EqualLinear(nn.Module):
    """A linear layer (B, inputs) -> (B, outputs) with an equalised rate, without activation."""

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, lr_factor: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_factor)
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr_factor))
        self.scale, self.lr_factor = lr_factor / math.sqrt(inputs), lr_factor

    def forward(self, features: Tensor) -> Tensor:
        """Return the linear map of the features."""
        return functional.linear(features, self.weight * self.scale, self.bias * self.lr_factor)


class EqualConv(nn.Module):
    """A convolution with an equalised rate that keeps the side, or halves it behind the filter; no activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = True, halve: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.halve, self.pad = 1 / math.sqrt(inputs * kernel**2), halve, kernel // 2

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H, W), or half the sides."""
        weight = self.weight * self.scale
        if not self.halve:
            return functional.conv2d(features, weight, self.bias, padding=self.pad)
        if self.pad:
            return functional.conv2d(smooth(features, 2), weight, self.bias, stride=2)
        return functional.conv2d(smooth(features, 1, stride=2), weight, self.bias)


def modulated(features: Tensor, weight: Tensor, styles: Tensor, *, demodulate: bool = True, up: bool = False) -> Tensor:
    """Return (B, O, H, W), or twice the sides, of a convolution whose weights each sample scales by its styles.

    weight (O, C, k, k), styles (B, C): W' = W * s, and demodulated W' / sqrt(sum_{C,k} W'^2 + 1e-8). Scaling what goes
    in and what comes out is the same map as scaling the weights, with one weight for the whole batch.
    """
    scaled = features * styles[:, :, None, None].to(features.dtype)
    if up:
        kernel = weight.transpose(0, 1)
        mixed = smooth(functional.conv_transpose2d(scaled, kernel.to(scaled.dtype), stride=2), 1, gain=4.0)
    else:
        mixed = functional.conv2d(scaled, weight, padding=weight.shape[2] // 2)
    if not demodulate:
        return mixed
    energy = functional.linear(styles.square(), weight.square().sum((2, 3)))
    return mixed * (energy + 1e-8).rsqrt()[:, :, None, None].to(mixed.dtype)


class StyledConv(nn.Module):
    """A demodulated 3x3 convolution by a style vector, noise on every pixel, bias and activation."""

    def __init__(self, inputs: int, outputs: int, code: int, *, up: bool = False) -> None:
        super().__init__()
        self.style = EqualLinear(code, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))  # demodulation undoes any scale of it
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.up = up

    def forward(self, features: Tensor, code: Tensor, noise: Tensor) -> Tensor:
        """Return (B, outputs, H, W) for a style vector (B, code) and noise (B, 1, H, W)."""
        mixed = modulated(features, self.weight, self.style(code), up=self.up)
        return activate(
            mixed + (noise * self.noise_strength).to(mixed.dtype) + self.bias[:, None, None].to(mixed.dtype)
        )


class StyledPixels(nn.Module):
    """A modulated 1x1 convolution to colours or to a mask: not demodulated, no activation."""

    def __init__(self, inputs: int, outputs: int, code: int) -> None:
        super().__init__()
        self.style = EqualLinear(code, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        """Return float32 or float64 (B, outputs, H, W)."""
        styles = self.style(code) * self.scale
        pixels = modulated(features, self.weight, styles, demodulate=False) + self.bias[:, None, None]
        return pixels.float() if pixels.dtype in HALVES else pixels
