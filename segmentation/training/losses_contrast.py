"""Pixel contrast: embeddings of lesion pixels are drawn together and away from those of the background."""

import torch
import torch.nn.functional as functional
from torch import Tensor

TAU, BASE_TAU = 0.1, 0.07
MOST_PIXELS, MOST_A_CLASS, LEAST_PIXELS = 1024, 100, 100


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


def sample_pixels(embedding: Tensor, masks: Tensor, found: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return anchors (M, C) and their labels (M,) in {0, 1}: as many pixels of each class of each image.

    `embedding` is (B, C, H, W), masks are (B, 1, H, W) in [0, 1] and count as lesion above a half, so that no grey of
    an edge becomes a class of its own. A class with 100 pixels or fewer in an image is left out. `found` is bool
    (B, 1, H, W): what the network takes for lesion, for hard pixels.
    """
    labels = (masks > 0.5).flatten(1)
    flat = embedding.flatten(2)
    groups = []
    for image in range(len(labels)):
        for label in (False, True):
            pixels = (labels[image] == label).nonzero()[:, 0]
            if len(pixels) > LEAST_PIXELS:
                groups.append((image, label, pixels))
    count = min(MOST_A_CLASS, MOST_PIXELS // max(1, len(groups)))
    anchors, of = [flat.new_zeros((0, flat.shape[1]))], [labels.new_zeros(0)]
    for image, label, pixels in groups:
        wrong = None if found is None else found.flatten(1)[image] != labels[image]
        chosen = _choose(pixels, wrong, count)
        anchors.append(flat[image, :, chosen].T)
        of.append(labels.new_full((len(chosen),), label))
    return torch.cat(anchors), torch.cat(of)


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


def pixel_contrast(embedding: Tensor, masks: Tensor, found: Tensor | None = None) -> Tensor:
    """Return the pixel contrast of an embedding (B, C, h, w), which is brought to the size of the masks first."""
    full = functional.interpolate(embedding, size=masks.shape[-2:], mode="bilinear", align_corners=True)
    return contrast(*sample_pixels(full, masks, found))
