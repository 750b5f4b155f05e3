"""AnomalyDiffusion as a row under `generators`; the defaults are those of its code (Hu et al., AAAI 2024)."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from data.pairs.config import Count, Probability
from siamese.config.rows import GeneratorRow

WORD = "*"  # where the learned words stand in a template
SMALLEST_PX = 32  # the ResNet halves the side four times


def _one_word(template: str) -> str:
    if template.split().count(WORD) != 1 or template.count(WORD) != 1:
        raise ValueError(f"'{template}' must hold {WORD} once, with spaces around it")
    return template


def _power_of_two(side: int) -> int:
    if side < SMALLEST_PX or side & (side - 1):
        raise ValueError(f"must be a power of two from {SMALLEST_PX} on, got {side}")
    return side


Template = Annotated[str, AfterValidator(_one_word)]

OF_ADAPTIVE = ("distance", "weight_map", "weight_clip", "reweight_at", "reweight_start_token", "dilation")


class AnomalyRow(GeneratorRow):
    """Words learned in front of a frozen Stable Diffusion, which then paints lesions into images without any."""

    method: Literal["anomaly_diffusion"]
    words: Count = Field(default=4, description="learned vectors that say what the lesion looks like")
    spatial_words: Count = Field(
        default=4, description="vectors that say where it is; a network makes them of the mask"
    )
    encoder: Literal["ir50", "small"] = Field(
        default="ir50", description="that network: the published one, or four convolutions for toys"
    )
    encoder_px: Annotated[int, AfterValidator(_power_of_two)] = Field(
        default=256, description="side of the mask that it sees, whatever the side of the image"
    )
    encoder_norm: Literal["running", "batch"] = Field(
        default="running", description="its normalisation in sampling; the code's batch is refused, see docs/methods.md"
    )
    init_word: str = Field(default="anomaly", min_length=1, description="what the learned vectors start as")
    templates: Annotated[tuple[Template, ...], Field(min_length=1)] = Field(
        default=(
            "a photo of a *", "a close photo of a *", "a photo that shows a *", "an image with one *",
            "this is a *", "a clear view of the *", "a picture of some *", "the * in this picture",
        ),
        description="training draws one a sample, sampling takes the first; * is where the vectors go",
    )  # fmt: skip
    inject: Literal["embedding", "context"] = Field(
        default="embedding",
        description="the vectors enter the text encoder; or take places in its output, which is cheaper and not theirs",
    )
    lr: Annotated[float, Field(gt=0)] = Field(default=2e-2, description="of words and network, by Adam")
    batch: Count = Field(default=4, description="in place of training.batch")
    weight_decay: float = Field(default=0.0, ge=0, description="in place of training.weight_decay")
    schedule: Literal["constant", "one_cycle"] = Field(default="constant", description="in place of training.schedule")
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(default=None, description="in place of training.ema")
    loss_mean: Literal["all", "mask"] = Field(
        default="all",
        description="divides the loss by all cells, so that small lesions teach little, or by theirs",
    )
    latent_mask: Literal["bilinear", "any"] = Field(
        default="bilinear", description="a cell of the latents is lesion by its smoothed mask >= 0.5, or by any pixel"
    )
    augment: Literal["official", "flips", "none"] = Field(
        default="official",
        description="official: half of the steps are flipped, turned, cropped; flips: mirrored copies",
    )
    share: float = Field(default=1.0, gt=0, le=1, description="of the training pairs, the first ones; the paper: 1/3")
    sample_steps: int = Field(default=200, ge=1, le=500, description="DDIM steps; sampling.steps is not read")
    eta: Probability = Field(default=1.0, description="share of DDPM's noise that every DDIM step adds")
    normal_latent: Literal["mean", "sample"] = Field(
        default="mean", description="of the image without lesion: its posterior's mean, or a draw as in the code"
    )
    paste: Literal["none", "latent", "pixel"] = Field(
        default="none", description="put the image without lesion back outside the mask: never, in latents, in pixels"
    )
    feather_px: int = Field(default=4, ge=0, description="paste pixel: width of the fading outside the mask")
    adaptive: bool = Field(default=False, description="weigh attention to the words by how little has changed so far")
    distance: Literal["noisy", "clean"] = Field(
        default="noisy",
        description="adaptive: compares noisy latents, or the clean ones that the last step predicted",
    )
    weight_map: Literal["ratio", "softmax"] = Field(
        default="ratio", description="adaptive: weights as shares of 1/d, or as a softmax of it, as the paper writes"
    )
    weight_clip: tuple[float, float] | None = Field(default=(1.0, 1.5), description="adaptive: limits of the weights")
    reweight_at: Literal["logits", "probabilities"] = Field(
        default="logits",
        description="adaptive: weights multiply attention before its softmax, or after it (the paper)",
    )
    reweight_start_token: bool = Field(default=True, description="adaptive: the start token too, as in the code")
    dilation: Probability = Field(
        default=0.25,
        description="adaptive: growth of the mask at t = 900 as a share of the side; 0: off, 0.5: for 50 steps",
    )

    @model_validator(mode="after")
    def _images_do_not_depend_on_their_batch(self) -> "AnomalyRow":
        if self.encoder_norm == "batch":
            raise ValueError("encoder_norm: with batch an image depends on the masks beside it; write running")
        return self

    @model_validator(mode="after")
    def _every_switch_acts(self) -> "AnomalyRow":
        needed = {} if self.adaptive else dict.fromkeys(OF_ADAPTIVE, "adaptive: true")
        needed |= {} if self.paste == "pixel" else {"feather_px": "paste: pixel"}
        fields = type(self).model_fields
        idle = [f"{k} does nothing without {v}" for k, v in needed.items() if getattr(self, k) != fields[k].default]
        if self.weight_clip and not 0 <= self.weight_clip[0] <= self.weight_clip[1]:
            idle.append(f"weight_clip must be [low, high] with 0 <= low <= high, got {list(self.weight_clip)}")
        if idle:
            raise ValueError("; ".join(idle))
        return self

    @property
    def places(self) -> int:
        """Return how many vectors stand in place of the word of a template."""
        return self.words + self.spatial_words

    def own_training(self) -> dict[str, Any]:
        """Return the values that this row gives: the optimiser is Adam without decay, and nothing is averaged."""
        return super().own_training() | {key: getattr(self, key) for key in ("weight_decay", "schedule", "ema")}
