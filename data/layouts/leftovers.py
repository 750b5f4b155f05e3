"""What lies among the pairs and is not read: nothing there goes unnamed, neither in doctor nor in prepare."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from data.layouts.folders import BY_PRODUCT_FOLDERS, SIDES, folder_kind, leads_up
from data.readers.known_forms import form_of, picture_format, way_in
from data.readers.sources import Found, is_picture, outside_notes

# What systems and tools leave behind. `._x` is what macOS keeps of x on other systems.
BY_PRODUCTS = re.compile(
    r"\._.*|\.ds_store|thumbs\.db|ehthumbs(_vista)?\.db|desktop\.ini|\.(git)?keep|\.git(ignore|attributes)|\.nomedia"
    r"|\.directory|\.localized|icon\r|\.~lock\..*#|\.dvcignore|.*\.dvc",
    re.IGNORECASE,
)
TEXTS = re.compile(r"(readme|licen[cs]e|copying|citation|notice|authors|changelog|attribution)\b.*", re.IGNORECASE)
DOCUMENTS = {
    ".txt", ".md", ".rst", ".pdf", ".doc", ".docx", ".odt", ".rtf", ".xls", ".xlsx", ".ods", ".ppt", ".pptx", ".csv",
    ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".html", ".htm", ".log", ".tex",
    ".bib", ".py", ".m", ".r", ".ipynb", ".sh", ".bat", ".url", ".lst", ".names", ".cff", ".md5", ".sha1", ".sha256",
}  # fmt: skip
MOST_SHOWN = 12  # folders of a survey
MOST_NOTED, FEWEST_NOTED = 3, 5  # folders of images alone, images in one


class Entry(NamedTuple):
    """A file below a folder, or what stands in the place of one."""

    path: Path
    kind: str  # file, link to nothing, link to a folder above, folder, special file


def is_by_product(name: str) -> bool:
    """Return whether a file of this name is one that systems and tools leave behind, or a text on the whole."""
    is_text = TEXTS.fullmatch(name) and Path(name).suffix.lower() in DOCUMENTS | {""}
    return bool(BY_PRODUCTS.fullmatch(name) or is_text)


def entries(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Entry]:
    """Yield all that lies below a folder, sorted, but by-products; links to folders are followed, not in circles.

    A folder is yielded itself only where it is a link, or its name has the ending of a picture.
    """
    here = folder.resolve()
    if here in above:  # two links that lead to one another
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if path.name.lower() in BY_PRODUCT_FOLDERS:
                continue
            if leads_up(path):
                yield Entry(path, "link to a folder above")
                continue
            if path.is_symlink() or is_picture(path):
                yield Entry(path, "link to a folder" if path.is_symlink() else "folder")
            yield from entries(path, (*above, here))
        elif path.is_file():
            if not is_by_product(path.name):
                yield Entry(path, "file")
        else:
            yield Entry(path, "link to nothing" if path.is_symlink() else "special file")


def survey(folder: Path) -> list[str]:
    """Return one line a folder below this one: how many files of which endings it holds."""
    counts: dict[Path, Counter[str]] = {}
    for entry in entries(folder):
        what = (form_of(entry.path) or entry.path.suffix or "no ending") if entry.kind == "file" else entry.kind
        counts.setdefault(entry.path.parent, Counter())[what] += 1
    lines = []
    for place, endings in counts.items():
        name = "." if place == folder else f"{place.relative_to(folder).as_posix()}/"
        lines.append(f"{name}: {', '.join(f'{n} {end}' for end, n in endings.most_common())}")
    more = [f"and {len(lines) - MOST_SHOWN} folders more"] if len(lines) > MOST_SHOWN else []
    return lines[:MOST_SHOWN] + more


def other_forms(folder: Path) -> list[str]:
    """Return what the files below a folder are that are neither pictures nor plain texts, each with the way in once."""
    return sorted({way_in(entry.path) for entry in entries(folder) if entry.kind == "file" and form_of(entry.path)})


def images_alone(folder: Path) -> list[str]:
    """Return what pictures without masks can serve for, where there are some below a folder."""
    shown = (entry.path for entry in (entries(folder) if folder.is_dir() else ()) if entry.kind == "file")
    count = sum(is_picture(path) and not path.name.startswith(".") for path in shown)
    what = "images without masks can pretrain the base of a data set that has pairs"
    how = f"put the folder into its `path` and name it in its row, such as unlabelled: {folder.name or 'frames'}"
    return [f"if none of the {count} pictures is a mask: {what}: {how}"] if count else []


def lone_folders(folder: Path, found: Found) -> list[str]:
    """Return a note on each of the largest folders below this one that hold pictures and no file of a pair."""
    end = ": belongs to no pair"
    lone = [Path(line.removesuffix(end)) for _, line in found.unused if line.endswith(end)]
    of_pairs = {place for s in found.sources for path in (s.image, *s.masks) for place in path.parents}
    counts: Counter[Path] = Counter()
    for path in lone:
        outer = [place for place in path.parents if place not in of_pairs and folder in place.parents]
        counts.update(outer[-1:])
    names = [(place.relative_to(folder).as_posix(), count) for place, count in counts.most_common(MOST_NOTED)]
    what_to_do = "if they are images without masks, the base is pretrained on them by"
    return [
        f"{name}/ holds {count} pictures and no pair: {what_to_do} unlabelled: {name}"
        for name, count in names
        if count >= FEWEST_NOTED
    ]


def why_not_read(entry: Entry) -> str:
    """Return why a file that is no picture by its name is not read, and what to do."""
    if entry.kind == "link to nothing":
        return f"is a link to {os.readlink(entry.path)}, which is not there: mend or remove the link"
    if entry.kind != "file":
        return f"is a {entry.kind} and not read: remove it"
    return f"is not read: {way_in(entry.path)}"


def _faults(folder: Path, found: Found) -> Iterator[tuple[str, str]]:
    """Yield (fault, line) for every file below the folder that is in no pair and that no line of `found` names."""
    used = {path for s in found.sources for path in (s.image, *s.masks, *s.channels)}
    among = {path.parent for path in used}
    # every beginning of a line that may be the path it speaks of
    named = {line[: colon.start()] for line in found.unmatched for colon in re.finditer(": ", line)}
    left_out = set(found.left_out)
    for entry in entries(folder):
        path, ending = entry.path, entry.path.suffix.lower()
        if path in used or str(path) in named or (left_out and left_out & {path, *path.parents}):
            continue
        shown_picture = is_picture(path) and not path.name.startswith(".")
        kind = folder_kind(path.parent.name)
        of_pairs = kind is not None and set(kind[1]) <= {*SIDES, *SIDES.values()}
        here = path.parent in among or of_pairs
        if entry.kind == "file" and shown_picture:
            stands_for_a_pair = path.parent in among and not found.listed
            yield ("unread" if stands_for_a_pair else "unused"), f"{path}: belongs to no pair"
        elif entry.kind == "file" and ending in DOCUMENTS:
            form = form_of(path)
            if form or here:
                yield ("other_form" if form else "document"), f"{path}: {why_not_read(entry)}"
        elif entry.kind in ("folder", "link to a folder") and (
            not (shown_picture or of_pairs) or any(place.is_relative_to(path) for place in among)
        ):
            continue
        elif here:
            code = "dangling" if entry.kind == "link to nothing" else "unread"
            yield ("unused" if found.listed else code), f"{path}: {why_not_read(entry)}"
        elif entry.kind != "file" or is_picture(path) or form_of(path) or picture_format(path):
            yield "unused", f"{path}: {why_not_read(entry)}"


def with_leftovers(folder: Path, found: Found) -> Found:
    """Return what was found with every other file named: in `unmatched` where it stands in a pair's place."""
    found.notes += outside_notes(found.sources, folder)
    for code, line in list(_faults(folder, found)) if folder.is_dir() else ():
        if code in ("unread", "dangling"):
            found.unmatched.append(line)
        else:
            found.unused.append((code, line))
    return found
