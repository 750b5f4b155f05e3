"""What the stages of a plan will ask for and not find: archives, folders, checkpoints, weights."""

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from data.pairs.errors import UserError
from data.pretrained import lite0
from pipeline.params import paths
from pipeline.params.schema import Params
from segmentation.config.architectures import ArchitectureRow


def missing(verb: str, item: Mapping, params: Params) -> Iterator[str]:
    """Yield one line for everything that the stage needs from outside the graph and that is not there."""
    match verb:
        case "acquire":
            yield from _archives(item["download"], params)
        case "prepare":
            path = params.datasets[item["dataset"]].path
            downloaded = {paths.raw(name) for name in params.downloads} & {Path(path), *Path(path).parents}
            if not downloaded and not Path(path).exists():
                yield f"datasets.{item['dataset']}.path: {path} does not exist: set it to where the data lies"
        case "base":
            yield from _base(params)
        case "baseline":
            row = params.baselines[item["source"]]
            if row.kind == "imported" and not Path(row.path).exists():
                yield f"baselines.{item['source']}.path: {row.path} does not exist: put the pairs there"
        case "masks" | "sample_volume":
            masks = params.masks[item["masks"]]
            if masks.kind == "folder" and not Path(masks.path).exists():
                yield f"masks.{item['masks']}.path: {masks.path} does not exist: put the masks there"
        case "train":
            weights = getattr(params.generators[item["generator"]], "weights", None)
            if weights and not Path(weights).expanduser().is_file():
                yield f"generators.{item['generator']}.weights: {weights} does not exist"
            if not weights and params.training.optimizer == "adamw_8bit" and not find_spec("bitsandbytes"):
                yield 'training.optimizer: adamw_8bit needs bitsandbytes: pip install --editable ".[gpu]"'
        case "judge":
            yield from _encoder("judge", params.judge)
        case "segment" | "segment_filtered":
            yield from _encoder(f"architectures.{item['architecture']}", params.architectures[item["architecture"]])
        case "filter":
            if params.filters[item["filter"]].best_of:
                yield from _lite0(f"filters.{item['filter']}.best_of")
        case "features":
            yield from _weights(item["extractor"], params)


def _archives(name: str, params: Params) -> Iterator[str]:
    row, folder = params.downloads[name], paths.downloads(name)
    by_hand = [file.name for file in row.archives if not file.url and not (folder / file.name).is_file()]
    if not row.accept_licence:
        yield f"downloads.{name}: read its terms ({row.licence}; {row.page}) and set accept_licence: true"
    if by_hand:
        yield f"downloads.{name}: put {', '.join(by_hand)} from {row.page} into {folder}/"


def _base(params: Params) -> Iterator[str]:
    base = params.base
    if base.kind == "pretrain" and base.vae.perceptual:
        yield from _lite0("base.vae.perceptual")
    if base.kind == "single_file" and not Path(base.path).expanduser().is_file():
        yield f"base.path: {base.path} does not exist: name the checkpoint that you have"
    if base.kind != "diffusers" or Path(base.model).expanduser().is_dir():
        return
    if base.model.startswith(("/", ".", "~")) or base.model.count("/") != 1:
        yield f"base.model: there is no folder {base.model}"
    elif os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(base.model, "unet/config.json", revision=base.revision)
        if not isinstance(config, str):
            yield f"base.model: {base.model} was not fetched before, and HF_HUB_OFFLINE forbids it now"


def _encoder(where: str, row: ArchitectureRow) -> Iterator[str]:
    if row.encoder_file and not Path(row.encoder_file).is_file():
        yield f"{where}.encoder_file: {row.encoder_file} does not exist"
    if row.encoder == lite0.NAME:
        yield from _lite0(f"{where}.encoder")


def _lite0(where: str) -> Iterator[str]:
    try:
        lite0.lite0_file()
    except UserError as error:
        yield f"{where}: {': '.join((error.title, *error.problems))}"


def _weights(extractor: str, params: Params) -> Iterator[str]:
    from evaluation.features.weights import WEIGHTS, fetch_command, look, weights_folder

    if extractor == lite0.NAME:
        yield from _lite0("scores.extractors")
    for name, file in WEIGHTS.items():
        if file.extractor == extractor:
            found = look(file, weights_folder(params.features.weights_dir))
            if found.state != "present":
                yield f"scores.extractors: {name} is {found.state} ({found.path}): {fetch_command([name])}"
