"""Which presets fill the tables of the paper, and their toy twins."""

from pathlib import Path

from pipeline.params.presets import FOLDER

# table of evaluation/paper/paper.yaml -> its presets
TABLES = {
    **{f"table{number}": (f"table{number}",) for number in range(1, 6)},
    "table6": ("table6-polyps", "table6-isic"),
    "figure7": ("figure7",),
}
KINDS = ("paper", "toy")


def preset_paths(kind: str) -> list[Path]:
    """Return the presets of one kind, in the order in which they run; a toy twin need not be a file."""
    return [path for table in TABLES for path in presets_of(table, kind)]


def presets_of(table: str, kind: str) -> list[Path]:
    """Return the presets of one kind of one table."""
    return [FOLDER / f"{kind}-{name}.yaml" for name in TABLES[table]]
