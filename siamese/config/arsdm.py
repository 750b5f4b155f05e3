"""ArSDM as a row under `generators`; the defaults are the paper's (Du et al., MICCAI 2023, and its code)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.pairs.config import Count, Probability, Share
from siamese.config.rows import GeneratorRow, downsampling


class ArsdmRow(GeneratorRow):
    """A semantic diffusion model in pixel space: it needs no base model, no latents and no prompt."""

    method: Literal["arsdm"]
    width: int = Field(default=256, ge=8, multiple_of=2, description="channels of the first level")
    multipliers: Annotated[tuple[Count, ...], Field(min_length=2)] = Field(
        default=(1, 1, 2, 2, 4, 4), description="channels of each level, as multiples of width; each halves the side"
    )
    blocks: Count = Field(default=2, description="residual blocks a level in the encoder; the decoder has one more")
    attention_factors: tuple[Count, ...] = Field(
        default=(8, 16, 32), description="levels with attention, named by how much smaller they are than the image"
    )
    head_width: Count = Field(default=64, description="channels of one attention head")
    norm_groups: Count = Field(default=32, description="groups of every group normalisation; must divide width")
    spade_width: Count = Field(default=128, description="channels between the mask and the scale and shift it gives")
    reweight_normalize: bool = Field(
        default=False, description="divide the adaptive weights by their mean; false: an empty mask gives no loss"
    )
    ema: Share | None = Field(default=0.9999, description="decay of the averaged weights; training.ema is not read")
    refine: Literal["off", "official_noop", "one_step"] = Field(
        default="off", description="a segmenter's loss in the last steps: none, as released (no gradient), or with one"
    )
    refine_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.02, description="share of the steps, the last ones and at least one, that refine"
    )
    refine_weight: float = Field(default=1.0, ge=0, description="weight of the segmenter's loss")
    refine_t_max: int = Field(default=200, ge=0, le=999, description="one_step: only timesteps up to this, included")
    refine_sample_steps: int = Field(default=200, ge=1, le=500, description="official_noop: DDIM steps of its images")
    sample_steps: int = Field(
        default=200, ge=1, le=500, description="DDIM steps of an image; one that divides 1000 starts from the noisiest"
    )
    eta: Probability = Field(default=1.0, description="share of DDPM's noise that every DDIM step adds")
    clip: bool = Field(
        default=False, description="keep what every step takes for the clean image in [-1, 1]; helps short trainings"
    )

    @model_validator(mode="after")
    def _network_can_be_built(self) -> "ArsdmRow":
        factors = [2**level for level in range(len(self.multipliers))]
        unknown = sorted(set(self.attention_factors) - set(factors))
        if unknown:
            raise ValueError(f"attention_factors {unknown} are no levels; multipliers give {factors}")
        if self.width % self.norm_groups:
            raise ValueError(f"norm_groups {self.norm_groups} does not divide width {self.width}")
        last = factors[-1]  # the middle block attends at the smallest level
        levels = zip(factors, self.multipliers, strict=True)
        attending = {self.width * m for factor, m in levels if factor in {*self.attention_factors, last}}
        odd = sorted(width for width in attending if width % self.head_width)
        if odd:
            raise ValueError(f"head_width {self.head_width} does not divide the channels of attention {odd}")
        return self

    @property
    def size_multiple(self) -> int:
        """Return what the sides of an image must be a multiple of, in px."""
        return downsampling(self.multipliers)
