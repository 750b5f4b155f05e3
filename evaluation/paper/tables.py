"""The paper's tables, row for row and column for column, with our results in their cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.paper.facts import Column, ColumnGroup, PaperFacts, PaperRow, read_paper
from evaluation.paper.values import TOY, Results, Value, find_value
from evaluation.results.results import Grid, Run, Scores
from evaluation.scores.glossary import SCORES

DEMO = "Demo, not in the paper:"
DEMO_NOTE = (
    "Demo scores use random features: they rank sets of this report among each other and stand in for no other score."
)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper. Columns of demo scores, if any, come last, and the paper has no value in them."""

    key: str
    facts: PaperFacts
    columns: tuple[Column, ...]
    values: tuple[tuple[Value, ...], ...]  # in the order of facts.rows and columns
    warnings: tuple[str, ...]  # why data sets cannot be compared with the paper's

    @property
    def asked(self) -> bool:
        """Return whether params.yaml asks for any cell."""
        return any(value.asked for row in self.values for value in row)

    @property
    def has_results(self) -> bool:
        """Return whether any cell has a result of ours."""
        return any(value.ours.n for row in self.values for value in row)


def paper_tables(
    runs: Sequence[Run], scores: Sequence[Scores], grid: Grid, kinds: Mapping[str, str]
) -> list[PaperTable]:
    """Return every table of the paper, in its order, whether we have results for it or not.

    `kinds` is the kind of each data set in params.yaml: nothing is compared with the paper on a data set that is not a
    folder, or that has not as many images as the paper's.
    """
    scored = {(one.dataset, one.source, one.masks): one for one in scores}
    results = Results(runs, scored, grid, kinds, read_paper())
    return [_table(key, facts, results) for key, facts in results.paper.tables.items()]


def _table(key: str, facts: PaperFacts, results: Results) -> PaperTable:
    columns = facts.flat()
    by_column = [_column(facts, column, results) for column in columns]
    images = [number for number, column in enumerate(columns) if column.at.images]
    if images and not any(value.ours.n for number in images for value in by_column[number]):
        demo = _demo_columns(columns[images[0]].at.dataset)
        found = [_column(facts, column, results) for column in demo]
        if any(value.ours.n for cells in found for value in cells):
            columns, by_column = (*columns, *demo), [*by_column, *found]
    values = tuple(zip(*by_column, strict=True))
    warnings = dict.fromkeys(value.reason for row in values for value in row if value.reason.startswith(TOY))
    return PaperTable(key, facts, columns, values, tuple(warnings))


def _demo_columns(dataset: str) -> tuple[Column, ...]:
    """Return columns that stand beside the paper's while only demo scores exist."""
    names = [name for name, score in SCORES.items() if name.startswith("demo_") and score.headline]
    measures = {SCORES[name].label.removesuffix(", demo"): name for name in names}
    at = ColumnGroup(group=DEMO, dataset=dataset, images=True, measures=measures, digits=3, better="lower")
    return tuple(Column(at, label, metric) for label, metric in measures.items())


def _column(facts: PaperFacts, column: Column, results: Results) -> list[Value]:
    values = [find_value(facts, row, column, results) for row in facts.rows]
    best = _best(column, facts.rows, values)
    return [value._replace(best=number in best) for number, value in enumerate(values)]


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
