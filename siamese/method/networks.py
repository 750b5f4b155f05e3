"""The networks of a method: the base model's UNet and what is trained beside it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from diffusers import ControlNetModel, T2IAdapter, UNet2DConditionModel

from data.pairs.errors import UserError
from siamese.config.rows import HintRow, T2IAdapterRow
from siamese.method.control import decoder_modules
from siamese.method.hint import DenseHintEncoder

CONTROLNET_WIDTHS = (16, 32)  # of the hint encoder that the dense one takes the place of
ADAPTER_BLOCKS = 2


class Networks(NamedTuple):
    """The UNet and the networks beside it; everything that is trained has requires_grad set."""

    unet: UNet2DConditionModel
    added: dict[str, torch.nn.Module]
    keeps_decoder: bool  # whether the UNet's decoder is the method's own, and saved with it
    teacher: Mapping[str, torch.nn.Module] = MappingProxyType({})  # trained beside the method, and left behind

    @property
    def controlnet(self) -> ControlNetModel:
        """The ControlNet of the methods that have one alone."""
        return self.added["controlnet"]

    def all(self) -> tuple[torch.nn.Module, ...]:
        """Return every network, the added ones first."""
        return (*self.added.values(), *self.teacher.values(), self.unet)

    def saved(self) -> dict[str, torch.nn.Module]:
        """Return the parts that the generator is, by name."""
        decoder = decoder_modules(self.unet) if self.keeps_decoder else {}
        return {**self.added, **{f"unet.{name}": module for name, module in decoder.items()}}

    def resumed(self) -> dict[str, torch.nn.Module]:
        """Return the parts that a checkpoint to resume from holds, by name: the teacher's too."""
        return {**self.saved(), **{f"teacher.{name}": module for name, module in self.teacher.items()}}


def control_network(
    row: HintRow, unet: UNet2DConditionModel, hint_channels: int = 3, *, pretrained: bool = True
) -> ControlNetModel:
    """Return a ControlNet with zero convolutions and the row's hint encoder.

    It starts as the UNet's encoder, or with random weights where it is not `pretrained`.
    """
    network = ControlNetModel.from_unet(
        unet,
        conditioning_embedding_out_channels=row.hint_widths if row.hint == "hi" else CONTROLNET_WIDTHS,
        conditioning_channels=hint_channels,
        load_weights_from_unet=pretrained,
    )
    if row.hint == "dhi":
        dense = DenseHintEncoder(row.hint_widths, unet.config.block_out_channels[0], hint_channels)
        network.controlnet_cond_embedding = dense
    return network


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
    added: dict[str, torch.nn.Module] = {name: control_network(row, unet, hint_channels) for name in names}
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
