"""Losses: what a network gives and masks in, one number out. All in full precision."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as functional
from torch import Tensor

from segmentation.config.architectures import ArchitectureRow
from segmentation.networks.outputs import Outputs
from segmentation.training.losses_contrast import pixel_contrast

Loss = Callable[[Outputs, Tensor], Tensor]

CONTRAST_WEIGHT = 0.1
EDGE_PX, EDGE_WEIGHT = 31, 5.0


def bce(outputs: Outputs, masks: Tensor) -> Tensor:
    """Return the mean binary cross-entropy, summed over the maps: SegFormer's loss (spec/segmenters.md 5.2)."""
    return torch.stack([functional.binary_cross_entropy_with_logits(logits, masks) for logits in outputs.maps]).sum()


def bce_dice(outputs: Outputs, masks: Tensor) -> Tensor:
    """Return the mean binary cross-entropy plus one minus the soft Dice, averaged over the batch, summed over the maps.

    Maps are logits (B, 1, H, W), masks float (B, 1, H, W) in [0, 1]. The one in the denominator keeps empty masks
    defined; it is not in the numerator, so an empty mask adds a constant 1. Source: spec/segmenters.md 1.2 (SANet).
    """
    return torch.stack([_bce_dice(logits, masks) for logits in outputs.maps]).sum()


def _bce_dice(logits: Tensor, masks: Tensor) -> Tensor:
    entropy = functional.binary_cross_entropy_with_logits(logits, masks)
    probabilities = torch.sigmoid(logits)
    overlap = (probabilities * masks).sum(dim=(1, 2, 3))
    total = probabilities.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3))
    return entropy + 1 - (2 * overlap / (total + 1)).mean()


def ce_dice(outputs: Outputs, masks: Tensor) -> Tensor:
    """Return half the cross-entropy plus half of one minus the Dice of both classes, pooled over the batch.

    The only map is logits (B, 2, H, W): background, lesion. Source: spec/segmenters.md 5.1 (the paper's UNet).
    """
    (logits,) = outputs.maps
    truth = torch.cat([1 - masks, masks], dim=1)
    entropy = functional.cross_entropy(logits, truth)
    probabilities = logits.softmax(dim=1)
    overlap = (probabilities * truth).sum(dim=(0, 2, 3))
    total = probabilities.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    dice = (2 * overlap + 1e-6) / (total + 1e-6)
    return 0.5 * entropy + 0.5 * (1 - dice.mean())


def edge_weights(masks: Tensor) -> Tensor:
    """Return (B, 1, H, W), from 1 far from the outline to 6 where a pixel differs from all around it.

    Zeros beyond the border count in the mean of 31 x 31 pixels. Source: spec/segmenters.md 2.2.
    """
    around = functional.avg_pool2d(masks, EDGE_PX, stride=1, padding=EDGE_PX // 2)
    return 1 + EDGE_WEIGHT * (around - masks).abs()


def structure(outputs: Outputs, masks: Tensor, *, weighted_bce: bool) -> Tensor:
    """Return the structure loss, summed over the maps: cross-entropy plus the weighted IoU loss of each image.

    As coded, the cross-entropy is the plain mean over the batch, because the official call passes a text that PyTorch
    takes for true; as written in the papers it is weighted by `edge_weights`. Source: spec/segmenters.md 2.2.
    """
    weights = edge_weights(masks)
    return torch.stack([_structure(logits, masks, weights, weighted_bce) for logits in outputs.maps]).sum()


def _structure(logits: Tensor, masks: Tensor, weights: Tensor, weighted_bce: bool) -> Tensor:
    entropy = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    if weighted_bce:
        entropy = (weights * entropy).sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3))
    probabilities = torch.sigmoid(logits)
    overlap = (weights * probabilities * masks).sum(dim=(1, 2, 3))
    either = (weights * (probabilities + masks)).sum(dim=(1, 2, 3)) - overlap
    return entropy.mean() + (1 - (overlap + 1) / (either + 1)).mean()


def structure_contrast(outputs: Outputs, masks: Tensor, *, weighted_bce: bool, hard: bool) -> Tensor:
    """Return the structure loss plus a tenth of the pixel contrast on the embedding. Source: spec/segmenters.md 3.3."""
    if outputs.embedding is None:
        raise ValueError("this network gives no embedding to contrast")
    found = outputs.maps[0] > 0 if hard else None
    contrast = pixel_contrast(outputs.embedding, masks, found)
    return structure(outputs, masks, weighted_bce=weighted_bce) + CONTRAST_WEIGHT * contrast


LOSSES: dict[str, Callable[[ArchitectureRow], Loss]] = {
    "bce": lambda row: bce,
    "bce_dice": lambda row: bce_dice,
    "ce_dice": lambda row: ce_dice,
    "structure": lambda row: partial(structure, weighted_bce=row.weighted_bce),
    "structure_contrast": lambda row: partial(
        structure_contrast, weighted_bce=row.weighted_bce, hard=row.hard_contrast
    ),
}
