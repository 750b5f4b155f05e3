"""Networks in the layout of Stable Diffusion 1.5 at a share of its width, with random weights, for the benchmarks."""

from typing import NamedTuple

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from siamese.base.devices import seeded
from siamese.config.rows import SiameseRow
from siamese.method.control import decoder_modules
from siamese.method.hint import DenseHintEncoder
from siamese.method.registry import Networks as GeneratorNetworks

ROW = SiameseRow(method="siamese", hint="dhi", hint_widths=(16, 32, 64, 128, 256))
WIDTHS = {"tiny": 8, "toy": 8, "quarter": 4, "full": 1}  # divisors of the channels of Stable Diffusion 1.5
SHALLOW = ("tiny",)  # one layer a block in place of two


class Networks(NamedTuple):
    """One Stable Diffusion with a ControlNet that has the dense hint encoder."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text: CLIPTextModel
    controlnet: ControlNetModel
    scheduler: DDIMScheduler

    def controlled(self) -> GeneratorNetworks:
        """Return the UNet and the ControlNet as those of a trained generator."""
        return GeneratorNetworks(self.unet, {"controlnet": self.controlnet.eval().requires_grad_(False)}, True)


def _divided(widths: tuple[int, ...], width: str) -> tuple[int, ...]:
    return tuple(value // WIDTHS[width] for value in widths)


def _layers(width: str) -> int:
    return 1 if width in SHALLOW else 2


def _vae(width: str) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=_divided((128, 256, 512, 512), width),
        layers_per_block=_layers(width),
        norm_num_groups=32 // WIDTHS[width],
        latent_channels=4,
    )


def _unet(width: str) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=48,
        block_out_channels=_divided((320, 640, 1280, 1280), width),
        layers_per_block=_layers(width),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=768 // WIDTHS[width],
        attention_head_dim=8,
        norm_num_groups=32 // WIDTHS[width],
    )


def _text(width: str) -> CLIPTextModel:
    hidden = 768 // WIDTHS[width]
    config = CLIPTextConfig(
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=6 * _layers(width),
        num_attention_heads=12,
    )
    return CLIPTextModel(config)


def _controlnet(unet: UNet2DConditionModel, width: str, hint: str) -> ControlNetModel:
    hi = _divided((16, 32, 96, 256), width)
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=hi)
    if hint == "dhi":
        dense = DenseHintEncoder(_divided((16, 32, 64, 128, 256), width), unet.config.block_out_channels[0])
        controlnet.controlnet_cond_embedding = dense
    for name, parameter in controlnet.named_parameters():
        if "controlnet_" in name:  # zero convolutions would hide differences
            parameter.data += 0.02 * torch.randn_like(parameter)
    return controlnet


def build(width: str, hint: str = "dhi", device: torch.device | str = "cpu") -> Networks:
    """Return the networks in float32: ControlNet and the UNet's decoder trainable, the rest frozen.

    Weights are drawn on the device, which is quicker for a GPU and gives other ones there than on the CPU.
    """
    with torch.device(device):
        parts = [seeded(lambda part=part: part(width), 0) for part in (_vae, _unet, _text)]
        vae, unet, text = (part.eval().requires_grad_(False) for part in parts)
        controlnet = seeded(lambda: _controlnet(unet, width, hint), 1).requires_grad_(True)
    for module in decoder_modules(unet).values():
        module.requires_grad_(True)
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1,
        clip_sample=False, set_alpha_to_one=False,
    )  # fmt: skip
    return Networks(vae, unet, text, controlnet, scheduler)
