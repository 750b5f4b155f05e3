"""Pair sets that need no generator of ours, as rows of params.yaml: what generators are compared with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints

from data.masks.config import Area, Constraints, Elastic, Flip, Move, Range, Ranged, Rotate, Scale, Shift, Transform
from data.pairs.config import ClassName, Config, Probability, Values, WholePath

if TYPE_CHECKING:
    from numpy.random import Generator


class Real(Config):
    """Nothing is added to the real pairs."""

    kind: Literal["real"]


class Duplicate(Config):
    """The real pairs once more: the paper's "Copy-Paste"."""

    kind: Literal["duplicate"]


class Bend(Elastic):
    """Bent by a smooth random field."""

    strength: float = Field(gt=0, le=0.2, description="usual displacement along an axis, as a share of the side")
    smoothness: float = Field(gt=0, le=1, description="width of the field's bumps, as a share of the side")


class Light(Transform):
    """Brighter or darker, and of more or less contrast."""

    name: Literal["brightness_contrast"]
    most: float = Field(gt=0, lt=1, description="0.2: each factor is drawn from 0.8 to 1.2")

    def draw(self, rng: "Generator", donors: Sequence[str]) -> Move:
        brightness, contrast = rng.uniform(1 - self.most, 1 + self.most, 2)
        return {"brightness": float(brightness), "contrast": float(contrast)}


class Hue(Transform):
    """Other hues, and stronger or paler ones."""

    name: Literal["hue_saturation"]
    hue: float = Field(ge=0, le=0.5, description="share of the colour circle, each way")
    saturation: float = Field(ge=0, lt=1, description="0.2: the factor is drawn from 0.8 to 1.2")

    def draw(self, rng: "Generator", donors: Sequence[str]) -> Move:
        factor = rng.uniform(1 - self.saturation, 1 + self.saturation)
        return {"hue": float(rng.uniform(-self.hue, self.hue)), "saturation": float(factor)}


class Blur(Ranged):
    """Blurred by a Gaussian."""

    name: Literal["blur"]
    sigma_px: Range

    def draw(self, rng: "Generator", donors: Sequence[str]) -> Move:
        return {"sigma_px": float(rng.uniform(*self.sigma_px))}


class Noise(Ranged):
    """Gaussian noise in every pixel and channel."""

    name: Literal["noise"]
    std: Range = Field(description="[low, high] of its standard deviation, 1 is white")

    def draw(self, rng: "Generator", donors: Sequence[str]) -> Move:
        return {"std": float(rng.uniform(*self.std)), "seed": int(rng.integers(2**31))}


COLOURS = ("brightness_contrast", "hue_saturation", "blur", "noise")  # these move nothing
AnyChange = Annotated[Flip | Scale | Rotate | Shift | Bend | Light | Hue | Blur | Noise, Field(discriminator="name")]


class MadePairs(Config):
    """What rows say that make pairs of the real ones."""

    copies: int = Field(default=1, ge=1, description="pairs made of each real one; 1 is as many as there are real ones")
    seed: int = Field(default=0, ge=0)
    attempts: int = Field(default=50, ge=1, description="draws before a pair is only flipped, or pasted into nothing")


class Augment(MadePairs):
    """Classical augmentation, made once: image and mask are changed together."""

    kind: Literal["augment"]
    transforms: tuple[AnyChange, ...] = Field(
        min_length=1, description="one after the other, about the middle of the frame; colours after all moves"
    )
    border: Literal["black", "reflect"] = Field(
        default="black", description="what moves in from outside the frame: nothing, or the mirrored image and lesion"
    )
    constraints: Constraints = Field(
        default=Constraints(area=(1e-6, 1.0), lost=0.1, connected="any"), description="as for masks"
    )


AnyTurn = Annotated[Flip | Scale | Rotate, Field(discriminator="name")]


class CutPaste(MadePairs):
    """Cut and paste: a lesion of another real pair is put beside the lesion of a real pair."""

    kind: Literal["cut_paste"]
    transforms: tuple[AnyTurn, ...] = Field(default=(), description="of the cut lesion, about its middle")
    blend: Literal["alpha", "poisson"] = Field(
        default="alpha", description="alpha: a soft edge; poisson: cv2.seamlessClone, which takes over the surroundings"
    )
    edge_px: int = Field(default=2, ge=0, description="width of the rim around the lesion that is blended")
    area: Area = Field(default=(1e-6, 0.8), description="share of the frame that all lesions may cover")
    overlap: Probability = Field(
        default=0.1, description="share of the smaller of both lesions that the pasted one may cover"
    )
    black: Probability = Field(default=0.02, description="share of it that may lie on black, as corners of endoscopes")


class Pseudo(Config):
    """The images without masks, with the masks of a segmenter of the row `judge`: what images alone are worth."""

    kind: Literal["pseudo"]


CsvName = Annotated[str, StringConstraints(pattern=r"\.csv$")]


class Imported(Config):
    """Pairs that another tool has made."""

    kind: Literal["imported"]
    path: WholePath = Field(description="folder of pairs; DVC watches what lies in data/imported/")
    layout: str | None = Field(default=None, description="as `doctor` names it; without it the first that fits")
    resize: Literal["refuse", "stretch"] = Field(default="refuse", description="what is done with another size")
    antialias: bool = Field(default=False, description="of stretch, as in the row of the data set")
    mask_threshold: int | None = Field(
        default=None, ge=0, le=254, description="lesion is above it; needed where masks have grey edges"
    )
    classes: dict[ClassName, Values] = Field(
        default={}, description="name -> grey or colour in the masks, for a data set of several classes"
    )
    parents: CsvName | None = Field(default=None, description="in path: id,parent, the real pair that each was made of")
    source: str = Field(default="", description="name in the manifest; the row's name without it")
    allow_empty: bool = Field(default=False, description="masks without lesion are wanted")
    allow_duplicates: tuple[str, ...] = Field(
        default=(), description="ids that may be a copy of a real pair, or nearly a test image; * for all"
    )


Baseline = Annotated[Real | Duplicate | Augment | CutPaste | Pseudo | Imported, Field(discriminator="kind")]
