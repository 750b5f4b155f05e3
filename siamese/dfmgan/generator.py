"""DFMGAN's generator: StyleGAN2 with skips, and residual blocks that change it where their own mask says."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from siamese.config.dfmgan import DfmganRow
from siamese.dfmgan.layers import EqualLinear, StyledConv, StyledPixels, activate, double

CONSTANT = 4  # px of the side that everything grows from
MAPPING_RATE = 0.01


def resolutions(first: int, last: int) -> list[int]:
    """Return first, 2 first, ..., last."""
    return [first * 2**i for i in range((last // first).bit_length())]


def channels(side: int, base: int, most: int) -> dict[int, int]:
    """Return the channels of every resolution from 4 px up to `side`: base / r, at most `most`."""
    return {r: min(base // r, most) for r in resolutions(CONSTANT, side)}


class Mapping(nn.Module):
    """Noise (B, code) to a style vector (B, code)."""

    def __init__(self, code: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EqualLinear(code, code, lr_factor=MAPPING_RATE) for _ in range(layers))

    def forward(self, noise: Tensor) -> Tensor:
        """Return the style vector."""
        code = noise * (noise.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            code = activate(layer(code))
        return code


class Backbone(nn.Module):
    """StyleGAN2's synthesis with summed colours; its blocks are used one by one, so that residuals come between."""

    def __init__(self, row: DfmganRow, side: int) -> None:
        super().__init__()
        widths = channels(side, row.channel_base, row.channel_most)
        self.constant = nn.Parameter(torch.randn(widths[CONSTANT], CONSTANT, CONSTANT))
        self.convs, self.colours = nn.ModuleList(), nn.ModuleList()
        for r, width in widths.items():
            last = [StyledConv(width, width, row.code)]
            up = [StyledConv(widths[r // 2], width, row.code, up=True)] if r > CONSTANT else []
            self.convs.append(nn.ModuleList(up + last))
            self.colours.append(StyledPixels(width, 3, row.code))
        self.resolutions = list(widths)
        self.styles = 2 * len(widths)  # style vectors: one a convolution, one for the last colours


class Residuals(nn.Module):
    """Blocks of the backbone's shape from `residual_from` px up, by the defect's code, and the mask of the first."""

    def __init__(self, row: DfmganRow, side: int) -> None:
        super().__init__()
        widths = channels(side, row.channel_base, row.channel_most)
        self.resolutions = resolutions(row.residual_from, side)
        self.convs = nn.ModuleList(
            nn.ModuleList(
                [
                    StyledConv(widths[r // 2], widths[r], row.code, up=True),
                    StyledConv(widths[r], widths[r], row.code),
                ]
            )
            for r in self.resolutions
        )
        self.to_mask = StyledPixels(widths[row.residual_from], 1, row.code)
        self.styles = max(2 * len(self.resolutions), 3)  # the mask shares its vector with the second block


class Normal(nn.Module):
    """Stage 1: images without lesion."""

    def __init__(self, row: DfmganRow, side: int) -> None:
        super().__init__()
        self.mapping = Mapping(row.code, row.mapping_layers)
        self.synthesis = Backbone(row, side)


class Defect(nn.Module):
    """Stage 2: what is trained on top of the frozen stage 1."""

    def __init__(self, row: DfmganRow, side: int) -> None:
        super().__init__()
        self.mapping = Mapping(row.code, row.mapping_layers)
        self.residuals = Residuals(row, side)


def noise_sides(backbone: Backbone, residuals: Residuals | None = None) -> list[int]:
    """Return the side, in px, of every noise map in the order in which `synthesise` takes them: backbone first."""
    parts = (backbone, residuals) if residuals else (backbone,)
    return [r for part in parts for r, block in zip(part.resolutions, part.convs, strict=True) for _ in block]


def gated(mask: Tensor, gate: str) -> Tensor:
    """Return what the residuals are multiplied with: 1 where the mask is >= 0 (no gradient), or mask / 2 + 1 / 2."""
    return (mask >= 0).to(mask.dtype) if gate == "hard" else mask / 2 + 0.5


def synthesise(
    backbone: Backbone,
    codes: Tensor,
    noises: Sequence[Tensor],
    residuals: Residuals | None = None,
    defect_codes: Tensor | None = None,
    gate: str = "hard",
) -> tuple[Tensor, Tensor | None]:
    """Return images (B, 3, side, side) in about [-1, 1] and raw masks (B, 1, side, side), lesion where >= 0.

    codes (B, backbone.styles, code), defect_codes (B, residuals.styles, code); noises are (B, 1, r, r) each, as
    `noise_sides` lists them. Without residuals: the normal twin, no mask.
    """
    noise, own_noise = iter(noises), iter(noises[len(noise_sides(backbone)) :])
    features = backbone.constant.expand(len(codes), -1, -1, -1)
    image: Tensor | None = None
    mask: Tensor | None = None
    place = own = 0  # of the next style vector
    for r, convs, colours in zip(backbone.resolutions, backbone.convs, backbone.colours, strict=True):
        changed = None
        if residuals is not None and defect_codes is not None and r in residuals.resolutions:
            changed = features
            for conv in residuals.convs[residuals.resolutions.index(r)]:
                changed = conv(changed, defect_codes[:, own], next(own_noise))
                own += 1
            mask = residuals.to_mask(changed, defect_codes[:, own]) if mask is None else double(mask)
        for conv in convs:
            features = conv(features, codes[:, place], next(noise))
            place += 1
        if changed is not None and mask is not None:
            features = features + changed * gated(mask, gate).to(changed.dtype)
        colour = colours(features, codes[:, place])
        image = colour if image is None else double(image) + colour
    assert image is not None
    return image, mask
