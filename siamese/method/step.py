"""One training step of Siamese-Diffusion: which loss sends gradients where.

| parameters                                   | L_m | L_i           | L_c       | L_m'        |
|----------------------------------------------|-----|---------------|-----------|-------------|
| ControlNet and hint encoder                  | yes | via c_i alone | via e_m   | via c_m'    |
| UNet decoder (up blocks and output)          | yes | no            | yes       | yes         |
| UNet encoder, mid block, time embedding, VAE | no  | no            | no        | no          |

The official code copies ControlNet and UNet at every step to cut these gradients. Here the frozen encoder runs once,
ControlNet runs once on both hints, and its residuals are cut from the graph as leaves. L_i is walked back to the leaves
at once, while the decoder's weights are constants (D' of the paper); ControlNet is walked back once, at the end
(spec 1.6). Only one decoder graph is ever alive.

`loss_reweight: arsdm` weighs the cells of the denoising losses L_m, L_i and L_m'. L_c stays as it is: it compares two
predictions with each other and none with the noise; `consistency_reweight` is for that. Terms are logged as they are
before the weights of terms and samples: w_c, the gate of L_c, min-SNR.
"""

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor

from siamese.base.devices import moved, rows_of
from siamese.method.batch import Batch
from siamese.method.control import (
    Condition,
    constant_decoder,
    control_residuals,
    decoder_features,
    encoded_hint,
    mix_residuals,
    predicted_noise,
    summed_residuals,
    unet_decode,
    unet_encode,
)
from siamese.method.gate import GATES, gain
from siamese.method.loss_weights import Additions, LossWeights
from siamese.method.losses import augmented_latents, consistency_loss, mse_per_sample, weighed_sum

TERMS = ("mask", "image", "consistency", "online")


class Augmented(NamedTuple):
    """Samples of a batch that Eq. 13 selects, at their augmented latents, until their pass."""

    batch: Batch
    lesion: Tensor | None
    rows: Tensor  # (G,) int64: their places in the batch they come from
    loss: Tensor  # (B,): L_m' of every sample of that batch, which their pass fills in


def condition_step(
    unet: UNet2DConditionModel,
    condition: Condition,
    batch: Batch,
    share: float | Tensor,
    lesion: Tensor | None = None,
    additions: Additions | None = None,
) -> Tensor:
    """Add the gradients of share * sum of |e - eps|^2 under one condition and return it for each sample, (B,).

    Gradients go into everything that `condition` was made with, and into the UNet's decoder where it is trained. An
    adapter acts inside the UNet's encoder, so gradients flow through that; ControlNets join after it. lesion: weights
    of the cells, (B, 1, h, w).
    """
    additions = additions or Additions()
    (timesteps,) = moved([batch.timesteps], batch.noisy_latents.device)
    with torch.set_grad_enabled(bool(condition.adapter)):
        features = unet_encode(unet, batch.noisy_latents, timesteps, batch.context, condition.adapter)
    residuals = summed_residuals(condition, batch.noisy_latents, timesteps, batch.context)
    decoded = decoder_features(unet, features, residuals, batch.context)
    predicted = predicted_noise(unet, decoded)
    if additions.law:
        lesion = additions.law.learn(decoded, predicted, batch, share, additions.figures)
    loss = mse_per_sample(predicted, batch.noise, lesion)
    total = weighed_sum(loss, additions.snr)
    if additions.layout:
        total = total + additions.layout.loss(predicted, batch, additions.figures)
    (share * total).backward()
    return loss.detach()


def mask_step(
    controlnet: ControlNetModel,
    unet: UNet2DConditionModel,
    batch: Batch,
    share: float | Tensor,
    lesion: Tensor | None = None,
    additions: Additions | None = None,
) -> Tensor:
    """Add the gradients of share * sum of L_m and return L_m of each sample, (B,): the whole step of ControlNet."""
    condition = Condition((encoded_hint(controlnet, batch.mask_hint),))
    return condition_step(unet, condition, batch, share, lesion, additions)


def _augmented(batch: Batch, weights: LossWeights, mix_pred: Tensor, rows: list[int], loss: Tensor) -> Augmented:
    latents = augmented_latents(batch.noisy_latents, batch.sigmas, batch.noise, mix_pred)
    here = torch.tensor(rows)
    (there,) = moved([here], latents.device)
    whole = batch._replace(noisy_latents=latents)
    chosen = Batch(*(rows_of(t, there if t.device == there.device else here) for t in whole))
    lesion = None if weights.lesion is None else rows_of(weights.lesion, there)
    return Augmented(chosen, lesion, there, loss)


def online_step(
    controlnet: ControlNetModel,
    unet: UNet2DConditionModel,
    waiting: Sequence[Augmented],
    share: float | Tensor,
    most: int | None = None,
) -> None:
    """Add the gradients of share * sum of L_m' and fill in the losses; up to `most` samples at a time (None: all)."""
    fields = zip(*(part.batch for part in waiting), strict=True)
    batch = Batch(*(torch.cat(tensors) if len(tensors) > 1 else tensors[0] for tensors in fields))
    lesions = [part.lesion for part in waiting if part.lesion is not None]
    lesion = torch.cat(lesions) if lesions else None
    count = len(batch.timesteps)
    losses = []
    for start in range(0, count, most or count):
        part = slice(start, start + (most or count))
        some = Batch(*(tensor[part] for tensor in batch))
        losses.append(mask_step(controlnet, unet, some, share, None if lesion is None else lesion[part]))
    losses_of = torch.cat(losses).split([len(part.rows) for part in waiting])
    for augmented, loss in zip(waiting, losses_of, strict=True):
        augmented.loss.index_copy_(0, augmented.rows, loss)


def siamese_step(
    controlnet: ControlNetModel, unet: UNet2DConditionModel, batch: Batch, weights: LossWeights, share: float | Tensor
) -> dict[str, Tensor]:
    """Add the gradients of share * sum over the batch of L_m + L_i + w_c L_c + L_m' and return each term, (B,).

    With a gate of L_c also "gain", see `siamese.method.gate`, and the figures of `weights.additions`.
    `share` is 1 / (pairs of the optimiser step), times the loss scale in half precision, so that micro-batches and
    processes add up to one mean. L_m' counts only the samples that Eq. 13 selects and is still divided by all of them.
    With `weights.waiting` these samples go there, and "online" is 0 until `online_step` has taken them.
    """
    additions = weights.additions or Additions()
    (timesteps,) = moved([batch.timesteps], batch.noisy_latents.device)
    with torch.no_grad():
        features = unet_encode(unet, batch.noisy_latents, timesteps, batch.context)
    hints = torch.cat([batch.mask_hint, batch.image_hint])
    encoded = controlnet.controlnet_cond_embedding(hints)
    latents, times, context = (torch.cat([t, t]) for t in (batch.noisy_latents, timesteps, batch.context))
    residuals = control_residuals(controlnet, latents, times, context, encoded)
    leaves = [level.detach().requires_grad_() for level in residuals]
    mask, image = zip(*(leaf.chunk(2) for leaf in leaves), strict=True)

    if additions.law:  # its weights come from the mask branch, whose pass for L_m comes after L_i
        with torch.no_grad():
            decoded = decoder_features(unet, features, mask, batch.context)
            predicted = predicted_noise(unet, decoded)
        weights = weights._replace(lesion=additions.law.learn(decoded, predicted, batch, share, additions.figures))

    with contextlib.nullcontext() if weights.image_trains_decoder else constant_decoder(unet):
        mixed = mix_residuals(image, mask, w_image=weights.image, w_mask=weights.mask)
        mix_pred = unet_decode(unet, features, mixed, batch.context)
        image_loss = mse_per_sample(mix_pred, batch.noise, weights.lesion)
        (share * weighed_sum(image_loss, additions.snr)).backward()

    mask_pred = unet_decode(unet, features, mask, batch.context)
    mask_loss = mse_per_sample(mask_pred, batch.noise, weights.lesion)
    consistency = consistency_loss(mask_pred, mix_pred, weights.agreement)
    gate = None
    if weights.gate != "none":
        additions.figures["gain"] = gain(mask_pred, mix_pred, batch.noise)
        gate = GATES[weights.gate](additions.figures["gain"])
    total = weighed_sum(mask_loss, additions.snr) + weights.consistency * weighed_sum(consistency, gate)
    if additions.layout:
        total = total + additions.layout.loss(mask_pred, batch, additions.figures)
    (share * total).backward()
    torch.autograd.backward(residuals, [leaf.grad for leaf in leaves])

    online = torch.zeros_like(mask_loss)
    rows = [row for row, chosen in enumerate(weights.online.tolist()) if chosen]
    if rows:
        augmented = _augmented(batch, weights, mix_pred, rows, online)
        if weights.waiting is None:
            online_step(controlnet, unet, [augmented], share)
        else:
            weights.waiting.append(augmented)
    terms = (mask_loss.detach(), image_loss.detach(), consistency.detach(), online)
    return {**dict(zip(TERMS, terms, strict=True)), **additions.figures}
