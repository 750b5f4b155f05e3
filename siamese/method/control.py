"""ControlNet's residuals, their mixing (Eq. 5), and the two halves of the UNet that they join."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor


class ControlResiduals(NamedTuple):
    """What a ControlNet adds to a UNet: one map for each skip connection and one for the mid block."""

    down: tuple[Tensor, ...]  # SD 1.5 at 384 px: 12 maps from (B, 320, 48, 48) to (B, 1280, 6, 6)
    mid: Tensor  # (B, 1280, 6, 6)


class EncoderFeatures(NamedTuple):
    """What the UNet's encoder hands to its decoder."""

    skips: tuple[Tensor, ...]
    mid: Tensor
    time: Tensor  # (B, 4 * width)


def _plain_block(block: torch.nn.Module, sample: Tensor, time: Tensor, extra: Tensor):
    """Return what a down block without attention gives, with `extra` added to its last residual block's output.

    diffusers adds it behind the downsampler, which is the same only in the last block of a UNet.
    """
    outputs: tuple[Tensor, ...] = ()
    for resnet in block.resnets:
        if block.gradient_checkpointing and torch.is_grad_enabled():
            sample = block._gradient_checkpointing_func(resnet, sample, time)
        else:
            sample = resnet(sample, time)
        outputs += (sample,)
    sample = sample + extra
    outputs = (*outputs[:-1], sample)
    for downsampler in block.downsamplers or ():
        sample = downsampler(sample)
        outputs += (sample,)
    return sample, outputs


def _down_and_mid(
    net: UNet2DConditionModel | ControlNetModel,
    sample: Tensor,
    time: Tensor,
    context: Tensor,
    adapter: Sequence[Tensor] = (),
):
    skips = (sample,)
    for block, extra in zip_longest(net.down_blocks, adapter):
        if getattr(block, "has_cross_attention", False):
            added = {} if extra is None else {"additional_residuals": extra}
            sample, more = block(hidden_states=sample, temb=time, encoder_hidden_states=context, **added)
        elif extra is None:
            sample, more = block(hidden_states=sample, temb=time)
        else:
            sample, more = _plain_block(block, sample, time, extra)
        skips += more
    return skips, net.mid_block(sample, time, encoder_hidden_states=context)


def time_embedding(net: UNet2DConditionModel | ControlNetModel, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the embedding of timesteps (B,), (B, 4 * width)."""
    return net.time_embedding(net.time_proj(timesteps).to(dtype))


def control_residuals(
    controlnet: ControlNetModel, noisy_latents: Tensor, timesteps: Tensor, context: Tensor, hint_features: Tensor
) -> ControlResiduals:
    """Return c = C(z_t, t, text, hint), from hint features that were computed once.

    Shapes: noisy_latents (B, 4, h, w), timesteps (B,), context (B, 77, D), hint_features (B, width, h, w), the output
    of `controlnet.controlnet_cond_embedding`. The same as ControlNetModel.forward, which would encode the hint anew at
    every denoising step.
    """
    time = time_embedding(controlnet, timesteps, noisy_latents.dtype)
    skips, mid = _down_and_mid(controlnet, controlnet.conv_in(noisy_latents) + hint_features, time, context)
    down = tuple(zero_conv(skip) for zero_conv, skip in zip(controlnet.controlnet_down_blocks, skips, strict=True))
    return ControlResiduals(down, controlnet.controlnet_mid_block(mid))


def mix_residuals(
    image: ControlResiduals, mask: ControlResiduals, *, w_image: float, w_mask: float
) -> ControlResiduals:
    """Return c_mix = w_m sg[c_m] + w_i c_i (Eq. 5). The stop-gradient is in here, so that no caller can forget it."""
    down = tuple(w_image * i + w_mask * m.detach() for i, m in zip(image.down, mask.down, strict=True))
    return ControlResiduals(down, w_image * image.mid + w_mask * mask.mid.detach())


def unet_encode(
    unet: UNet2DConditionModel, sample: Tensor, timesteps: Tensor, context: Tensor, adapter: Sequence[Tensor] = ()
) -> EncoderFeatures:
    """Return E(z_t): the frozen half of the UNet, down blocks and mid block.

    The maps of a T2I-Adapter, one for each down block, are added to the output of the block's last layer, before its
    downsampler, so that they are in the skip connection too.
    """
    time = time_embedding(unet, timesteps, sample.dtype)
    skips, mid = _down_and_mid(unet, unet.conv_in(sample), time, context, adapter)
    return EncoderFeatures(skips, mid, time)


def unet_decode(
    unet: UNet2DConditionModel, features: EncoderFeatures, residuals: ControlResiduals | None, context: Tensor
) -> Tensor:
    """Return the predicted noise D(E(z_t), c), (B, 4, h, w): the trained half of the UNet, up blocks and output.

    Without residuals it is D(E(z_t)).

    The latent sides must be multiples of the UNet's downsampling; `siamese.base.latents.check_size` checks it.
    """
    skips, sample = list(features.skips), features.mid
    if residuals:
        skips = [skip + extra for skip, extra in zip(skips, residuals.down, strict=True)]
        sample = sample + residuals.mid
    for block in unet.up_blocks:
        count = len(block.resnets)
        used, skips = tuple(skips[-count:]), skips[:-count]
        extra = {"encoder_hidden_states": context} if getattr(block, "has_cross_attention", False) else {}
        sample = block(hidden_states=sample, temb=features.time, res_hidden_states_tuple=used, **extra)
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(sample)))


def decoder_modules(unet: UNet2DConditionModel) -> dict[str, torch.nn.Module]:
    """Return the trained parts of the UNet by their names in it."""
    return {"up_blocks": unet.up_blocks, "conv_norm_out": unet.conv_norm_out, "conv_out": unet.conv_out}
