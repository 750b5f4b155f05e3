"""Which files the images without masks of a data-set row are."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data.layouts.folders import IMAGE_FOLDERS
from data.layouts.layouts import find
from data.layouts.leftovers import DOCUMENTS, entries, why_not_read
from data.pairs.errors import UserError
from data.prepare.config import FolderDataset
from data.prepare.grouping import by_pattern, by_table
from data.readers.config import REST
from data.readers.known_forms import ending_of, form_of, is_volume
from data.readers.sources import Source, is_picture, plain_stem
from data.readers.volumes import sources_of_volumes


def _folders(row: FolderDataset) -> list[str]:
    return [name for name in row.unlabelled_names() if name != REST]


def _stem(path: Path) -> str:
    """Return the name without its ending, of which .nii.gz is one."""
    return path.name.removesuffix(path.name[-len(ending_of(path)) :]) if is_volume(path) else plain_stem(path)


def _own_id(path: Path, folder: Path) -> str:
    parts = [part for part in path.parent.relative_to(folder).parts if part.lower() not in IMAGE_FOLDERS]
    return re.sub(r"[^\w.()-]+", "-", "-".join([*parts, _stem(path)]))


def _linked(folder: Path, root: Path) -> bool:
    """Return whether the folder, or one between it and the root, is a link."""
    return any(place.is_symlink() for place in (folder, *folder.parents) if place != root and root in place.parents)


def _not_watched(link: Path) -> str:
    what_to_do = f"copy it, or link its files (cp -rs {link.resolve()} ...)"
    return f"{link}: is a link to a folder, in which DVC sees no change: {what_to_do}"


def images_of(row: FolderDataset, key: str, name: str, problems: list[str], unused: list[str]) -> list[Source]:
    """Return the images below a folder of the row's path; whatever else is there is named in one of the two lists.

    `key` is the one of the row that names the folder.
    """
    root = Path(row.path)
    folder = root / name
    if not folder.is_dir():
        problems.append(f"{key}: {folder} is not a folder: name one in path that holds images without masks")
        return []
    if _linked(folder, root):
        problems.append(_not_watched(folder))
        return []
    try:
        pair = find(folder).sources[0]
    except UserError:  # as it should be: no pairs
        pass
    else:
        masks = f" and its mask {pair.masks[0].name}" if pair.masks else ""
        what_to_do = "name folders of images alone, such as the one of these images"
        problems.append(f"{key}: {folder} holds pairs, such as {pair.image}{masks}: {what_to_do}")
        return []
    sources = []
    for entry in entries(folder):
        path = entry.path
        plain_picture = is_picture(path) and not path.name.startswith(".")
        if entry.kind == "link to a folder":
            problems.append(_not_watched(path))
        elif entry.kind == "file" and (plain_picture or (row.slices and is_volume(path))):
            sources.append(Source(_own_id(path, folder), path, (), name=_stem(path)))
        elif entry.kind == "file" and path.suffix.lower() in DOCUMENTS and not form_of(path):
            unused.append(f"{path}: {why_not_read(entry)}")
        elif entry.kind != "folder":  # a folder that is named like a picture
            problems.append(f"{path}: {why_not_read(entry)}")
    if not sources:
        problems.append(f"{key}: {folder} holds no image that can be read")
    volumes = [source for source in sources if is_volume(source.image)]
    if row.slices and volumes:
        keep = "all" if row.slices.keep == "lesion" else row.slices.keep  # nobody says which slices hold one
        pictures = [source for source in sources if not is_volume(source.image)]
        sources = pictures + sources_of_volumes(volumes, row.slices.model_copy(update={"keep": keep}), problems)
    return _grouped(sources, row)


def _grouped(sources: list[Source], row: FolderDataset) -> list[Source]:
    """Return the images with the groups of those for which the row says one."""
    if not row.group:
        return sources
    root = Path(row.path)
    table = row.group.endswith(".csv")
    said = by_table(sources, root, root / row.group, []) if table else by_pattern(sources, row.group, [])
    return [replace(source, group=named.group or source.group) for source, named in zip(sources, said, strict=True)]


def unlabelled_sources(
    row: FolderDataset, rest: Sequence[Source], problems: list[str], unused: list[str]
) -> list[Source]:
    """Return the images that the row names, each once; `rest` is what limits and slices leave of the training pairs."""
    sources = list(rest)
    if REST in row.unlabelled_names() and not rest:
        problems.append("unlabelled: rest is empty, for limit leaves out no training image: lower it, or remove rest")
    for name in _folders(row):
        sources += images_of(row, "unlabelled", name, problems, unused)
    return list({(source.image, source.reader): source for source in reversed(sources)}.values())[::-1]


def outside(row: FolderDataset, lines: Sequence[str]) -> list[str]:
    """Return the lines that do not begin with a file of the row's folders of images without masks."""
    normal = [row.normal.path] if row.normal and row.normal.path else []
    folders = tuple(f"{Path(row.path) / name}/" for name in (*_folders(row), *normal))
    return [line for line in lines if not line.startswith(folders)]
