"""The extractors: each turns a pair set into features, given the real training pairs and its weight files."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from data.pairs.files import sha256_file
from data.pairs.manifest import PairSet
from data.pairs.seeds import item_seed
from data.pairs.training import accelerator
from data.pretrained import lite0
from evaluation.features import pretrained
from evaluation.features.config import FeaturesConfig
from evaluation.features.images import Images, check_alike, paired, unpaired, within
from evaluation.features.lite0 import BACKBONE, lite0_features
from evaluation.features.store import Features
from evaluation.features.weights import WEIGHTS

Arrays = dict[str, np.ndarray]
Extract = Callable[[Images], Arrays]


class Extractor(NamedTuple):
    """How an extractor is made from the real training images, its settings, its weight files and a device."""

    build: Callable[[Images, FeaturesConfig, Mapping[str, Path], str], Extract]
    backbone: str
    libraries: tuple[str, ...]


def _over(images: Images, cfg: FeaturesConfig, network: Callable[[np.ndarray], np.ndarray], name: str) -> np.ndarray:
    bar = tqdm(images.batches(cfg.batch), total=-(-len(images) // cfg.batch), desc=name, unit="batch", mininterval=5)
    return np.concatenate([network(batch) for batch in bar])


def _lite0(real: Images, cfg: FeaturesConfig, weights: Mapping[str, Path], device: str) -> Extract:
    network = lite0.lite0_network().to(device)
    return lambda images: {"features": _over(images, cfg, partial(lite0_features, network), lite0.NAME)}


def _inception(real: Images, cfg: FeaturesConfig, weights: Mapping[str, Path], device: str) -> Extract:
    network = pretrained.load_inception(weights["inception"], device)
    return lambda images: {"features": _over(images, cfg, partial(pretrained.inception_features, network), "inception")}


def _clip(model: str, file: str) -> Extractor:
    def build(real: Images, cfg: FeaturesConfig, weights: Mapping[str, Path], device: str) -> Extract:
        network = pretrained.load_clip(model, weights[file], device)
        return lambda images: {"features": _over(images, cfg, partial(pretrained.clip_features, network), file)}

    return Extractor(build, f"{model}, OpenAI", ("torch", "open_clip_torch"))


def _lpips(real: Images, cfg: FeaturesConfig, weights: Mapping[str, Path], device: str) -> Extract:
    """Distances, not features: real to synthetic under one mask, real to synthetic at random, within the set."""
    network = pretrained.load_lpips(weights["alexnet"], device)

    def extract(images: Images) -> Arrays:
        if images.set is real.set:
            return {}  # no score reads the distances of the real images to themselves
        most = cfg.max_unpaired_pairs

        def rng(name: str) -> np.random.Generator:
            return np.random.default_rng(item_seed("lpips pairs", name))

        # An image that comes from none of the real ones, as held-out ones, is a stranger to all but itself.
        origins = [parent or name for name, parent in zip(images.ids, images.parents, strict=True)]
        pairs = {
            "paired": (real, paired(real.ids, images.parents)),
            "unpaired": (real, unpaired(real.ids, origins, most, rng("unpaired"))),
            "diversity": (images, within(len(images), most, rng("diversity"))),
        }
        return {
            name: pretrained.lpips_distances(network, first, images, places, batch=cfg.batch)
            for name, (first, places) in pairs.items()
        }

    return extract


EXTRACTORS: dict[str, Extractor] = {
    lite0.NAME: Extractor(_lite0, BACKBONE, ("torch", "timm", lite0.PACKAGE)),
    "inception": Extractor(_inception, pretrained.INCEPTION, ("torch", "torch-fidelity")),
    "clip_b32": _clip(pretrained.CLIP_I_MODEL, "clip_b32"),
    "clip_l336": _clip(pretrained.CMMD_MODEL, "clip_l336"),
    "lpips": Extractor(_lpips, pretrained.LPIPS, ("torch", "torchvision", "lpips")),
}


def extract_features(
    name: str,
    real: PairSet,
    parts: Mapping[str, Images],
    cfg: FeaturesConfig,
    weights: Mapping[str, Path],
) -> dict[str, Features]:
    """Return the features of each part under one extractor; `real` is the training pairs, which lpips pairs them with.

    `weights` are files that `weights.require` has checked; lite0 finds its own. TF32 is off: it would round features to
    10 bits.

    Raises: UserError for empty sets and images of other sizes, all at once, and for lite0 without its package;
    BadImageError for an image that cannot be read.
    """
    if name == lite0.NAME:
        files = {lite0.NAME: lite0.lite0_file()}
    else:
        files = {file: path for file, path in weights.items() if WEIGHTS[file].extractor == name}
    check_alike({"real": real} | {part: images.set for part, images in parts.items()})
    extractor = EXTRACTORS[name]
    device = "cuda" if accelerator().device.type == "cuda" else "cpu"
    meta = {
        "extractor": name,
        "backbone": extractor.backbone,
        "weights": {file: sha256_file(path) for file, path in files.items()},
        "versions": {library: version(library) for library in extractor.libraries},
        "real": len(real),
    }
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        extract = extractor.build(Images(real), cfg, weights, device)
        return {
            part: Features(images.ids, extract(images) | {"parents": np.array(images.parents, dtype=str)}, meta)
            for part, images in parts.items()
        }
