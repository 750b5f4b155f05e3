"""Data sets and masks as rows of params.yaml."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator


class Config(BaseModel):
    """A section of params.yaml: unknown keys and wrong types are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
# A split is a folder of the prepared data set, so its name must not lead out of it.
SplitName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class DatasetRow(Config):
    """What every data set says of itself."""

    path: str = Field(description="what it is read from or drawn by; DVC watches it for changes")
    size_px: int = Field(ge=32, multiple_of=32, description="side of the square that pairs are stretched to")
    prompt: str = Field(description="text for the generator; empty makes guidance do nothing")


class PhantomDataset(DatasetRow):
    """Endoscopy-like pairs that the project draws itself."""

    kind: Literal["phantom"]
    train: int = Field(ge=4)
    test: int = Field(ge=4)
    seed: int = Field(ge=0)


Count = Annotated[int, Field(ge=1)]


class FolderDataset(DatasetRow):
    """Any folder of images and masks."""

    kind: Literal["folder"]
    layout: str | None = Field(default=None, description="as `doctor` names it; without it the first that fits")
    splits: dict[SplitName, str | Share] = Field(
        description="split -> sub-folder of path, a split of the layout, or a .txt list of ids in path; "
        "or split -> share of all pairs; needs train and a test set"
    )
    group: str | None = Field(default=None, description="regular expression; ids with the same match stay together")
    expect: dict[str, Count] = Field(default={}, description="split -> pairs that must be there, before any limit")
    allow_duplicates: tuple[str, ...] = Field(default=(), description="ids whose like may lie in another split")
    limit: dict[str, Count] = Field(default={}, description="split -> at most so many pairs")
    seed: int = Field(default=0, ge=0, description="draws splits by share and limits")
    mask_threshold: int = Field(default=127, ge=0, le=254, description="lesion is above it; 0 for masks of 0 and 1")
    antialias: bool = Field(default=False, description="true for strong reductions; false as in the official code")
    domain: str = ""

    @model_validator(mode="after")
    def _splits_are_usable(self) -> "FolderDataset":
        tests = [name for name in self.splits if name not in ("train", "val")]
        if "train" not in self.splits or not tests:
            raise ValueError(f"splits must name train and at least one test set, got {sorted(self.splits)}")
        shares = [share for share in self.splits.values() if isinstance(share, float)]
        if shares and len(shares) < len(self.splits):
            raise ValueError("splits must be all sub-folders or all shares, not some of each")
        if sum(shares) > 1 + 1e-9:
            raise ValueError(f"splits: the shares add up to {sum(shares):g}, at most 1 is allowed")
        for key in ("limit", "expect"):
            unknown = sorted(set(getattr(self, key)) - set(self.splits))
            if unknown:
                raise ValueError(f"{key}: no such split {unknown}, splits are {sorted(self.splits)}")
        try:
            re.compile(self.group or "")
        except re.error as error:
            raise ValueError(f"group is no regular expression: {error}") from error
        return self


Dataset = Annotated[PhantomDataset | FolderDataset, Field(discriminator="kind")]


class RealMasks(Config):
    """The training masks as they are, once more for every multiple."""

    kind: Literal["real"]
    copies: int = Field(ge=1, description="largest multiple that can be sampled")


Range = tuple[float, float]


class TransformedMasks(Config):
    """The training masks, each moved at random. The paper names the transforms and no ranges: these are ours."""

    kind: Literal["transformed"]
    copies: int = Field(ge=1, description="largest multiple that can be sampled")
    seed: int = Field(ge=0)
    flip: Probability
    scale: Range = Field(description="factor on lengths")
    shift: float = Field(ge=0, le=1, description="at most this share of the side, each way")
    rotate_deg: float = Field(ge=0, le=180, description="at most this angle, each way")
    area: Range = Field(description="share of the frame that a lesion may cover")
    lost: Probability = Field(description="share of the lesion that may leave the frame")
    attempts: int = Field(ge=1, description="draws before the parent is only flipped")

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> "TransformedMasks":
        for name in ("scale", "area"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be [low, high] with 0 < low <= high, got [{low:g}, {high:g}]")
        if self.area[1] > 1:
            raise ValueError(f"area is a share of the frame, at most 1, got {self.area[1]:g}")
        return self


Masks = Annotated[RealMasks | TransformedMasks, Field(discriminator="kind")]
