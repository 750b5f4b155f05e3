"""A table of pairs: image,mask and, where wanted, split, group and id."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from data.pairs.errors import UserError
from data.readers.sources import file_named

COLUMNS = ("image", "mask", "split", "group", "id")


class Line(NamedTuple):
    """One pair of a table; paths are whole."""

    number: int
    image: Path
    mask: Path
    split: str
    group: str
    id: str


def _header(table: Path, text: list[str]) -> tuple[str, list[str]]:
    """Return the separator and the names of the columns. Raises: UserError when they are not as needed."""
    first = text[0] if text else ""
    separator = max(",;\t", key=first.count)
    names = [name.strip().lower() for name in next(csv.reader([first], delimiter=separator), [])]
    unknown = [name for name in names if name not in COLUMNS]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems = [f"line 1: {name or 'an empty name'} is no column" for name in unknown]
    problems += [f"line 1: there is no column {name}" for name in COLUMNS[:2] if name not in names]
    problems += [f"line 1: {name} stands twice" for name in twice]
    if problems:
        allowed = f"the first line names the columns: image,mask and, where wanted, {', '.join(COLUMNS[2:])}"
        raise UserError(f"{table}: is no table of pairs; {allowed}", problems)
    return separator, names


def read_table(table: Path, problems: list[str]) -> Iterator[Line]:
    """Yield the pairs of a table; every line that cannot be used is named by its number in `problems`.

    Raises: UserError when the file is not there, is no UTF-8 or names other columns.
    """
    try:
        text = table.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{table}: no such file, though `pairs` names it") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{table}: is not written in UTF-8: save it anew") from error
    separator, names = _header(table, text)
    ids: dict[str, tuple[str, int]] = {}
    for number, cells in enumerate(csv.reader(text[1:], delimiter=separator), 2):
        if not any(cell.strip() for cell in cells):
            continue
        row = {name: cell.strip() for name, cell in zip(names, cells, strict=False)}
        if len(cells) != len(names):
            problems.append(f"{table}: line {number} has {len(cells)} cells, {len(names)} are needed")
            continue
        empty = [name for name in COLUMNS[:2] if not row[name]]
        if empty:
            problems.append(f"{table}: line {number} names no {' and no '.join(empty)}")
            continue
        image, mask = (file_named(table.parent, row[name]) for name in COLUMNS[:2])
        missing = [path for path in (image, mask) if not path.is_file()]
        problems += [f"{path}: named in {table.name}, line {number}, but is not there" for path in missing]
        name = row.get("id", "")
        other, before = ids.setdefault(name, (row["image"], number)) if name else (row["image"], number)
        if other != row["image"]:
            problems.append(f"{table}: line {number} has the id {name!r} of line {before}")
        elif "/" in name or "\\" in name:
            problems.append(f"{table}: line {number}: the id {name!r} holds a slash")
        elif image == mask:
            problems.append(f"{table}: line {number} names one file as image and as mask")
        elif not missing:
            yield Line(number, image, mask, row.get("split", ""), row.get("group", ""), name)
