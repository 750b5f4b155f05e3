"""The results that the paper prints, as data: paper.yaml, checked."""

import json
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field
from ruamel.yaml import YAML

from data.pairs.config import Config

PAPER = Path(__file__).with_name("paper.yaml")


class ColumnGroup(Config):
    """Columns of a table that share a data set and what stands above them."""

    dataset: str = Field(description="a standard name")
    group: str = Field(default="", description="what the paper prints above the columns")
    test_set: str | None = Field(default=None, description="one test set; null: all of them, weighted by images")
    architecture: str | None = Field(default=None, description="a standard name; null: the row says it")
    images: bool = Field(default=False, description="scores of synthetic images; else results of segmenters, in %")
    measures: dict[str, str] = Field(min_length=1, description="what the paper prints -> our metric")
    digits: int = Field(ge=0, le=4, description="decimals that the paper prints")
    better: Literal["lower", "higher"] = "higher"


class PaperRow(Config):
    """One row of a table: what the segmenter was trained on, or who made the images."""

    label: str
    group: str = Field(default="", description="the block of the table that the row is in")
    source: str = Field(description="a standard name")
    masks: str = "real"
    multiple: int = Field(default=1, ge=1)
    architecture: str | None = Field(default=None, description="a standard name; null: the column says it")
    settings: dict[str, bool] = Field(default={}, description="what the paper ticks")
    printed: tuple[float | None, ...] = Field(description="in the order of the columns")

    @property
    def name(self) -> str:
        """Return the label with its block, such as "SANet Real"."""
        return f"{self.group} {self.label}".strip()


class Footnote(Config):
    """What a reader of some printed cells must know."""

    text: str
    cells: dict[str, tuple[str, ...]] = Field(description="row -> columns; an empty list is the whole row")


class Column(NamedTuple):
    """One column of numbers."""

    at: ColumnGroup
    label: str
    metric: str

    @property
    def name(self) -> str:
        """Return the label with its group, such as "EndoScene mDice"."""
        return f"{self.at.group} {self.label}".strip()


class PaperFacts(Config):
    """One table of the paper. Every row has as many printed values as there are columns."""

    title: str
    caption: str
    corner: str = Field(description="what stands above the rows")
    columns: tuple[ColumnGroup, ...]
    rows: tuple[PaperRow, ...]
    footnotes: tuple[Footnote, ...] = ()
    notes: tuple[str, ...] = ()

    def flat(self) -> tuple[Column, ...]:
        """Return the columns of numbers, in order."""
        return tuple(Column(at, label, metric) for at in self.columns for label, metric in at.measures.items())

    @property
    def settings(self) -> tuple[str, ...]:
        """Return the titles of the columns of ticks."""
        return tuple(self.rows[0].settings)

    def footnotes_at(self, row: PaperRow, column: str) -> tuple[int, ...]:
        """Return the numbers of the footnotes to a cell; those to a whole row are to its ticks too."""
        cells = [note.cells.get(row.name) for note in self.footnotes]
        return tuple(n for n, names in enumerate(cells) if names is not None and (not names or column in names))


class Paper(Config):
    """All tables by their keys, and what makes a data set that of the paper."""

    sizes: dict[str, dict[str, tuple[int, ...]]] = Field(description="images of each split that the paper used")
    conventions: dict[str, dict[str, str]] = Field(description="what columns refer to")
    tables: dict[str, PaperFacts]


@cache
def read_paper() -> Paper:
    """Return evaluation/paper/paper.yaml."""
    return Paper.model_validate_json(json.dumps(YAML(typ="safe").load(PAPER.read_text(encoding="utf-8"))))
