"""Losses: what a network gives and masks in, one number out. All in full precision."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as functional
from torch import Tensor

from segmentation.config.architectures import ArchitectureRow
from segmentation.networks.blocks import Outputs

Loss = Callable[[Outputs, Tensor], Tensor]  # of masks float (B, 1, H, W) in [0, 1]: a scalar

EDGE_PX, EDGE_WEIGHT = 31, 5.0
CONTRAST_WEIGHT, TAU, BASE_TAU = 0.1, 0.1, 0.07
MOST_PIXELS, MOST_A_CLASS, LEAST_PIXELS = 1024, 100, 100


def bce(outputs: Outputs, masks: Tensor) -> Tensor:
    """Return the mean binary cross-entropy, summed over the maps: SegFormer's loss (spec/segmenters.md 5.2)."""
    return torch.stack([functional.binary_cross_entropy_with_logits(logits, masks) for logits in outputs.maps]).sum()


def bce_dice(outputs: Outputs, masks: Tensor) -> Tensor:
    """Return the mean binary cross-entropy plus one minus the soft Dice, averaged over the batch, summed over the maps.

    Maps are logits (B, 1, H, W), masks float (B, 1, H, W) in [0, 1]. The one in the denominator keeps empty masks
    defined; it is not in the numerator, so an empty mask adds a constant 1. Source: spec/segmenters.md 1.2 (SANet).
    """
    losses = []
    for logits in outputs.maps:
        entropy = functional.binary_cross_entropy_with_logits(logits, masks)
        probabilities = torch.sigmoid(logits)
        overlap = (probabilities * masks).sum(dim=(1, 2, 3))
        total = probabilities.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3))
        losses.append(entropy + 1 - (2 * overlap / (total + 1)).mean())
    return torch.stack(losses).sum()


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
    losses = []
    for logits in outputs.maps:
        entropy = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
        if weighted_bce:
            entropy = (weights * entropy).sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3))
        probabilities = torch.sigmoid(logits)
        overlap = (weights * probabilities * masks).sum(dim=(1, 2, 3))
        either = (weights * (probabilities + masks)).sum(dim=(1, 2, 3)) - overlap
        losses.append(entropy.mean() + (1 - (overlap + 1) / (either + 1)).mean())
    return torch.stack(losses).sum()


def _choose(pixels: Tensor, wrong: Tensor | None, count: int) -> Tensor:
    """Return `count` of the pixels (N,) without repetition; half of them wrong ones where `wrong` (N,) is given.

    Drawn from torch's global generator. Where one half has too few, the other fills up.
    """
    order = pixels[torch.randperm(len(pixels), device="cpu").to(pixels.device)]
    if wrong is None:
        return order[:count]
    is_wrong = wrong[order]
    hard, easy = order[is_wrong], order[~is_wrong]
    n_hard = min(len(hard), max(count // 2, count - len(easy)))
    return torch.cat([hard[:n_hard], easy[: count - n_hard]])


def sample_pixels(embedding: Tensor, masks: Tensor, predicted: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return anchors (M, C) and their labels (M,) in {0, 1}: as many pixels of each class of each image.

    `embedding` is (B, C, H, W), masks are (B, 1, H, W) in [0, 1] and count as lesion above a half, so that no grey of
    an edge becomes a class of its own. A class with 100 pixels or fewer in an image is left out. `predicted` is bool
    (B, 1, H, W): what the network takes for lesion, for hard pixels.
    """
    lesion, flat = (masks > 0.5).flatten(1), embedding.flatten(2)
    groups = [(image, (lesion[image] == label).nonzero()[:, 0]) for image in range(len(lesion)) for label in (0, 1)]
    groups = [(image, pixels) for image, pixels in groups if len(pixels) > LEAST_PIXELS]
    count = min(MOST_A_CLASS, MOST_PIXELS // max(1, len(groups)))
    anchors, labels = [flat.new_zeros((0, flat.shape[1]))], [lesion.new_zeros(0)]
    for image, pixels in groups:
        wrong = None if predicted is None else predicted.flatten(1)[image] != lesion[image]
        chosen = _choose(pixels, wrong, count)
        anchors.append(flat[image, :, chosen].T)
        labels.append(lesion[image, chosen])
    return torch.cat(anchors), torch.cat(labels)


def contrast(anchors: Tensor, labels: Tensor) -> Tensor:
    """Return the supervised contrast of anchors (M, C) with labels (M,): the mean over anchors, 0 where there are none.

    For anchor i with similarities s_ij = e_i . e_j / tau: -(tau / tau0) times the mean over j of its own class of
    log(exp s_ij / (exp s_ij + the sum of exp s_ik over the other class)). Source: spec/segmenters.md 3.3.
    """
    if len(anchors) < 2:
        return anchors.sum() * 0
    similar = anchors @ anchors.T / TAU
    similar = similar - similar.max(dim=1, keepdim=True).values.detach()
    same = labels[:, None] == labels[None, :]
    others = (similar.exp() * ~same).sum(dim=1, keepdim=True)
    log_share = similar - (similar.exp() + others).log()
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    mean = (log_share * positive).sum(dim=1) / positive.sum(dim=1).clamp(min=1)
    return -(TAU / BASE_TAU) * mean.mean()


def pixel_contrast(embedding: Tensor, masks: Tensor, predicted: Tensor | None = None) -> Tensor:
    """Return the pixel contrast of an embedding (B, C, h, w), which is brought to the size of the masks first."""
    full = functional.interpolate(embedding, size=masks.shape[-2:], mode="bilinear", align_corners=True)
    return contrast(*sample_pixels(full, masks, predicted))


def structure_contrast(outputs: Outputs, masks: Tensor, *, weighted_bce: bool, hard: bool) -> Tensor:
    """Return the structure loss plus a tenth of the pixel contrast on the embedding. Source: spec/segmenters.md 3.3."""
    if outputs.embedding is None:
        raise ValueError("this network gives no embedding to contrast")
    predicted = outputs.maps[0] > 0 if hard else None
    contrast_loss = pixel_contrast(outputs.embedding, masks, predicted)
    return structure(outputs, masks, weighted_bce=weighted_bce) + CONTRAST_WEIGHT * contrast_loss


def loss_of(row: ArchitectureRow) -> Loss:
    """Return the loss that a row names, with its switches."""
    losses: dict[str, Loss] = {
        "bce": bce,
        "bce_dice": bce_dice,
        "ce_dice": ce_dice,
        "structure": partial(structure, weighted_bce=row.weighted_bce),
        "structure_contrast": partial(structure_contrast, weighted_bce=row.weighted_bce, hard=row.hard_contrast),
    }
    return losses[row.loss]
