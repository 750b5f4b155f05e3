"""DFMGAN's losses, one value a sample where a batch mean is not part of them (Karras et al. 2020, Duan et al. 2023)."""

import torch
from torch import Tensor
from torch.nn import functional

MASK_SLOPE = 10.0  # of the tanh that brings a raw mask into (-1, 1)
PATH_WEIGHT = 2.0
PATH_DECAY = 0.01


def looks_real(scores: Tensor) -> Tensor:
    """Return softplus(-score): small where the discriminator takes a sample for real."""
    return functional.softplus(-scores)


def looks_made(scores: Tensor) -> Tensor:
    """Return softplus(score): small where the discriminator takes a sample for made."""
    return functional.softplus(scores)


def squashed(masks: Tensor) -> Tensor:
    """Return tanh(10 M), in (-1, 1): what stands beside a real mask of -1 and 1."""
    return torch.tanh(MASK_SLOPE * masks)


def gradient_penalty(scores: Tensor, pixels: Tensor, gamma: float) -> Tensor:
    """Return gamma / 2 |grad of the score by the pixels|^2, (B,), differentiable (R1, Mescheder et al. 2018)."""
    (gradient,) = torch.autograd.grad(scores.sum(), pixels, create_graph=True)
    return gamma / 2 * gradient.square().sum((1, 2, 3))


def path_lengths(images: Tensor, codes: Tensor, noise: Tensor) -> Tensor:
    """Return |J^T y| of each sample, (B,), differentiable; y is `noise` / sqrt(H W).

    codes (B, L, C): the length is the root of the mean over L of the sum over C. Images that do not depend on the codes
    have length 0.
    """
    projected = (images * noise).sum() / (images.shape[2] * images.shape[3]) ** 0.5
    if not projected.requires_grad:
        return codes.new_zeros(len(codes))
    (gradient,) = torch.autograd.grad(projected, codes, create_graph=True, allow_unused=True)
    if gradient is None:
        return codes.new_zeros(len(codes))
    return gradient.square().sum(2).mean(1).sqrt()


def path_penalty(lengths: Tensor, usual: Tensor) -> Tensor:
    """Return 2 (length - usual length)^2, (B,)."""
    return PATH_WEIGHT * (lengths - usual).square()


def mode_seeking(codes: Tensor, others: Tensor, masks: Tensor, other_masks: Tensor, epsilon: float = 0.0) -> Tensor:
    """Return mean |d_1 - d_2| / (mean |M_1 - M_2| + epsilon), (): small where codes that differ give masks that differ.

    With epsilon 0, equal masks give infinity and a gradient that is not a number.
    """
    return (codes - others).abs().mean() / ((masks - other_masks).abs().mean() + epsilon)
