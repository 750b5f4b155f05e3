"""The trained generators that the page offers, and what each of them can be told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from data.pairs.errors import UserError
from data.pairs.image_io import levels
from siamese.config.sections import SamplingConfig
from siamese.found import Found, find_generator
from siamese.how_sampled import OWN_STEPS, SETTINGS
from siamese.method.checkpoint import read_config

GENERATORS = Path("outputs/generators")


class Offers(NamedTuple):
    """Generators by `dataset/name`, and of the others why they make no image for a mask that somebody draws."""

    found: dict[str, Found]
    refused: dict[str, str]


def find_offers(project: Path) -> Offers:
    """Return the generators in outputs/generators of a project.

    Raises: UserError when none of them makes images for given masks.
    """
    offers = Offers({}, {})
    root = project / GENERATORS
    for path in sorted(root.glob("*/*/config.json")):
        name = path.parent.relative_to(root).as_posix()
        try:
            offers.found[name] = find_generator(path.parent)
        except UserError as error:
            offers.refused[name] = " ".join([error.title, *error.problems[:1]])
    if not offers.found:
        to_do = "dvc repro trains one; start the page in the folder of its project"
        lines = [f"{name}: {why}" for name, why in offers.refused.items()]
        raise UserError(f"{root.resolve()} holds no generator that makes images for given masks: {to_do}", lines)
    return offers


def for_the_page(offers: Offers) -> dict[str, Any]:
    """Return what the page is filled with, as JSON has it."""
    return {"generators": [_described(name, found) for name, found in offers.found.items()], "refused": offers.refused}


def _described(name: str, found: Found) -> dict[str, Any]:
    """Return one generator: side, classes and their greys, and its settings with the values that it has unless told."""
    values = found.sampling.model_dump(mode="json")
    own_steps = read_config(found.folder)["generator"]["method"] in OWN_STEPS
    return {
        "name": name,
        "size_px": found.size_px,
        "classes": found.classes,
        "greys": levels(len(found.classes)).tolist(),
        "settings": [_setting(key, values[key]) for key in (("batch",) if own_steps else SETTINGS)],
    }


def _setting(name: str, value: Any) -> Mapping[str, Any]:
    schema = SamplingConfig.model_json_schema()["properties"][name]
    return {
        "name": name,
        "value": str(value),
        "text": schema.get("description", ""),
        "choices": schema.get("enum", []),
    }
