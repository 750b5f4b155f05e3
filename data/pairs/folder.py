"""Finding the pairs in a folder that somebody else made."""

import re
from dataclasses import dataclass
from pathlib import Path

from data.pairs.errors import UserError
from data.pairs.image_io import IMAGE_SUFFIXES

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "original")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "gt", "ground truth", "groundtruth", "annotations")
MASK_SUFFIX = re.compile(r"[_-](mask|segmentation|lesion|label|anno|annotation|gt|seg)$", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """The two files of one pair as the user keeps them."""

    id: str
    image: Path
    mask: Path


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def _child(folder: Path, names: tuple[str, ...]) -> Path | None:
    children = {child.name.lower(): child for child in sorted(folder.iterdir()) if child.is_dir()}
    return next((children[name] for name in names if name in children), None)


def _by_stem(paths: list[Path], *, strip_suffix: bool, problems: list[str]) -> dict[str, Path]:
    """Return stem -> file; a stem that two files share is a problem, because nobody can say which one is meant."""
    found: dict[str, Path] = {}
    for path in paths:
        stem = MASK_SUFFIX.sub("", path.stem) if strip_suffix else path.stem
        if stem in found:
            problems.append(f"{path}: shares its stem '{stem}' with {found[stem].name}; keep one of them")
        else:
            found[stem] = path
    return found


def find_pairs(folder: Path, problems: list[str]) -> list[Source]:
    """Return the pairs of one folder, sorted by id; what has no partner is appended to `problems`.

    The folder holds an image folder and a mask folder (images/ and masks/, or other usual names), or images and masks
    side by side, told apart by a suffix such as _mask, _segmentation or _lesion. Pairs share their stem.

    Raises: UserError when the folder is missing or holds nothing that looks like pairs.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: set `path` and `splits` of the data-set row to where the pairs are")
    image_folder, mask_folder = _child(folder, IMAGE_FOLDERS), _child(folder, MASK_FOLDERS)
    if image_folder and mask_folder:
        image_files, mask_files = _pictures(image_folder), _pictures(mask_folder)
    else:
        files = _pictures(folder)
        mask_files = [path for path in files if MASK_SUFFIX.search(path.stem)]
        image_files = [path for path in files if not MASK_SUFFIX.search(path.stem)]
    if not image_files or not mask_files:
        found = sorted(child.name for child in folder.iterdir())[:8]
        raise UserError(
            f"{folder} holds {len(image_files)} images and {len(mask_files)} masks; it contains {found}",
            [
                f"expected a folder named {' / '.join(IMAGE_FOLDERS)} and one named {' / '.join(MASK_FOLDERS)},",
                "or images and masks side by side, the masks with a suffix such as _mask, _segmentation, _lesion",
            ],
        )
    images = _by_stem(image_files, strip_suffix=False, problems=problems)
    masks = _by_stem(mask_files, strip_suffix=True, problems=problems)
    problems += [f"{images[stem]}: has no mask" for stem in sorted(set(images) - set(masks))]
    problems += [f"{masks[stem]}: has no image" for stem in sorted(set(masks) - set(images))]
    return [Source(stem, images[stem], masks[stem]) for stem in sorted(set(images) & set(masks))]
