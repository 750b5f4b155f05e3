"""The registry of the latent methods: which networks, how hints reach the UNet, and the step.

Everything else is shared: trainer, checkpoints, sampler. A method that does not train on latents is not in here; see
fit.py and load.py. What each is, where it comes from and what it costs: docs/methods.md.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from siamese.config.adc import AdcRow
from siamese.config.rows import ControlNetImageRow, ControlNetRow, LatentRow, SiameseRow, T2IAdapterRow
from siamese.method.adc import adc_step, adc_teacher
from siamese.method.batch import Batch
from siamese.method.control import Condition, encoded_hint
from siamese.method.law import LAW_FIGURES, Law
from siamese.method.layout import LAYOUT_FIGURES, Layout
from siamese.method.loss_weights import Additions, image_ramp, loss_weights, snr_weights
from siamese.method.networks import Networks, adapter_networks, control_networks
from siamese.method.reweight import agreement_weights, row_weights
from siamese.method.step import Augmented, condition_step, siamese_step


class Method(NamedTuple):
    """What differs between latent methods. A row is the one of siamese/config/rows.py that belongs to the method."""

    # (row, frozen UNet of the base model, how many times smaller than the image its latents are)
    build: Callable[[Any, UNet2DConditionModel, int], Networks]
    # (networks, row, mask hints, image hints where it needs the reference, share of the image's weight: 1 in sampling);
    # hints are (B, 3, H, W) in [0, 1]
    condition: Callable[[Networks, Any, Tensor, Tensor | None, float], Condition]
    # (row, networks that `build` returned): networks that training alone needs, `Networks.teacher`
    teacher: Callable[[Any, Networks], dict[str, torch.nn.Module]] | None = None


def _mask_condition(
    nets: Networks,
    row: ControlNetRow | SiameseRow | AdcRow,
    mask_hints: Tensor,
    image_hints: Tensor | None,
    ramp: float,
) -> Condition:
    return Condition((encoded_hint(nets.controlnet, mask_hints),))


def _adapter_condition(
    nets: Networks, row: T2IAdapterRow, mask_hints: Tensor, image_hints: Tensor | None, ramp: float
) -> Condition:
    return Condition(adapter=tuple(nets.added["adapter"](mask_hints)), adapter_share=row.cond_tau)


def _image_networks(row: ControlNetImageRow, unet: UNet2DConditionModel, factor: int) -> Networks:
    names = ("mask_controlnet", "image_controlnet") if row.mode == "two_nets" else ("controlnet",)
    return control_networks(row, unet, factor, names=names, hint_channels=6 if row.mode == "concat6" else 3)


def _image_condition(
    nets: Networks, row: ControlNetImageRow, mask_hints: Tensor, image_hints: Tensor | None, ramp: float
) -> Condition:
    if image_hints is None:
        raise ValueError("this method needs the image of every mask")
    if row.mode == "concat6":
        return Condition((encoded_hint(nets.controlnet, torch.cat([mask_hints, image_hints], 1)),))
    of_mask, of_image = tuple(nets.added.values()) if row.mode == "two_nets" else (nets.controlnet,) * 2
    return Condition((encoded_hint(of_mask, mask_hints), encoded_hint(of_image, image_hints, row.image_share * ramp)))


METHODS: dict[str, Method] = {
    "controlnet": Method(control_networks, _mask_condition),
    "siamese": Method(control_networks, _mask_condition),
    "controlnet_image": Method(_image_networks, _image_condition),
    "t2i_adapter": Method(adapter_networks, _adapter_condition),
    "adc": Method(control_networks, _mask_condition, adc_teacher),
}


def figures(row: LatentRow) -> tuple[str, ...]:
    """Return what the step of a row logs beside TERMS: the gain, the learned weights, the loss on the layout."""
    gated = row.siamese is not None and row.siamese.consistency_gate != "none"
    asked = {("gain",): gated, LAW_FIGURES: row.loss_reweight == "law", LAYOUT_FIGURES: row.layout_loss > 0}
    return tuple(name for names, there in asked.items() if there for name in names)


def training_step(
    nets: Networks,
    row: Any,
    batch: Batch,
    step: int,
    steps: int,
    share: float | Tensor,
    waiting: list[Augmented] | None = None,
    learned: Law | None = None,
    layout: Layout | None = None,
) -> dict[str, Tensor]:
    """Add the gradients of share * sum of the loss in step `step`, from 0, of `steps`.

    Returns for each sample, (B,), the loss terms that the method has, names of siamese.method.step.TERMS, and the
    row's `figures`. `waiting` takes the samples whose pass comes at the end of the optimiser step; None: they have it
    at once. `learned` and `layout` are what `loss_reweight: law` and `layout_loss` need.
    """
    lesion = row_weights(row, batch.mask_hint, batch.noisy_latents)
    if row.loss_reweight == "law" and learned is None:
        raise ValueError("loss_reweight: law needs its network")
    if row.layout_loss and layout is None:
        raise ValueError("layout_loss needs its segmenter")
    additions = Additions(snr=snr_weights(row, batch.sigmas), law=learned, layout=layout)
    if paper := row.siamese:
        weights = loss_weights(step, steps, batch.timesteps, paper)._replace(lesion=lesion, waiting=waiting)
        cells = agreement_weights(paper, batch.mask_hint, batch.noisy_latents)
        weights = weights._replace(agreement=cells, additions=additions)
        return siamese_step(nets.controlnet, nets.unet, batch, weights, share)
    if isinstance(row, AdcRow):
        return adc_step(nets, row, batch, share, lesion)
    ramp, term = 1.0, "mask"
    if isinstance(row, ControlNetImageRow):
        ramp, term = image_ramp(step, steps, row), "image"
    condition = METHODS[row.method].condition(nets, row, batch.mask_hint, batch.image_hint, ramp)
    loss = condition_step(nets.unet, condition, batch, share, lesion, additions)
    return {term: loss, **additions.figures}
