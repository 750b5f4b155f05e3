"""The small autoencoder of a base model that is trained here, and the latents that it gives."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor

from data.pairs.seeds import item_seed
from data.pairs.training import accelerator
from siamese.base.devices import moved, norm_groups, seeded
from siamese.base.latents import to_signed
from siamese.base.sharpness import Loss, band_energy, laplacian_l1, perceptual_loss
from siamese.base.steps import train_steps
from siamese.config.base import VaeShape

KL_WEIGHT = 1e-6
START_LOG_VARIANCE = -10.0
LEAST_DEVIATION = 1e-6  # of a channel that says nothing
MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-1, -2))  # axes: as it is, mirrored twice, turned
AT_ONCE = 16


def _start_linear(vae: AutoencoderKL) -> AutoencoderKL:
    """Let the autoencoder start as a nearly linear map that keeps the size of its signal, with narrow posteriors.

    From PyTorch's own start the signal shrinks at every layer, and colour is still not learned after 1000 steps.
    """
    for module in vae.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            torch.nn.init.zeros_(module.bias)
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            torch.nn.init.zeros_(module.conv2.weight)
    torch.nn.init.constant_(vae.quant_conv.bias[vae.config.latent_channels :], START_LOG_VARIANCE)
    return vae


def _build(shape: VaeShape, size_px: int) -> AutoencoderKL:
    levels = len(shape.channels)
    return _start_linear(
        AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=shape.channels,
            layers_per_block=1,
            latent_channels=shape.latent_channels,
            norm_num_groups=norm_groups(shape.channels),
            mid_block_add_attention=False,
            sample_size=size_px,
            scaling_factor=1.0,
        )
    )


def _weighted_losses(shape: VaeShape, device: torch.device) -> list[tuple[float, Loss]]:
    losses: list[tuple[float, Loss]] = [(1.0, laplacian_l1)]
    if shape.band_energy:
        losses.append((shape.band_energy, band_energy))
    if shape.perceptual:
        losses.append((shape.perceptual, perceptual_loss(device)))
    return losses


def train_autoencoder(
    images: np.ndarray, shape: VaeShape, seed: int, checkpoint_steps: int, work: Path
) -> AutoencoderKL:
    """Return an autoencoder trained on random crops and mirrored copies of images, uint8 (N, H, W, 3).

    Raises: UserError as `train_steps`, and as `perceptual_loss` where the shape asks for it.
    """
    device, side = accelerator().device, images.shape[1]
    vae = seeded(lambda: _build(shape, side), item_seed(seed, "vae")).to(device, memory_format=torch.channels_last)
    crop, losses = min(shape.crop_px, side), _weighted_losses(shape, device)

    def loss_of_batch(rng: torch.Generator) -> Tensor:
        corners = torch.randint(0, side - crop + 1, (shape.batch, 2), generator=rng).tolist()
        chosen = torch.randint(0, len(images), (shape.batch,), generator=rng).tolist()
        crops = [images[i, y : y + crop, x : x + crop] for i, (y, x) in zip(chosen, corners, strict=True)]
        batch = to_signed(np.stack(crops))
        mirrored = torch.randint(0, 2, (shape.batch, 1, 1, 1), generator=rng).bool()
        (batch,) = moved([torch.where(mirrored, batch.flip(-1), batch)], device)
        batch = batch.contiguous(memory_format=torch.channels_last)
        posterior = DiagonalGaussianDistribution(vae.encode(batch).latent_dist.parameters.float())
        decoded = vae.decode(posterior.sample(rng)).sample.float()
        total = KL_WEIGHT * posterior.kl().mean()
        for weight, loss in losses:
            total = total + weight * loss(decoded, batch)
        return total

    train_steps(vae, "vae", shape, loss_of_batch, item_seed(seed, "vae batches"), checkpoint_steps, work)
    return vae.eval().requires_grad_(False)


@torch.no_grad()
def symmetric_latents(vae: AutoencoderKL, images: np.ndarray) -> Tensor:
    """Return the latents of images, uint8 (N, H, W, 3), and of their mirrored and turned copies, (4 N, C, h, w)."""
    found = None
    for number, axes in enumerate(MIRRORS):
        for start in range(0, len(images), AT_ONCE):
            batch = to_signed(images[start : start + AT_ONCE]).flip(axes).to(vae.device)
            latents = vae.encode(batch.contiguous(memory_format=torch.channels_last)).latent_dist.mean
            if found is None:
                found = latents.new_empty((len(MIRRORS) * len(images), *latents.shape[1:]))
            found[number * len(images) + start :][: len(latents)] = latents
    assert found is not None  # there is an image
    return found


def normalise_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Give every channel of latents (N, C, h, w) mean 0 and deviation 1, in place, and let the autoencoder give these.

    Means and deviations are folded into the 1x1 convolutions on either side of the latents, so that reconstructions
    stay as they were and the posteriors are those of the new latents.
    """
    count, inner, outer = latents.shape[1], vae.quant_conv, vae.post_quant_conv
    moments = []
    for channel in range(count):  # one at a time, for the memory
        values = latents[:, channel].double().cpu()
        moments.append((float(values.mean()), max(float(values.std()), LEAST_DEVIATION)))
    mean, deviation = torch.tensor(moments, dtype=torch.float64).unbind(1)
    with torch.no_grad():
        weight, bias = (value.double().cpu() for value in (inner.weight, inner.bias))
        weight[:count] /= deviation.view(-1, 1, 1, 1)
        bias[:count] = (bias[:count] - mean) / deviation
        bias[count:] -= 2 * deviation.log()  # log-variances
        inner.weight.copy_(weight), inner.bias.copy_(bias)
        weight, bias = (value.double().cpu() for value in (outer.weight, outer.bias))
        outer.bias.copy_(bias + weight[:, :, 0, 0] @ mean)
        outer.weight.copy_(weight * deviation.view(1, -1, 1, 1))
    mean, deviation = (values.float().view(1, -1, 1, 1).to(latents.device) for values in (mean, deviation))
    return latents.sub_(mean).div_(deviation)
