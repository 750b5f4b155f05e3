"""What the stages of a plan will ask for and not find: archives, folders, checkpoints, weights."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pipeline.params import paths
from pipeline.params.schema import Params
from segmentation.config.architectures import ArchitectureRow


def _acquire(item: Mapping, params: Params) -> Iterable[str]:
    name = item["download"]
    row, folder = params.downloads[name], paths.downloads(name)
    wanted = [archive for archive in row.archives if not (folder / archive.name).is_file()]
    by_hand = [archive.name for archive in wanted if not archive.url]
    if not row.accept_licence:
        yield f"downloads.{name}: read its terms ({row.licence}; {row.page}) and set accept_licence: true"
    if by_hand:
        yield f"downloads.{name}: put {', '.join(by_hand)} from {row.page} into {folder}/"


def _prepare(item: Mapping, params: Params) -> Iterable[str]:
    row = params.datasets[item["dataset"]]
    made = {str(paths.raw(name)) for name in params.downloads}
    if not any(row.path == path or row.path.startswith(f"{path}/") for path in made) and not Path(row.path).exists():
        yield f"datasets.{item['dataset']}.path: {row.path} does not exist: set it to where the data lies"


def _on_disk(model: str, revision: str | None) -> bool:
    """Return whether a model of the hub has been fetched before."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model, "unet/config.json", revision=revision), str)


def _base(item: Mapping, params: Params) -> Iterable[str]:
    base = params.base
    if base.kind == "single_file" and not Path(base.path).expanduser().is_file():
        yield f"base.path: {base.path} does not exist: name the checkpoint that you have"
    if base.kind != "diffusers" or Path(base.model).expanduser().is_dir():
        return
    if base.model.startswith(("/", ".", "~")) or base.model.count("/") != 1:
        yield f"base.model: there is no folder {base.model}"
    elif os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") and not _on_disk(base.model, base.revision):
        yield f"base.model: {base.model} was not fetched before, and HF_HUB_OFFLINE forbids it now"


def _baseline(item: Mapping, params: Params) -> Iterable[str]:
    row = params.baselines[item["source"]]
    if row.kind == "imported" and not Path(row.path).exists():
        yield f"baselines.{item['source']}.path: {row.path} does not exist: put the pairs there"


def _train(item: Mapping, params: Params) -> Iterable[str]:
    name = item["generator"]
    weights = getattr(params.generators[name], "weights", None)
    if weights and not Path(weights).expanduser().is_file():
        yield f"generators.{name}.weights: {weights} does not exist"


def _encoder(where: str, row: ArchitectureRow) -> Iterable[str]:
    if row.encoder_file and not Path(row.encoder_file).is_file():
        yield f"{where}.encoder_file: {row.encoder_file} does not exist"


def _features(item: Mapping, params: Params) -> Iterable[str]:
    from evaluation.features.weights import WEIGHTS, fetch_command, look, weights_folder

    for name, file in WEIGHTS.items():
        if file.extractor == item["extractor"]:
            found = look(file, weights_folder(params.features.weights_dir))
            if found.state in ("missing", "altered"):
                yield f"scores.extractors: {name} is {found.state} ({found.path}): {fetch_command([name])}"


# verb -> what it will not find
CHECKS: dict[str, Callable[[Mapping, Params], Iterable[str]]] = {
    "acquire": _acquire,
    "prepare": _prepare,
    "base": _base,
    "baseline": _baseline,
    "train": _train,
    "judge": lambda item, params: _encoder("judge", params.judge),
    "segment": lambda item, params: _encoder(
        f"architectures.{item['architecture']}", params.architectures[item["architecture"]]
    ),
    "features": _features,
}


def missing(verb: str, item: Mapping, params: Params) -> list[str]:
    """Return one line for everything that the stage needs from outside the graph and that is not there."""
    return list(CHECKS[verb](item, params)) if verb in CHECKS else []
