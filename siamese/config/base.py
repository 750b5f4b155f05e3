"""The base model as a section of params.yaml: pretrained here, in the diffusers layout, or one file."""

from typing import Annotated, Literal

from pydantic import Field

from data.pairs.config import Config, Count
from siamese.config.rows import Widths, downsampling

Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class VaeShape(Config):
    """A small AutoencoderKL and how it is pretrained."""

    channels: Widths = Field(description="width of each level; the latents are 2 ** (levels - 1) times smaller")
    latent_channels: Count
    crop_px: int = Field(ge=16, multiple_of=16, description="side of the training crops")
    steps: Count
    batch: Count
    lr: Positive
    perceptual: Weight = Field(default=0.0, description="of a loss on features of lite0; 0 switches it off")
    band_energy: Weight = Field(default=0.0, description="of a loss on the local energy of fine bands; 0: off")


class UnetShape(Config):
    """A small UNet2DConditionModel and how it is pretrained."""

    channels: Widths
    layers: Count = Field(description="residual blocks a level")
    attention_levels: int = Field(ge=0, description="so many of the smallest levels see the prompt; the middle always")
    context_dim: int = Field(ge=8, multiple_of=8, description="width of the prompt embeddings")
    steps: Count
    batch: Count
    lr: Positive
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of an average that is saved in place; 0: none")


class PretrainedHere(Config):
    """A small base model, trained on the training images of each data set. Needs no download."""

    kind: Literal["pretrain"]
    seed: int = Field(ge=0)
    vae: VaeShape
    unet: UnetShape
    checkpoint_steps: Count = Field(default=500, description="steps between two checkpoints to resume from")

    @property
    def size_multiple(self) -> int:
        """Return what the sides of an image must be a multiple of, in px."""
        return downsampling(self.vae.channels) * downsampling(self.unet.channels)


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
