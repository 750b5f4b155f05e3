"""The training steps of the latent methods that are not the paper's: both hints at once, and the T2I-Adapter."""

import torch
from torch import Tensor

from siamese.base.devices import moved
from siamese.method.condition import Condition, summed_residuals
from siamese.method.control import unet_decode, unet_encode
from siamese.method.losses import denoising_loss
from siamese.method.networks import Networks
from siamese.method.reweight import weighted_denoising_loss
from siamese.method.step import Batch


def condition_step(
    networks: Networks, condition: Condition, batch: Batch, share: float | Tensor, lesion: Tensor | None = None
) -> Tensor:
    """Add the gradients of share * sum of |e - eps|^2 under one condition and return it for each sample, (B,).

    Gradients go into everything that `condition` was made with, and into the UNet's decoder where it is trained. An
    adapter acts inside the UNet's encoder, so gradients flow through that; ControlNets join after it.
    """
    (timesteps,) = moved([batch.timesteps], batch.noisy_latents.device)
    with torch.set_grad_enabled(bool(condition.adapter)):
        features = unet_encode(networks.unet, batch.noisy_latents, timesteps, batch.context, condition.adapter)
    residuals = summed_residuals(condition, batch.noisy_latents, timesteps, batch.context)
    noise_pred = unet_decode(networks.unet, features, residuals, batch.context)
    if lesion is None:
        loss = denoising_loss(noise_pred, batch.noise)
    else:
        loss = weighted_denoising_loss(noise_pred, batch.noise, lesion)
    (share * loss.sum()).backward()
    return loss.detach()
