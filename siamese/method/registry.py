"""The registry of the latent methods: which networks, how hints reach the UNet, and the step.

Everything else is shared: trainer, checkpoints, sampler. A method that does not train on latents is not in here; see
fit.py and load.py. What each is, where it comes from and what it costs: docs/methods.md.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from diffusers import ControlNetModel, T2IAdapter, UNet2DConditionModel
from torch import Tensor

from data.pairs.errors import UserError
from siamese.config.rows import ControlNetImageRow, ControlNetRow, HintRow, SiameseRow, T2IAdapterRow
from siamese.method.control import Condition, decoder_modules, encoded_hint
from siamese.method.hint import DenseHintEncoder
from siamese.method.loss_weights import image_ramp, loss_weights
from siamese.method.reweight import row_weights
from siamese.method.step import Augmented, Batch, condition_step, siamese_step

CONTROLNET_WIDTHS = (16, 32)  # of the hint encoder that the dense one takes the place of
ADAPTER_BLOCKS = 2


class Networks(NamedTuple):
    """The UNet and the networks beside it; everything that is trained has requires_grad set."""

    unet: UNet2DConditionModel
    added: dict[str, torch.nn.Module]
    keeps_decoder: bool  # whether the UNet's decoder is the method's own, and saved with it

    @property
    def controlnet(self) -> ControlNetModel:
        """The ControlNet of the methods that have one alone."""
        return self.added["controlnet"]

    def all(self) -> tuple[torch.nn.Module, ...]:
        """Return every network, the added ones first."""
        return (*self.added.values(), self.unet)

    def saved(self) -> dict[str, torch.nn.Module]:
        """Return the parts that a checkpoint holds, by name."""
        decoder = decoder_modules(self.unet) if self.keeps_decoder else {}
        return {**self.added, **{f"unet.{name}": module for name, module in decoder.items()}}


def control_networks(
    row: HintRow,
    unet: UNet2DConditionModel,
    factor: int,
    *,
    names: Sequence[str] = ("controlnet",),
    hint_channels: int = 3,
) -> Networks:
    """Return ControlNets that start as the UNet's encoder with zero convolutions, one for each name.

    factor: how many times smaller than the image its latents are.

    Raises: UserError when the number of hint widths does not fit it.
    """
    if problem := row.hint_problem(factor):
        raise UserError(problem)
    widths = row.hint_widths if row.hint == "hi" else CONTROLNET_WIDTHS
    added: dict[str, torch.nn.Module] = {}
    for name in names:
        added[name] = ControlNetModel.from_unet(
            unet, conditioning_embedding_out_channels=widths, conditioning_channels=hint_channels
        )
        if row.hint == "dhi":
            dense = DenseHintEncoder(row.hint_widths, unet.config.block_out_channels[0], hint_channels)
            added[name].controlnet_cond_embedding = dense
    for module in decoder_modules(unet).values():
        module.requires_grad_(row.train_decoder)
    return Networks(unet, added, keeps_decoder=True)


def adapter_networks(row: T2IAdapterRow, unet: UNet2DConditionModel, factor: int) -> Networks:
    """Return a full T2I-Adapter, one feature map for each level of the UNet, and the UNet, frozen and not saved."""
    channels = list(unet.config.block_out_channels)
    adapter = T2IAdapter(
        in_channels=3,
        channels=channels,
        num_res_blocks=ADAPTER_BLOCKS,
        downscale_factor=factor,
        adapter_type="full_adapter",
    )
    return Networks(unet, {"adapter": adapter}, keeps_decoder=False)


class Method(NamedTuple):
    """What differs between latent methods. A row is the one of siamese/config/rows.py that belongs to the method."""

    # (row, frozen UNet of the base model, how many times smaller than the image its latents are)
    build: Callable[[Any, UNet2DConditionModel, int], Networks]
    # (networks, row, mask hints, image hints where it needs the reference, share of the image's weight: 1 in sampling);
    # hints are (B, 3, H, W) in [0, 1]
    condition: Callable[[Networks, Any, Tensor, Tensor | None, float], Condition]


def _mask_condition(
    nets: Networks, row: ControlNetRow | SiameseRow, mask_hints: Tensor, image_hints: Tensor | None, ramp: float
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
}


def training_step(
    nets: Networks,
    row: Any,
    batch: Batch,
    step: int,
    steps: int,
    share: float | Tensor,
    waiting: list[Augmented] | None = None,
) -> dict[str, Tensor]:
    """Add the gradients of share * sum of the loss in step `step`, from 0, of `steps`.

    Returns the loss terms that the method has, names of siamese.method.step.TERMS, for each sample, (B,). `waiting`
    takes the samples whose pass comes at the end of the optimiser step; None: they have it at once.
    """
    lesion = row_weights(row, batch.mask_hint, batch.noisy_latents)
    if paper := row.siamese:
        weights = loss_weights(step, steps, batch.timesteps, paper)._replace(lesion=lesion, waiting=waiting)
        return siamese_step(nets.controlnet, nets.unet, batch, weights, share)
    ramp, term = 1.0, "mask"
    if isinstance(row, ControlNetImageRow):
        ramp, term = image_ramp(step, steps, row), "image"
    condition = METHODS[row.method].condition(nets, row, batch.mask_hint, batch.image_hint, ramp)
    return {term: condition_step(nets.unet, condition, batch, share, lesion)}
