"""A table of pairs: image,mask and, where wanted, split, group and id."""

import csv
from dataclasses import replace
from pathlib import Path

from data.layouts.folders import split_name
from data.pairs.errors import UserError
from data.pairs.tables import cells_of
from data.readers.sources import Source, file_named, plain_stem

COLUMNS = ("image", "mask", "split", "group", "id")


def _header(table: Path, text: list[str]) -> tuple[str, list[str]]:
    """Return the separator and the names of the columns. Raises: UserError when they are not as needed."""
    first = text[0] if text else ""
    separator = max(",;\t", key=first.count)
    names = [name.strip().lower() for name in next(csv.reader([first], delimiter=separator), [])]
    problems = [f"line 1: {name or 'an empty name'} is no column" for name in names if name not in COLUMNS]
    problems += [f"line 1: there is no column {name}" for name in COLUMNS[:2] if name not in names]
    problems += [f"line 1: {name} stands twice" for name in sorted({name for name in names if names.count(name) > 1})]
    if problems:
        allowed = f"the first line names the columns: image,mask and, where wanted, {', '.join(COLUMNS[2:])}"
        raise UserError(f"{table}: is no table of pairs; {allowed}", problems)
    return separator, names


def read_table(table: Path, problems: list[str]) -> list[Source]:
    """Return the pairs of a table; every line that cannot be used is named by its number in `problems`.

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
    first: dict[Path, tuple[int, list[str]]] = {}  # what the first line of an image says beside its files
    sources: dict[Path, Source] = {}
    lines = cells_of(table, "\n".join(text), separator)
    next(lines)  # the header
    for number, cells in lines:
        line = f"{table}: line {number}"
        if not any(cell.strip() for cell in cells):
            continue
        row = dict.fromkeys(COLUMNS, "") | {name: cell.strip() for name, cell in zip(names, cells, strict=False)}
        if len(cells) != len(names):
            problems.append(f"{line} has {len(cells)} cells, {len(names)} are needed")
            continue
        if empty := [name for name in COLUMNS[:2] if not row[name]]:
            problems.append(f"{line} names no {' and no '.join(empty)}")
            continue
        image, mask = (file_named(table.parent, row[name]) for name in COLUMNS[:2])
        missing = [path for path in (image, mask) if not path.is_file()]
        problems += [f"{path}: named in {table.name}, line {number}, but is not there" for path in missing]
        name = row["id"]
        other, before = ids.setdefault(name, (row["image"], number)) if name else (row["image"], number)
        if other != row["image"]:
            problems.append(f"{line} has the id {name!r} of line {before}")
        elif "/" in name or "\\" in name:
            problems.append(f"{line}: the id {name!r} holds a slash")
        elif image == mask:
            problems.append(f"{line} names one file as image and as mask")
        elif not missing:
            said = [row[column] for column in COLUMNS[2:]]
            before, known = first.setdefault(image, (number, said))
            new = Source(name or plain_stem(image), image, (), split_name(row["split"]), group=row["group"])
            source = sources.setdefault(image, new)
            if known != said:
                problems.append(f"{line} says another split, group or id than line {before}")
            elif mask in source.masks:
                problems.append(f"{line} repeats line {before}")
            else:
                sources[image] = replace(source, masks=(*source.masks, mask))
    without = [str(first[path][0]) for path, source in sources.items() if not source.split]
    if len(without) < len(sources):
        problems += [f"{table}: line {number} names no split, as other lines do" for number in without]
    return list(sources.values())
