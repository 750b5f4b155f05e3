"""The base model, the generators, their training and their sampling as sections of params.yaml."""

from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from data.pairs.config import Config, Probability

Count = Annotated[int, Field(ge=1)]
Widths = Annotated[tuple[Count, ...], Field(min_length=2)]
Positive = Annotated[float, Field(gt=0)]
Schedule = Literal["constant", "one_cycle"]


class VaeShape(Config):
    """A small AutoencoderKL and how it is pretrained."""

    channels: Widths = Field(description="width of each level; the latents are 2 ** (levels - 1) times smaller")
    latent_channels: Count
    crop_px: int = Field(ge=16, multiple_of=16, description="side of the training crops")
    steps: Count
    batch: Count
    lr: Positive


class UnetShape(Config):
    """A small UNet2DConditionModel and how it is pretrained."""

    channels: Widths
    layers: Count = Field(description="residual blocks a level")
    attention_levels: int = Field(ge=0, description="so many of the smallest levels see the prompt; the middle always")
    context_dim: int = Field(ge=8, multiple_of=8, description="width of the prompt embeddings")
    steps: Count
    batch: Count
    lr: Positive


class PretrainedHere(Config):
    """A small base model, trained on the training images of each data set. Needs no download."""

    kind: Literal["pretrain"]
    seed: int = Field(ge=0)
    vae: VaeShape
    unet: UnetShape


class DiffusersBase(Config):
    """Any Stable Diffusion model in the diffusers layout, by folder or hub name."""

    kind: Literal["diffusers"]
    model: str = Field(min_length=1, description="a folder, or a hub name such as stable-diffusion-v1-5/...")
    revision: str | None = Field(default=None, description="commit of the hub repository; fix it for published numbers")
    variant: Literal["fp16", "non_ema"] | None = Field(default=None, description="which weight files of the folder")


class SingleFileBase(Config):
    """A Stable Diffusion 1.x checkpoint in one file, with its original names; converted without a download."""

    kind: Literal["single_file"]
    path: str = Field(min_length=1, description="a .safetensors or .ckpt file")
    sha256: str | None = Field(
        default=None, description="its hash; without it another file of that name goes unnoticed"
    )
    ema: bool = Field(
        default=False, description="take the averaged weights of the UNet; the official code starts from the plain ones"
    )


Base = Annotated[PretrainedHere | DiffusersBase | SingleFileBase, Field(discriminator="kind")]


class Switches(NamedTuple):
    """What tells the generators of the paper's Tables 5 and 6 apart."""

    noise_consistency: bool
    online_augmentation: bool
    w_c: float
    w_m: float
    image_weight: str
    augment_after: float
    augment_t_max: int
    image_branch_trains_decoder: bool

    @property
    def image_branch(self) -> bool:
        """Whether the image branch runs: both of the parts that need it can be off, and then this is ControlNet."""
        return self.noise_consistency or self.online_augmentation


class _GeneratorRow(Config):
    hint: Literal["hi", "dhi"] = Field(description="ControlNet's hint encoder, or the paper's dense one")
    hint_widths: Widths = Field(description="channels of the hint encoder's stages; SD 1.5: see docs/fidelity.md")
    weights: str | None = Field(
        default=None, description="a checkpoint of the paper's official code, to import in place of training"
    )
    weights_sha256: str | None = Field(default=None, description="its hash, as for a base model in one file")
    train_decoder: bool = Field(
        default=True, description="train the UNet's decoder too, as the paper does; false: the usual ControlNet"
    )

    @model_validator(mode="after")
    def _dense_widths_double(self) -> "_GeneratorRow":
        pairs = list(pairwise(self.hint_widths[1:]))
        if self.hint == "dhi" and (not pairs or any(b != 2 * a for a, b in pairs)):
            raise ValueError(f"hint_widths of dhi must double from the second on, got {list(self.hint_widths)}")
        return self


class ControlNetRow(_GeneratorRow):
    """ControlNet on masks with a trained decoder: Setting 1 of Table 5."""

    method: Literal["controlnet"]

    @property
    def switches(self) -> Switches:
        """Return the switches of a Siamese-Diffusion with everything off."""
        return Switches(False, False, 0.0, 1.0, "linear_ramp", 1.0, 0, False)


class SiameseRow(_GeneratorRow):
    """Siamese-Diffusion and its ablations."""

    method: Literal["siamese"]
    noise_consistency: bool = True
    online_augmentation: bool = True
    w_c: float = Field(default=1.0, ge=0, description="weight of the consistency loss, Eq. 9")
    w_m: float = Field(default=1.0, ge=0, description="weight of the mask residuals in the mixture, Eq. 5")
    image_weight: Literal["linear_ramp", "constant"] = Field(
        default="linear_ramp", description="w_i of Eq. 5: step / steps as in the paper, or 1"
    )
    augment_after: float = Field(
        default=1 / 3, ge=0, le=1, description="online augmentation starts after this share of the steps"
    )
    augment_t_max: int = Field(default=200, ge=0, le=999, description="and only at timesteps up to this one, included")
    image_branch_trains_decoder: bool = Field(
        default=False, description="whether L_i changes the decoder's weights; the official code drops that gradient"
    )

    @property
    def switches(self) -> Switches:
        """Return the part of the row that the training step reads."""
        names = Switches._fields
        return Switches(**{name: getattr(self, name) for name in names})


Generator = Annotated[ControlNetRow | SiameseRow, Field(discriminator="method")]


class TrainingConfig(Config):
    """How every generator is trained."""

    steps: Count = Field(description="optimiser steps, N of the paper")
    batch: Count = Field(description="pairs an optimiser step sees, over all processes and micro-batches")
    micro_batch: Count | None = Field(
        default=None, description="pairs that a process computes at a time; null: all, halved as often as memory needs"
    )
    lr: Positive
    weight_decay: float = Field(ge=0)
    schedule: Schedule
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
    seed: int = Field(ge=0)


class SamplingConfig(Config):
    """How every generator is sampled. The last four change an image; the paper has DDIM and none of the others."""

    steps: int = Field(ge=1, le=200, description="of the 1000 of training; the paper takes 50")
    guidance: float = Field(ge=1, description="classifier-free guidance on the prompt; 1 switches it off")
    batch: Count = Field(description="images denoised together; does not change an image")
    seed: int = Field(ge=0)
    solver: Literal["ddim", "dpm++"] = Field(default="ddim", description="dpm++ needs fewer steps for a like image")
    guidance_rescale: Probability = Field(
        default=0.0, description="share of the way back to the unguided contrast, against over-saturated images"
    )
    guided_share: Probability = Field(default=1.0, description="share of the steps, from the first on, with guidance")
    encoder_every: Count = Field(
        default=1, description="steps that share one pass of ControlNet and the UNet's encoder"
    )
