"""The official training step, written literally from its description: copied networks, repeated passes.

The only place where networks are copied; it exists to be compared with.
"""

import copy

import torch


def _forward(controlnet, unet, latents, batch, hint, extra=None, w_image=1.0, w_mask=1.0):
    down, mid = controlnet(latents, batch.timesteps, batch.context, hint, return_dict=False)
    if extra is not None:
        down = [w_mask * m + w_image * i for m, i in zip(extra[0], down, strict=True)]
        mid = w_mask * extra[1] + w_image * mid
    return unet(
        latents, batch.timesteps, batch.context, down_block_additional_residuals=down, mid_block_additional_residual=mid
    ).sample


def official_step(controlnet, unet, batch, *, step, num_steps, w_c=1.0, w_m=1.0, copy_unet=True):
    """Add the gradients of the official loss to controlnet and to the trained half of unet; return the loss."""
    frozen_control = copy.deepcopy(controlnet)  # noqa: TID251
    for parameter in frozen_control.parameters():
        parameter.requires_grad_(False)
    copied_unet = copy.deepcopy(unet) if copy_unet else unet  # noqa: TID251
    with torch.no_grad():
        mask_residuals = frozen_control(
            batch.noisy_latents, batch.timesteps, batch.context, batch.mask_hint, return_dict=False
        )
    mixed = _forward(
        controlnet, copied_unet, batch.noisy_latents, batch, batch.image_hint, mask_residuals, step / num_steps, w_m
    )
    masked = _forward(controlnet, unet, batch.noisy_latents, batch, batch.mask_hint)
    mean = (1, 2, 3)
    loss = (masked - batch.noise).square().mean(mean).mean()
    loss = loss + (mixed - batch.noise).square().mean(mean).mean()
    loss = loss + w_c * (masked - mixed.detach()).square().mean(mean).mean()
    gate = ((batch.timesteps <= 200) & (step > num_steps / 3)).to(loss.dtype)
    if gate.any():
        root = (1 - batch.sigmas.square()).sqrt().view(-1, 1, 1, 1)
        sigma = batch.sigmas.view(-1, 1, 1, 1)
        clean = (batch.noisy_latents - sigma * mixed.detach()) / root
        again = root * clean + sigma * batch.noise
        online = _forward(controlnet, unet, again, batch, batch.mask_hint)
        loss = loss + (gate * (online - batch.noise).square().mean(mean)).mean()
    loss.backward()
    return loss.detach()
