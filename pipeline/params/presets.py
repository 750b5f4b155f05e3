"""Presets: files of presets/, which may take sections from other ones."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.pairs.errors import UserError
from pipeline.params.blocks import BLOCKS
from pipeline.params.yaml_text import load_yaml, read_yaml_text

FOLDER = Path("presets")
SECTION = re.compile(r"^([a-z_]+):", re.MULTILINE)
ROW = re.compile(r"^  ([\w-]+):.*\n(?:    .*\n)*", re.MULTILINE)
SEEDS = re.compile(r"seeds: \[\d[^\]]*\]")


def preset_names() -> list[str]:
    """Return the names of the files in presets/ that can be run, sorted; parts of others start with an underscore."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.stem.startswith("_"))


def sections(text: str) -> dict[str, str]:
    """Return the text of every section of a file by its name, with the comments inside it."""
    starts = [*SECTION.finditer(text)]
    ends = [*(match.start() for match in starts[1:]), len(text)] if starts else []
    return {match[1]: text[match.start() : end].rstrip("\n") + "\n" for match, end in zip(starts, ends, strict=True)}


def composed(path: Path) -> str:
    """Return the text of a preset: the sections of the files that it extends, in order, then its own in their place.

    Sections are taken whole: a file that gives `generators` replaces all rows of an earlier one. `seeds` in such a file
    takes the place of the seeds in every block. Rows of data sets that no block names are left out, with the downloads
    that only they read, because every row is prepared.

    Raises: UserError when a file is not there or extends itself.
    """
    return _composed(path, (), {})


def _composed(path: Path, above: tuple[Path, ...], read: dict[Path, str]) -> str:
    if not path.is_file():
        known = ", ".join(preset_names())
        raise UserError(f"{path}: no such preset", [f"there are {known}"] if known else [])
    if path in above:
        raise UserError(f"{path} extends itself by way of {', '.join(str(one) for one in above)}")
    if path in read:
        return read[path]
    text = read_yaml_text(path)
    own = sections(text)
    if "extends" not in own:
        return text
    found: dict[str, str] = {}
    for name in _extended(own.pop("extends"), path):
        found |= sections(_composed(path.parent / name, (*above, path), read))
    seeds = own.pop("seeds", "").strip()
    found |= own
    if seeds:
        found |= {name: SEEDS.sub(lambda _: seeds, text) for name, text in found.items() if name in BLOCKS}
    head = text[: SECTION.search(text).start()].rstrip("\n")  # type: ignore[union-attr]  # extends is one
    read[path] = "\n".join([f"{head}\n", *(found if above else _needed(found, path)).values()])
    return read[path]


def _extended(section: str, path: Path) -> list[str]:
    """Return the names of the files that a section `extends` gives: one, or a list."""
    value = _mapping(load_yaml(section, path)).get("extends")
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name and "\0" not in name for name in names):
        raise UserError(f"{path}: extends must be a list of files beside it, such as [_toy.yaml], got {value!r:.100}")
    return names


def _mapping(value: Any) -> Mapping:
    return value if isinstance(value, Mapping) else {}


def _needed(found: dict[str, str], path: Path) -> dict[str, str]:
    """Return the sections without rows of data sets that no block names, nor downloads that no row left reads."""
    values = _mapping(load_yaml("".join(found.values()), path))
    lists = [_mapping(values.get(block)).get("datasets") for block in BLOCKS]
    used = {name for names in lists if isinstance(names, list) for name in names if isinstance(name, str)}
    rows = {name: row for name, row in _mapping(values.get("datasets")).items() if name in used}
    folders = [Path(str(_mapping(row).get("path"))).parts for row in rows.values()]
    read = {parts[2] for parts in folders if parts[:2] == ("data", "raw") and len(parts) > 2}
    kept = {"datasets": set(rows), "downloads": read}
    return {name: _rows(name, text, kept[name]) if name in kept else text for name, text in found.items()}


def _rows(section: str, text: str, names: set[str]) -> str:
    """Return the text of a section without the rows of other names."""
    return ROW.sub(lambda row: row[0] if row[1] in names else "", text) if names else f"{section}: {{}}\n"
