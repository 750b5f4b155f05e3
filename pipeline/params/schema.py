"""The schema of params.yaml, composed from the sections that each package declares, and the checks between sections."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from data.acquire.config import Download
from data.baselines.config import Baseline
from data.masks.config import Masks
from data.pairs.config import Config
from data.pairs.errors import UserError
from data.prepare.config import Dataset
from evaluation.audit.filters import FilterRow
from evaluation.features.config import FeaturesConfig, ScoresConfig
from pipeline.params.checks import check_lists, check_values
from pipeline.params.errors import dangling, format_errors
from pipeline.params.presets import composed
from pipeline.params.yaml_text import load_yaml
from segmentation.config.architectures import ArchitectureRow
from siamese.config.sections import Base, Generator, SamplingConfig, TrainingConfig

# DVC splits names at dots, stage names at @, and reads results/<source>-<masks>-x<multiple> back from the right.
LONGEST = 40  # letters of a name: five of them make the name of one stage and its log, which may have 255
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=LONGEST)]
MaskName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=LONGEST)]
Seed = Annotated[int, Field(ge=0)]
MOST_LINES = 100  # of one error
# option -> its rows
ROWS = {
    "download": "downloads",
    "dataset": "datasets",
    "generator": "generators",
    "architecture": "architectures",
    "filter": "filters",
}


class Grid(Config):
    """Which rows are run, as short lists of their names; every combination is one run."""

    datasets: tuple[Name, ...]
    generators: tuple[Name, ...]
    masks: tuple[MaskName, ...]
    architectures: tuple[Name, ...]
    seeds: tuple[Seed, ...]


class Comparison(Grid):
    """What is compared at 1x: every data set with every source, architecture and seed."""

    baselines: tuple[Name, ...] = Field(description="pair sets that need no generator")
    scored_baselines: tuple[Name, ...] = Field(description="those of them that are scored like synthetic sets")


class Volume(Grid):
    """What is compared at further multiples; its 1x runs are those of the comparison."""

    multiples: tuple[Annotated[int, Field(ge=2)], ...] = Field(description="from 2 on; 1x is in comparison")


class Filtered(Grid):
    """Which 1x sets are also compared without the pairs that a filter drops; empty lists for none."""

    filters: tuple[Name, ...]


class Params(Config):
    """The whole of params.yaml."""

    comparison: Comparison
    second: Comparison = Field(description="a further comparison, of other data sets than the first")
    third: Comparison = Field(description="one more")
    other_masks: Grid = Field(description="further masks at 1x, for some of the data sets and generators of comparison")
    volume: Volume
    second_volume: Volume = Field(description="one more, of other data sets")
    filtered: Filtered
    downloads: dict[Name, Download] = Field(default={}, description="archives that `acquire` fetches and unpacks")
    datasets: dict[Name, Dataset]
    base: Base
    baselines: dict[Name, Baseline] = Field(description="pair sets that need no generator of ours")
    generators: dict[Name, Generator]
    training: TrainingConfig
    masks: dict[MaskName, Masks]
    sampling: SamplingConfig
    architectures: dict[Name, ArchitectureRow]
    judge: ArchitectureRow = Field(description="the segmenter that measures mask fidelity, trained on real pairs only")
    features: FeaturesConfig
    scores: ScoresConfig
    filters: dict[Name, FilterRow] = Field(default={}, description="what a synthetic pair must satisfy")


def read_params(path: Path) -> Params:
    """Return the whole of params.yaml, checked.

    Raises: UserError with one line for each problem: where it is, what was found, what is allowed, the nearest name.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run from the folder that holds params.yaml, or give --file")
    return check_text(composed(path), path)


def check_text(text_of_file: str, path: Path) -> Params:
    """Return what a text says as `read_params` does; `path` is what errors call it."""
    data = load_yaml(text_of_file, path)
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
    shown = problems[:MOST_LINES] + [f"and {len(problems) - MOST_LINES} more"] * (len(problems) > MOST_LINES)
    raise UserError(f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}", shown)


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
