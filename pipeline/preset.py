"""preset: params.yaml from a file of presets/, which may take sections from other ones."""

import re
from pathlib import Path

from ruamel.yaml import YAML

from data.pairs.errors import UserError
from data.pairs.files import write_text
from pipeline.blocks import BLOCKS

FOLDER = Path("presets")
SECTION = re.compile(r"^([a-z_]+):", re.MULTILINE)
ROW = re.compile(r"^  ([\w-]+):.*\n(?:    .*\n)*", re.MULTILINE)
SEEDS = re.compile(r"seeds: \[\d[^\]]*\]")
EXTENDS = re.compile(r"^extends: \[([^\]]*)\]\n", re.MULTILINE)


def preset_names() -> list[str]:
    """Return the names of the files in presets/ that can be run, sorted; parts of others start with an underscore."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.stem.startswith("_"))


def sections(text: str) -> dict[str, str]:
    """Return the text of every section of a file by its name, with the comments inside it."""
    starts = [*SECTION.finditer(text)]
    ends = [*(match.start() for match in starts[1:]), len(text)]
    return {match[1]: text[match.start() : end].rstrip("\n") + "\n" for match, end in zip(starts, ends, strict=True)}


def composed(path: Path) -> str:
    """Return the text of a preset: the sections of the files that it extends, in order, then its own in their place.

    Sections are taken whole: a file that gives `generators` replaces all rows of an earlier one. `seeds` in such a file
    takes the place of the seeds in every block. Rows of data sets that no block names are left out, with the downloads
    that only they read, because every row is prepared.

    Raises: UserError when a file is not there or extends itself.
    """
    return _composed(path, ())


def _composed(path: Path, above: tuple[Path, ...]) -> str:
    if not path.is_file():
        known = ", ".join(preset_names())
        raise UserError(f"{path}: no such preset", [f"there are {known}"] if known else [])
    if path in above:
        raise UserError(f"{path} extends itself by way of {', '.join(str(one) for one in above)}")
    text = path.read_text(encoding="utf-8")
    extends = EXTENDS.search(text)
    if extends is None:
        return text
    found: dict[str, str] = {}
    for name in extends[1].split(","):
        found |= sections(_composed(path.parent / name.strip(), (*above, path)))
    own = sections(text)
    del own["extends"]
    seeds = own.pop("seeds", "").strip()
    found |= own
    if seeds:
        found |= {name: SEEDS.sub(seeds, text) for name, text in found.items() if name in BLOCKS}
    head = text[: text.index("extends:")].rstrip("\n")
    return "\n".join([f"{head}\n", *(found if above else _needed(found)).values()])


def _needed(found: dict[str, str]) -> dict[str, str]:
    """Return the sections without rows of data sets that no block names, nor downloads that no row left reads."""
    values = YAML(typ="safe").load("".join(found.values()))
    used = {name for block in BLOCKS for name in (values.get(block) or {}).get("datasets", ())}
    rows = {name: row for name, row in (values.get("datasets") or {}).items() if name in used}
    read = {Path(row["path"]).parts[2] for row in rows.values() if row["path"].startswith("data/raw/")}
    kept = {"datasets": set(rows), "downloads": read}
    return {name: _rows(name, text, kept[name]) if name in kept else text for name, text in found.items()}


def _rows(section: str, text: str, names: set[str]) -> str:
    """Return the text of a section without the rows of other names."""
    return ROW.sub(lambda row: row[0] if row[1] in names else "", text) if names else f"{section}: {{}}\n"


def run(name: str, out: Path) -> None:
    """Write params.yaml, after checking that the preset is valid.

    Raises: UserError when there is no such preset, or with every problem of it.
    """
    from pipeline.params import check_text

    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    text = composed(path)
    check_text(text, path)
    write_text(out, text)
