"""How a generator that is found by its folder is sampled: what its project says, and what may be changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from data.config_errors import validated
from data.pairs.errors import UserError, one_line
from siamese.config.sections import SamplingConfig

PAPER = {"steps": 50, "guidance": 9.0, "batch": 8, "seed": 0}  # as presets/_paper.yaml has them
SETTINGS = tuple(name for name in SamplingConfig.model_fields if name not in ("seed", "strength"))  # to change
OWN_STEPS = ("arsdm", "anomaly_diffusion")  # methods whose row says how they are sampled


def refuse_changes(row: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Raise UserError for changes of sampling that the row of a generator would not let through."""
    method, own = row["method"], row.get("mask_guidance")
    if method in OWN_STEPS and (wrong := sorted(set(changes) - {"batch"})):
        raise UserError(f"{', '.join(wrong)} cannot be set for {method}: its row in params.yaml says how it is sampled")
    if own is not None and changes.get("mask_guidance", own) != own:
        raise UserError(f"mask_guidance cannot be set: the generator has its own, {own:g}, from its row in params.yaml")
    if "strength" in changes:
        raise UserError("strength cannot be set: masks that are given come without an image to start from")
    if "seed" in changes:
        raise UserError("seed belongs to the images and not to the generator: generator(masks, seed=...)")


def _section(project: Path | None) -> tuple[dict[str, Any], str]:
    """Return `sampling` of the project's params.yaml and where it stands, or the paper's values."""
    path = project / "params.yaml" if project else None
    if not path or not path.is_file():
        return dict(PAPER), "the paper"
    try:
        values = YAML(typ="safe").load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML", [one_line(str(error))]) from error
    if not isinstance(values, Mapping) or not isinstance(values.get("sampling", {}), Mapping):
        raise UserError(f"{path} is no params.yaml with a section sampling: mend it, or bring it back")
    return (dict(values["sampling"]), str(path)) if "sampling" in values else (dict(PAPER), "the paper")


def sampling_of(project: Path | None, changes: Mapping[str, Any]) -> tuple[SamplingConfig, str]:
    """Return how to sample, with `changes` in place of what params.yaml says, and where the rest stands.

    Raises: UserError for a setting that there is not, and for a value that it cannot have.
    """
    section, source = _section(project)
    title = f"how to sample is not clear (changes to sampling of {source})"
    known = f"settings are {', '.join(SETTINGS)}"
    return validated(SamplingConfig, section | dict(changes), title, [known]), source
