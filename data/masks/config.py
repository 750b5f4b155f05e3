"""Masks to sample from, as rows of params.yaml."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from data.masks.given_config import Copies, DatasetMasks, FolderMasks, PseudoMasks
from data.pairs.config import Config, Count, Probability

if TYPE_CHECKING:
    from numpy.random import Generator

Move = dict[str, Any]  # a transform as it was drawn, in plain values
Range = tuple[float, float]


def _area_is_ordered(area: Range) -> Range:
    if not 0 < area[0] <= area[1] <= 1:
        raise ValueError(f"area must be [low, high] with 0 < low <= high <= 1, got {list(area)}")
    return area


Area = Annotated[Range, AfterValidator(_area_is_ordered)]
Angle = Annotated[float, Field(ge=-360, le=360)]


class Transform(Config):
    """One step of the list; each is drawn anew for every mask, and happens with its probability."""

    probability: Probability = 1.0
    name: str

    def happens(self, rng: "Generator") -> bool:
        """Return whether it is drawn to happen this time."""
        return bool(rng.random() < self.probability)

    def draw(self, rng: "Generator", donors: Sequence[str]) -> Move | None:
        """Return the values of one move, or None where there is none; `donors` are ids of masks that may be taken."""
        raise NotImplementedError


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

    def happens(self, rng: "Generator") -> bool:
        """Return True: which way is drawn with the move."""
        return True

    def draw(self, rng: "Generator", donors: Sequence[str]) -> Move:
        return {axis: bool(rng.random() < self.probability) for axis in ("x", "y")}


class Scale(Ranged):
    """Larger or smaller about the centre of the lesion."""

    name: Literal["scale"]
    factor: Range = Field(description="[low, high] of the factor on lengths, drawn on a log scale")

    def draw(self, rng: "Generator", donors: Sequence[str]) -> Move:
        import numpy as np

        return {"factor": float(np.exp(rng.uniform(*np.log(self.factor))))}  # halving is as likely as doubling


class Rotate(Transform):
    """Turned about the centre of the lesion."""

    name: Literal["rotate"]
    degrees: tuple[Angle, Angle] = Field(description="[low, high], against the clock")

    @model_validator(mode="after")
    def _is_ordered(self) -> "Rotate":
        if self.degrees[0] > self.degrees[1]:
            raise ValueError(f"degrees must be [low, high], got {list(self.degrees)}")
        return self

    def draw(self, rng: "Generator", donors: Sequence[str]) -> Move:
        return {"degrees": float(rng.uniform(*self.degrees))}


class Shift(Transform):
    """Moved within the frame."""

    name: Literal["shift"]
    most: float = Field(gt=0, le=1, description="share of the side, each way")

    def draw(self, rng: "Generator", donors: Sequence[str]) -> Move:
        return {axis: float(by) for axis, by in zip("xy", rng.uniform(-self.most, self.most, 2), strict=True)}


class Elastic(Transform):
    """Bent by a smooth random field."""

    name: Literal["elastic"]
    strength: float = Field(gt=0, le=1, description="largest displacement as a share of the lesion's radius")
    smoothness: float = Field(gt=0, le=1, description="width of the field's bumps as a share of the lesion's radius")

    def draw(self, rng: "Generator", donors: Sequence[str]) -> Move:
        return {"strength": self.strength, "smoothness": self.smoothness, "seed": int(rng.integers(2**31))}


class Swap(Transform):
    """The lesion of another training mask takes the place of this one: its shape and size, here."""

    name: Literal["swap"]

    def draw(self, rng: "Generator", donors: Sequence[str]) -> Move | None:
        return {"donor": donors[int(rng.integers(len(donors)))]} if donors else None


AnyTransform = Annotated[Flip | Scale | Rotate | Shift | Elastic | Swap, Field(discriminator="name")]


class Constraints(Config):
    """What a transformed mask must be; draws that are not are rejected, counted and drawn again."""

    area: Area = Field(description="share of the frame that lesions may cover")
    lost: Probability = Field(default=0.02, description="share of the lesion that may leave the frame")
    connected: Literal["any", "as_parent", "one"] = Field(
        default="as_parent", description="as_parent: in no more pieces than the mask it comes from; one: in one piece"
    )
    border: Literal["any", "as_parent", "never"] = Field(
        default="any", description="as_parent: touches the frame's border only if the mask it comes from does"
    )
    change: Probability = Field(default=0.0, description="at least this share, as 1 - IoU with the mask it comes from")


class RealMasks(Config):
    """The training masks as they are, once more for every multiple."""

    copies: Copies
    kind: Literal["real"]


class TransformedMasks(Config):
    """The training masks, each changed at random. The paper gives no ranges: these are ours."""

    copies: Copies
    kind: Literal["transformed"]
    seed: int = Field(ge=0)
    transforms: tuple[AnyTransform, ...] = Field(min_length=1, description="one after the other")
    constraints: Constraints
    attempts: int = Field(ge=1, description="draws before the mask is only flipped")


class InvertedMasks(Config):
    """New masks, drawn by the base model with words that were learned on the training masks (textual inversion).

    The defaults are those of AnomalyDiffusion's code.
    """

    copies: Copies
    kind: Literal["inverted"]
    seed: int = Field(ge=0)
    vectors: Count = Field(default=16, description="learned vectors in place of a word of the prompt")
    init_word: str = Field(default="crack", min_length=1, description="what they start as")
    share: float = Field(default=1.0, gt=0, le=1, description="of the training masks, the first ones; the paper: 1/3")
    steps: Count = 5000
    batch: Count = 4
    lr: float = Field(default=2e-2, gt=0)
    checkpoint_steps: Count = Field(default=500, description="steps between two checkpoints to resume from")
    sample_steps: int = Field(default=100, ge=1, le=500, description="DDIM steps of a mask")
    eta: Probability = 1.0
    guidance: float = Field(default=5.0, ge=1, description="away from the empty prompt")
    threshold: float = Field(default=0.8, gt=-1, lt=1, description="what is brighter is lesion; images lie in -1 to 1")
    border: Probability = Field(default=1 / 3, description="share of each border line of the frame that may be lesion")
    attempts: Count = Field(default=10, description="draws before the mask is a flipped real one")


class ShapesMasks(Config):
    """Drawn lesions: number, size and place as in the training masks, smooth outlines that are like theirs."""

    copies: Copies
    kind: Literal["shapes"]
    seed: int = Field(ge=0)
    constraints: Constraints = Field(
        default=Constraints(area=(1e-6, 1.0), lost=1.0, border="as_parent"),
        description="as for transformed; the mask it comes from is the one whose number, sizes and places it takes up",
    )
    attempts: Count = Field(default=50, description="draws before the mask is a flipped real one")


PlacedMasks = RealMasks | TransformedMasks | InvertedMasks | ShapesMasks  # each in the place of a real one
Masks = Annotated[PlacedMasks | FolderMasks | DatasetMasks | PseudoMasks, Field(discriminator="kind")]
