"""Losses: logits and masks in, one number out."""

from collections.abc import Callable

import torch
import torch.nn.functional as functional


def bce_dice(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Return the mean binary cross-entropy plus one minus the soft Dice, averaged over the batch.

    Both inputs are float (B, 1, H, W), masks in [0, 1]. The one in the denominator keeps empty masks defined; it is
    not in the numerator, so an empty mask adds a constant 1. Source: spec/segmenters.md 1.2 (SANet).
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, masks)
    probabilities = torch.sigmoid(logits)
    overlap = (probabilities * masks).sum(dim=(1, 2, 3))
    total = probabilities.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3))
    return entropy + 1 - (2 * overlap / (total + 1)).mean()


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {"bce_dice": bce_dice}
