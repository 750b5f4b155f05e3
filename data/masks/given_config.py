"""Masks that are given and not made, as rows of params.yaml: of a folder, or of another data set."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.pairs.config import ClassName, Config, SplitName, Values, WholePath, value_problems

Copies = Annotated[int, Field(ge=1, description="largest multiple that can be sampled")]


class GivenMasks(Config):
    """What rows say of masks that are not made here; they take turns where more are asked for than there are."""

    copies: Copies
    seed: int = Field(default=0, ge=0, description="of the order in which they are taken")


class FolderMasks(GivenMasks):
    """Any folder of masks, read as strictly as those of a data set."""

    kind: Literal["folder"]
    path: WholePath = Field(description="folder of masks; DVC watches what lies in data/imported_masks/")
    resize: Literal["refuse", "stretch", "letterbox"] = Field(
        default="refuse", description="what is done with another size; letterbox keeps proportions"
    )
    mask_threshold: int | None = Field(default=None, ge=0, le=254, description="lesion is above it; 127 without it")
    as_background: tuple[Values, ...] = Field(default=(), description="greys or colours that are no lesion")
    inverted_masks: bool | None = Field(
        default=None, description="true: lesion is black; false: it is white, though it covers borders or is a ring"
    )
    classes: dict[ClassName, Values] = Field(
        default={}, description="name -> grey or colour, for a data set of several classes, in its order"
    )
    allow_empty: bool = Field(default=False, description="masks without lesion are wanted")
    allow_duplicates: tuple[str, ...] = Field(
        default=(), description="ids that may be there twice, or be the mask of a held-out pair; * for all"
    )

    @model_validator(mode="after")
    def _values_are_clear(self) -> "FolderMasks":
        if problems := list(value_problems(self.classes, self.as_background, inverted=bool(self.inverted_masks))):
            raise ValueError("; ".join(problems))
        return self


class DatasetMasks(GivenMasks):
    """The masks of a data set, another one than the masks are for."""

    kind: Literal["dataset"]
    dataset: str = Field(description="name of its row; it is prepared, and need not be compared")
    split: SplitName = Field(default="train", description="another split only where the data set is not compared")
    without: tuple[str, ...] = Field(default=(), description="ids of its pairs that are left out")


class PseudoMasks(GivenMasks):
    """Masks of the images without masks, by a segmenter of the row `judge`; sampling.strength: from these images on."""

    kind: Literal["pseudo"]
