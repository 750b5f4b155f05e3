"""dvc.yaml, read as far as the dependencies of one stage need it: without DVC, which takes long to import."""

import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

PARAMS = Path("params.yaml")
TEXT = "SIAMESE_PARAMS"  # params.yaml as the DVC that started this stage has it
REFERENCE = re.compile(r"\$\{([^}]+)\}")


def look_up(data: Any, key: str) -> Any:
    """Return what a dotted key names in nested mappings and lists; None when there is nothing."""
    for part in key.strip().split("."):
        if isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        elif isinstance(data, dict):
            data = data.get(part)
        else:
            return None
    return data


def _filled(text: Any, values: Mapping[str, Any]) -> Any:
    """Return a value of dvc.yaml with its ${references} replaced."""
    if not isinstance(text, str):
        return text
    if whole := REFERENCE.fullmatch(text):
        return look_up(values, whole[1])
    return REFERENCE.sub(lambda found: str(look_up(values, found[1])), text)


def _items(stage: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the key and the variables of every stage that a foreach or a matrix makes."""
    if "foreach" in stage:
        rows = _filled(stage["foreach"], params) or {}
        for key, row in rows.items() if isinstance(rows, dict) else ((str(row), row) for row in rows):
            yield str(key), {"key": key, "item": row}
    else:
        lists = [list(_filled(values, params) or ()) for values in stage["matrix"].values()]
        for values in product(*([_filled(value, params) for value in one] for one in lists)):
            yield "-".join(map(str, values)), {"item": dict(zip(stage["matrix"], values, strict=True))}


def dependencies(stage: str, graph: Mapping[str, Any], params: Mapping[str, Any]) -> list[Path]:
    """Return the files and folders that a stage depends on, from dvc.yaml and params.yaml; none for an unknown one."""
    group, _, key = stage.partition("@")
    found = graph.get("stages", {}).get(group, {})
    values = dict(params)
    if "foreach" in found or "matrix" in found:
        variables = dict(_items(found, params)).get(key)
        if variables is None:
            return []
        values |= variables
        found = found.get("do", found)
    names = (next(iter(dep)) if isinstance(dep, dict) else dep for dep in found.get("deps", ()))
    return sorted(Path(_filled(name, values)) for name in names)
