"""ArSDM's network: a UNet in pixel space whose middle and decoder see the mask through SPADE (spec/generators.md 4)."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.controlnets.controlnet import zero_module
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from data.pairs.errors import UserError
from data.pairs.files import write_json
from siamese.base.devices import seeded
from siamese.config.arsdm import ArsdmRow
from siamese.method.checkpoint import WEIGHTS, read_config, reading

CLASSES = 2  # background, lesion
EPS = 1e-5

halve = nn.AvgPool2d(2)
double = nn.Upsample(scale_factor=2.0, mode="nearest")


class BlindNorm(nn.GroupNorm):
    """Group normalisation that takes a mask and does not look at it."""

    def forward(self, features: Tensor, classes: Tensor) -> Tensor:
        """Return normalised features (B, C, H, W)."""
        return super().forward(features)


class Spade(nn.Module):
    """Group normalisation without weights; the mask gives each pixel its scale and shift (Park et al. 2019, Eq. 1)."""

    def __init__(self, groups: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, EPS, affine=False)
        self.shared = nn.Conv2d(CLASSES, hidden, 3, padding=1)
        self.modulation = nn.Conv2d(hidden, 2 * channels, 3, padding=1)

    def forward(self, features: Tensor, classes: Tensor) -> Tensor:
        """Return features (B, C, h, w) modulated by the classes (B, 2, H, W), which are resized to nearest pixels."""
        resized = functional.interpolate(classes, size=features.shape[2:], mode="nearest")
        scale, shift = self.modulation(functional.relu(self.shared(resized))).chunk(2, dim=1)
        return self.norm(features) * (1 + scale) + shift


class ResBlock(nn.Module):
    """BigGAN's residual block as in guided diffusion: resampling inside, scale and shift by the timestep."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        time_width: int,
        norm: Callable[[int], nn.Module],
        resample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = zero_module(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.time = nn.Linear(time_width, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.resample = resample or nn.Identity()

    def forward(self, features: Tensor, time: Tensor, classes: Tensor) -> Tensor:
        """Return features (B, outputs, h, w), resampled, for a time embedding (B, T)."""
        inner = self.conv1(self.resample(functional.silu(self.norm1(features, classes))))
        scale, shift = self.time(functional.silu(time))[:, :, None, None].chunk(2, dim=1)
        inner = self.norm2(inner, classes) * (1 + scale) + shift
        return self.skip(self.resample(features)) + self.conv2(functional.silu(inner))


class Stage(nn.Module):
    """Residual blocks and attentions, one after the other."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, features: Tensor, time: Tensor, classes: Tensor) -> Tensor:
        """Return what the last layer gives."""
        for layer in self.layers:
            features = layer(features, time, classes) if isinstance(layer, ResBlock) else layer(features)
        return features


class SpadeUNet(nn.Module):
    """Predicts the noise in an image. The encoder is blind to the mask, the middle and the decoder are not."""

    def __init__(self, row: ArsdmRow) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        widths = [row.width * multiplier for multiplier in row.multipliers]
        time_width = 4 * row.width
        blind = partial(BlindNorm, row.norm_groups, eps=EPS)
        spade = partial(Spade, row.norm_groups, hidden=row.spade_width)

        def block(inputs: int, outputs: int, norm: Callable[[int], nn.Module], resample: nn.Module | None = None):
            return ResBlock(inputs, outputs, time_width, norm, resample)

        def attention(width: int) -> nn.Module:
            heads = width // row.head_width
            layer = Attention(
                width, heads=heads, dim_head=row.head_width, bias=True, norm_num_groups=row.norm_groups, eps=EPS,
                residual_connection=True,
            )  # fmt: skip
            zero_module(layer.to_out[0])
            return layer

        def attentions(level: int) -> list[nn.Module]:
            return [attention(widths[level])] if 2**level in row.attention_factors else []

        self.time_waves = Timesteps(row.width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(row.width, time_width)
        channels = widths[0]
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1)
        self.encoder, self.decoder, kept = nn.ModuleList(), nn.ModuleList(), [channels]
        for level, width in enumerate(widths):
            for _ in range(row.blocks):
                self.encoder.append(Stage(block(channels, width, blind), *attentions(level)))
                kept.append(channels := width)
            if level + 1 < len(widths):
                self.encoder.append(Stage(block(width, width, blind, halve)))
                kept.append(width)
        self.middle = Stage(block(channels, channels, spade), attention(channels), block(channels, channels, spade))
        for level, width in reversed(list(enumerate(widths))):
            for index in range(row.blocks + 1):
                up = [block(width, width, spade, double)] if level and index == row.blocks else []
                self.decoder.append(Stage(block(channels + kept.pop(), width, spade), *attentions(level), *up))
                channels = width
        self.norm_out = nn.GroupNorm(row.norm_groups, channels, EPS)
        self.conv_out = zero_module(nn.Conv2d(channels, 3, 3, padding=1))

    def _run(self, stage: nn.Module, *inputs: Tensor) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(stage, *inputs, use_reentrant=False)
        return stage(*inputs)

    def forward(self, noisy: Tensor, timesteps: Tensor, masks: Tensor) -> Tensor:
        """Return the predicted noise (B, 3, H, W) for noisy images in about [-1, 1], timesteps (B,) and masks.

        Masks are (B, 1, H, W), 0 or 1, in the images' type. Sides must be multiples of the row's size_multiple.
        """
        classes = torch.cat([1 - masks, masks], dim=1)
        time = self.time(self.time_waves(timesteps).to(noisy.dtype))
        features = self.conv_in(noisy)
        kept = [features]
        for stage in self.encoder:
            kept.append(features := self._run(stage, features, time, classes))
        features = self._run(self.middle, features, time, classes)
        for stage in self.decoder:
            features = self._run(stage, torch.cat([features, kept.pop()], dim=1), time, classes)
        return self.conv_out(functional.silu(self.norm_out(features)))


def build_network(row: ArsdmRow, seed: int = 0) -> SpadeUNet:
    """Return the network with first weights that are a function of `seed`; the global generator is left as it was."""
    return seeded(lambda: SpadeUNet(row), seed)


def save_network(network: SpadeUNet, config: dict, out: Path) -> None:
    """Write generator.safetensors and config.json to `out`."""
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(state, out / WEIGHTS)
    write_json(out / "config.json", config)


def load_network(folder: Path) -> tuple[SpadeUNet, ArsdmRow]:
    """Return a trained network, frozen, and its row.

    Raises: UserError when the folder is not complete, or holds another method or another network's weights.
    """
    config = read_config(folder)
    with reading(folder):
        row = ArsdmRow.model_validate_json(json.dumps(config["generator"]))
        state = load_file(folder / WEIGHTS)
    network = build_network(row)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(
            f"{folder}: {WEIGHTS} is not of the network in config.json",
            [str(error), "run dvc repro, which trains it anew"],
        ) from error
    return network.eval().requires_grad_(False), row
