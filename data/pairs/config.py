"""Data sets and masks as rows of params.yaml."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator


class Config(BaseModel):
    """A section of params.yaml: unknown keys and wrong types are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
# A split is a folder of the prepared data set, so its name must not lead out of it.
SplitName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


def _whole_path(path: str) -> str:
    """Return a path that DVC can watch as it is written. Raises: ValueError for one that it cannot."""
    if not path.strip():
        raise ValueError("is empty: write where the pairs are")
    if path.startswith("~"):
        raise ValueError(f"{path}: DVC does not know ~, write the whole path, such as {os.path.expanduser(path)}")
    if re.search(r"\$\w|\$\{", path):
        raise ValueError(f"{path}: variables are not filled in, write the whole path")
    if set(Path(path).parts) <= {".", ".."}:
        raise ValueError(f"{path} holds what the stages write: give the folder of the pairs alone")
    return path


WholePath = Annotated[str, AfterValidator(_whole_path)]


class DatasetRow(Config):
    """What every data set says of itself."""

    path: WholePath = Field(description="what it is read from or drawn by; DVC watches it for changes")
    size_px: int = Field(ge=32, multiple_of=32, description="side of the square that pairs are stretched to")
    prompt: str = Field(description="text for the generator; empty makes guidance do nothing")
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
        taken = sorted({"train", "val", "native"} & set(self.tests))
        if taken:
            raise ValueError(f"tests: {', '.join(taken)} cannot name a test set, take another")
        return self


Count = Annotated[int, Field(ge=1)]
Value = Annotated[int, Field(ge=0, le=255)]
Values = Value | tuple[Value, Value, Value]
ClassName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_ -]*$")]
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
PLACEHOLDERS = ("id", "group", "split")


class Window(Config):
    """Which values of a volume become black and white, as radiologists say it."""

    centre: float
    width: float = Field(gt=0)


class Slices(Config):
    """How the slices of volumes become pictures."""

    window: tuple[float, float] | Window = Field(
        description="[low, high], or centre and width: what is black and white"
    )
    axis: Literal[0, 1, 2] = Field(
        default=2,
        description="of the patient, not of the file: 0 sagittal, 1 coronal, 2 axial; not used for DICOM files",
    )
    keep: Annotated[str, StringConstraints(pattern=r"^(lesion|all|every [1-9][0-9]*)$")] = Field(
        default="lesion", description="slices with a lesion, all, or every n-th of all; of DICOM files each is a pair"
    )

    @model_validator(mode="after")
    def _window_is_open(self) -> "Slices":
        low, high = self.limits()
        if low >= high:
            raise ValueError(f"window must be [low, high] with low < high, got [{low:g}, {high:g}]")
        return self

    def limits(self) -> tuple[float, float]:
        """Return the values that become black and white."""
        if isinstance(self.window, Window):
            return self.window.centre - self.window.width / 2, self.window.centre + self.window.width / 2
        return self.window


class Which(NamedTuple):
    """What a row says of which files are images and which masks."""

    images: str = ""
    masks: str = ""
    pairs: str = ""
    slices: Slices | None = None


def which_problems(which: Which, layout: str | None) -> list[str]:
    """Return what is wrong with what a row, or the options of the doctor, say of which files are meant."""
    problems = []
    if bool(which.images) != bool(which.masks):
        problems.append("images and masks are given together: a pattern for each")
    if which.images and which.pairs:
        problems.append("images and masks, or pairs, say which files are meant: give one of the two")
    if layout and (which.images or which.masks or which.pairs):
        problems.append("layout is for folders that are recognised: leave it out beside images, masks or pairs")
    if which.slices and not (which.images or which.pairs):
        problems.append("slices needs images and masks, or pairs, that say which volumes belong together")
    for key, text in (("images", which.images), ("masks", which.masks)):
        names = re.findall(r"\{(.*?)\}", text)
        if text and ("id" not in names or set(names) - set(PLACEHOLDERS) or text.count("{") != len(names)):
            problems.append(
                f"{key}: {text!r} must hold {{id}}, the part of the path that image and mask share; {{group}} and "
                "{split} are known too, * stands for the rest of a name, ** for folders"
            )
        if text.startswith(("/", "~")) or ".." in text.split("/"):
            problems.append(f"{key}: {text!r} must lie below path, such as {key}/{{id}}.png: give a path above both")
    if which.images and which.images == which.masks:
        problems.append("images and masks are the same pattern")
    return problems


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
        if "native" in names:
            raise ValueError("splits: native is the name of the folder of native_tests, take another")
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
    def _files_are_clear(self) -> "FolderDataset":
        problems = which_problems(self.which(), self.layout)
        if self.slices and self.sequence_likeness:
            problems.append("sequence_likeness is not for slices: those of one volume stay together anyhow")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _groups_and_classes_are_clear(self) -> "FolderDataset":
        try:
            re.compile(self.group or "")
        except re.error as error:
            raise ValueError(f"group is no regular expression: {error}") from error
        if self.group and self.sequence_likeness:
            raise ValueError("group and sequence_likeness both say what belongs together: give one")
        values = [(value,) * 3 if isinstance(value, int) else value for value in self.classes.values()]
        others = {(value,) * 3 if isinstance(value, int) else value for value in self.as_background}
        if len(set(values)) < len(values) or (0, 0, 0) in values:
            raise ValueError(f"classes: each needs a value of its own, and 0 is the background; got {self.classes}")
        if both := sorted(others & set(values)):
            raise ValueError(f"as_background: {both} are values of classes too")
        if self.classes and self.inverted_masks:
            raise ValueError("inverted_masks: classes say by their values what is lesion; leave it out")
        return self

    def which(self) -> Which:
        """Return what the row says of which files are meant."""
        return Which(self.images or "", self.masks or "", self.pairs or "", self.slices)

    def split_names(self) -> tuple[str, ...]:
        """Return the names of the splits, train first."""
        return tuple(self.splits) or (("train", "test") if self.folds and self.folds.val is None else FOLD_SPLITS)


Dataset = Annotated[PhantomDataset | FolderDataset, Field(discriminator="kind")]
