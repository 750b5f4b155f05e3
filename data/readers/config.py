"""What a data-set row says of which files are meant, and how slices of volumes become pictures."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, StringConstraints, model_validator

from data.pairs.config import Config

PLACEHOLDERS = ("id", "group", "split")
REST = "rest"  # in place of a folder of images without masks: training images that `limit` or a slice leaves out


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


def unlabelled_problems(names: Sequence[str], *, cut: bool) -> list[str]:
    """Return what is wrong with what a row says of images without masks; `cut`: something is left out of train."""
    problems = []
    for name in (name for name in names if name != REST):
        if not Path(name).parts or name.startswith(("/", "~")) or ".." in Path(name).parts:
            what_to_do = "give a path above both the pairs and these images, and here a folder in it"
            problems.append(f"unlabelled: {name!r} must lie below path, which DVC watches: {what_to_do}")
    if REST in names and not cut:
        problems.append(
            "unlabelled: rest is what limit or a slice leaves out of train: set limit: {train: 100}, or name the "
            "folder of images without masks (./rest if that is its name)"
        )
    return problems
