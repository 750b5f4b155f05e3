"""The schema of params.yaml, composed from the sections that each package declares, and the checks between sections."""

import json
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

from evaluation.filters import FilterRow
from pydantic import Field, StringConstraints, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from data.pairs.baseline_config import Baseline
from data.pairs.config import Config, Dataset
from data.pairs.downloads import Download
from data.pairs.errors import UserError
from data.pairs.mask_config import Masks
from evaluation.config import FeaturesConfig, ScoresConfig
from pipeline.param_errors import dangling, format_errors
from segmentation.config import ArchitectureRow
from siamese.config import Base, Generator, PretrainedHere, SamplingConfig, TrainingConfig

# DVC splits names at dots, stage names at @, and reads results/<source>-<masks>-x<multiple> back from the right.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
MaskName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$")]
Seed = Annotated[int, Field(ge=0)]
FIXED = ("real", "duplicate")  # names that the report knows, so each has its own kind
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
    volume: Volume
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


def _names(data: Any, *keys: str) -> list:
    """Return the list or the keys of the mapping that lie at data[key][key]..., or nothing where there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return list(data) if isinstance(data, list | Mapping) else []


def _check_lists(data: Any) -> Iterable[str]:
    """Yield a line for every name in a list that no row has, or that stands twice; `data` need not be valid."""
    kinds = ("datasets", "baselines", "generators", "masks", "architectures", "filters")
    rows = {name: _names(data, name) for name in kinds}
    for block in ("comparison", "volume", "filtered"):
        for key in (*rows, "seeds", "multiples"):
            names = _names(data, block, key)
            yield from (f"{block}.{key}: {n} stands twice" for i, n in enumerate(names) if n in names[:i])
            known = rows.get(key)
            if known:
                yield from (dangling(f"{block}.{key}", name, known) for name in names if name not in known)
    yield from (
        f"generators.{name}: the name is taken by a baseline"
        for name in {**dict.fromkeys(FIXED), **dict.fromkeys(rows["baselines"])}
        if name in rows["generators"]
    )


def _check_values(params: Params) -> Iterable[str]:
    """Yield a line for every value that does not fit one of another section; every name has its row by now."""
    for block, key in product(("volume", "filtered"), ("datasets", "generators", "masks", "architectures", "seeds")):
        for name in getattr(getattr(params, block), key):
            if name not in getattr(params.comparison, key):
                yield f"{block}.{key}: {name} must be in comparison.{key} too, where its 1x runs are"
    for name in (f"{generator}-{row}" for generator in params.generators for row in params.filters):
        if name in params.generators:
            yield f"generators.{name}: is the name of a filtered set too: rename the generator or the filter"
    if params.volume.datasets and params.volume.generators and params.volume.masks and not params.volume.multiples:
        yield "volume.multiples: is empty although volume names data sets: give some, or set volume.datasets: []"
    for name, kind in ((name, row.kind) for name, row in params.baselines.items()):
        if name != kind and (name in FIXED or kind in FIXED):
            yield f"baselines.{name}: rows named {' and '.join(FIXED)} are those of these kinds, got kind {kind}"
    for name in params.comparison.scored_baselines:
        if name not in params.comparison.baselines or name == "real":
            yield f"comparison.scored_baselines: {name} must be in comparison.baselines, and not real, which adds nothing"
    looks = params.judge.keep != "last" or params.judge.early_stop is not None or params.judge.schedule == "plateau"
    if looks and (params.judge.keep == "best_test" or params.judge.val_share is None):
        yield "judge: sees training pairs alone: keep: last or best_val, and with validation a val_share"
    most = max(params.volume.multiples, default=1)
    for name in params.volume.masks:
        if params.masks[name].copies < most:
            yield f"masks.{name}.copies: must be at least {most}, the largest of volume.multiples"
    if isinstance(params.base, PretrainedHere):
        factor = 2 ** (len(params.base.vae.channels) - 1)
        for name, row in params.generators.items():
            stages = len(params.base.vae.channels) + (row.hint == "dhi")
            if len(row.hint_widths) != stages:
                yield (
                    f"generators.{name}.hint_widths: must be {stages} widths for hint {row.hint}, since base.vae makes "
                    f"latents {factor} times smaller; got {len(row.hint_widths)}"
                )
        multiple = factor * 2 ** (len(params.base.unet.channels) - 1)
        for name, dataset in params.datasets.items():
            if dataset.size_px % multiple:
                yield f"datasets.{name}.size_px: must be a multiple of {multiple} for this base, got {dataset.size_px}"


def read_params(path: Path) -> Params:
    """Return the whole of params.yaml, checked.

    Raises: UserError with one line for each problem: where it is, what was found, what is allowed, the nearest name.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run from the folder that holds params.yaml, or give --file")
    try:
        data = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        text = json.dumps(data, default=str)
    except (YAMLError, UnicodeDecodeError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as YAML with text keys", str(error).splitlines()) from error
    problems = list(_check_lists(data))
    try:
        # Through JSON, where strict mode takes lists for tuples and still no text for numbers.
        params = Params.model_validate_json(text)
    except ValidationError as error:
        problems = [*format_errors(error, data, Params.model_json_schema()), *problems]
    else:
        problems = problems or list(_check_values(params))
        if not problems:
            return params
    raise UserError(f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}", problems)


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
