"""Tables of text: how numbers are printed, what marks the best, and the one renderer of Markdown."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from evaluation.results.results import Seeds

MISSING = "\u2013"
PLUS_MINUS = "\u00b1"
TIMES = "\u00d7"
ROUNDING = 1e-9  # what float64 leaves of an exact zero
ARROWS = {"lower": "\u00a0\u2193", "higher": "\u00a0\u2191", "neither": ""}


class Cell(NamedTuple):
    """Text of a table and whether it is the best of its column."""

    text: str
    best: bool = False


class TextTable(NamedTuple):
    """A table ready to print: groups of columns with their widths, column names, rows of cells."""

    groups: list[tuple[str, int]]
    columns: list[str]
    rows: list[list[Cell]]

    def group_names(self) -> list[str]:
        """Return the name of the group of each column, empty where it has none."""
        return [name for name, width in self.groups for _ in range(width)] or [""] * len(self.columns)


def percent(value: float, sign: str = "") -> str:
    """Return a share as a percentage with one decimal; `sign` "+" also marks gains, and zero has no sign."""
    rounded = round(100 * value, 1)
    return f"{rounded:{sign}.1f}" if rounded else "0.0"


def number(value: float | None) -> str:
    """Return three significant digits, or a dash for what is not there."""
    if value is None:
        return MISSING
    if abs(value) < ROUNDING:
        return "0.00"
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def ranged(value: float | None, low: float | None, high: float | None) -> str:
    """Return a mean, and in brackets the lowest and the highest of what it is of, where there are several."""
    return number(value) if low is None or high is None else f"{number(value)} ({number(low)} to {number(high)})"


def counted(found: Iterable[Seeds], asked: Iterable[Seeds]) -> str:
    """Return the number of runs, "3", or where there are several generator seeds "2 x 3": these times segmenter seeds.

    Where some are missing it is the number that there are "of" those asked for.
    """
    found, asked = set(found), set(asked)
    trained = Counter(generator for generator, _ in asked)
    crossed = len(trained) > 1 and len(set(trained.values())) == 1
    whole = f"{len(trained)} {TIMES} {trained.total() // len(trained)}" if crossed else str(len(asked))
    return whole if found == asked else f"{len(found)} of {whole}"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[Cell]], left: int) -> list[str]:
    """Return the lines of a Markdown table: the first `left` columns are aligned left, the best cells bold."""
    texts = [[f"**{cell.text}**" if cell.best else cell.text for cell in row] for row in rows]
    lines = [columns, [":--"] * left + ["--:"] * (len(columns) - left), *texts]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]
