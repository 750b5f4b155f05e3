"""The mask on the grid of the latents, grown with the noise, and the kinds of lesion that masks hold."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data.pairs.errors import UserError, few


def latent_masks(lesion: Tensor, size: Sequence[int], how: str) -> tuple[Tensor, Tensor]:
    """Return masks (B, 1, h, w) of 0 and 1 for masks (B, 1, H, W), and which the fallback has kept, (B,) bool.

    bilinear: the smoothed mask is at least a half. A lesion that this loses takes every cell that it touches, as all do
    with `any`: else nothing would be trained or painted, while the pair's mask says lesion.
    """
    touched = functional.adaptive_max_pool2d(lesion, tuple(size))
    if how == "any":
        return touched, torch.zeros(len(lesion), dtype=torch.bool, device=lesion.device)
    smoothed = functional.interpolate(lesion, size=tuple(size), mode="bilinear", antialias=True)
    cells = (smoothed >= 0.5).to(lesion)
    lost = (cells.flatten(1).sum(1) == 0) & (touched.flatten(1).sum(1) > 0)
    return torch.where(lost[:, None, None, None], touched, cells), lost


def dilation_radius(timestep: int, side: int, share: float) -> int:
    """Return by how many cells the mask grows at a timestep: share * side at 900, fewer with less noise."""
    return int((timestep + 100) * share * side / 1000)


def dilated(cells: Tensor, radius: int) -> Tensor:
    """Return masks (B, 1, h, w) grown by a square of so many cells each way."""
    return functional.max_pool2d(cells, 2 * radius + 1, 1, radius) if radius else cells


def lesion_values(masks: np.ndarray) -> list[float]:
    """Return the values of the kinds of lesion in masks (N, H, W), in order, without 0; [1.0] where there are none."""
    return [float(value) for value in np.unique(masks) if value] or [1.0]


def lesion_names(masks: np.ndarray, values: Sequence[float], ids: Sequence[str]) -> list[int]:
    """Return the place of each mask's kind in `values`; a mask without lesion takes the first. `ids` are the masks'.

    Raises: UserError when a mask holds several kinds, or one that is not among them.
    """
    kinds = [[float(value) for value in np.unique(mask) if value] for mask in masks]
    several = [own_id for own_id, kind in zip(ids, kinds, strict=True) if len(kind) > 1]
    unknown = sorted({value for kind in kinds for value in kind} - set(values))
    if several:
        raise UserError(
            f"anomaly_diffusion learns one class of lesion a mask; {len(several)} masks hold more than one class",
            [
                ", ".join(few(several)),
                "leave `classes` out of the data-set row, then all of them are lesion, or take another generator",
            ],
        )
    if unknown:
        raise UserError(
            f"anomaly_diffusion: it was trained on lesions of {list(values)} and is asked for {unknown}",
            ["values are the class's number over the number of classes", "train it on pairs that show them"],
        )
    return [values.index(kind[0]) if kind else 0 for kind in kinds]
