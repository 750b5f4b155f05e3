"""Checks of the rows of `masks` against data sets, generators and filters."""

from collections.abc import Iterable
from pathlib import Path

from data.config_errors import dangling
from data.masks.config import DatasetMasks, FolderMasks, InvertedMasks, PseudoMasks, RealMasks, ShapesMasks
from data.masks.given_config import GivenMasks
from pipeline.params import paths
from pipeline.params.schema import Params
from siamese.config.rows import LatentRow
from siamese.config.sections import NEEDS


def _check_generators(params: Params) -> Iterable[str]:
    """Yield a line for every generator that takes real masks alone, and is given others."""
    for block, grid in (("comparison", params.comparison), ("volume", params.volume)):
        moved = [name for name in grid.masks if not isinstance(params.masks[name], RealMasks)]
        for name in grid.generators:
            needs = NEEDS[params.generators[name].method]
            if moved and (needs.reference or needs.emits_masks):
                why = "samples each mask with its own real image" if needs.reference else "makes its own masks"
                yield (
                    f"{block}.generators: {name} {why}, so {block}.masks must all be of kind real, got "
                    f"{', '.join(moved)}: masks of a few generators can stand in volume"
                )


def _classes(row) -> tuple[str, ...]:
    """Return the names of the classes of a row, or none where it has one class of lesion."""
    names = tuple(getattr(row, "classes", ()))
    return names if len(names) > 1 else ()


def _check_classes(params: Params, name: str, datasets: Iterable[str]) -> Iterable[str]:
    """Yield a line for every data set whose classes of lesion are not those of the masks."""
    row = params.masks[name]
    for dataset in datasets:
        wanted = _classes(params.datasets[dataset])
        has = f"{', '.join(wanted)}, in this order" if wanted else "one class of lesion: leave classes out"
        if isinstance(row, ShapesMasks | InvertedMasks) and wanted:
            yield (
                f"masks.{name}.kind: {row.kind} makes one class of lesion, and datasets.{dataset} has "
                f"{', '.join(wanted)}: masks of kind transformed keep classes apart"
            )
        elif isinstance(row, FolderMasks) and tuple(row.classes) != wanted:
            yield f"masks.{name}.classes: datasets.{dataset} has {has}; got {list(row.classes)}"
        elif isinstance(row, DatasetMasks) and _classes(params.datasets[row.dataset]) != wanted:
            others = ", ".join(_classes(params.datasets[row.dataset])) or "one"
            yield f"masks.{name}.dataset: the classes of {row.dataset} are {others}, and datasets.{dataset} has {has}"


def _check_source(params: Params, name: str) -> Iterable[str]:
    """Yield a line where masks come from a place that they must not come from."""
    row = params.masks[name]
    if isinstance(row, DatasetMasks) and row.split != "train" and row.dataset in params.comparison.datasets:
        yield (
            f"masks.{name}.split: segmenters are tested or chosen on {row.split} of {row.dataset}, so none may be "
            f"trained on its masks: take train, or take {row.dataset} out of comparison.datasets"
        )
    if isinstance(row, FolderMasks):
        if "://" in row.path:
            yield f"masks.{name}.path: is an address: fetch the masks first and give the folder where they lie"
            return
        whole = Path(row.path).absolute()
        written = (paths.processed(""), paths.unlabelled(""), Path("outputs"), paths.RESULTS)
        for root in (root.absolute() for root in written):
            if whole.is_relative_to(root) or root.is_relative_to(whole):
                yield (
                    f"masks.{name}.path: {row.path} holds what the stages write: give a folder of masks alone; those "
                    "of a data set are kind: dataset"
                )
                return


def _check_filters(params: Params) -> Iterable[str]:
    """Yield a line for every filter that takes colours from the real image of masks that have none."""
    grid = params.filtered
    without = [name for name in grid.masks if isinstance(params.masks[name], InvertedMasks | ShapesMasks | GivenMasks)]
    for name in grid.filters if grid.datasets and grid.generators else ():
        if without and params.filters[name].match_colour:
            yield (
                f"filtered.filters: {name} takes colours from the real image of each mask (match_colour), and masks of "
                f"{', '.join(without)} have none: take such filters, or such masks, out of filtered"
            )


def pseudo_masks(params: Params) -> list[str]:
    """Return the names of the masks in use that come with an image, which a segmenter has found them in."""
    names = dict.fromkeys((*params.comparison.masks, *params.volume.masks))
    return [name for name in names if isinstance(params.masks[name], PseudoMasks)]


def _check_strength(params: Params) -> Iterable[str]:
    """Yield a line where no image could start from another one, though it is asked for."""
    if params.sampling.strength == 1:
        return
    if not pseudo_masks(params):
        yield (
            "sampling.strength: below 1 images start from those that masks came with, and no masks of kind: pseudo are "
            "in comparison.masks or volume.masks: add some, or remove it"
        )
        return
    for name in params.comparison.generators:
        if not isinstance(params.generators[name], LatentRow):
            method = params.generators[name].method
            yield f"sampling.strength: generators.{name} ({method}) cannot start from an image: leave it out, or set 1"


def check_masks(params: Params) -> Iterable[str]:
    """Yield a line for every row of `masks` in use that does not fit; every name in a list has its row by now."""
    yield from _check_generators(params)
    for name, row in params.masks.items():
        if isinstance(row, DatasetMasks) and row.dataset not in params.datasets:
            yield dangling(f"masks.{name}.dataset", row.dataset, params.datasets)
            continue
        uses = [grid.datasets for grid in (params.comparison, params.volume) if name in grid.masks]
        datasets = list(dict.fromkeys(dataset for names in uses for dataset in names))
        if datasets:
            yield from _check_classes(params, name, datasets)
            yield from _check_source(params, name)
    yield from _check_filters(params)
    yield from _check_strength(params)
