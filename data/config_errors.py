"""Problems of a configuration as lines that say where, what was found, what is allowed and the nearest name."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, TypeVar

from pydantic import ValidationError

from data.pairs.config import Config
from data.pairs.errors import UserError, one_line, redacted

Section = TypeVar("Section", bound=Config)

MOST_COMPARED, MOST_LETTERS = 50, 100  # names that a line lists, letters of what was found in it
# as data/pairs/config.py and pipeline/params/schema.py have them
NAME = re.compile(r"\^\[([^]]+)\]\[([^]]+)\]\*\$")


def _nearest(name: object, known: Iterable[object]) -> str:
    near = [str(other) for other in islice(known, MOST_COMPARED)]
    close = difflib.get_close_matches(str(name)[:MOST_LETTERS], near, n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""


def dangling(where: str, name: object, known: Iterable[object]) -> str:
    """Return the line for a name that no row has."""
    known = list(known)
    allowed = ", ".join(str(k) for k in known[:MOST_COMPARED]) or "none are declared"
    more = f" and {len(known) - MOST_COMPARED} more" if len(known) > MOST_COMPARED else ""
    return (
        f"{where}: there is no '{one_line(str(name), MOST_LETTERS)}'{_nearest(name, known)}; allowed: {allowed}{more}"
    )


def _follow(location: tuple, data: Any, schema: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the location as keys of the file, without pydantic's tags of unions, and the keys allowed at its end."""
    node = schema
    keys: list[str] = []
    allowed: list[str] = []
    for part in location:
        while "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        mapping = node.get("discriminator", {}).get("mapping", {})
        if part in mapping and not (isinstance(data, Mapping) and part in data):
            node = {"$ref": mapping[part]}
            continue
        allowed = sorted(node.get("properties", {}))
        if isinstance(part, int):
            keys[-1] += f"[{part}]"
            data = data[part] if isinstance(data, list) and part < len(data) else None
            node = node.get("items", {})
            continue
        rows = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
        child = node.get("properties", {}).get(part) or next((row for row in rows if isinstance(row, Mapping)), None)
        if child is None and not (isinstance(data, Mapping) and part in data):
            continue  # names such as "dict[str,str]" or "[key]" that pydantic puts in for branches
        keys.append(str(part))
        node = child or {}
        data = data.get(part) if isinstance(data, Mapping) else None
    return keys, allowed


def _name_rule(found: str, first: str, rest: str) -> str:
    """Return what a name may be, from the two sets of letters of its pattern, with the nearest one that may be."""
    signs = rest.replace("A-Z", "").replace("a-z", "").replace("0-9", "")
    letters = "letters" if "A-Z" in rest else "small letters"
    allowed = [letters, "digits", *("spaces" if sign == " " else sign for sign in signs)]
    near = re.sub(f"[^{rest}]+", "_", found if "A-Z" in rest else found.lower()).strip("_- ")
    such = f", such as {near!r}" if re.fullmatch(f"[{first}][{rest}]*", near) else ""
    listed = f"{', '.join(allowed[:-1])} and {allowed[-1]}"
    return f"{found!r} is not allowed as a name here: use {listed}, a letter or digit first{such}"


def duplicate_key(problem: str, line: int, column: int, text: str) -> list[str]:
    """Return what to do about a key that stands twice; `line` counts from 0, as `problem` is of the YAML reader."""
    found = re.search(r'found duplicate key "?(.*?)"? with value', problem)
    key = found[1] if found else ""
    above = text.splitlines()[:line]
    same = re.compile(rf"""^{" " * column}["']?{re.escape(key)}["']?\s*:""")
    first = next((number for number in range(len(above), 0, -1) if same.match(above[number - 1])), None)
    where = f"in line {first} and in line {line + 1}" if first else f"the second time in line {line + 1}"
    section = f"put what stands below the second under the first, and remove the second line `{key}:`"
    return [f"{key} stands twice, {where}: {'rename or remove one of the two' if column else section}"]


def _shown(found: object) -> str:
    return one_line(redacted(repr(found)), MOST_LETTERS)


def _describe(error: Mapping[str, Any], allowed: list[str]) -> str:
    kind, context, found = error["type"], error.get("ctx", {}), error["input"]
    if kind == "extra_forbidden":
        return f"unknown key{_nearest(error['loc'][-1], allowed)}; allowed: {', '.join(allowed)}"
    if kind == "missing":
        return "missing"
    if kind in ("literal_error", "union_tag_invalid"):
        expected = context.get("expected") or context["expected_tags"]
        found = context.get("tag", found)
        options = [option.strip(" '") for option in expected.replace(" or ", ",").split(",")]
        return f"must be one of {', '.join(options)}; got {_shown(found)}{_nearest(found, options)}"
    if kind == "union_tag_not_found":
        return f"needs the key {context['discriminator']}"
    if kind == "string_pattern_mismatch":
        name = NAME.fullmatch(context["pattern"])
        return _name_rule(found, *name.groups()) if name else f"{_shown(found)} does not fit {context['pattern']}"
    text = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("Input ")
    if kind == "json_invalid":
        return "is no JSON"
    if kind == "value_error":
        return one_line(text, 1000)
    return f"must be {text}, got {_shown(found)}"


def format_errors(error: ValidationError, data: Any, schema: Mapping[str, Any], whole: str = "the file") -> list[str]:
    """Return one line for each place that is wrong; the branches of a union share a line. `whole` is all of it."""
    lines: dict[str, list[str]] = {}
    for problem in error.errors():
        if problem["type"] == "too_short" and len(problem["input"]) >= problem["ctx"]["min_length"]:
            continue  # said of a list whose items are wrong
        keys, allowed = _follow(problem["loc"], data, schema)
        text = _describe(problem, allowed)
        texts = lines.setdefault(one_line(".".join(keys)) or whole, [])
        if text not in texts:
            texts.append(text)
    return [f"{where}: {', or '.join(texts)}".removeprefix(": ") for where, texts in lines.items()]


def validated(section: type[Section], values: Any, title: str, more: Iterable[str] = ()) -> Section:
    """Return the section that plain values are. Raises: UserError with a line for each wrong one, and `more` below."""
    try:
        return section.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        lines = format_errors(error, values, section.model_json_schema(), "")
    except TypeError as error:
        lines = [one_line(str(error))]
    raise UserError(title, [*lines, *more])
