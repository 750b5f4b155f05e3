"""Problems of params.yaml as lines that say where, what was found, what is allowed and the nearest name."""

import difflib
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from pydantic import ValidationError

from data.pairs.downloads import redacted
from data.pairs.errors import one_line

MOST_COMPARED, MOST_LETTERS = 50, 100  # names that a line lists, letters of what was found in it
NAME_PATTERN_ENDS = ("_-]*$", "_]*$")


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


def _children(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema node behind a reference."""
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def _follow(location: tuple, data: Any, schema: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the location as keys of the file, without pydantic's tags of unions, and the keys allowed at its end."""
    node = schema
    keys: list[str] = []
    allowed: list[str] = []
    for part in location:
        node = _children(node, schema)
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
    if kind == "string_pattern_mismatch" and not context["pattern"].endswith(NAME_PATTERN_ENDS):
        return f"{_shown(found)} does not fit {context['pattern']}"
    if kind == "string_pattern_mismatch":
        return f"{_shown(found)} is not allowed as a name: use letters, digits, _ and -, small ones for rows"
    text = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("Input ")
    if kind == "value_error":
        return one_line(text, 1000)
    return f"must be {text}, got {_shown(found)}"


def format_errors(error: ValidationError, data: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return one line for each place of the file that is wrong; the branches of a union share a line."""
    lines: dict[str, list[str]] = {}
    for problem in error.errors():
        if problem["type"] == "too_short" and len(problem["input"]) >= problem["ctx"]["min_length"]:
            continue  # said of a list whose items are wrong
        keys, allowed = _follow(problem["loc"], data, schema)
        text = _describe(problem, allowed)
        texts = lines.setdefault(one_line(".".join(keys)) or "the file", [])
        if text not in texts:
            texts.append(text)
    return [f"{where}: {', or '.join(texts)}" for where, texts in lines.items()]
