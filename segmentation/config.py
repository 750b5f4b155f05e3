"""Architectures as rows of params.yaml."""

from typing import Literal

from pydantic import Field

from data.pairs.config import Config, Probability
from segmentation.network_config import NetworkConfig

WEIGHTS, CONFIG = "model.safetensors", "config.json"  # the files of a trained segmenter


class Augmentation(Config):
    """Random changes of every training pair, drawn anew each epoch. Zero means off, and all are off by default."""

    flip: Probability = Field(default=0.0, description="of a horizontal flip, and independently of a vertical one")
    rotate90: Probability = Field(default=0.0, description="of a rotation by a random multiple of 90 degrees")
    scale: float = Field(default=0.0, ge=0, lt=1, description="lengths change by at most this share, each way")
    shift: float = Field(default=0.0, ge=0, lt=1, description="at most this share of the side, each way")
    brightness_contrast: float = Field(
        default=0.0, ge=0, lt=1, description="brightness and contrast change by at most this share, each way"
    )
    blur: Probability = Field(default=0.0, description="of a Gaussian blur with a sigma of 0.3 to 1.5 px")
    hue: float = Field(default=0.0, ge=0, le=0.5, description="at most this share of the colour circle, each way")


class ArchitectureRow(NetworkConfig):
    """A network and how it is trained. The last weights are kept: nothing is chosen on test images."""

    input_px: int = Field(ge=32, multiple_of=32, description="side of the square that the network sees")
    epochs: int = Field(ge=1, description="passes over the training pairs; see budget")
    batch: int = Field(ge=2, description="largest number of pairs in an optimiser step")
    lr: float = Field(gt=0, description="learning rate; the peak under one_cycle")
    weight_decay: float = Field(ge=0)
    schedule: Literal["constant", "one_cycle"]
    loss: Literal["bce_dice"]
    budget: Literal["equal_epochs", "equal_steps"] = Field(
        description="equal_epochs: added pairs mean more optimiser steps, as in the paper; equal_steps: as many steps "
        "as the real pairs alone would get, whatever is added"
    )
    augment: Augmentation = Augmentation()
    real_pairs: bool = Field(default=True, description="false: trained on the added pairs alone, as in Table 4")
    added_pairs: int | None = Field(default=None, ge=1, description="at most so many of the added pairs, such as 1000")
