"""The lesion weights of ArSDM: its own, and an option of every latent method (`loss_reweight: arsdm`).

Du et al., ArSDM: Colonoscopy Images Synthesis with Adaptive Refinement Semantic Diffusion Models, MICCAI 2023: with r
the lesion's share of the image and M its mask, W = M (1 - r) + (1 - M) r, so that lesion and background weigh alike.
"""

import torch
from torch import Tensor
from torch.nn import functional

from siamese.config.rows import LatentRow, SiameseRow


def adaptive_weights(masks: Tensor, *, normalize: bool) -> Tensor:
    """Return W for masks M (B, 1, H, W), 0 or 1, in their shape and type.

    The mean of W is exactly 2 r (1 - r): as in the official code a small lesion makes the loss small, and an empty mask
    makes it 0. `normalize` divides W by its mean; masks that are empty or full then weigh 1 everywhere.
    """
    share = masks.mean((1, 2, 3), keepdim=True)
    weights = masks * (1 - share) + (1 - masks) * share
    if not normalize:
        return weights
    mean = 2 * share * (1 - share)
    return torch.where(mean > 0, weights / mean.clamp_min(torch.finfo(mean.dtype).tiny), torch.ones_like(weights))


def lesion_cells(mask_hints: Tensor, latents: Tensor) -> Tensor:
    """Return the lesion on the grid of latents (B, C, h, w), float32 (B, 1, h, w), 0 or 1, by nearest neighbour.

    Mask hints are (B, 3, H, W) in [0, 1], and lesion is what is not 0.
    """
    return functional.interpolate((mask_hints[:, :1] > 0).float(), latents.shape[2:], mode="nearest")


def row_weights(row: LatentRow, mask_hints: Tensor, latents: Tensor) -> Tensor | None:
    """Return the W that a row asks for, float32 (B, 1, h, w) for latents (B, C, h, w), or None.

    r is the lesion's share on the latents' grid, see `lesion_cells`.
    """
    if row.loss_reweight != "arsdm":
        return None
    return adaptive_weights(lesion_cells(mask_hints, latents), normalize=row.reweight_normalize)


def agreement_weights(row: SiameseRow, mask_hints: Tensor, latents: Tensor) -> Tensor | None:
    """Return W / mean(W) for the cells of L_c, as `row_weights`, or None."""
    if row.consistency_reweight == "none":
        return None
    return adaptive_weights(lesion_cells(mask_hints, latents), normalize=True)
