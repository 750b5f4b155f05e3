"""One cell of a table of the paper: our result, the printed value, and why there is no result or no difference."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from evaluation.paper.facts import Column, Paper, PaperFacts, PaperRow
from evaluation.results.comparison import Summary, summarize
from evaluation.results.results import Grid, Run, Scores, Seeds
from evaluation.tables.text import counted

TOY = "toy data: the paper's value stands beside for layout only"
NOT_ASKED, NOT_RUN = "not asked for", "not run yet"
NO_WEIGHTS, NO_RATERS = "needs pretrained weights", "no rater file"
NOT_PRINTED = "the paper prints no number"
NOT_RECORDED = "it is not recorded with which settings it was made"

Result = Run | Scores
Place = tuple[Any, ...]  # a RunKey without its seeds, or the data set, source and masks of scores


class Preset(NamedTuple):
    """One preset of a table: what it asks for, a fingerprint of each of its settings, the kind of each data set."""

    path: str
    grid: Grid
    settings: Mapping[str, str]
    kinds: Mapping[str, str]


NO_PRESET = Preset("any preset", Grid(()), {}, {})


class Results(NamedTuple):
    """What cells are looked up in."""

    at: Mapping[Place, Sequence[Result]]
    paper: Paper

    def differing(self, result: Result, preset: Preset) -> list[str] | None:
        """Return the settings of a result that a preset has otherwise or not at all; None if they are not recorded."""
        settings = result.details.get("settings")
        if not isinstance(settings, Mapping):
            return None
        return sorted(key for key in settings if settings[key] != preset.settings.get(key))

    def nearest(self, places: Iterable[Place], presets: Sequence[Preset]) -> Preset:
        """Return the first of the presets from whose settings some result of these cells differs least.

        It asks for what others with the same settings do too: a table may be made by several.
        """
        results = [result for place in places for result in self.at.get(place, ())]

        def distance(preset: Preset) -> float:
            differing = (self.differing(result, preset) for result in results)
            return min((float("inf") if keys is None else len(keys) for keys in differing), default=0)

        first = min(presets, key=distance, default=NO_PRESET)
        grids = [preset.grid for preset in presets if preset.settings == first.settings]
        runs = tuple(key for grid in grids for key in grid.runs)
        return first._replace(grid=Grid(runs, made=tuple(key for grid in grids for key in grid.made)))


class Value(NamedTuple):
    """One cell. Numbers are in the paper's units; `reason` says why `ours` or the difference is not there."""

    ours: Summary
    paper: float | None
    reason: str
    asked: int  # runs or scores that the preset asks for
    runs: str = ""  # the number of the results there are, and of those asked for where these are more
    generators: int = 0  # trainings of the generator behind the results
    best: bool = False  # of our values in the column of its block, as printed
    footnotes: tuple[int, ...] = ()  # numbers in the footnotes of the table

    @property
    def difference(self) -> float | None:
        """Return ours minus the paper's, None where they cannot be compared."""
        return None if self.reason or self.ours.mean is None or self.paper is None else self.ours.mean - self.paper


def place_of(row: PaperRow, column: Column) -> Place:
    """Return where the results of a cell are looked up."""
    at = column.at
    if at.images:
        return (at.dataset, row.source, row.masks)
    return (at.dataset, row.architecture or at.architecture, row.source, row.masks, row.multiple)


def asked_for(place: Place, grid: Grid) -> set[Seeds]:
    """Return the seeds of the results of a cell that a grid asks for; those of scores have that of no segmenter, 0."""
    if len(place) == 3:
        return {(key.generator_seed, 0) for key in grid.set_keys() if key[:3] == place}
    return {key.seeds for key in grid.runs if key[:5] == place}


def _seeds(result: Result) -> Seeds:
    return result.key.seeds if isinstance(result, Run) else (result.generator_seed, 0)


def find_value(facts: PaperFacts, row: PaperRow, column: Column, results: Results, preset: Preset) -> Value:
    """Return the cell of a row and a column, which may be one that the paper has not.

    It has every result on disk, over all seeds, that was made with the settings of the preset.
    """
    place, flat = place_of(row, column), facts.flat()
    paper = row.printed[flat.index(column)] if column in flat else None
    lying = results.at.get(place, ())
    fitting = [result for result in lying if results.differing(result, preset) == []]
    values = {_seeds(result): value for result in fitting if (value := _number(result, column)) is not None}
    ours = summarize(values.values())
    asked = asked_for(place, preset.grid)
    if not lying:
        reason = NOT_RUN if asked else NOT_ASKED
    elif not fitting:
        reason = _stale(lying, results, preset)
    elif not ours.n:
        reason = _why(fitting[0], column)
    else:
        reason = _unlike(column, results, preset, fitting) or ("" if paper is not None else NOT_PRINTED)
    number = counted(values, asked | values.keys())
    generators = len({generator for generator, _ in values} - {None})
    footnotes = facts.footnotes_at(row, column.name)
    return Value(ours, paper, reason, len(asked), number, generators, footnotes=footnotes)


def _number(result: Result, column: Column) -> float | None:
    """Return a score as it is, or a metric of a segmenter in %."""
    test_set = column.at.test_set
    metrics = result.metrics if test_set is None else _test_sets(result).get(test_set, {}).get("metrics", {})
    value = metrics.get(column.metric)
    return value if value is None or column.at.images else 100 * value


def _test_sets(result: Result) -> Mapping[str, Any]:
    """Return the test sets in the details of a run, none where it left no details."""
    return result.details.get("test_sets") or {}


def _stale(lying: Iterable[Result], results: Results, preset: Preset) -> str:
    """Return why no result of a cell was made with the settings of its preset."""
    differing = [keys for result in lying if (keys := results.differing(result, preset)) is not None]
    if not differing:
        return NOT_RECORDED
    return f"made with another {', '.join(min(differing, key=len))} than {preset.path} has"


def _why(result: Result, column: Column) -> str:
    """Return why a metric is not there."""
    metric, test_set = column.metric, column.at.test_set
    if not column.at.images:
        return f"the runs have no {metric}" + (f" on {test_set}" if test_set else "")
    if metric.startswith("mos"):
        return NO_RATERS
    entry = result.details.get(metric)
    told = str(entry.get("reason") or "") if isinstance(entry, Mapping) else ""
    if told and "weights" not in told:
        return told
    return "not scored" if metric.startswith("lite0_") else NO_WEIGHTS


def _unlike(column: Column, results: Results, preset: Preset, fitting: Iterable[Result]) -> str:
    """Return why a data set is not the paper's of the same name, or nothing."""
    dataset = column.at.dataset
    kind = preset.kinds.get(dataset, "folder")
    if kind != "folder":
        return f"{TOY} ({dataset} is of kind {kind})"
    sizes = results.paper.sizes[dataset]
    wanted = {name: n for name, n in sizes.items() if name != "train"}
    if column.at.images:
        wanted = dict.fromkeys(("n_real", "n_synthetic"), sizes["train"])
    for result in fitting:
        counts: dict[str, Any] = {name: found["n"] for name, found in _test_sets(result).items()}
        if column.at.images:
            counts = {name: result.metrics.get(name) for name in wanted}
        for name in dict.fromkeys([*wanted, *counts]):
            number, allowed = counts.get(name), wanted.get(name, ())
            if number not in allowed:
                here = "not counted" if number is None else f"{number:.0f} images"
                theirs = " or ".join(map(str, allowed)) or "none"
                return f"{TOY} ({dataset}, {name}: {here} here, {theirs} in the paper)"
    return ""
