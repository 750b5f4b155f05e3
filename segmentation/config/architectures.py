"""Architectures as rows of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.pairs.config import Config, Probability
from data.pretrained import lite0
from segmentation.config.networks import LEAST_PX, STRIDE, NetworkConfig

WEIGHTS, CONFIG = "model.safetensors", "config.json"  # the files of a trained segmenter

Factor = Annotated[float, Field(gt=0.2, le=4)]


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


class ColourExchange(Config):
    """Every image takes the colours of another one: mean and spread of each LAB channel (spec/segmenters.md 1.3)."""

    pools: dict[str, Probability] = Field(
        min_length=1, description="domain of the manifest -> how often its images are the donors; * is all domains"
    )
    wrap: bool = Field(default=False, description="true: values beyond 0 and 255 wrap around, as in the official code")

    @model_validator(mode="after")
    def _add_up_to_one(self) -> "ColourExchange":
        if abs(sum(self.pools.values()) - 1) > 1e-6:
            raise ValueError(f"pools must add up to 1, got {sum(self.pools.values()):g}")
        return self


class MultiScale(Config):
    """Batches at other sizes than input_px: factors on it, rounded to multiples of 32."""

    draw: Literal["one", "each"] = Field(
        description="one: a random size for each batch (SANet); each: a step at every size (Polyp-PVT, CTNet)"
    )
    factors: tuple[Factor, ...] = Field(min_length=1)
    probabilities: tuple[Probability, ...] | None = Field(default=None, description="of the factors, for draw: one")
    align_corners: bool = Field(description="of the resize of images, and of masks where they are soft")

    @model_validator(mode="after")
    def _probabilities_fit(self) -> "MultiScale":
        given = self.probabilities
        if given and (self.draw == "each" or len(given) != len(self.factors) or abs(sum(given) - 1) > 1e-6):
            raise ValueError("probabilities: one for each factor, adding up to 1, and only with draw: one")
        return self

    def sizes(self, input_px: int) -> list[int]:
        """Return the sides in px, one a factor."""
        return [max(STRIDE, round(input_px * factor / STRIDE) * STRIDE) for factor in self.factors]


class Curriculum(Config):
    """Synthetic pairs at first, real ones at the end: a drawn pair is synthetic with a chance that falls to zero.

    The chance is share * max(0, 1 - done / until), where `done` is the share of the run's epochs that is over.
    """

    share: Probability = Field(description="chance that a drawn pair is synthetic, in the first epoch")
    until: Probability = Field(description="share of the run after which pairs are real alone; 0: from its start")

    def chance(self, done: float) -> float:
        """Return the chance that a drawn pair is synthetic, in an epoch before which the share `done` is over."""
        return self.share * max(0.0, 1 - done / self.until) if self.until else 0.0


class ArchitectureRow(NetworkConfig):
    """A network and how it is trained."""

    input_px: int = Field(ge=STRIDE, multiple_of=STRIDE, description="side of the square that the network sees")
    normalize: Literal["imagenet", "half", "min_max"] = Field(
        default_factory=lambda row: "half" if row.get("encoder") == lite0.NAME else "imagenet",
        description="imagenet: its mean and deviation; half: 0.5 and 0.5; min_max: each image to 0-1 by its own "
        "extremes (the paper's UNet). Left out: half for the encoder lite0, imagenet for all others",
    )
    resize: Literal["smooth", "bilinear", "pillow"] = Field(
        default="smooth",
        description="of images to input_px; smooth: bicubic with antialiasing; bilinear: OpenCV's, without; pillow: "
        "bilinear with antialiasing, as Polyp-PVT and CTNet",
    )
    soft_masks: bool = Field(default=False, description="masks are resized bilinearly and not made binary again")
    epochs: int = Field(ge=1, description="passes over the training pairs; see budget")
    batch: int = Field(ge=2, description="largest number of pairs in an optimiser step")
    optimizer: Literal["adamw", "adam", "sgd"] = Field(default="adamw", description="sgd: Nesterov, momentum 0.9")
    lr: float = Field(gt=0, description="learning rate; the peak under one_cycle and poly")
    encoder_lr: float = Field(default=1.0, gt=0, le=1, description="factor on the rate of the encoder")
    weight_decay: float = Field(ge=0)
    decay_norms: bool = Field(default=True, description="false: no weight decay on norms and biases")
    schedule: Literal["constant", "one_cycle", "steps", "poly", "plateau"] = Field(
        description="steps: half at each of milestones; poly: linear warm-up, then down to zero; plateau: half "
        "after more than 10 epochs without a better validation loss"
    )
    milestones: tuple[int, ...] = Field(default=(), description="epochs, from 1, that begin at half the rate")
    warmup: Probability = Field(default=0.0, description="share of the steps, for poly")
    loss: Literal["bce", "bce_dice", "ce_dice", "structure", "structure_contrast"]
    weighted_bce: bool = Field(default=False, description="of the structure loss; false: as coded, true: as written")
    hard_contrast: bool = Field(default=False, description="half of the contrasted pixels are wrongly predicted ones")
    gradient_clamp: float | None = Field(default=None, gt=0, description="largest element of a gradient")
    scales: MultiScale | None = None
    budget: Literal["equal_epochs", "equal_steps"] = Field(
        description="equal_epochs: added pairs mean more optimiser steps, as in the paper; equal_steps: as many steps "
        "as the real pairs alone would get, whatever is added"
    )
    synthetic: Curriculum | None = Field(
        default=None,
        description="left out, all pairs are mixed, each once an epoch; with it an epoch draws as many pairs as there "
        "are real ones under either budget, and real and duplicate, which add no synthetic pair, stay as they are",
    )
    augment: Augmentation = Augmentation()
    colour_exchange: ColourExchange | None = None
    real_pairs: bool = Field(default=True, description="false: trained on the added pairs alone, as in Table 4")
    added_pairs: int | None = Field(default=None, ge=1, description="at most so many of the added pairs, such as 1000")
    keep: Literal["last", "best_val", "best_test"] = Field(
        default="last",
        description="which weights: the last, the best on the validation split, or (as Polyp-PVT's code, and not to be "
        "believed) the best on the test sets",
    )
    val_share: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of real pairs for validation, where there is no val split",
    )
    early_stop: int | None = Field(default=None, ge=1, description="epochs without a better validation score")
    stretch_maps: bool = Field(
        default=False,
        description="maps are stretched to 0-1 before they are saved, as by Polyp-PVT and CTNet; for "
        "the measures over thresholds only",
    )
    probability_correction: bool = Field(default=False, description="SANet's, at inference; moves no outline")

    @model_validator(mode="after")
    def _fits_together(self) -> "ArchitectureRow":
        smallest = min([self.input_px, *(self.scales.sizes(self.input_px) if self.scales else [])])
        least_px = LEAST_PX.get(self.network, STRIDE)
        problems = {
            "loss: ce_dice is for plain_unet alone, which takes no other": (
                (self.loss == "ce_dice") != (self.network == "plain_unet")
            ),
            "loss: structure_contrast needs the embedding that only a ctnet gives": (
                self.loss == "structure_contrast" and self.network != "ctnet"
            ),
            "milestones: needed for schedule: steps, and for no other": (
                (self.schedule == "steps") != bool(self.milestones)
            ),
            "warmup: only for schedule: poly": self.warmup and self.schedule != "poly",
            "early_stop and schedule: plateau count epochs, so they need budget: equal_epochs": (
                self.acts_on_validation and self.budget == "equal_steps"
            ),
            "keep: best_test chooses weights alone: no early_stop and no schedule: plateau with it": (
                self.acts_on_validation and self.keep == "best_test"
            ),
            "synthetic: ends on real pairs, so it needs real_pairs: true": self.synthetic and not self.real_pairs,
            f"normalize: {lite0.NAME} was trained with half, got {self.normalize}: leave it out": (
                self.encoder == lite0.NAME and self.normalize != "half"
            ),
            f"a {self.network} needs sides of {least_px} px or more, and would see {smallest}": smallest < least_px,
        }
        if any(problems.values()):
            raise ValueError("; ".join(problem for problem, is_there in problems.items() if is_there))
        return self

    @property
    def acts_on_validation(self) -> bool:
        """Whether the course of training depends on the validation score or loss of each epoch."""
        return self.early_stop is not None or self.schedule == "plateau"
