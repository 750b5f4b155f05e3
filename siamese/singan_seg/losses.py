"""The losses of one scale, of each pyramid by itself: (K,) for K pyramids side by side."""

from collections.abc import Callable

import torch
from torch import Tensor


def penalty(score: Callable[[Tensor], Tensor], mixed: Tensor, pyramids: int, *, by: str) -> Tensor:
    """Return (|grad D| - 1)^2 of each pyramid for images (1, K * 4, h, w), the gradient that of the sum of the map.

    `by` pixel: the norm runs over the channels of each pixel, and the mean over pixels is returned, as the released
    code has it; image: over the whole image, as in WGAN-GP.
    """
    mixed = mixed.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(mixed).sum(), mixed, create_graph=True)
    own = gradient.unflatten(1, (pyramids, -1))[0]  # (K, 4, h, w)
    norm = own.norm(2, dim=1) if by == "pixel" else own.flatten(1).norm(2, dim=1)
    return ((norm - 1) ** 2).reshape(pyramids, -1).mean(1)


def per_pyramid(values: Tensor, pyramids: int) -> Tensor:
    """Return the mean over everything of each pyramid, (K,), from (1, K * C, h, w)."""
    return values.reshape(pyramids, -1).mean(1)


def mixed_with(real: Tensor, fake: Tensor, shares: Tensor) -> Tensor:
    """Return a * real + (1 - a) * fake, (1, K * 4, h, w), one share a of each pyramid, (K,)."""
    a = shares.repeat_interleave(real.shape[1] // len(shares)).view(1, -1, 1, 1)
    return a * real + (1 - a) * fake
