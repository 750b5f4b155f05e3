"""CSV files: written so that no spreadsheet takes text for a formula, read so that nothing odd passes for a table."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from data.pairs.errors import UserError, few, one_line, to_mend
from data.pairs.files import write_text

FORMULA = re.compile(r"'*[=+\-@\t\r]")  # to a spreadsheet


def as_cell(value: object) -> object:
    """Return a value for a CSV file: a text that a spreadsheet would take for a formula gets a ' in front."""
    if not isinstance(value, str) or not FORMULA.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def of_cell(cell: str) -> str:
    """Return the text that `as_cell` wrote."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def csv_text(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a CSV file; None is an empty cell, and no text is a formula to a spreadsheet: `of_cell` reads it back."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([as_cell(cell) for cell in line] for line in lines)
    return text.getvalue()


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as a CSV file with these columns."""
    write_text(path, csv_text(columns, ([row[name] for name in columns] for row in rows)))


def cells_of(path: Path, text: str, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line of a CSV file that is not empty and its cells. Raises: UserError for none."""
    if "\0" in text:
        raise UserError(f"{path} is no text: it holds bytes of 0. Save it as CSV in UTF-8")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is no CSV: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8") from error


def _refuse_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    if not header:
        raise UserError(f"{path} is empty: its first line names the columns {', '.join(columns)}")
    if missing := [name for name in columns if name not in header]:
        other = next((what for sign, what in ((";", "semicolons"), ("\t", "tabs")) if sign in header[0]), "")
        has = f"cells are separated by {other}: save it with commas" if other else f"it has {', '.join(header)}"
        raise UserError(f"{path} lacks the columns {', '.join(missing)}; {one_line(has)}")
    if twice := [name or "without a name" for name, count in Counter(header).items() if count > 1]:
        raise UserError(f"{path} has columns twice: {', '.join(twice)}")


def read_table(
    path: Path,
    columns: Sequence[str],
    problems_of: Callable[[Mapping[str, str]], Iterable[str]] = lambda _: (),
    *,
    unique: str = "",
    filled: bool = False,
) -> list[dict[str, str]]:
    """Return the rows of a CSV file in UTF-8; columns beside those that are wanted are kept.

    `problems_of` yields what is wrong with a row, `unique` is a column whose cells are all different; `filled`: a short
    row has empty cells at its end, as some spreadsheets leave them out.

    Raises: UserError when the file cannot be read, lacks columns, or has rows of another length or with problems, each
    with the number of its line.
    """
    lines = cells_of(path, _text(path))
    header = [name.strip() for name in next(lines, (1, []))[1]]
    _refuse_header(path, header, columns)
    rows, problems, first = [], [], dict[str, int]()
    for number, cells in lines:
        if len(cells) > len(header) or (len(cells) < len(header) and not filled):
            problems.append(f"line {number} has {len(cells)} cells in place of {len(header)}")
            continue
        row = dict.fromkeys(header, "") | {name: of_cell(cell) for name, cell in zip(header, cells, strict=False)}
        problems += [f"line {number}: {problem}" for problem in problems_of(row)]
        if unique and (before := first.setdefault(row[unique], number)) != number:
            problems.append(f"line {number}: {unique} {one_line(row[unique], 100)!r} stands in line {before} too")
        rows.append(row)
    if problems:
        raise UserError(to_mend(str(path), problems), few(problems))
    return rows
