"""What somebody types to change a drawing of images: settings of sampling, and how masks are read."""

import json
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from data.pairs.errors import UserError, one_line


def value_of(text: str) -> Any:
    """Return a number, or the text where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def reading_of(text: str | None) -> dict[str, Any]:
    """Return how masks are read, keys of a data-set row. Raises: UserError when the text is no mapping."""
    try:
        values = YAML(typ="safe").load(text or "{}")
    except YAMLError as error:
        raise UserError(
            "--reading: cannot be read, give such as '{mask_threshold: 0}'", [one_line(str(error))]
        ) from error
    if not isinstance(values, dict):
        raise UserError(
            f"--reading: give keys and values, such as '{{mask_threshold: 0}}', not {one_line(str(values))}"
        )
    return values
