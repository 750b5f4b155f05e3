"""Gates of the consistency loss: how far the image branch is worth following, sample by sample; not the paper's.

L_c pulls the mask branch to a mixture of the noise and of what the image branch predicts. That helps where the image
branch knows more and has not copied the image. Both branches predict the same noise at the same noisy latents, so the
gain g = 1 - L_i / L_m is a paired ratio that costs no pass: g <= 0 where the image branch is no better, near 1 where it
copies. Nothing is kept from step to step.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from siamese.method.losses import mse_per_sample

# name of consistency_gate -> weights of L_c in [0, 1], (B,), for gains (B,)
GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "gain": lambda gain: gain.clamp(0, 1),
    "band": lambda gain: 4 * gain.clamp(0, 1) * (1 - gain.clamp(0, 1)),
}


@torch.no_grad()
def gain(mask_pred: Tensor, mix_pred: Tensor, noise: Tensor) -> Tensor:
    """Return g = 1 - L_i / L_m of each sample, (B,), from predictions and noise (B, C, h, w), unweighted."""
    mask_loss, mix_loss = mse_per_sample(mask_pred, noise), mse_per_sample(mix_pred, noise)
    return 1 - mix_loss / mask_loss.clamp_min(torch.finfo(mask_loss.dtype).eps)
