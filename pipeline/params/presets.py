"""Presets: files of presets/, which may take sections from other ones, and toy twins of those of the paper."""

import re
from pathlib import Path

from data.pairs.errors import UserError
from pipeline.params.blocks import BLOCKS
from pipeline.params.yaml_text import load_yaml, mapping, read_yaml_text

FOLDER = Path("presets")
PAPER, TOY = "paper-", "toy-"
TOY_HEAD = """\
# The twin of {paper}: the same graph on drawn data with toy numbers and one seed, for two cores.
# python -m pipeline preset {toy} && dvc repro
"""
# table of evaluation/paper/paper.yaml -> its presets
TABLES = {
    "table1": ("table1",),
    "table2": ("table2",),
    "table3": ("table3",),
    "table4": ("table4", "table4-emitted"),  # methods that make their own masks take no moved ones beside them
    "table5": ("table5",),
    "table6": ("table6-polyps", "table6-isic"),
    "figure7": ("figure7",),
}
SECTION = re.compile(r"^([a-z_]+):", re.MULTILINE)
ROW = re.compile(r"^  ([\w-]+):.*\n(?:    .*\n)*", re.MULTILINE)
SEEDS = re.compile(r"seeds: \[\d[^\]]*\]")


def preset_names() -> list[str]:
    """Return the names that `preset` takes, sorted: files of presets/, but those that others extend, and toy twins."""
    names = [path.stem for path in FOLDER.glob("*.yaml") if not path.stem.startswith("_")]
    return sorted([*names, *(name.replace(PAPER, TOY, 1) for name in names if name.startswith(PAPER))])


def presets_of(kind: str, *tables: str) -> list[Path]:
    """Return the presets of a kind, paper or toy, of tables of the paper in their order; a toy twin need be no file."""
    return [FOLDER / f"{kind}-{name}.yaml" for table in tables for name in TABLES[table]]


def sections(text: str) -> dict[str, str]:
    """Return the text of every section of a file by its name, with the comments inside it."""
    starts = [*SECTION.finditer(text)]
    ends = [*(match.start() for match in starts[1:]), len(text)] if starts else []
    return {match[1]: text[match.start() : end].rstrip("\n") + "\n" for match, end in zip(starts, ends, strict=True)}


def composed(path: Path) -> str:
    """Return the text of a params.yaml or a preset, by path or name: the sections that it extends, then its own.

    Sections are taken whole: a file that gives `generators` replaces all rows of an earlier one. Rows of data sets that
    no block names are left out, with the downloads that only they read, because every row is prepared. `toy-X.yaml`
    need be no file: it is `paper-X.yaml` with the sections of `_toy.yaml` in their place and with the seed 0 alone.

    Raises: UserError when a file is not there or extends itself.
    """
    if not (path.suffix or path.is_file()):
        path = FOLDER / f"{path}.yaml"
    paper = path.with_name(path.name.replace(TOY, PAPER, 1))
    if not path.is_file() and path != paper and paper.is_file():
        found = _extended(paper, (), {}) | _extended(path.with_name("_toy.yaml"), (), {})
        found |= {name: SEEDS.sub("seeds: [0]", found[name]) for name in BLOCKS if name in found}
        return "\n".join([TOY_HEAD.format(paper=paper.name, toy=path.stem), *_needed(found, path).values()])
    text = _read(path)
    if "extends" not in sections(text):
        return text
    head = text[: SECTION.search(text).start()].rstrip("\n")  # type: ignore[union-attr]  # extends is one
    return "\n".join([f"{head}\n", *_needed(_extended(path, (), {}), path).values()])


def _read(path: Path) -> str:
    if path.is_file():
        return read_yaml_text(path)
    known = preset_names()
    there_are = [f"presets are {', '.join(known)}"] if known else []
    where = "run from the folder that holds params.yaml, or give --file"
    raise UserError(f"{path}: no such file and no such preset", [*there_are, where])


def _extended(path: Path, above: tuple[Path, ...], read: dict[Path, dict[str, str]]) -> dict[str, str]:
    """Return the sections of a file and of those that it extends; `read` holds what was read before."""
    if path in above:
        raise UserError(f"{path} extends itself by way of {', '.join(str(file) for file in above)}")
    if path not in read:
        own = sections(_read(path))
        found: dict[str, str] = {}
        for name in _names(own.pop("extends", "extends: []"), path):
            found |= _extended(path.parent / name, (*above, path), read)
        read[path] = found | own
    return read[path]


def _names(section: str, path: Path) -> list[str]:
    """Return the names of the files that a section `extends` gives: one, or a list."""
    value = mapping(load_yaml(section, path)).get("extends")
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name and "\0" not in name for name in names):
        raise UserError(f"{path}: extends must be a list of files beside it, such as [_toy.yaml], got {value!r:.100}")
    return names


def _needed(found: dict[str, str], path: Path) -> dict[str, str]:
    """Return the sections without rows of data sets that no block names, nor downloads that no row left reads."""
    values = mapping(load_yaml("".join(found.values()), path))
    lists = [mapping(values.get(block)).get("datasets") for block in BLOCKS]
    used = {name for names in lists if isinstance(names, list) for name in names if isinstance(name, str)}
    rows = {name: row for name, row in mapping(values.get("datasets")).items() if name in used}
    folders = [Path(str(mapping(row).get("path"))).parts for row in rows.values()]
    read = {parts[2] for parts in folders if parts[:2] == ("data", "raw") and len(parts) > 2}
    kept = {"datasets": set(rows), "downloads": read}
    ordered = {name: found[name] for name in (*BLOCKS, *found) if name in found}
    return {name: _rows(name, text, kept[name]) if name in kept else text for name, text in ordered.items()}


def _rows(section: str, text: str, names: set[str]) -> str:
    return ROW.sub(lambda row: row[0] if row[1] in names else "", text) if names else f"{section}: {{}}\n"
