"""Tables of the paper as text cells, Markdown, CSV and LaTeX: for each row our line and the paper's."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from string import ascii_lowercase

from data.pairs.tables import csv_text
from evaluation.paper.facts import Column
from evaluation.paper.tables import LITE0, LITE0_NOTE, PaperTable
from evaluation.paper.values import TOY, Value
from evaluation.tables.text import ARROWS, MISSING, PLUS_MINUS, TIMES, Cell, TextTable, markdown

TICK = "\u2713"
MARKS = "\u1d43\u1d47\u1d9c\u1d48\u1d49\u1da0\u1d4d\u02b0"  # raised a, b, ...
NOTE = (
    f"Here: mean {PLUS_MINUS} standard deviation over seeds (their number; 2 {TIMES} 3: of generator {TIMES} of "
    "segmenter; where there is one number the spread over generators is not covered); bold: our best of a column. "
    "Paper: as printed. Difference: here minus paper."
)
CSV_HEADER = ("table", "row", "column", "ours", "sd", "n", "generators", "paper", "difference", "reason", "footnote")
TEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"\u00a0": "~", MISSING: "--", PLUS_MINUS: r"$\pm$", "\u2191": r"$\uparrow$", "\u2193": r"$\downarrow$"},
    **{TICK: r"$\surd$", TIMES: r"$\times$"},
    **{raised: rf"\textsuperscript{{{letter}}}" for letter, raised in zip(ascii_lowercase, MARKS, strict=False)},
}


def text_table(table: PaperTable) -> TextTable:
    """Return the printable table: lines "here" and "paper" for each row, and "difference" where there is one."""
    facts = table.facts
    groups = [(name, len([*columns])) for name, columns in groupby(table.columns, lambda column: column.at.group)]
    left = 2 + len(facts.settings)
    groups = [("", left + groups[0][1]), *groups[1:]] if groups[0][0] == "" else [("", left), *groups]
    titles = [column.label + ARROWS[column.at.better] for column in table.columns]
    rows = []
    for row, values in zip(facts.rows, table.values, strict=True):
        ticks = [Cell(TICK * on + _marks(facts.footnotes_at(row, name))) for name, on in row.settings.items()]
        lines: list[tuple[str, Callable[[Value, Column], Cell]]] = [("here", _here), ("paper", _paper)]
        if any(value.difference is not None for value in values):
            lines.append(("difference", _difference))
        for whose, show in lines:
            cells = [show(value, column) for value, column in zip(values, table.columns, strict=True)]
            rows.append([Cell(row.name), *ticks, Cell(whose), *cells])
    return TextTable(groups if len(groups) > 1 else [], [facts.corner, *facts.settings, "", *titles], rows)


def _here(value: Value, column: Column) -> Cell:
    (mean, sd, n), digits = value.ours, column.at.digits
    alone = column.at.images and max(n, value.asked) < 2
    if mean is None:
        return Cell(MISSING)
    spread = "" if sd is None else f" {PLUS_MINUS} {sd:.{digits}f}"
    count = "" if alone else f" ({value.runs})"
    return Cell(f"{mean:.{digits}f}{spread}{count}", value.best)


def _paper(value: Value, column: Column) -> Cell:
    return Cell((MISSING if value.paper is None else f"{value.paper:.{column.at.digits}f}") + _marks(value.footnotes))


def _difference(value: Value, column: Column) -> Cell:
    if value.difference is None:
        return Cell(MISSING)
    digits = column.at.digits
    rounded = round(value.difference, digits) or 0.0
    return Cell(f"{rounded:+.{digits}f}" if rounded else f"{rounded:.{digits}f}")


def _marks(footnotes: Sequence[int]) -> str:
    return " ".join(MARKS[number] for number in footnotes)


def notes(table: PaperTable) -> list[str]:
    """Return the sentences that belong to a table: what cannot be compared, what its marks mean, what is missing."""
    found = [f"{text[0].upper()}{text[1:]}." for text in table.warnings]
    found += table.facts.notes
    found += [LITE0_NOTE] if any(column.at.group == LITE0 for column in table.columns) else []
    found += [f"{mark}: {note.text}" for mark, note in zip(MARKS, table.facts.footnotes, strict=False)]
    return [*found, *(f"{MISSING} {reason}: {where}." for reason, where in missing(table).items())]


def missing(table: PaperTable) -> dict[str, str]:
    """Return reason -> the rows without results of ours, and their columns where it is not all of them."""
    gaps: dict[str, dict[str, list[str]]] = {}
    for row, values in zip(table.facts.rows, table.values, strict=True):
        for column, value in zip(table.columns, values, strict=True):
            if value.ours.mean is None:
                gaps.setdefault(value.reason, {}).setdefault(row.name, []).append(column.name)
    return {reason: "; ".join(_places(table, rows)) for reason, rows in gaps.items()}


def _places(table: PaperTable, gaps: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield rows and their columns in words; rows with the same columns stand together."""
    every = [column.name for column in table.columns]
    for columns in dict.fromkeys(map(tuple, gaps.values())):
        names = [name for name, mine in gaps.items() if tuple(mine) == columns]
        rows = "every row" if len(names) == len(table.facts.rows) else ", ".join(names)
        yield rows if list(columns) == every else f"{rows} ({', '.join(columns)})"


def title(table: PaperTable) -> str:
    """Return the number and the caption, with a warning where the paper's values are not to be compared with."""
    name = f"{table.facts.title}: {table.facts.caption}"
    return f"{name} ({TOY})" if table.warnings else name


def render_markdown(table: PaperTable) -> str:
    """Return the table as a Markdown page."""
    text = text_table(table)
    titles = [f"{group} {column}".strip() for group, column in zip(text.group_names(), text.columns, strict=True)]
    lines = [f"# {title(table)}", "", *markdown(titles, text.rows, 2 + len(table.facts.settings))]
    return "\n".join([*lines, "", NOTE, "", *(f"- {note}" for note in notes(table)), ""])


def render_csv(table: PaperTable) -> str:
    """Return one line a cell, in the paper's units; ticks are 1 or 0 in the column `paper`."""
    facts = table.facts
    lines: list[list[object]] = []
    for row, values in zip(facts.rows, table.values, strict=True):
        for name, on in row.settings.items():
            told = " / ".join(facts.footnotes[n].text for n in facts.footnotes_at(row, name))
            lines.append([facts.title, row.name, name, None, None, None, None, int(on), None, "a setting", told])
        for column, value in zip(table.columns, values, strict=True):
            told = " / ".join(facts.footnotes[n].text for n in value.footnotes)
            numbers = [
                None if x is None else round(x, 6)
                for x in (*value.ours, value.generators, value.paper, value.difference)
            ]
            lines.append([facts.title, row.name, column.name, *numbers, value.reason, told])
    return csv_text(CSV_HEADER, lines)


def render_latex(table: PaperTable) -> str:
    """Return the table as LaTeX, which needs the package booktabs."""
    text = text_table(table)
    left = 2 + len(table.facts.settings)
    layout = "l" * left + "r" * (len(text.columns) - left)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape(title(table))}}}"]
    lines += [rf"\label{{tab:paper-{table.key}}}", rf"\begin{{tabular}}{{{layout}}}", r"\toprule"]
    if text.groups:
        spans = [rf"\multicolumn{{{width}}}{{c}}{{{escape(name)}}}" for name, width in text.groups]
        lines.append(_tex_line(spans))
    lines += [_tex_line([escape(name) for name in text.columns]), r"\midrule"]
    blocks = {row.name: row.group for row in table.facts.rows}
    for number, (_, rows) in enumerate(groupby(text.rows, lambda row: blocks[row[0].text])):
        lines += [r"\midrule"] if number else []
        for row in rows:
            lines.append(_tex_line(rf"\textbf{{{escape(one.text)}}}" if one.best else escape(one.text) for one in row))
    lines += [r"\bottomrule", r"\end{tabular}", r"\par\footnotesize"]
    return "\n".join([*lines, *(escape(note) + r"\par" for note in (NOTE, *notes(table))), r"\end{table}", ""])


def _tex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def escape(text: str) -> str:
    """Return text for LaTeX."""
    return "".join(TEX.get(char, char) for char in text)
