"""The generators, their training and their sampling as sections of params.yaml."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from data.pairs.config import Config, Count, Probability
from siamese.config.adc import AdcRow
from siamese.config.anomaly import AnomalyRow
from siamese.config.arsdm import ArsdmRow
from siamese.config.dfmgan import DfmganRow
from siamese.config.rows import ControlNetImageRow, ControlNetRow, SiameseRow, T2IAdapterRow
from siamese.config.singan_seg import SinganSegRow

Generator = Annotated[
    ControlNetRow
    | SiameseRow
    | ControlNetImageRow
    | T2IAdapterRow
    | AdcRow
    | ArsdmRow
    | DfmganRow
    | SinganSegRow
    | AnomalyRow,
    Field(discriminator="method"),
]


class Needs(NamedTuple):
    """What one method asks for beyond pairs, and what its samples are.

    A new method is a row class in Generator and a line in NEEDS; one that trains on latents has its networks and its
    step in method/registry.py, any other names its own functions in fit.py and load.py.
    """

    latents: bool = True  # trains on cached VAE latents and samples with the base model
    reference: bool = False  # samples see the real image that the mask belongs to, so a mask that was moved has none
    normal: bool = False  # trains and samples with images without a lesion: key `normal` of the data-set row
    emits_masks: bool = False  # makes the mask with the image, so that only ids and numbers of real masks count
    unconditional: bool = False  # and this mask comes from no training pair, so that the pair has no parent
    near_copies: bool = False  # samples are near copies of training images, which nobody should publish as new ones
    strength: float = 1.0  # below 1 samples start from the images that masks came with: sampling.strength


NEEDS: dict[str, Needs] = {
    "controlnet": Needs(),
    "siamese": Needs(),
    "controlnet_image": Needs(reference=True, near_copies=True),
    "arsdm": Needs(latents=False),
    "dfmgan": Needs(latents=False, normal=True, emits_masks=True, unconditional=True),
    "t2i_adapter": Needs(),
    "adc": Needs(),
    "singan_seg": Needs(latents=False, emits_masks=True, near_copies=True),
    "anomaly_diffusion": Needs(normal=True),
}


class TrainingSection(Config):
    """How every generator is trained; the seeds of training are lists of the blocks that say what runs."""

    steps: Count = Field(description="optimiser steps, N of the paper")
    steps_of: dict[str, Count] = Field(default={}, description="data set -> steps in place of these")
    batch: Count = Field(description="pairs an optimiser step sees, over all processes and micro-batches")
    micro_batch: Count | None = Field(
        default=None, description="pairs that a process computes at a time; null: all, halved as often as memory needs"
    )
    lr: Annotated[float, Field(gt=0)]
    weight_decay: float = Field(ge=0)
    schedule: Literal["constant", "one_cycle"]
    optimizer: Literal["adamw", "adamw_8bit"] = Field(
        default="adamw", description="adamw_8bit keeps its moments in 8 bits: less memory, not the paper's numbers"
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="decay of an average of the weights that is saved in their place; the paper has none"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="compute activations twice instead of keeping them: slower, much less memory"
    )
    compile: bool = Field(default=False, description="torch.compile the blocks of the networks")
    prompt_dropout: Probability = Field(description="share of pairs trained with the empty prompt")
    checkpoint_steps: Count = Field(description="steps between two checkpoints to resume from")


class TrainingConfig(TrainingSection):
    """One training of a generator."""

    seed: int = Field(ge=0)


class SamplingConfig(Config):
    """How every generator is sampled. From `solver` on: the paper has the defaults."""

    steps: int = Field(ge=1, le=200, description="of the 1000 of training; the paper takes 50")
    guidance: float = Field(ge=1, description="classifier-free guidance on the prompt; 1 switches it off")
    batch: Count = Field(description="images denoised together; does not change an image")
    seed: int = Field(ge=0, description="of the noise; a generator's training seed is added to it")
    solver: Literal["ddim", "dpm++"] = Field(default="ddim", description="dpm++ needs fewer steps for a like image")
    spacing: Literal["leading", "trailing"] = Field(
        default="leading",
        description="of ddim's steps; trailing begins at pure noise, which few steps need for contrast",
    )
    eta: Probability = Field(
        default=0.0,
        description="of ddim: share of the training process's noise that each step adds anew; effect: docs/methods.md",
    )
    strength: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="of masks of kind pseudo: share of the steps, begun at their image with noise on; 1: noise alone",
    )
    mask_guidance: float = Field(
        default=1.0,
        ge=1,
        description="guidance on the mask, away from the noise without it: masks are followed more closely; 1: off",
    )
    guidance_rescale: Probability = Field(
        default=0.0, description="share of the way back to the unguided contrast, against over-saturated images"
    )
    guided_from: Probability = Field(default=0.0, description="share of the steps, from the first on, before guidance")
    guided_share: Probability = Field(
        default=1.0, description="share of the steps, from the first on, at which guidance ends"
    )
    encoder_every: Count = Field(
        default=1, description="steps that share one pass of ControlNet and the UNet's encoder"
    )

    @model_validator(mode="after")
    def _eta_is_ddims(self) -> "SamplingConfig":
        if self.eta and self.solver != "ddim":
            raise ValueError(f"eta {self.eta:g} is of solver ddim; {self.solver} adds no noise: remove it")
        return self

    @model_validator(mode="after")
    def _guidance_begins_before_it_ends(self) -> "SamplingConfig":
        if self.guided_from > self.guided_share:
            raise ValueError(
                f"guided_from {self.guided_from:g} lies behind guided_share {self.guided_share:g}; both are shares of "
                "all steps, and guidance acts between them"
            )
        return self
