"""Masks to sample from, as rows of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.pairs.config import Config, Probability

Range = tuple[float, float]
Angle = Annotated[float, Field(ge=-360, le=360)]


class Transform(Config):
    """One step of the list; each is drawn anew for every mask, and happens with its probability."""

    probability: Probability = 1.0


class Ranged(Transform):
    """A transform whose pairs of numbers are ranges of factors or sizes."""

    @model_validator(mode="after")
    def _is_ordered(self) -> "Ranged":
        for key, value in self:
            if isinstance(value, tuple) and not 0 < value[0] <= value[1]:
                raise ValueError(f"{key} must be [low, high] with 0 < low <= high, got {list(value)}")
        return self


class Flip(Transform):
    """Left and right, and top and bottom, are each exchanged with this probability."""

    name: Literal["flip"]
    probability: Probability = 0.5


class Scale(Ranged):
    """Larger or smaller about the centre of the lesion."""

    name: Literal["scale"]
    factor: Range = Field(description="[low, high] of the factor on lengths, drawn on a log scale")


class Rotate(Transform):
    """Turned about the centre of the lesion."""

    name: Literal["rotate"]
    degrees: tuple[Angle, Angle] = Field(description="[low, high], against the clock")

    @model_validator(mode="after")
    def _is_ordered(self) -> "Rotate":
        if self.degrees[0] > self.degrees[1]:
            raise ValueError(f"degrees must be [low, high], got {list(self.degrees)}")
        return self


class Shift(Transform):
    """Moved within the frame."""

    name: Literal["shift"]
    most: float = Field(gt=0, le=1, description="share of the side, each way")


class Elastic(Transform):
    """Bent by a smooth random field."""

    name: Literal["elastic"]
    strength: float = Field(gt=0, le=1, description="largest displacement as a share of the lesion's radius")
    smoothness: float = Field(gt=0, le=1, description="width of the field's bumps as a share of the lesion's radius")


class Swap(Transform):
    """The lesion of another training mask takes the place of this one: its shape and size, here."""

    name: Literal["swap"]


AnyTransform = Annotated[Flip | Scale | Rotate | Shift | Elastic | Swap, Field(discriminator="name")]


class Constraints(Config):
    """What a transformed mask must be; draws that are not are rejected, counted and drawn again."""

    area: Range = Field(description="share of the frame that lesions may cover")
    lost: Probability = Field(default=0.02, description="share of the lesion that may leave the frame")
    connected: Literal["any", "as_parent", "one"] = Field(
        default="as_parent", description="as_parent: in no more pieces than the mask it comes from; one: in one piece"
    )
    border: Literal["any", "as_parent", "never"] = Field(
        default="any", description="as_parent: touches the frame's border only if the mask it comes from does"
    )
    change: Probability = Field(default=0.0, description="at least this share, as 1 - IoU with the mask it comes from")

    @model_validator(mode="after")
    def _area_is_ordered(self) -> "Constraints":
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"area must be [low, high] with 0 < low <= high <= 1, got {list(self.area)}")
        return self


class MaskRow(Config):
    """What every row of masks says."""

    copies: int = Field(ge=1, description="largest multiple that can be sampled")


class RealMasks(MaskRow):
    """The training masks as they are, once more for every multiple."""

    kind: Literal["real"]


class TransformedMasks(MaskRow):
    """The training masks, each changed at random. The paper gives no ranges: these are ours."""

    kind: Literal["transformed"]
    seed: int = Field(ge=0)
    transforms: tuple[AnyTransform, ...] = Field(min_length=1, description="one after the other")
    constraints: Constraints
    attempts: int = Field(ge=1, description="draws before the mask is only flipped")


Masks = Annotated[RealMasks | TransformedMasks, Field(discriminator="kind")]
