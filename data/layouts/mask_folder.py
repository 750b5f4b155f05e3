"""A folder of masks without images: which of its files are masks, under which ids, and what else lies there."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.layouts.leftovers import DOCUMENTS, entries, why_not_read
from data.mask_files.read import Reading
from data.pairs.manifest import id_problem
from data.readers.known_forms import form_of
from data.readers.reading import memory_for, read_masks
from data.readers.sources import Source, is_picture, plain_stem


class MaskFiles(NamedTuple):
    """What lies in a folder of masks. A line begins with the name of its fault."""

    files: dict[str, Path]  # id -> picture, in the order of their paths
    problems: list[str]  # no folder, no mask, names that cannot be ids, links that lead nowhere
    unread: list[str]  # what is no picture and no text


def mask_files(folder: Path, *, deep: bool) -> MaskFiles:
    """Return the masks of a folder, or where it is `deep` of those below it too, whose names become part of the id."""
    files: dict[str, Path] = {}
    found = MaskFiles(files, [], [])
    if not folder.is_dir():
        found.problems.append(f"missing: {folder} is not a folder: name one that holds masks")
    for entry in entries(folder) if folder.is_dir() else ():
        path = entry.path
        if entry.kind == "link to a folder":
            if deep:
                found.problems.append(f"unread: {path}: is a link to a folder, in which DVC sees no change: copy it")
        elif entry.kind == "file" and is_picture(path) and not path.name.startswith("."):
            name = "-".join((*path.parent.relative_to(folder).parts, plain_stem(path)))
            if path.parent != folder and not deep:
                found.unread.append(f"unread: {path}: lies in a folder below: name that folder, or move it here")
            elif problem := id_problem(name):
                found.problems.append(f"bad_name: {path}: {problem}")
            elif name in files:
                found.problems.append(f"shared_stem: {path} and {files[name]} would have one id, {name}: rename one")
            else:
                files[name] = path
        elif entry.kind == "folder" or (path.suffix.lower() in DOCUMENTS and not form_of(path)):
            continue
        elif "nothing" in entry.kind:
            found.problems.append(f"dangling: {path}: {why_not_read(entry)}")
        else:
            found.unread.append(f"unread: {path}: {why_not_read(entry)}")
    if not (files or found.problems or found.unread):
        found.problems.append(f"missing: {folder} holds no mask")
    return found


def read_mask_file(path: Path, reading: Reading) -> np.ndarray:
    """Return the labels of a mask, uint8 (H, W) in {0..K}; large ones are read one after the other.

    Raises: BadImageError with the file's name for what cannot be read, or not as `reading` says.
    """
    source = Source("", path, (path,))
    with memory_for(source):
        return read_masks(source, reading)
