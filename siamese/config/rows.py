"""The rows under `generators` in params.yaml: one class for each method on latents."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from data.pairs.config import Config, Count, Probability
from siamese.config.loss_switches import LossSwitches

Widths = Annotated[tuple[Count, ...], Field(min_length=2)]


def downsampling(channels: Sequence[int]) -> int:
    """Return how many times smaller the last level is than the first, for the channels of a network's levels."""
    return int(2 ** (len(channels) - 1))


class GeneratorRow(Config):
    """Values of the training section that a method needs otherwise, such as ArSDM's steps or an adapter's rate."""

    reads_training: ClassVar[bool] = True  # false: of the section only the seed counts
    steps: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="in place of training.steps and steps_of"
    )
    batch: Annotated[int, Field(ge=1)] | None = Field(default=None, description="in place of training.batch")
    lr: Annotated[float, Field(gt=0)] | None = Field(default=None, description="in place of training.lr")

    def own_training(self) -> dict[str, Any]:
        """Return the values that this row gives."""
        return self.model_dump(include={"steps", "batch", "lr"}, exclude_none=True)

    def size_problems(self, size_px: int) -> list[str]:
        """Return what of this row does not fit square images of this side, one `key: sentence` each."""
        return []


class LatentRow(LossSwitches, GeneratorRow):
    """What every method on latents can be told; the defaults are the paper's."""

    t_sampling: Literal["uniform", "cubic"] = Field(
        default="uniform", description="law of the training timesteps; cubic prefers noisy ones, (1 - u^3) * 1000"
    )
    mask_guidance: Annotated[float, Field(ge=1)] | None = Field(
        default=None, description="in place of sampling.mask_guidance"
    )
    pseudo_masks: bool = Field(
        default=False, description="train on the images without masks too, with masks by a segmenter of the row judge"
    )

    @property
    def siamese(self) -> "SiameseRow | None":
        """The Siamese-Diffusion whose step trains this method, or None when it has one condition alone."""
        return None


class HintRow(LatentRow):
    """What methods with a ControlNet have in common."""

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
    def _dense_widths_double(self) -> "HintRow":
        widths = self.hint_widths
        if self.hint == "dhi" and (len(widths) < 3 or any(b != 2 * a for a, b in pairwise(widths[1:]))):
            raise ValueError(f"hint_widths of dhi must double from the second on, got {list(widths)}")
        return self

    def hint_problem(self, factor: int) -> str | None:
        """Return what is wrong with the number of hint widths for latents `factor` times smaller than the image."""
        stages = factor.bit_length() + (self.hint == "dhi")
        if len(self.hint_widths) == stages:
            return None
        return (
            f"hint_widths: must be {stages} widths for hint {self.hint}, since the base's VAE makes latents {factor} "
            f"times smaller; got {len(self.hint_widths)}"
        )


class ControlNetRow(HintRow):
    """ControlNet on masks with a trained decoder: Setting 1 of Table 5."""

    method: Literal["controlnet"]


class SiameseRow(HintRow):
    """Siamese-Diffusion and its ablations."""

    method: Literal["siamese"]
    noise_consistency: bool = True
    online_augmentation: bool = True
    w_c: float = Field(default=1.0, ge=0, description="weight of the consistency loss, Eq. 9")
    w_m: float = Field(default=1.0, ge=0, description="weight of the mask residuals in the mixture, Eq. 5")
    image_weight: Literal["linear_ramp", "constant"] = Field(
        default="linear_ramp", description="w_i of Eq. 5: step / steps as in the paper, or 1"
    )
    image_share: float = Field(default=1.0, ge=0, description="factor of w_i; ADC's code has 0.25 of a constant one")
    consistency_gate: Literal["none", "gain", "band"] = Field(
        default="none",
        description="gain: weigh L_c of a sample by g = 1 - L_i / L_m, the image branch's gain; band: by 4 g (1 - g)",
    )
    consistency_reweight: Literal["none", "ratio"] = Field(
        default="none",
        description="ratio: lesion and background weigh alike in L_c, by ArSDM's weights over their mean",
    )
    augment_after: float = Field(
        default=1 / 3, ge=0, le=1, description="online augmentation starts after this share of the steps"
    )
    augment_t_max: int = Field(default=200, ge=0, le=999, description="and only at timesteps up to this one, included")
    image_branch_trains_decoder: bool = Field(
        default=False, description="whether L_i changes the decoder's weights; the official code drops that gradient"
    )

    @model_validator(mode="after")
    def _consistency_is_there(self) -> "SiameseRow":
        asked = [key for key in ("consistency_gate", "consistency_reweight") if getattr(self, key) != "none"]
        if asked and not self.noise_consistency:
            raise ValueError(f"{' and '.join(asked)}: does nothing with noise_consistency: false")
        return self

    @property
    def siamese(self) -> "SiameseRow | None":
        """This row, or None when both of the parts that need the image branch are off: then this is ControlNet."""
        return self if self.noise_consistency or self.online_augmentation else None


class ControlNetImageRow(HintRow):
    """ControlNet that sees the mask and the real image, "M+I" of the paper: its samples are near copies."""

    method: Literal["controlnet_image"]
    mode: Literal["shared_sum", "siamese_image_branch", "concat6", "two_nets"] = Field(
        default="shared_sum", description="how the two hints come together (docs/methods.md)"
    )
    w_i: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="weight of the image's residuals; null: 1, and 0.25 for two_nets"
    )
    image_weight: Literal["constant", "linear_ramp"] = Field(
        default="constant", description="linear_ramp: in training w_i rises from 0 as in the paper's Eq. 5"
    )

    @model_validator(mode="after")
    def _keys_belong_to_the_mode(self) -> "ControlNetImageRow":
        problems = []
        if self.mode == "concat6" and self.w_i is not None:
            problems.append("w_i: concat6 has one hint of six channels, and no residuals of the image alone")
        if self.mode in ("concat6", "siamese_image_branch") and self.image_weight != "constant":
            problems.append(f"image_weight: {self.mode} does not read it; only shared_sum and two_nets do")
        if self.mode != "siamese_image_branch" and self.weights:
            problems.append("weights: checkpoints of the official code hold a Siamese generator: siamese_image_branch")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def image_share(self) -> float:
        """The weight of the image's residuals once the training is done."""
        if self.w_i is None:
            return 0.25 if self.mode == "two_nets" else 1.0
        return self.w_i

    @property
    def siamese(self) -> SiameseRow | None:
        """The generator that siamese_image_branch trains: the paper's, with what this row shares with it."""
        if self.mode != "siamese_image_branch":
            return None
        return SiameseRow(method="siamese", **{name: getattr(self, name) for name in HintRow.model_fields})


class T2IAdapterRow(LatentRow):
    """T2I-Adapter: a small network beside a frozen Stable Diffusion."""

    method: Literal["t2i_adapter"]
    t_sampling: Literal["uniform", "cubic"] = Field(
        default="cubic", description="law of the training timesteps; the adapter's paper prefers noisy ones"
    )
    cond_tau: Probability = Field(
        default=1.0, description="share of the denoising steps, from the first on, in which the adapter acts"
    )
