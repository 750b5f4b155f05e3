"""The registry of the latent methods: which networks, which step, and how hints reach the UNet.

Everything else is shared: trainer, checkpoints, sampler. A method that does not train on latents is not in here; see
fit.py and load.py. What each is, where it comes from and what it costs: docs/methods.md.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from siamese.config.needs import NEEDS, Needs
from siamese.config.rows import ControlNetImageRow, ControlNetRow, SiameseRow, T2IAdapterRow
from siamese.method.condition import Condition, Control
from siamese.method.loss_weights import loss_weights
from siamese.method.networks import Networks, adapter_networks, control_networks
from siamese.method.other_steps import condition_step
from siamese.method.reweight import row_weights
from siamese.method.step import Augmented, Batch, mask_step, siamese_step

Row = Any  # the class in config.py that belongs to the method
Terms = dict[str, Tensor]  # name of a loss term, one of siamese.method.step.TERMS -> its value for each sample, (B,)
Waiting = list[Augmented] | None  # samples whose pass comes at the end of the optimiser step; None: at once


class Method(NamedTuple):
    """The parts of one latent method."""

    needs: Needs
    # (row, frozen UNet of the base model, how many times smaller than the image its latents are)
    build: Callable[[Row, UNet2DConditionModel, int], Networks]
    # adds the gradients of share * sum of the loss:
    # (networks, row, batch, step from 0, steps of the run, share, waiting or None)
    step: Callable[..., Terms]
    # (networks, row, mask hints, image hints where it needs the reference): both (B, 3, H, W) in [0, 1]
    condition: Callable[[Networks, Row, Tensor, Tensor | None], Condition]


def _mask_networks(row: ControlNetRow | SiameseRow, unet: UNet2DConditionModel, factor: int) -> Networks:
    return control_networks(row, unet, factor)


def _paper_step(
    nets: Networks,
    row: ControlNetRow | SiameseRow,
    batch: Batch,
    step: int,
    steps: int,
    share: float | Tensor,
    waiting: Waiting = None,
) -> Terms:
    lesion = row_weights(row, batch.mask_hint, batch.noisy_latents)
    weights = loss_weights(step, steps, batch.timesteps, row.switches)._replace(lesion=lesion, waiting=waiting)
    if row.switches.image_branch:
        return siamese_step(nets.controlnet, nets.unet, batch, weights, share)
    return {"mask": mask_step(nets.controlnet, nets.unet, batch, share, lesion)}


def _mask_condition(
    nets: Networks, row: ControlNetRow | SiameseRow, mask_hints: Tensor, image_hints: Tensor | None
) -> Condition:
    return Condition((Control(nets.controlnet, nets.controlnet.controlnet_cond_embedding(mask_hints), 1.0),))


def _image_networks(row: ControlNetImageRow, unet: UNet2DConditionModel, factor: int) -> Networks:
    names = ("mask_controlnet", "image_controlnet") if row.mode == "two_nets" else ("controlnet",)
    return control_networks(row, unet, factor, names=names, hint_channels=6 if row.mode == "concat6" else 3)


def _image_condition(
    nets: Networks, row: ControlNetImageRow, mask_hints: Tensor, image_hints: Tensor | None, ramp: float = 1.0
) -> Condition:
    if image_hints is None:
        raise ValueError("this method needs the image of every mask")
    if row.mode == "concat6":
        both = nets.controlnet.controlnet_cond_embedding(torch.cat([mask_hints, image_hints], 1))
        return Condition((Control(nets.controlnet, both, 1.0),))
    of_mask, of_image = tuple(nets.added.values()) if row.mode == "two_nets" else (nets.controlnet,) * 2
    mask = Control(of_mask, of_mask.controlnet_cond_embedding(mask_hints), 1.0)
    image = Control(of_image, of_image.controlnet_cond_embedding(image_hints), row.image_share * ramp)
    return Condition((mask, image))


def _image_step(
    nets: Networks,
    row: ControlNetImageRow,
    batch: Batch,
    step: int,
    steps: int,
    share: float | Tensor,
    waiting: Waiting = None,
) -> Terms:
    if row.mode == "siamese_image_branch":
        return _paper_step(nets, row.siamese, batch, step, steps, share, waiting)
    ramp = step / steps if row.image_weight == "linear_ramp" else 1.0
    condition = _image_condition(nets, row, batch.mask_hint, batch.image_hint, ramp)
    lesion = row_weights(row, batch.mask_hint, batch.noisy_latents)
    return {"image": condition_step(nets, condition, batch, share, lesion)}


def _adapter_networks(row: T2IAdapterRow, unet: UNet2DConditionModel, factor: int) -> Networks:
    return adapter_networks(unet, factor)


def _adapter_condition(nets: Networks, row: T2IAdapterRow, mask_hints: Tensor, image_hints: Tensor | None) -> Condition:
    return Condition(adapter=tuple(nets.added["adapter"](mask_hints)), adapter_share=row.cond_tau)


def _adapter_step(
    nets: Networks,
    row: T2IAdapterRow,
    batch: Batch,
    step: int,
    steps: int,
    share: float | Tensor,
    waiting: Waiting = None,
) -> Terms:
    lesion = row_weights(row, batch.mask_hint, batch.noisy_latents)
    return {"mask": condition_step(nets, _adapter_condition(nets, row, batch.mask_hint, None), batch, share, lesion)}


METHODS: dict[str, Method] = {
    "controlnet": Method(NEEDS["controlnet"], _mask_networks, _paper_step, _mask_condition),
    "siamese": Method(NEEDS["siamese"], _mask_networks, _paper_step, _mask_condition),
    "controlnet_image": Method(NEEDS["controlnet_image"], _image_networks, _image_step, _image_condition),
    "t2i_adapter": Method(NEEDS["t2i_adapter"], _adapter_networks, _adapter_step, _adapter_condition),
}
