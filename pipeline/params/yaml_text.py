"""YAML of anybody: bounded before it is built, plain values alone, every problem in one line."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, MappingEndEvent, ScalarEvent
from ruamel.yaml.reader import ReaderError

from data.config_errors import duplicate_key
from data.pairs.errors import UserError, one_line

MOST_BYTES = 500_000
MOST_DEPTH = 20
MOST_ENTRIES = 1_000  # of one list or mapping: rows, seeds, names
MOST_VALUES = 50_000  # of a file, aliases as often as they stand
MOST_INTEGER = 2**63


def read_yaml_text(path: Path) -> str:
    """Return the text of a file. Raises: UserError when it is no text in UTF-8, or too large to be settings."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise UserError(f"{path}: has {size} bytes, at most {MOST_BYTES} are read")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = f"byte {error.start} is not UTF-8: save the file as UTF-8 text"
        raise UserError(f"{path}: not readable as YAML with text keys", [line]) from error


def mapping(value: Any) -> Mapping:
    """Return a value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def load_yaml(text: str, path: Path) -> Any:
    """Return what a text says, of null, booleans, numbers, texts, lists and mappings with text keys alone.

    Raises: UserError with one line for each problem; `path` is what it calls the file.
    """
    title = f"{path}: not readable as YAML with text keys"
    try:
        _check_bounds(text)
        data = YAML(typ="safe").load(text)
    except DuplicateKeyError as error:
        mark = error.problem_mark
        lines = duplicate_key(error.problem, mark.line, mark.column, text)
        raise UserError(f"{path}: a key stands twice", lines) from error
    except Exception as error:  # also what the constructors of its types raise for texts that they do not expect
        raise UserError(title, [_said_of(error)]) from error
    if problems := list(_odd_values(data)):
        raise UserError(title, problems)
    return data


def _said_of(error: Exception) -> str:
    if isinstance(error, UserError):
        return error.title
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return place + one_line(error.problem or error.context or str(error))
    if isinstance(error, ReaderError):
        return f"sign number {error.position + 1} is a control character or no text: remove it"
    return f"a value does not fit the kind that it has or is marked as: {one_line(str(error) or repr(error), 100)}"


def _check_bounds(text: str) -> None:
    """Raises: UserError for what is too large, too deep or stands for too much; YAMLError for what is no YAML."""
    if len(text) > MOST_BYTES:
        raise UserError(f"it has {len(text)} letters, at most {MOST_BYTES} are read")
    sizes: dict[str, int] = {}  # anchor -> values that it stands for
    inner: list[tuple[str | None, int, int]] = [(None, 0, 0)]  # of every open list or mapping: anchor, values, entries
    for event in YAML(typ="safe").parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, CollectionStartEvent):
            inner.append((event.anchor, 1, 0))
            if len(inner) > MOST_DEPTH:
                raise UserError(f"line {line}: more than {MOST_DEPTH} lists or mappings lie in each other")
            continue
        if isinstance(event, AliasEvent):
            if any(event.anchor == anchor for anchor, _, _ in inner):
                raise UserError(f"line {line}: *{event.anchor} stands for what it lies in")
            anchor, size = None, sizes.get(event.anchor, 1)
        elif isinstance(event, CollectionEndEvent):
            anchor, size, entries = inner.pop()
            most = MOST_ENTRIES * (2 if isinstance(event, MappingEndEvent) else 1)
            if entries > most:
                raise UserError(f"line {line}: a list or mapping ends that has more than {MOST_ENTRIES} entries")
        elif isinstance(event, ScalarEvent):
            anchor, size = event.anchor, 1
        else:
            continue
        if anchor:
            sizes[anchor] = size
        above, values, entries = inner[-1]
        inner[-1] = (above, values + size, entries + 1)
        if values + size > MOST_VALUES:
            raise UserError(f"line {line}: the file stands for more than {MOST_VALUES} values")


def _odd_values(data: Any) -> Iterator[str]:
    """Yield a line for every key that is no text and every value that JSON does not have."""
    todo: list[tuple[str, Any]] = [("", data)]
    while todo:
        where, value = todo.pop(0)
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if isinstance(key, str):
                    todo.append((f"{where}.{key}" if where else key, inner))
                else:
                    yield f"{where or 'the file'}: the key {key!r:.80} is no text: put it into quotes"
        elif isinstance(value, list):
            todo += [(f"{where}[{number}]", inner) for number, inner in enumerate(value)]
        elif isinstance(value, date):
            yield f"{where}: {value} is read as a date: put it into quotes"
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= MOST_INTEGER:
            yield f"{where}: is larger than any whole number that is used here, at most {MOST_INTEGER - 1}"
        elif value is not None and not isinstance(value, bool | int | float | str):
            yield f"{where}: a value of the kind {type(value).__name__} is of no use here"
