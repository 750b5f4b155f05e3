"""How hints reach the UNet: ControlNet's residuals, their mixing (Eq. 5), and the two halves of the UNet they join."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple, TypeAlias

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor

# What a ControlNet adds to a UNet: one map for each skip connection, and last one for the mid block. SD 1.5 at 384 px:
# 12 maps from (B, 320, 48, 48) to (B, 1280, 6, 6), and (B, 1280, 6, 6).
Residuals: TypeAlias = tuple[Tensor, ...]


class Control(NamedTuple):
    """One pass of a ControlNet, and the weight of its residuals in the sum."""

    net: ControlNetModel
    features: Tensor  # (B, width, h, w): its encoded hint, which does not depend on the timestep
    weight: float


def encoded_hint(net: ControlNetModel, hints: Tensor, weight: float = 1.0) -> Control:
    """Return the pass of a ControlNet on hints (B, 3, H, W) in [0, 1]."""
    return Control(net, net.controlnet_cond_embedding(hints), weight)


class Condition(NamedTuple):
    """What a method makes of the hints of a batch, once for all denoising steps."""

    control: tuple[Control, ...] = ()
    adapter: tuple[Tensor, ...] = ()  # one map for each level of the UNet, see `unet_encode`
    adapter_share: float = 1.0  # of the denoising steps, from the first on, in which the adapter acts

    def twice(self) -> "Condition":
        """Return the condition of a batch that stands twice, for guidance: both halves keep every hint."""
        control = tuple(part._replace(features=torch.cat([part.features, part.features])) for part in self.control)
        return self._replace(control=control, adapter=tuple(torch.cat([level, level]) for level in self.adapter))


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
) -> Residuals:
    """Return c = C(z_t, t, text, hint), from hint features that were computed once.

    Shapes: noisy_latents (B, 4, h, w), timesteps (B,), context (B, 77, D), hint_features (B, width, h, w), the output
    of `controlnet.controlnet_cond_embedding`. The same as ControlNetModel.forward, which would encode the hint anew at
    every denoising step.
    """
    time = time_embedding(controlnet, timesteps, noisy_latents.dtype)
    skips, mid = _down_and_mid(controlnet, controlnet.conv_in(noisy_latents) + hint_features, time, context)
    zero_convs = (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block)
    return tuple(zero_conv(level) for zero_conv, level in zip(zero_convs, (*skips, mid), strict=True))


def summed_residuals(
    condition: Condition, noisy_latents: Tensor, timesteps: Tensor, context: Tensor
) -> Residuals | None:
    """Return the weighted sum of the residuals of all ControlNet passes, or None without any; gradients go into each.

    Shapes as in `control_residuals`.
    """
    total = None
    for net, features, weight in condition.control:
        residuals = control_residuals(net, noisy_latents, timesteps, context, features)
        if weight != 1:
            residuals = tuple(weight * level for level in residuals)
        total = residuals if total is None else tuple(a + b for a, b in zip(total, residuals, strict=True))
    return total


def mix_residuals(image: Residuals, mask: Residuals, *, w_image: float, w_mask: float) -> Residuals:
    """Return c_mix = w_m sg[c_m] + w_i c_i (Eq. 5). The stop-gradient is in here, so that no caller can forget it."""
    return tuple(w_image * i + w_mask * m.detach() for i, m in zip(image, mask, strict=True))


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


def decoder_features(
    unet: UNet2DConditionModel, features: EncoderFeatures, residuals: Residuals | None, context: Tensor
) -> Tensor:
    """Return what the last up block of the UNet gives, (B, width, h, w), which `predicted_noise` takes.

    The latent sides must be multiples of the UNet's downsampling; `siamese.base.latents.check_size` checks it.
    """
    skips, sample = list(features.skips), features.mid
    if residuals:
        *skips, sample = (level + extra for level, extra in zip((*skips, sample), residuals, strict=True))
    for block in unet.up_blocks:
        count = len(block.resnets)
        used, skips = tuple(skips[-count:]), skips[:-count]
        extra = {"encoder_hidden_states": context} if getattr(block, "has_cross_attention", False) else {}
        sample = block(hidden_states=sample, temb=features.time, res_hidden_states_tuple=used, **extra)
    return sample


def predicted_noise(unet: UNet2DConditionModel, decoded: Tensor) -> Tensor:
    """Return the noise, (B, 4, h, w), from what `decoder_features` gave."""
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(decoded)))


def unet_decode(
    unet: UNet2DConditionModel, features: EncoderFeatures, residuals: Residuals | None, context: Tensor
) -> Tensor:
    """Return the predicted noise D(E(z_t), c), (B, 4, h, w): the trained half of the UNet, up blocks and output.

    Without residuals it is D(E(z_t)).
    """
    return predicted_noise(unet, decoder_features(unet, features, residuals, context))


def decoder_modules(unet: UNet2DConditionModel) -> dict[str, torch.nn.Module]:
    """Return the trained parts of the UNet by their names in it."""
    return {"up_blocks": unet.up_blocks, "conv_norm_out": unet.conv_norm_out, "conv_out": unet.conv_out}


@contextlib.contextmanager
def constant_decoder(unet: UNet2DConditionModel) -> Iterator[None]:
    """Treat the decoder's weights as constants, forward and backward: no gradient, and nothing kept to compute one."""
    trained = [p for module in decoder_modules(unet).values() for p in module.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
