"""One cell of a table of the paper: our result, the printed value, and why there is no result or no difference."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from evaluation.paper.facts import Column, Paper, PaperFacts, PaperRow
from evaluation.results.comparison import Summary, summarize
from evaluation.results.results import Grid, Run, Scores

TOY = "toy data: the paper's value stands beside for layout only"
NOT_ASKED, NOT_RUN, NO_IMPORT = "not asked for", "not run yet", "no imported pairs"
NO_WEIGHTS, NO_RATERS = "needs pretrained weights", "no rater file"
NOT_PRINTED = "the paper prints no number"

Counts = Mapping[str, Any]  # images by name of a split or set


class Results(NamedTuple):
    """What cells are looked up in. `kinds` is the kind of each data set in params.yaml."""

    runs: Sequence[Run]
    scores: Mapping[tuple[str, str, str], Scores]
    grid: Grid
    kinds: Mapping[str, str]
    paper: Paper


class Value(NamedTuple):
    """One cell. Numbers are in the paper's units; `reason` says why `ours` or the difference is not there."""

    ours: Summary
    paper: float | None
    reason: str
    asked: int  # runs or scores that params.yaml asks for
    earlier: bool  # from runs that params.yaml does not ask for now
    best: bool = False  # of our values in the column of its block, as printed
    footnotes: tuple[int, ...] = ()  # numbers in the footnotes of the table

    @property
    def difference(self) -> float | None:
        """Return ours minus the paper's, None where they cannot be compared."""
        return None if self.reason or self.ours.mean is None or self.paper is None else self.ours.mean - self.paper


class _Found(NamedTuple):
    ours: Summary
    reason: str
    asked: int = 0
    earlier: bool = False


def find_value(facts: PaperFacts, row: PaperRow, column: Column, results: Results) -> Value:
    """Return the cell of a row and a column, which may be one that the paper has not.

    It has the runs that the grid asks for or, if it asks for none of them, the earlier ones.
    """
    flat = facts.flat()
    paper = row.printed[flat.index(column)] if column in flat else None
    found = _score(row, column, results) if column.at.images else _result(row, column, results)
    reason = found.reason or ("" if paper is not None else NOT_PRINTED)
    if reason == NOT_ASKED and row.source in results.paper.imported:
        reason = NO_IMPORT
    footnotes = [n for n, note in enumerate(facts.footnotes) if column.name in note.cells.get(row.name, ())]
    footnotes += [n for n, note in enumerate(facts.footnotes) if note.cells.get(row.name) == ()]
    return Value(found.ours, paper, reason, found.asked, found.earlier, footnotes=tuple(sorted(footnotes)))


def _result(row: PaperRow, column: Column, results: Results) -> _Found:
    """Return the mean over seeds of a segmenter's metric, in %."""
    at = column.at
    place = (at.dataset, row.architecture or at.architecture, row.source, row.masks, row.multiple)
    asked = {key for key in results.grid.runs if key[:5] == place}
    runs = [run for run in results.runs if run.key in asked or (not asked and run.key[:5] == place)]
    ours = summarize(100 * value for run in runs if (value := _metric(run, at.test_set, column.metric)) is not None)
    if not runs:
        reason = NOT_RUN if asked else NOT_ASKED
    elif not ours.n:
        reason = f"the runs have no {column.metric}" + (f" on {at.test_set}" if at.test_set else "")
    else:
        wanted = {name: n for name, n in results.paper.sizes[at.dataset].items() if name != "train"}
        reason = _unlike(at.dataset, results, wanted, map(_test_images, runs))
    return _Found(ours, reason, len(asked), earlier=bool(runs) and not asked)


def _score(row: PaperRow, column: Column, results: Results) -> _Found:
    """Return a score of the synthetic images of the row."""
    place = (column.at.dataset, row.source, row.masks)
    asked, scores = place in results.grid.sets(), results.scores.get(place)
    if scores is None:
        return _Found(summarize([]), NOT_RUN if asked else NOT_ASKED, int(asked))
    score = scores.metrics.get(column.metric)
    if score is None:
        reason = _why(scores, column.metric)
    else:
        wanted = dict.fromkeys(("n_real", "n_synthetic"), results.paper.sizes[column.at.dataset]["train"])
        counts = {name: scores.metrics.get(name) for name in wanted}
        reason = _unlike(column.at.dataset, results, wanted, [counts])
    return _Found(summarize([] if score is None else [score]), reason, int(asked), earlier=not asked)


def _metric(run: Run, test_set: str | None, metric: str) -> float | None:
    if test_set is None:
        return run.metrics.get(metric)
    return _test_sets(run).get(test_set, {}).get("metrics", {}).get(metric)


def _test_images(run: Run) -> Counts:
    return {name: found["n"] for name, found in _test_sets(run).items()}


def _test_sets(run: Run) -> Mapping[str, Any]:
    """Return the test sets in the details of a run, none where it left no details."""
    sets = run.details.get("test_sets")
    return sets if isinstance(sets, Mapping) else {}


def _why(scores: Scores, metric: str) -> str:
    """Return why a score is not there."""
    if metric.startswith("mos"):
        return NO_RATERS
    entry = scores.details.get(metric)
    told = str(entry.get("reason") or "") if isinstance(entry, Mapping) else ""
    if told and "weights" not in told:
        return told
    return "not scored" if metric.startswith("demo_") else NO_WEIGHTS


def _unlike(dataset: str, results: Results, wanted: Mapping[str, Sequence[int]], counted: Iterable[Counts]) -> str:
    """Return why a data set is not the paper's of the same name, or nothing."""
    kind = results.kinds.get(dataset, "folder")
    if kind != "folder":
        return f"{TOY} ({dataset} is of kind {kind})"
    for counts in counted:
        for name in dict.fromkeys([*wanted, *counts]):
            number, allowed = counts.get(name), wanted.get(name, ())
            if number not in allowed:
                here = "not counted" if number is None else f"{number:.0f} images"
                return (
                    f"{TOY} ({dataset}, {name}: {here} here, {' or '.join(map(str, allowed)) or 'none'} in the paper)"
                )
    return ""
