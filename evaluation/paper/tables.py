"""The paper's tables, row for row and column for column, with our results in their cells."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from evaluation.paper.facts import Column, ColumnGroup, PaperFacts, PaperRow, read_paper
from evaluation.paper.values import TOY, Place, Preset, Result, Results, Value, asked_for, find_value, place_of
from evaluation.results.results import Grid, Run, Scores
from evaluation.scores.glossary import SCORES

LITE0 = "Not in the paper, lite0:"
LITE0_NOTE = (
    "Scores called lite0 are of another network than FID and KID: they rank sets of this report among each other and "
    "stand in for no other score."
)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper. Columns of lite0's scores, if any, come last, and the paper has no value in them."""

    key: str
    facts: PaperFacts
    columns: tuple[Column, ...]
    values: tuple[tuple[Value, ...], ...]  # in the order of facts.rows and columns
    warnings: tuple[str, ...]  # why data sets cannot be compared with the paper's
    asked: bool  # whether params.yaml asks for any cell

    @property
    def has_results(self) -> bool:
        """Return whether any cell has a result of ours."""
        return any(value.ours.n for row in self.values for value in row)


def paper_tables(
    runs: Iterable[Run], scores: Iterable[Scores], grid: Grid, presets: Mapping[str, Sequence[Preset]]
) -> list[PaperTable]:
    """Return every table of the paper, in its order; none at all if `grid` asks for no cell of any.

    `presets` gives those of each table, the paper's before their toy twins; for each data set of a table that one
    counts whose settings some result has, and nothing else is shown. Nothing is compared with the paper on a data set
    that is not a folder there, or that has not as many images as the paper's.
    """
    at: dict[Place, list[Result]] = {}
    for one in scores:
        at.setdefault(one.key[:3], []).append(one)
    for run in runs:
        at.setdefault(run.key[:5], []).append(run)
    results = Results(at, read_paper())
    tables = results.paper.tables.items()
    built = [_table(key, facts, results, grid, presets.get(key, ())) for key, facts in tables]
    return built if any(table.asked for table in built) else []


def _table(key: str, facts: PaperFacts, results: Results, grid: Grid, presets: Sequence[Preset]) -> PaperTable:
    columns = facts.flat()
    places: dict[str, list[Place]] = {}
    for row, column in product(facts.rows, columns):
        places.setdefault(column.at.dataset, []).append(place_of(row, column))
    nearest = {
        dataset: results.nearest(cells, [preset for preset in presets if dataset in preset.kinds])
        for dataset, cells in places.items()
    }

    def filled(column: Column) -> list[Value]:
        values = [find_value(facts, row, column, results, nearest[column.at.dataset]) for row in facts.rows]
        best = _best(column, facts.rows, values)
        return [value._replace(best=number in best) for number, value in enumerate(values)]

    by_column = [filled(column) for column in columns]
    images = [number for number, column in enumerate(columns) if column.at.images]
    if images and not any(value.ours.n for number in images for value in by_column[number]):
        lite0 = _lite0_columns(columns[images[0]].at.dataset)
        cells = [filled(column) for column in lite0]
        if any(value.ours.n for values in cells for value in values):
            columns, by_column = (*columns, *lite0), [*by_column, *cells]
    rows = tuple(zip(*by_column, strict=True))
    warnings = dict.fromkeys(value.reason for row in rows for value in row if value.reason.startswith(TOY))
    asked = any(asked_for(place, grid) for cells in places.values() for place in cells)
    return PaperTable(key, facts, columns, rows, tuple(warnings), asked)


def _lite0_columns(dataset: str) -> tuple[Column, ...]:
    """Return columns that stand beside the paper's while only lite0's scores exist."""
    names = [name for name, score in SCORES.items() if name.startswith("lite0_") and score.headline]
    measures = {SCORES[name].label.removesuffix(", lite0"): name for name in names}
    at = ColumnGroup(group=LITE0, dataset=dataset, images=True, measures=measures, digits=3, better="lower")
    return tuple(Column(at, label, metric) for label, metric in measures.items())


def _best(column: Column, rows: Sequence[PaperRow], values: Sequence[Value]) -> set[int]:
    """Return the rows with our best value of their block, as printed, among those with the most seeds.

    All that tie are best, and none is where there is nothing to compare with.
    """
    best: set[int] = set()
    for block in dict.fromkeys(row.group for row in rows):
        mine = [number for number, row in enumerate(rows) if row.group == block and values[number].ours.n]
        most = max((values[number].ours.n for number in mine), default=0)
        shown = {n: round(values[n].ours.mean, column.at.digits) for n in mine if values[n].ours.n == most}
        if len(set(shown.values())) > 1:
            first = (min if column.at.better == "lower" else max)(shown.values())
            best |= {number for number, value in shown.items() if value == first}
    return best
