"""SinGAN-Seg as a row under `generators`; the defaults are those of its released code (Thambawita et al. 2022)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from data.pairs.config import Count, Share
from siamese.config.rows import GeneratorRow

Weight = Annotated[float, Field(ge=0)]


class SinganSegRow(GeneratorRow):
    """A pyramid of small GANs for each training pair, on images of four channels: red, green, blue and mask."""

    reads_training: ClassVar[bool] = False
    method: Literal["singan_seg"]
    min_size: int = Field(default=25, ge=7, description="side of the coarsest scale, in px")
    max_size: Count = Field(default=250, description="largest side of the finest scale; larger images are reduced")
    factor: Share = Field(default=0.75, description="wished ratio of the sides of two scales; the sizes decide")
    exact_sides: bool = Field(default=False, description="true: rounding errors make no side a pixel larger")
    width: Count = Field(default=32, description="channels of the four coarsest scales; doubled every four scales")
    width_most: Count = Field(default=128, description="the most channels")
    layers: int = Field(default=5, ge=3, description="convolutions of 3 px in each of the two networks of a scale")
    parallel: Count = Field(default=16, description="pyramids side by side in one network: speed and memory alone")
    iterations: Count = Field(default=2000, description="of every scale; training.steps and .batch are not read")
    lr: float = Field(default=5e-4, gt=0, description="of both networks; a tenth of it in the last fifth of a scale")
    d_steps: int = Field(default=3, ge=0, description="updates of the discriminator an iteration")
    g_steps: Count = Field(default=1, description="updates of the generator an iteration; the paper has 3")
    alpha: Weight = Field(default=10.0, description="weight of the reconstruction")
    penalty_weight: Weight = Field(default=0.1, description="weight of the gradient penalty")
    penalty: Literal["pixel", "image"] = Field(default="pixel", description="what the gradient's norm runs over")
    noise_share: Weight = Field(default=0.1, description="noise of a scale, as a share of what is missing there")
    rec_noise: Literal["redrawn", "fixed"] = Field(
        default="redrawn",
        description="coarsest noise of the reconstruction: new in every iteration, or the paper's one",
    )
    requantize: bool = Field(default=True, description="images are cut to 8 bits between two scales")
    mask_resize: Literal["cubic", "nearest"] = Field(default="cubic", description="how the mask channel is resized")
    start_scale: int = Field(default=0, ge=0, description="first scale with fresh noise; above 0: nearly copies")
    norm_at_sampling: Literal["running", "own"] = Field(
        default="running", description="statistics of the normalisation: those of training, or of each sample"
    )
    mask_cut: Share = Field(default=0.5, description="the mask channel, 0-1, is lesion above it")
    min_area: int = Field(default=0, ge=0, description="pieces of a mask with fewer px are removed")
    attempts: Count = Field(default=20, description="draws of an empty mask before the reconstruction is taken")
    style: Literal["none", "gatys"] = Field(default="none", description="gatys: the training image's style at the end")
    style_steps: Count = Field(default=1000)
    style_weight: Weight = Field(default=1000.0, description="against a weight of 1 of the content")
    vgg: Literal[19, 16] = Field(default=19, description="which network the style is measured by")
    vgg_file: str | None = Field(default=None, description="its weights, as torchvision has them")

    def size_problems(self, size_px: int) -> list[str]:
        """Return what of this row does not fit images whose shorter side is this."""
        most = size_px // 2  # so that there are two scales
        return [f"min_size: must be at most {most}, got {self.min_size}"] if self.min_size > most else []

    @model_validator(mode="after")
    def _can_be_made(self) -> "SinganSegRow":
        problems = [
            f"{key}: is not read; {other} says it"
            for key, other in {"steps": "iterations", "batch": "parallel"}.items()
            if getattr(self, key) is not None
        ]
        if self.max_size < 2 * self.min_size:
            problems.append(f"max_size {self.max_size} must be at least twice min_size {self.min_size}")
        if self.min_size <= 2 * self.layers:
            problems.append(f"min_size must be above {2 * self.layers}, what {self.layers} layers see")
        if self.width_most < self.width:
            problems.append(f"width_most {self.width_most} is less than width {self.width}")
        if self.style == "gatys" and not self.vgg_file:
            problems.append("style: gatys needs vgg_file, the weights of a VGG")
        if problems:
            raise ValueError("; ".join(problems))
        return self
