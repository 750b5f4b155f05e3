"""A lesion painted into the latents of an image without one by blended DDIM; one generator an image draws all noise."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from siamese.anomaly.attention import weigh_columns
from siamese.anomaly.latent_masks import dilated, dilation_radius
from siamese.anomaly.latents import drawn
from siamese.anomaly.networks import Networks
from siamese.anomaly.weights import row_weights
from siamese.base.devices import moved
from siamese.config.anomaly import AnomalyRow


def word_columns(networks: Networks, row: AnomalyRow) -> Tensor:
    """Return which columns of the first template are weighted, (77,) bool: the words', and the start token's."""
    columns = networks.prompts.taken[0].clone()
    columns[0] = row.reweight_start_token
    return columns


def paint(
    networks: Networks,
    row: AnomalyRow,
    schedule: DDIMScheduler,
    context: Tensor,
    normal: Tensor,
    cells: Tensor,
    rngs: Sequence[torch.Generator],
) -> Tensor:
    """Return clean latents (B, C, h, w) with a lesion in cells (B, 1, h, w), for normal latents and context (B, 77, D).

    At every step all cells outside are the normal image's, noised anew as far as the step is; inside, the UNet goes on.
    Steps that are adaptive take a mask that is grown with the noise, and weigh attention to the words. The caller stops
    gradients.
    """
    solver = DDIMScheduler.from_config(schedule.config, timestep_spacing="leading")
    solver.set_timesteps(row.sample_steps)
    attention = weigh_columns(networks.unet, word_columns(networks, row), row.reweight_at) if row.adaptive else None
    latents, clean = drawn(rngs, normal), None
    (times,) = moved([solver.timesteps], normal.device)
    for index, timestep in enumerate(solver.timesteps):  # on the CPU, where the solver looks up its coefficients
        open_cells = cells
        if row.adaptive:
            open_cells = dilated(cells, dilation_radius(int(timestep), cells.shape[-1], row.dilation))
        around = solver.add_noise(normal, drawn(rngs, normal), times[index].expand(len(normal)))
        latents = open_cells * latents + (1 - open_cells) * around
        if attention:
            attention.weights = row_weights(row, latents, clean, normal, open_cells)
        noise_pred = networks.unet(latents, times[index], context).sample.to(latents)
        step = solver.step(noise_pred, timestep, latents, eta=row.eta, variance_noise=drawn(rngs, normal))
        latents, clean = step.prev_sample, step.pred_original_sample
    return cells * latents + (1 - cells) * normal if row.paste == "latent" else latents


def pasted(painted: np.ndarray, normal: np.ndarray, mask: np.ndarray, feather_px: int) -> np.ndarray:
    """Return an image uint8 (H, W, 3) that is the normal one outside the mask (H, W), fading over so many px."""
    if not (mask != 0).any():
        return normal.copy()
    distance = cv2.distanceTransform((mask == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.clip(1 - distance / (feather_px + 1), 0, 1)[..., None]
    return np.rint(share * painted + (1 - share) * normal).astype(np.uint8)
