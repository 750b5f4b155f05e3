"""The settings that a result was made with: fingerprints of what it and all before it read of params.yaml.

dvc.yaml is read as far as the dependencies of one stage need it: without DVC, which takes long to import.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

GRAPH, LOCK, PARAMS = Path("dvc.yaml"), Path("dvc.lock"), Path("params.yaml")
TEXT = "SIAMESE_PARAMS"  # params.yaml as the DVC that started this stage has it
REFERENCE = re.compile(r"\$\{([^}]+)\}")
# which sets there are, and where archives came from, is no setting of a result
LEFT_OUT = ("comparison", "volume", "filtered", "downloads")
MADE = (Path("outputs"), Path("data/processed"), Path("data/unlabelled"))  # all that lies here comes from a stage
# dvc.lock is read as text, because as YAML it takes a second for a hundred stages
ENTRY = re.compile(r"^  (?:\? )?(?P<name>[\w@.-]+):?\n(?P<body>(?:(?:  : |    ).*\n)+)", re.MULTILINE)
OUTS = "\n    outs:\n"
OUT = re.compile(r"^    - path:\s+(\S+)$", re.MULTILINE)


def fingerprint(value: Any) -> str:
    """Return 12 hex digits of the SHA-256 of a value of params.yaml as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def fingerprints(data: Mapping[str, Any]) -> dict[str, str]:
    """Return dotted key -> fingerprint of every section of a params.yaml and of every row or value in it."""
    found = {key: fingerprint(value) for key, value in data.items()}
    sections = {key: value for key, value in data.items() if isinstance(value, Mapping)}
    return found | {f"{key}.{name}": fingerprint(row) for key, rows in sections.items() for name, row in rows.items()}


def made_with(keys: Iterable[str]) -> dict[str, Any]:
    """Return `settings` of the stage that DVC runs here: dotted key -> fingerprint, by dvc.lock; `keys` are its own.

    Where they cannot be known `settings` is None, and `settings_reason` says why.
    """
    stage = os.environ.get("DVC_STAGE")
    if not stage or not GRAPH.is_file() or not LOCK.is_file():
        return {"settings": None, "settings_reason": "not run by DVC"}
    graph = YAML(typ="safe").load(GRAPH)
    params = YAML(typ="safe").load(os.environ.get(TEXT) or PARAMS.read_text(encoding="utf-8"))
    entries = {entry["name"]: entry for entry in ENTRY.finditer(LOCK.read_text(encoding="utf-8"))}
    written = {name: OUT.findall(entry["body"].partition(OUTS)[2]) for name, entry in entries.items()}
    outs = [(Path(out), name) for name, paths in written.items() for out in paths]
    values: dict[str, Any] = {}
    needs: dict[str, list[Path]] = {}
    todo = dependencies(stage, graph, params)
    while todo:
        path = todo.pop()
        makers = {name for out, name in outs if path == out or path in out.parents or out in path.parents}
        for name in makers - needs.keys():
            # an entry of a stage that there is no more has no needs: another makes the same now
            needs[name] = dependencies(name, graph, params)
            if needs[name]:
                todo += needs[name]
                recorded = YAML(typ="safe").load(entries[name][0])[name]
                values |= recorded.get("params", {}).get(PARAMS.name, {})
        if any(root in path.parents for root in MADE) and not any(needs[name] for name in makers):
            return {"settings": None, "settings_reason": f"dvc.lock has no stage that made {path}"}
    values |= {key: look_up(params, key) for key in keys}
    settings = {key: fingerprint(value) for key, value in values.items() if key.partition(".")[0] not in LEFT_OUT}
    return {"settings": dict(sorted(settings.items()))}


def look_up(data: Any, key: str) -> Any:
    """Return what a dotted key names in nested mappings; None when there is nothing."""
    for part in key.strip().split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _filled(text: Any, values: Mapping[str, Any]) -> Any:
    """Return a value of dvc.yaml with its ${references} replaced."""
    if not isinstance(text, str):
        return text
    if whole := REFERENCE.fullmatch(text):
        return look_up(values, whole[1])
    return REFERENCE.sub(lambda found: str(look_up(values, found[1])), text)


def _variables(stage: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the variables of every stage that a foreach or a matrix makes, by its key."""
    if "foreach" in stage:
        rows = _filled(stage["foreach"], params) or {}
        return {str(key): {"key": key, "item": row} for key, row in rows.items()}
    lists = [_filled(values, params) or () for values in stage["matrix"].values()]
    return {
        "-".join(map(str, values)): {"item": dict(zip(stage["matrix"], values, strict=True))}
        for values in product(*lists)
    }


def dependencies(stage: str, graph: Mapping[str, Any], params: Mapping[str, Any]) -> list[Path]:
    """Return the files and folders that a stage depends on, from dvc.yaml and params.yaml; none for an unknown one."""
    name, _, key = stage.partition("@")
    entry = graph.get("stages", {}).get(name, {})
    values = dict(params)
    if "foreach" in entry or "matrix" in entry:
        variables = _variables(entry, params).get(key)
        if variables is None:
            return []
        values |= variables
        for local in entry.get("vars", ()):
            values |= local
    deps = entry.get("do", entry).get("deps", ())
    return sorted(Path(_filled(next(iter(dep)) if isinstance(dep, dict) else dep, values)) for dep in deps)
