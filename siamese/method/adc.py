"""Adaptively Distilled ControlNet: a student that sees the mask learns from a teacher that sees the image too.

Qiu et al., Adaptively Distilled ControlNet, MICCAI 2025 (arXiv 2507.23652). With C_S, C_T two ControlNets and D_S, D_T
two decoders behind the one frozen encoder E, y the mask and x the image:

    e_S = D_S(E(z_t), c_m)    e_T = D_T(E(z_t), c_m + image_share c_i)    c_m = C_S(y), c_i = C_T(x)
    L = |e_S - eps|^2 + w_t |e_T - eps|^2 + w_d W |e_S - sg e_T|^2

| parameters                                   | L_S | L_T                     | L_D          |
|----------------------------------------------|-----|-------------------------|--------------|
| C_S and its hint encoder                     | yes | yes (no by detach_mask) | yes, via e_S |
| C_T and its hint encoder                     | no  | yes                     | no           |
| D_S, the decoder that is kept                | yes | no                      | yes          |
| D_T                                          | no  | yes                     | no           |
| UNet encoder, mid block, time embedding, VAE | no  | no                      | no           |

As in siamese/method/step.py, the encoder runs once, residuals are cut from the graph as leaves, and only one decoder
graph is ever alive. `loss_reweight` weighs L_S and L_T; L_D has weights of its own.
"""

import copy

import torch
from diffusers import ModelMixin, UNet2DConditionModel
from torch import Tensor, nn

from siamese.base.devices import moved
from siamese.config.adc import AdcRow
from siamese.method.control import Residuals, control_residuals, decoder_modules, unet_decode, unet_encode
from siamese.method.losses import consistency_loss, mse_per_sample
from siamese.method.networks import Networks, control_network
from siamese.method.reweight import adaptive_weights, lesion_cells
from siamese.method.step import Batch, mask_step


class TeacherDecoder(ModelMixin):
    """A second decoder D_T, for `unet_decode` in place of a UNet; it starts as that UNet's and shares nothing."""

    _supports_gradient_checkpointing = True

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        for name, module in decoder_modules(unet).items():
            self.add_module(name, copy.deepcopy(module))  # noqa: TID251 - weights of its own, not a stop-gradient
        self.conv_act = unet.conv_act  # has no weights


def adc_teacher(row: AdcRow, nets: Networks) -> dict[str, nn.Module]:
    """Return the teacher's ControlNet and decoder beside the student's networks."""
    image_controlnet = control_network(row, nets.unet, pretrained=row.teacher_init == "pretrained")
    return {"image_controlnet": image_controlnet, "decoder": TeacherDecoder(nets.unet)}


def distill_weights(row: AdcRow, mask_hints: Tensor, latents: Tensor) -> Tensor | None:
    """Return the W of L_D, float32 (B, 1, h, w) for mask hints (B, 3, H, W) and latents (B, C, h, w); None: 1."""
    if row.distill_weights == "uniform":
        return None
    return adaptive_weights(lesion_cells(mask_hints, latents), normalize=row.distill_normalize)


def adc_step(
    nets: Networks, row: AdcRow, batch: Batch, share: float | Tensor, lesion: Tensor | None = None
) -> dict[str, Tensor]:
    """Add the gradients of share * sum over the batch of L_S + w_t L_T + w_d L_D and return each term, (B,).

    L_S is "mask", L_T "image", L_D "consistency", without w_t and w_d. Where both are 0 there is no teacher, and L_S is
    the one term. lesion: weights of the cells of L_S and L_T, (B, 1, h, w).
    """
    if not row.w_t and not row.w_d:
        return {"mask": mask_step(nets.controlnet, nets.unet, batch, share, lesion)}
    (timesteps,) = moved([batch.timesteps], batch.noisy_latents.device)
    with torch.no_grad():
        features = unet_encode(nets.unet, batch.noisy_latents, timesteps, batch.context)

    def residuals_of(net: nn.Module, hints: Tensor) -> Residuals:
        encoded = net.controlnet_cond_embedding(hints)
        return control_residuals(net, batch.noisy_latents, timesteps, batch.context, encoded)

    of_mask = residuals_of(nets.controlnet, batch.mask_hint)
    with torch.set_grad_enabled(row.w_t > 0):
        residuals = of_mask + residuals_of(nets.teacher["image_controlnet"], batch.image_hint)
        leaves = tuple(level.detach().requires_grad_() for level in residuals)
        mask, image = leaves[: len(of_mask)], leaves[len(of_mask) :]
        seen = tuple(level.detach() for level in mask) if row.detach_mask else mask
        mixed = tuple(m + row.image_share * i for m, i in zip(seen, image, strict=True))
        teacher_pred = unet_decode(nets.teacher["decoder"], features, mixed, batch.context)
        teacher_loss = mse_per_sample(teacher_pred, batch.noise, lesion)
        if row.w_t:
            (share * row.w_t * teacher_loss.sum()).backward()

    student_pred = unet_decode(nets.unet, features, mask, batch.context)
    student_loss = mse_per_sample(student_pred, batch.noise, lesion)
    weights = distill_weights(row, batch.mask_hint, batch.noisy_latents)
    distillation = consistency_loss(student_pred, teacher_pred, weights)
    (share * (student_loss.sum() + row.w_d * distillation.sum())).backward()
    walked = [(level, leaf.grad) for level, leaf in zip(residuals, leaves, strict=True) if leaf.grad is not None]
    torch.autograd.backward(*zip(*walked, strict=True))
    return {"mask": student_loss.detach(), "image": teacher_loss.detach(), "consistency": distillation.detach()}
