"""params.yaml read and checked as a whole, before anything runs; of an earlier version, refused with its new lines."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import ValidationError

from data.config_errors import dangling, format_errors
from data.pairs.errors import UserError, few
from pipeline.params.checks import check_lists, check_values
from pipeline.params.earlier import refuse_earlier
from pipeline.params.presets import composed
from pipeline.params.schema import Params
from pipeline.params.yaml_text import load_yaml

MOST_LINES = 100  # of one error
# option -> its rows
ROWS = {
    "download": "downloads",
    "dataset": "datasets",
    "generator": "generators",
    "architecture": "architectures",
    "filter": "filters",
}


def read_params(path: Path) -> Params:
    """Return the whole of params.yaml, checked.

    Raises: UserError with one line for each problem: where it is, what was found, what is allowed, the nearest name.
    """
    return check_text(composed(path), path)


def check_text(text_of_file: str, path: Path) -> Params:
    """Return what a text says as `read_params` does; `path` is what errors call it."""
    data = load_yaml(text_of_file, path)
    refuse_earlier(data, path)
    problems = list(check_lists(data))
    try:
        # Through JSON, where strict mode takes lists for tuples and still no text for numbers.
        params = Params.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problems = [*format_errors(error, data, Params.model_json_schema()), *problems]
    else:
        problems = problems or list(check_values(params))
        if not problems:
            return params
    raise UserError(f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}", few(problems, MOST_LINES))


def load_params(reads: Mapping[str, str], item: Mapping[str, Any], path: Path = Path("params.yaml")) -> SimpleNamespace:
    """Return only the sections that a stage declares in its READS, after checking the whole file.

    `reads` maps a short name to a dotted key with {placeholders} for the item, the same key that dvc.yaml tracks.

    Raises: UserError as `read_params`, and for a name on the command line that has no row.
    """
    params = read_params(path)
    for option, section in ROWS.items():
        rows = getattr(params, section)
        if option in item and item[option] not in rows:
            raise UserError(dangling(f"--{option}", item[option], rows))
    found = {}
    for name, template in reads.items():
        value: Any = params
        for part in template.format(**item).split("."):
            known = value if isinstance(value, dict) else type(value).model_fields
            if part not in known:
                raise UserError(dangling(template, part, known))
            value = value[part] if isinstance(value, dict) else getattr(value, part)
        found[name] = value
    return SimpleNamespace(**found)
