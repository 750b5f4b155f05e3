"""Pairs as the row says which is which: by patterns of paths, or by a table."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from data.layouts.folders import by_split, split_name
from data.layouts.leftovers import entries, survey
from data.layouts.table import read_table
from data.pairs.errors import UserError
from data.readers.config import PLACEHOLDERS, Which
from data.readers.known_forms import is_volume, way_in
from data.readers.sources import Found, Source, is_picture
from data.readers.volumes import sources_of_volumes

TOKEN = re.compile(r"\{(\w+)\}|\*\*/?|\*|\?|[^{*?]+|.")


class Key(NamedTuple):
    """What a pattern reads out of a path; only what both patterns name must be the same for image and mask."""

    id: str
    group: str = ""
    split: str = ""


def pattern_of(text: str) -> re.Pattern[str]:
    """Return the expression for a pattern: {id}, {group}, {split} and * stand for part of a name, ** for folders."""
    expression, seen = "", set()
    for token in TOKEN.finditer(unicodedata.normalize("NFC", text.replace("\\", "/").removeprefix("./"))):
        name = token[1]
        if name:
            expression += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
            seen.add(name)
        else:
            wild = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
            expression += wild.get(token[0], re.escape(token[0]))
    return re.compile(expression, re.IGNORECASE)


def _keyed(text: str, paths: dict[str, Path]) -> dict[str, Key]:
    """Return relative path -> key of the files that fit a pattern."""
    pattern = pattern_of(text)
    return {name: Key(**fit.groupdict()) for name in paths if (fit := pattern.fullmatch(name))}


def _shared(key: Key, names: set[str]) -> tuple[str, ...]:
    return tuple(part for name, part in zip(PLACEHOLDERS, key, strict=True) if name in names)


def _by_patterns(folder: Path, images: str, masks: str, unmatched: list[str]) -> list[Source]:
    files: dict[str, Path] = {}
    for entry in entries(folder):
        if entry.kind in ("file", "link to nothing"):
            name = unicodedata.normalize("NFC", entry.path.relative_to(folder).as_posix())
            if files.setdefault(name, entry.path) != entry.path:
                unmatched.append(f"{entry.path}: another file has this name with accents in another form: rename one")
    names = {name for name in PLACEHOLDERS if all(f"{{{name}}}" in text for text in (images, masks))}
    ours, theirs = (_keyed(text, files) for text in (images, masks))
    # a file that fits both belongs to the pattern that says more: 7_mask.png to {id}_mask.png and not to {id}.png
    letters, mask_letters = (len(re.sub(r"\{\w+\}|[*?]", "", text)) for text in (images, masks))
    for name in sorted(ours.keys() & theirs.keys()):
        if letters == mask_letters:
            unmatched.append(f"{files[name]}: fits both {images!r} and {masks!r}")
        if letters <= mask_letters:
            del ours[name]
        if letters >= mask_letters:
            del theirs[name]
    for option, text, found in (("images", images, ours), ("masks", masks, theirs)):
        if not found:
            raise UserError(f"{folder}: {option}: no file fits {text!r}", survey(folder))
    masks_of: dict[tuple[str, ...], list[Path]] = {}
    for name, key in sorted(theirs.items()):
        masks_of.setdefault(_shared(key, names), []).append(files[name])
    sources: dict[tuple[str, ...], Source] = {}
    for name, key in sorted(ours.items()):
        path, own = files[name], _shared(key, names)
        if own in sources:
            unmatched.append(f"{path}: shares its stem {key.id!r} with {sources[own].image.name}; keep one of them")
        elif own not in masks_of:
            unmatched.append(f"{path}: has no mask that fits {masks!r}")
        else:
            pair_id = f"{key.group}-{key.id}" if key.group and key.group != key.id else key.id
            sources[own] = Source(pair_id, path, tuple(masks_of[own]), split_name(key.split), group=key.group)
    lone = [path for own, paths in masks_of.items() if own not in sources for path in paths]
    unmatched += [f"{path}: has no image that fits {images!r}" for path in lone]
    return list(sources.values())


def _readable(sources: Iterable[Source], unmatched: list[str], *, volumes: bool) -> list[Source]:
    """Return the pairs whose files are pictures, or with `volumes` volumes too; the others are named."""
    good = []
    for source in sources:
        bad = []
        for path in (source.image, *source.masks):
            if not path.is_file():
                bad.append(f"{path}: is a link to nothing: mend or remove it")
            elif not is_picture(path) and not (volumes and is_volume(path)):
                bad.append(f"{path}: is not read: {way_in(path)}")
        unmatched += bad
        good += [] if bad else [source]
    return good


def chosen_pairs(folder: Path, which: Which) -> Found:
    """Return the pairs that the row's `images` and `masks`, or its table, say; with `slices` a pair a slice.

    Raises: UserError when nothing fits a pattern, the table is not there, or no pair can be used.
    """
    found = Found("pairs" if which.pairs else "patterns", listed=True)
    if which.pairs:
        sources = read_table(folder / which.pairs, found.unmatched)
        found.left_out.append(folder / which.pairs)
    else:
        sources = _by_patterns(folder, which.images, which.masks, found.unmatched)
    found.sources = _readable(sources, found.unmatched, volumes=which.slices is not None)
    if which.slices:
        of_labels = any(is_volume(path) for source in found.sources for path in source.masks)
        found.mask_threshold = 0 if of_labels else found.mask_threshold
        found.sources = sources_of_volumes(found.sources, which.slices, found.unmatched)
    found.sources = by_split(found.sources)
    if not found.sources:
        said = which.pairs or f"{which.images} and {which.masks}"
        raise UserError(f"{folder}: no pair can be used of {said}", found.unmatched)
    return found
