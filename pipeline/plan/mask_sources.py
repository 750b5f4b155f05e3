"""Masks of other data sets: dvc.yaml cannot say which ones, so DVC neither orders the stages nor sees a change."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from data.masks.config import DatasetMasks
from data.pairs.files import read_json, sha256_file
from data.pairs.manifest import MANIFEST
from pipeline.params import paths
from pipeline.params.schema import Params


def masks_of(stage: str) -> str:
    """Return the name of the masks that a stage makes, or nothing; names of masks have no dash."""
    group, _, key = stage.partition("@")
    return {"masks": key.split("-")[-1], "sample_volume": key.split("-")[-2:][0]}.get(group, "")


def sources(stages: Iterable[str], params: Params) -> set[str]:
    """Return the stages that prepare the data sets whose masks these stages take."""
    rows = (params.masks.get(masks_of(name)) for name in stages)
    return {f"prepare@{row.dataset}" for row in rows if isinstance(row, DatasetMasks)}


def in_order(stages: Mapping[str, set[str]], params: Params) -> dict[str, set[str]]:
    """Return the stages, and what each waits for, where masks of another data set wait until that one is prepared."""
    return {name: others | (sources([name], params) & stages.keys()) for name, others in stages.items()}


def outdated(stages: Mapping[str, set[str]], params: Params) -> Iterator[str]:
    """Yield a line for masks that were made of a data set before it changed, and are not made anew by these stages."""
    grids = (params.comparison, params.volume)
    for dataset, name in dict.fromkeys(key for grid in grids for key in product(grid.datasets, grid.masks)):
        row, stage = params.masks[name], f"masks@{dataset}-{name}"
        counts = paths.masks(dataset, name) / "counts.json"
        if stage in stages or not isinstance(row, DatasetMasks) or not counts.is_file():
            continue
        manifest = paths.processed(row.dataset, row.split) / MANIFEST
        known = read_json(counts, f"run dvc repro -f -s {stage}").get("manifest_sha256")
        if manifest.is_file() and known != sha256_file(manifest):
            yield (
                f"masks.{name}: {row.dataset} has changed since they were made of it, which DVC does not see: make "
                f"them anew by dvc repro -f -s {stage}, and so the stages of sample_volume that use them"
            )
