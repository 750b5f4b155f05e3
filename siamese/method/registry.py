"""The registry of the latent methods: which networks, which step, and how hints reach the UNet.

Everything else is shared: trainer, checkpoints, sampler. A method that does not train on latents is not in here; see
fit.py and load.py. What each is, where it comes from and what it costs: docs/methods.md.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from siamese.config.rows import ControlNetImageRow, ControlNetRow, SiameseRow, T2IAdapterRow
from siamese.method.condition import Condition, encoded_hint
from siamese.method.loss_weights import loss_weights
from siamese.method.networks import Networks, adapter_networks, control_networks
from siamese.method.reweight import row_weights
from siamese.method.step import Augmented, Batch, condition_step, mask_step, siamese_step

Terms = dict[str, Tensor]  # name of a loss term, one of siamese.method.step.TERMS -> its value for each sample, (B,)
Share: TypeAlias = float | Tensor
Waiting = list[Augmented] | None  # samples whose pass comes at the end of the optimiser step; None: at once
MaskRow = ControlNetRow | SiameseRow


class Method(NamedTuple):
    """What differs between latent methods. A row is the one of siamese/config/rows.py that belongs to the method."""

    # (row, frozen UNet of the base model, how many times smaller than the image its latents are)
    build: Callable[[Any, UNet2DConditionModel, int], Networks]
    # adds the gradients of share * sum of the loss:
    # (networks, row, batch, step from 0, steps of the run, share, waiting or None)
    step: Callable[..., Terms]
    # (networks, row, mask hints, image hints where it needs the reference): both (B, 3, H, W) in [0, 1]
    condition: Callable[[Networks, Any, Tensor, Tensor | None], Condition]


def _paper_step(
    nets: Networks, row: MaskRow, batch: Batch, step: int, steps: int, share: Share, waiting: Waiting = None
) -> Terms:
    lesion = row_weights(row, batch.mask_hint, batch.noisy_latents)
    weights = loss_weights(step, steps, batch.timesteps, row.siamese)._replace(lesion=lesion, waiting=waiting)
    if row.siamese.image_branch:
        return siamese_step(nets.controlnet, nets.unet, batch, weights, share)
    return {"mask": mask_step(nets.controlnet, nets.unet, batch, share, lesion)}


def _mask_condition(nets: Networks, row: MaskRow, mask_hints: Tensor, image_hints: Tensor | None) -> Condition:
    return Condition((encoded_hint(nets.controlnet, mask_hints),))


def _image_networks(row: ControlNetImageRow, unet: UNet2DConditionModel, factor: int) -> Networks:
    names = ("mask_controlnet", "image_controlnet") if row.mode == "two_nets" else ("controlnet",)
    return control_networks(row, unet, factor, names=names, hint_channels=6 if row.mode == "concat6" else 3)


def _image_condition(
    nets: Networks, row: ControlNetImageRow, mask_hints: Tensor, image_hints: Tensor | None, ramp: float = 1.0
) -> Condition:
    if image_hints is None:
        raise ValueError("this method needs the image of every mask")
    if row.mode == "concat6":
        return Condition((encoded_hint(nets.controlnet, torch.cat([mask_hints, image_hints], 1)),))
    of_mask, of_image = tuple(nets.added.values()) if row.mode == "two_nets" else (nets.controlnet,) * 2
    return Condition((encoded_hint(of_mask, mask_hints), encoded_hint(of_image, image_hints, row.image_share * ramp)))


def _image_step(
    nets: Networks, row: ControlNetImageRow, batch: Batch, step: int, steps: int, share: Share, waiting: Waiting = None
) -> Terms:
    if row.mode == "siamese_image_branch":
        return _paper_step(nets, row.siamese, batch, step, steps, share, waiting)
    ramp = step / steps if row.image_weight == "linear_ramp" else 1.0
    condition = _image_condition(nets, row, batch.mask_hint, batch.image_hint, ramp)
    lesion = row_weights(row, batch.mask_hint, batch.noisy_latents)
    return {"image": condition_step(nets.unet, condition, batch, share, lesion)}


def _adapter_condition(nets: Networks, row: T2IAdapterRow, mask_hints: Tensor, image_hints: Tensor | None) -> Condition:
    return Condition(adapter=tuple(nets.added["adapter"](mask_hints)), adapter_share=row.cond_tau)


def _adapter_step(
    nets: Networks, row: T2IAdapterRow, batch: Batch, step: int, steps: int, share: Share, waiting: Waiting = None
) -> Terms:
    lesion = row_weights(row, batch.mask_hint, batch.noisy_latents)
    condition = _adapter_condition(nets, row, batch.mask_hint, None)
    return {"mask": condition_step(nets.unet, condition, batch, share, lesion)}


METHODS: dict[str, Method] = {
    "controlnet": Method(control_networks, _paper_step, _mask_condition),
    "siamese": Method(control_networks, _paper_step, _mask_condition),
    "controlnet_image": Method(_image_networks, _image_step, _image_condition),
    "t2i_adapter": Method(adapter_networks, _adapter_step, _adapter_condition),
}
