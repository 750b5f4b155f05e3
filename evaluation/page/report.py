"""What a report is made of, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from data.pairs.manifest import PairSet
from evaluation.figures.curves import Losses
from evaluation.figures.plots import Looks
from evaluation.paper.tables import PaperTable, paper_tables
from evaluation.paper.values import Preset
from evaluation.results.comparison import Point, SeriesKey, Table, build_table, volume_series
from evaluation.results.results import Grid, Run, Scores
from evaluation.results.significance import Comparison, compare_all

SampleKey = tuple[str, str, str]  # dataset, generator, masks


@dataclass(frozen=True)
class Report:
    """What a report is made of, read once; the tables and tests that follow from it are made once.

    `samples` gives the real training pairs and the x1 set of each added set that is to be shown, of a generator that of
    its first training, `pictured` the folder of pictures of each data set that the pictures stage left. `losses` gives,
    for (data set, what was trained), the files of losses, `trained` for a data set generator -> the picture of what it
    drew while it was trained, where that was asked for. `presets` are those of each table of the paper. `provenance` is
    printed as it is, in its order.
    """

    runs: Sequence[Run]
    scores: Sequence[Scores]
    grid: Grid
    samples: Mapping[SampleKey, tuple[PairSet, PairSet]] = field(default_factory=dict)
    pictured: Mapping[str, Path] = field(default_factory=dict)
    losses: Mapping[tuple[str, str], Sequence[Losses]] = field(default_factory=dict)
    trained: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    presets: Mapping[str, Sequence[Preset]] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def tables(self) -> list[Table]:
        """Return the table of each data set."""
        return [build_table(dataset, self.runs, self.scores, self.grid) for dataset in self.grid.datasets()]

    @cached_property
    def tests(self) -> dict[str, tuple[Comparison, ...]]:
        """Return every setting against both baselines, by data set."""
        return {dataset: compare_all(dataset, self.runs, self.grid) for dataset in self.grid.datasets()}

    @cached_property
    def series(self) -> dict[SeriesKey, tuple[Point, ...]]:
        """Return the curves of mDice against volume, of the runs that are asked for."""
        return volume_series(self.grid.asked(self.runs))

    @cached_property
    def paper(self) -> list[PaperTable]:
        """Return the tables of the paper, none if the grid asks for no cell of them."""
        return paper_tables(self.runs, self.scores, self.grid, self.presets)

    @cached_property
    def looks(self) -> Looks:
        """Return how sets are drawn in every figure; the pictures stage has the same sources in the same order."""
        sets = [(key.source, key.masks) for key in self.grid.made] + [(key.source, key.masks) for key in self.grid.runs]
        return Looks([*self.grid.baselines, *(source for source, _ in sets)], [masks for _, masks in sets])
