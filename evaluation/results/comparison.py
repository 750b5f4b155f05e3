"""The comparison that a data set's runs make: settings in rows, architectures in columns, means over seeds.

A setting has a run for each seed of the segmenter, and where a generator made its pairs for each seed that this one was
trained with: the two are crossed. What no generator made has the generator seed None.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evaluation.results.generators import over_generators
from evaluation.results.results import BASELINES, REAL, Grid, Metrics, Run, RunKey, Scores, Seeds

MEASURES = ("mDice", "mIoU")

BySeed = Mapping[int, float]  # by the segmenter's
BySeeds = Mapping[Seeds, float]
SeriesKey = tuple[str, str, str, str]  # dataset, architecture, source, masks


class Setting(NamedTuple):
    """What a segmenter was trained on."""

    source: str
    masks: str
    multiple: int


class Summary(NamedTuple):
    """Mean and sample standard deviation of n values; no mean of nothing, no sd of fewer than two."""

    mean: float | None
    sd: float | None
    n: int


@dataclass(frozen=True)
class Outcome:
    """The runs of one setting with one architecture: which seeds are asked for, what each finished run gave."""

    asked: tuple[Seeds, ...]
    values: Mapping[str, BySeeds]  # for mDice and mIoU, 0-1

    def summary(self, measure: str) -> Summary:
        """Return the summary over runs of mDice or mIoU."""
        return summarize(self.values[measure].values())

    def seeds(self, measure: str) -> int:
        """Return how many seeds of the segmenter have a value."""
        return len({seed for _, seed in self.values[measure]})


@dataclass(frozen=True)
class Row:
    """One setting. `scores` is None where none belong: at sets that are not scored, and at further multiples.

    `volume` is the number of added pairs as a multiple of the real ones, as the runs recorded it.
    """

    setting: Setting
    scores: Metrics | None
    outcomes: Mapping[str, Outcome]
    volume: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows in the order real, duplicate, other baselines, generators; architectures in the order of the grid.

    `images` holds the numbers of test images that the runs recorded: one number, unless the test sets have changed.
    """

    dataset: str
    images: tuple[int, ...]
    architectures: tuple[str, ...]
    rows: tuple[Row, ...]
    baselines: tuple[str, ...] = BASELINES
    own_masks: frozenset[str] = frozenset()  # sources that made their masks themselves

    def baseline(self, source: str, architecture: str) -> BySeed:
        """Return mDice by seed of a baseline, empty where it has not run."""
        rows = [row for row in self.rows if row.setting.source == source]
        return by_segmenter_seed(rows[0].outcomes[architecture].values["mDice"]) if rows else {}


class Point(NamedTuple):
    """One multiple of a volume series, 0 being real pairs only."""

    multiple: int
    mdice: Summary
    miou: Summary
    generators: int = 0  # trainings of the generator behind them


def summarize(values: Iterable[float]) -> Summary:
    """Return mean, sample standard deviation and number of the values."""
    values = list(values)
    mean = statistics.fmean(values) if values else None
    return Summary(mean, statistics.stdev(values) if len(values) > 1 else None, len(values))


def summary_of(runs: Iterable[Run], metric: str) -> Summary:
    """Return the summary of a metric over the runs that have it."""
    return summarize(value for run in runs if (value := run.metrics.get(metric)) is not None)


def differences(values: BySeeds, baseline: BySeed) -> BySeeds:
    """Return value minus baseline for each seed that both have: segmenters of one seed start from the same weights."""
    return {seeds: values[seeds] - baseline[seeds[1]] for seeds in values if seeds[1] in baseline}


def by_segmenter_seed(values: BySeeds) -> BySeed:
    """Return the mean over generator seeds for each seed of the segmenter."""
    return {
        seed: statistics.fmean(value for (_, other), value in values.items() if other == seed)
        for seed in dict.fromkeys(seed for _, seed in values)
    }


def build_table(dataset: str, runs: Sequence[Run], scores: Sequence[Scores], grid: Grid) -> Table:
    """Return the table of the settings that the grid asks for; what has not run yet is an outcome without values."""
    found = {run.key: run.metrics for run in runs}
    added = {run.key: (run.details.get("synthetic"), run.details.get("real")) for run in runs}
    volumes = {key: pairs / real for key, (pairs, real) in added.items() if pairs is not None and real}
    wanted = [one for one in grid.of_scored(scores) if one.dataset == dataset]
    kinds = {key[1:3] for key in grid.scored_keys() if key.dataset == dataset and key.source not in grid.baselines}
    scored = {(one.source, one.masks): one.metrics for one in over_generators(wanted)}
    keys = [key for key in dict.fromkeys(grid.runs) if key.dataset == dataset]
    rows, seen = [], set()
    for setting in _order(keys, grid.baselines):
        kind = (setting.source, setting.masks)
        metrics = scored.get(kind, {} if kind in kinds else None)
        outcomes = {}
        for name in grid.architectures(dataset):
            mine = [key for key in keys if key.architecture == name and key[2:5] == setting]
            values = {measure: _by_seeds(mine, found, measure) for measure in MEASURES}
            outcomes[name] = Outcome(tuple(key.seeds for key in mine), values)
        volume = next((volumes[key] for key in keys if key[2:5] == setting and key in volumes), None)
        rows.append(Row(setting, None if kind in seen else metrics, outcomes, volume))
        seen.add(kind)
    counts = sorted({int(found[key]["images"]) for key in keys if found.get(key, {}).get("images") is not None})
    architectures = grid.architectures(dataset)
    return Table(dataset, tuple(counts), architectures, tuple(rows), grid.baselines, grid.own_masks)


def _order(keys: Iterable[RunKey], baselines: Sequence[str]) -> list[Setting]:
    settings = list(dict.fromkeys(Setting(key.source, key.masks, key.multiple) for key in keys))
    sources = list(dict.fromkeys([*BASELINES, *baselines, *(setting.source for setting in settings)]))
    masks = list(dict.fromkeys(["real", *(setting.masks for setting in settings)]))
    return sorted(settings, key=lambda one: (sources.index(one.source), masks.index(one.masks), one.multiple))


def _by_seeds(keys: Iterable[RunKey], found: Mapping[RunKey, Metrics], measure: str) -> BySeeds:
    return {key.seeds: value for key in keys if (value := found.get(key, {}).get(measure)) is not None}


def _trainings(runs: Iterable[Run]) -> int:
    return len({run.key.generator_seed for run in runs} - {None})


def _point(multiple: int, runs: Sequence[Run]) -> Point:
    mdice, miou = (summary_of(runs, name) for name in MEASURES)
    return Point(multiple, mdice, miou, _trainings(runs))


def volume_series(runs: Sequence[Run]) -> dict[SeriesKey, tuple[Point, ...]]:
    """Return, for each source that adds pairs, the results at multiples 0 (real only), 1, 2, ... that have run.

    The order of the series is the order of first mention among the runs. Duplicated real pairs are a series too. The
    points of a series are of the same seeds.
    """
    groups: dict[SeriesKey, dict[int, list[Run]]] = {}
    for run in runs:
        if run.key.source != REAL:
            groups.setdefault(run.key[:4], {}).setdefault(run.key.multiple, []).append(run)
    series = {}
    for kind, by_multiple in groups.items():
        shared = set.intersection(*({run.key.seeds for run in some} for some in by_multiple.values()))
        if shared:  # else another seed and not the volume would bend the curve
            by_multiple = {x: [run for run in some if run.key.seeds in shared] for x, some in by_multiple.items()}
        seeds = {run.key.seed for some in by_multiple.values() for run in some}
        real = [run for run in runs if run.key[:3] == (*kind[:2], REAL)]
        by_multiple[0] = [run for run in real if run.key.seed in seeds] or real
        points = (_point(x, by_multiple[x]) for x in sorted(by_multiple))
        series[kind] = tuple(point for point in points if point.mdice.n)
    return series
