"""DFMGAN as a row under `generators`; the defaults are what the released code does (Duan et al., AAAI 2023)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.pairs.config import Count, Probability
from siamese.config.rows import GeneratorRow

PathLength = Literal["backbone", "defect", "off"]


def is_power_of_two(number: int) -> bool:
    """Return whether a positive number is 1, 2, 4, 8, ..."""
    return number & (number - 1) == 0


class DfmganRow(GeneratorRow):
    """StyleGAN2 on images without lesion, then residual blocks that add lesions and emit their masks.

    Steps are counted in images; of `training`, seed, checkpoint_steps and micro_batch alone are read.
    """

    method: Literal["dfmgan"]
    batch: Annotated[int, Field(ge=1)] | None = Field(default=32, description="images an optimiser step sees")
    lr: Annotated[float, Field(gt=0)] | None = Field(default=0.0025, description="of Adam, for every network")
    side: Annotated[int, Field(ge=16)] | None = Field(
        default=None, description="of the networks' images, in px; null: the largest power of two up to size_px"
    )
    code: Count = Field(default=512, description="width of the noise codes and of the style vectors")
    channel_base: Count = Field(
        default=16384, description="channels at a resolution r are channel_base / r, at most ..."
    )
    channel_most: Count = Field(default=512, description="... channel_most")
    mapping_layers: Count = Field(default=2, description="layers of each mapping network")
    residual_from: int = Field(
        default=64, ge=8, description="first resolution with a residual block, in px; has the mask"
    )
    match_base: Count = Field(default=4096, description="channel_base of the discriminator of image and mask")
    match_most: Count = Field(default=128, description="its channel_most")
    images1: Count = Field(default=3_000_000, description="normal images that stage 1 sees")
    images2: Count = Field(default=400_000, description="pairs that stage 2 sees")
    augment: Literal["ada", "flips", "none"] = Field(
        default="ada", description="of what the discriminator of images sees: adaptive, mirrored at random, or nothing"
    )
    ada_target: float = Field(default=0.6, ge=-1, le=1, description="mean sign on real images that ada holds")
    ada_images1: Count = Field(default=500_000, description="images in which ada could rise from 0 to 1 in stage 1")
    ada_images2: Count = Field(default=100_000, description="the same in stage 2")
    mirror: bool = Field(default=False, description="train on mirrored copies too")
    style_mixing: Probability = Field(default=0.9, description="share of images whose styles are of two codes")
    r1_gamma: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="weight of the gradient penalty; null: 0.0002 side^2 / batch"
    )
    ema_images: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="images in which the averaged weights forget half; null: batch * 10,000 / 32"
    )
    lambda_match: float = Field(
        default=1.0, ge=0, description="weight of image and mask; lower it when masks are empty"
    )
    lambda_ms: float = Field(default=0.1, ge=0, description="weight of the mode seeking loss")
    stage2_backbone: Literal["raw", "ema"] = Field(
        default="raw", description="stage 1's weights in stage 2 and in samples: the last ones, or their average"
    )
    path_length: PathLength = Field(
        default="backbone", description="code whose path length stage 2 regularises; stage 1 has one code; off: neither"
    )
    ms_on: Literal["tanh", "raw"] = Field(default="tanh", description="masks in the mode seeking loss")
    ms_epsilon: float = Field(
        default=0.0, ge=0, description="added to its denominator; with 0, equal masks give a step without gradient"
    )
    ms_detach_codes: bool = Field(default=False, description="no gradient through its numerator")
    match_augment: bool = Field(
        default=False, description="augment what the discriminator of image and mask sees, as that of images"
    )
    gate: Literal["hard", "soft"] = Field(
        default="hard", description="residuals where the mask is >= 0, or everywhere times mask / 2 + 1 / 2"
    )

    @model_validator(mode="after")
    def _network_can_be_built(self) -> "DfmganRow":
        problems = [
            f"{name}: must be a power of two, got {value}"
            for name, value in (("side", self.side), ("residual_from", self.residual_from))
            if value and not is_power_of_two(value)
        ]
        if self.side and self.residual_from > self.side // 2:
            problems.append(f"residual_from: must be at most side / 2 = {self.side // 2}, got {self.residual_from}")
        smallest = min(self.channel_base, self.match_base)
        if self.side and smallest < self.side:
            problems.append(f"channel_base, match_base: must be at least side = {self.side}, got {smallest}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def network_side(self, size_px: int) -> int:
        """Return the side of the networks' images, in px, for pairs of this side."""
        return self.side or 2 ** (size_px.bit_length() - 1)

    def size_problems(self, size_px: int) -> list[str]:
        """Return what of this row does not fit pairs of this side."""
        side, problems = self.network_side(size_px), []
        if self.residual_from > side // 2:
            problems.append(f"residual_from: must be at most {side // 2}, got {self.residual_from}")
        for name, base in (("channel_base", self.channel_base), ("match_base", self.match_base)):
            if base < side:
                problems.append(f"{name}: must be at least {side}, got {base}")
        return problems

    @model_validator(mode="after")
    def _steps_are_counted_in_images(self) -> "DfmganRow":
        if self.steps is not None:
            raise ValueError("steps: dfmgan counts images; set images1 and images2 instead")
        if self.batch == 1 and self.lambda_ms:
            raise ValueError("batch: the mode seeking loss compares two halves of a batch; take 2 or more")
        return self
