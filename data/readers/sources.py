"""Pairs as their owner keeps them: which files belong together, and what their place in a folder says."""

import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from data.mask_files.read import Reading
from data.pairs.image_io import IMAGE_SUFFIXES, MASK_THRESHOLD


class Reader(Protocol):
    """What reads a pair that is no picture with a mask of its own: a slice of a volume, an outline in a list."""

    def image_alone(self) -> np.ndarray:
        """Return the image, uint8 (H, W, 3); its mask is not looked at."""

    def read(self, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
        """Return image and mask as `read_source` does."""


@runtime_checkable
class Numbered(Protocol):
    """A reader whose masks are class numbers that nothing beside them explains."""

    def numbers(self) -> np.ndarray:
        """Return the mask's values as they are stored, whole numbers (H, W)."""


@dataclass(frozen=True)
class Source:
    """One pair as the user keeps it: files, and what their place in the layout says."""

    id: str
    image: Path
    masks: tuple[Path, ...]  # several are merged by OR
    split: str = ""  # as the layout has it: train, val, test or the name of a test set; empty when it has none
    domain: str = ""
    group: str = ""  # what must stay together: a patient, a video, a sequence
    prompt: str = ""
    name: str = ""  # the id before it was made unique; empty when it still is the id
    channels: tuple[Path, ...] = ()  # further files of the image, each of one channel: green and blue
    reader: Reader | None = None  # in place of reading the files as pictures
    known: tuple[int, ...] = ()  # labels of masks that a list of the layout names; empty where there is none
    ignored: tuple[int, ...] = ()  # those of them that stand for pixels that nobody labelled

    @property
    def own_name(self) -> str:
        """The id that the file itself gives."""
        return self.name or self.id

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The picture files of image and masks; none where a reader reads the pair."""
        return () if self.reader else (self.image, *self.masks)


@dataclass
class Found:
    """What a layout recognised in a folder."""

    layout: str
    sources: list[Source] = field(default_factory=list)  # sorted by split, then id
    unmatched: list[str] = field(default_factory=list)  # a line each file without a partner, or with an unclear one
    mask_threshold: int = MASK_THRESHOLD  # 0 where the layout has labels 0, 1, 2, ...
    classes: Mapping[str, int] = field(default_factory=dict)  # name -> label, where the layout says of several
    ignored: tuple[int, ...] = ()  # labels of pixels that nobody labelled
    notes: list[str] = field(default_factory=list)  # what was left out on purpose
    left_out: list[Path] = field(default_factory=list)  # what the notes speak of, or what is known not to matter
    listed: bool = False  # whether a list or the row says which files are meant, so that others may lie beside them
    unused: list[tuple[str, str]] = field(default_factory=list)  # (fault, line) of files not read, that stop nothing


def outside_notes(sources: Iterable[Source], folder: Path) -> list[str]:
    """Return a note on the images that a list or a link takes from elsewhere, if there are some."""
    inside = folder.resolve()
    outside = sum(not source.image.resolve().is_relative_to(inside) for source in sources)
    what = f"{outside} images lie outside {folder}: DVC does not see when they change, so copy them into it"
    return [what] if outside else []


def is_picture(path: Path) -> bool:
    """Return whether a name has the ending of a picture."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def pictures(folder: Path) -> list[Path]:
    """Return the picture files of a folder, sorted, without hidden ones; none where there is no such folder."""
    files = (path for path in (folder.iterdir() if folder.is_dir() else ()) if path.is_file())
    return sorted(path for path in files if is_picture(path) and not path.name.startswith("."))


def file_named(folder: Path, name: str) -> Path:
    """Return the file that a list in a folder names; backslashes are taken for slashes where only that is a file."""
    plain, with_slashes = (Path(os.path.normpath(folder / text)) for text in (name, name.replace("\\", "/")))
    return with_slashes if not plain.is_file() and with_slashes.is_file() else plain


def plain_stem(path: Path) -> str:
    """Return the name without the ending, with accents as one sign: macOS writes them as two."""
    return unicodedata.normalize("NFC", path.stem)


def read_lines(path: Path, key: str, problems: list[str]) -> list[str]:
    """Return the lines of a text file that a row or a layout names by `key`, without empty ones."""
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except OSError:
        problems.append(f"{path}: no such file, though `{key}` names it")
    except UnicodeDecodeError:
        problems.append(f"{path}: is not written in UTF-8: save it anew")
    return []
