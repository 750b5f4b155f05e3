"""Data sets as rows of params.yaml."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.pairs.config import ClassName, Config, Count, Share, SplitName, Values, WholePath, value_problems
from data.prepare.normal_config import Normal
from data.readers.config import Slices, Which, unlabelled_problems, which_problems


class DatasetRow(Config):
    """What every data set says of itself."""

    path: WholePath = Field(description="what it is read from or drawn by; DVC watches it for changes")
    size_px: int = Field(ge=32, multiple_of=32, description="side of the square that pairs are stretched to")
    prompt: str = Field(description="text for the generator; empty makes guidance do nothing")
    normal: Normal | None = Field(
        default=None, description="images without a lesion, for the methods that need some (docs/methods.md)"
    )
    licence: str | None = Field(default=None, description="terms of the pairs, for the cards; else those of a download")
    page: str | None = Field(default=None, description="where the pairs come from, for the cards")
    citation: str | None = Field(default=None, description="how to cite them, for the cards")


Drawn = Annotated[int, Field(ge=4)]
# What data/prepare/phantom_styles.py knows to draw.
Look = Literal["endoscopy", "skin", "surface"]
Style = Literal["same", "near", "colour", "faint", "small", "blur", "glare"]


class PhantomTest(Config):
    """One of several test sets that are drawn."""

    count: Drawn
    style: Style = Field(default="same", description="how its images differ from the training images")


class PhantomDataset(DatasetRow):
    """Pairs that the project draws itself."""

    kind: Literal["phantom"]
    train: Drawn
    val: Drawn | None = Field(default=None, description="pairs for validation; without it none")
    test: Drawn | None = Field(default=None, description="pairs of the one test set, drawn as the training pairs are")
    tests: dict[SplitName, PhantomTest] = Field(default={}, description="in place of test: several test sets by name")
    look: Look = Field(default="endoscopy", description="what is drawn")
    domains: Literal[1, 2] = Field(
        default=1, description="2: every second training and validation pair has the colours of another camera"
    )
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _test_sets_are_clear(self) -> "PhantomDataset":
        if (self.test is None) == (not self.tests):
            raise ValueError("needs either test or tests")
        if self.normal and self.normal.path:
            raise ValueError("normal: path is for folders of pairs: give count, which are drawn, or crops")
        taken = sorted({"train", "val", "native", "pools"} & set(self.tests))
        if taken:
            raise ValueError(f"tests: {', '.join(taken)} cannot name a test set, take another")
        return self


FOLD_SPLITS = ("train", "val", "test")


class Folds(Config):
    """Cross-validation: the pairs are dealt into folds, and each row of params.yaml tests on one of them."""

    count: int = Field(ge=2)
    test: int = Field(ge=0, description="number of the fold that is the test set, from 0")
    val: int | None = Field(default=None, ge=0, description="number of the fold for validation, if any")

    @model_validator(mode="after")
    def _folds_exist(self) -> "Folds":
        if self.test >= self.count or (self.val is not None and (self.val >= self.count or self.val == self.test)):
            raise ValueError(f"test and val must be two different folds of 0 to {self.count - 1}")
        return self


SHARE_AS_TEXT = re.compile(r"\s*(\d+([.,]\d+)?\s*%|0?[.,]\d+)\s*")


class FolderDataset(DatasetRow):
    """Any folder of images and masks."""

    kind: Literal["folder"]
    layout: str | None = Field(default=None, description="as `doctor` names it; without it the first that fits")
    images: str | None = Field(
        default=None,
        description='in place of layout: where the images are, such as "images/{id}.jpg", {id} being what '
        "image and mask share; with {group} and {split} where the path says them, * and ** for any name and folders",
    )
    masks: str | None = Field(default=None, description='where their masks are, such as "gt/{id}_seg.png"')
    pairs: str | None = Field(
        default=None, description="in place of both: a .csv in path of image,mask[,split][,group][,id]"
    )
    slices: Slices | None = Field(default=None, description="where those files are NIfTI volumes or DICOM files")
    splits: dict[SplitName, str | Share] = Field(
        default={},
        description="split -> sub-folder of path, a split of the layout, a slice of either such as train[:1815] by "
        "the order of ids, or a .txt list of ids in path; or split -> share of all pairs; needs train and a test set",
    )
    folds: Folds | None = Field(default=None, description="in place of splits: cross-validation, one row a fold")
    group: str | None = Field(
        default=None, description="regular expression or .csv of id,group in path; what shares it stays in one split"
    )
    sequence_likeness: Annotated[float, Field(ge=0.5, le=1)] | None = Field(
        default=None, description="images numbered one after the other that correlate by more are one group"
    )
    expect: dict[str, Count] = Field(default={}, description="split -> pairs that must be there, before any limit")
    allow_duplicates: tuple[str, ...] = Field(default=(), description="ids that another split may hold too; * for all")
    limit: dict[str, Count] = Field(default={}, description="split -> at most so many pairs")
    unlabelled: str | tuple[str, ...] = Field(
        default=(),
        description="images without masks that pretrain the base and serve nothing else: a folder below path, several, "
        "or rest, the training images that limit or a slice leaves out",
    )
    seed: int = Field(default=0, ge=0, description="draws splits by share, folds and limits")
    fit: Literal["stretch", "letterbox"] = Field(
        default="stretch", description="letterbox keeps proportions; its black bars are cut off before segmentation"
    )
    mask_threshold: int = Field(default=127, ge=0, le=254, description="lesion is above it; 0 for masks of 0 and 1")
    classes: dict[ClassName, Values] = Field(
        default={}, description="name -> grey or colour in the masks, for several classes; without it one, the lesion"
    )
    as_background: tuple[Values, ...] = Field(
        default=(), description="greys or colours in the masks that are no lesion: borders, ignored regions"
    )
    inverted_masks: bool | None = Field(
        default=None,
        description="true: the lesion is black; false: it is white, though it covers most borders or is a ring",
    )
    native_tests: bool = Field(
        default=False, description="test sets are kept at their own sizes too, and segmenters are tested on these"
    )
    antialias: bool = Field(default=False, description="true for strong reductions; false as in the official code")
    domain: str = ""

    @model_validator(mode="after")
    def _splits_are_usable(self) -> "FolderDataset":
        if bool(self.splits) == bool(self.folds):
            raise ValueError("needs either splits or folds")
        names = self.split_names()
        if self.splits and ("train" not in names or not set(names) - {"train", "val"}):
            raise ValueError(f"splits must name train and at least one test set, got {sorted(names)}")
        for name, what in {"native": "native_tests", "pools": "images without a lesion"}.items():
            if name in names:
                raise ValueError(f"splits: {name} is the name of the folder of {what}, take another")
        texts = {name: value for name, value in self.splits.items() if isinstance(value, str)}
        said = [f"{name}: {value!r}" for name, value in texts.items() if SHARE_AS_TEXT.fullmatch(value)]
        if said:
            what = "a share is a number between 0 and 1 without quotes, such as 0.8"
            raise ValueError(f"splits: {what}; got {', '.join(said)}")
        shares = [share for share in self.splits.values() if isinstance(share, float)]
        if shares and len(shares) < len(self.splits):
            raise ValueError("splits must be all sub-folders or all shares, not some of each")
        if sum(shares) > 1 + 1e-9:
            raise ValueError(f"splits: the shares add up to {sum(shares):g}, at most 1 is allowed")
        for key in ("limit", "expect"):
            unknown = sorted(set(getattr(self, key)) - set(names))
            if unknown:
                raise ValueError(f"{key}: no such split {unknown}, splits are {sorted(names)}")
        return self

    @model_validator(mode="after")
    def _keys_fit_together(self) -> "FolderDataset":
        problems = which_problems(self.which(), self.layout)
        cut = "train" in self.limit or str(self.splits.get("train", "")).endswith("]")
        problems += unlabelled_problems(self.unlabelled_names(), cut=cut)
        if self.normal and self.normal.count:
            problems.append("normal: count is for drawn pairs: give path, a folder without lesions, or crops")
        if self.slices and self.sequence_likeness:
            problems.append("sequence_likeness is not for slices: those of one volume stay together anyhow")
        if problems:
            raise ValueError("; ".join(problems))
        try:
            re.compile(self.group or "")
        except re.error as error:
            raise ValueError(f"group is no regular expression: {error}") from error
        if self.group and self.sequence_likeness:
            raise ValueError("group and sequence_likeness both say what belongs together: give one")
        if problems := list(value_problems(self.classes, self.as_background, inverted=bool(self.inverted_masks))):
            raise ValueError("; ".join(problems))
        return self

    def unlabelled_names(self) -> tuple[str, ...]:
        """Return the folders of images without masks, relative to path; REST stands for training images left out."""
        return (self.unlabelled,) if isinstance(self.unlabelled, str) else self.unlabelled

    def which(self) -> Which:
        """Return what the row says of which files are meant."""
        return Which(self.images or "", self.masks or "", self.pairs or "", self.slices)

    def split_names(self) -> tuple[str, ...]:
        """Return the names of the splits, train first."""
        return tuple(self.splits) or (("train", "test") if self.folds and self.folds.val is None else FOLD_SPLITS)


Dataset = Annotated[PhantomDataset | FolderDataset, Field(discriminator="kind")]
