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
from evaluation.features import pretrained, random_encoder, swd
from evaluation.features.config import FeaturesConfig
from evaluation.features.images import Images, check_alike, paired, unpaired, within
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


def _demo(real: Images, cfg: FeaturesConfig, weights: Mapping[str, Path], device: str) -> Extract:
    """Random encoders, calibrated on the real images, and the distance of Laplacian patches to the real ones."""
    calibration = random_encoder.calibration_images(real)
    encoders = {seed: random_encoder.random_encoder(seed, calibration) for seed in cfg.seeds}
    patches = swd.set_descriptors(real, batch=cfg.batch)

    def extract(images: Images) -> Arrays:
        arrays = {
            f"features_{seed}": _over(images, cfg, partial(random_encoder.features, encoder), "random")
            for seed, encoder in encoders.items()
        }
        theirs = swd.set_descriptors(images, batch=cfg.batch)
        generators = [torch.Generator().manual_seed(item_seed("swd directions", seed)) for seed in cfg.seeds]
        arrays["swd"] = np.array([swd.swd(patches, theirs, generator)[1] for generator in generators])
        arrays["swd_px"] = np.array(swd.level_sizes(min(images[0].shape[:2])))
        return arrays

    return extract


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
    "demo": Extractor(_demo, random_encoder.BACKBONE, ("numpy", "torch")),
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
    """Return the features of each part under one extractor; `real` is the training pairs, from which it is calibrated.

    `weights` are files that `weights.require` has checked. TF32 is off: it would round features to 10 bits.

    Raises: UserError for empty sets and images of other sizes, all at once; BadImageError for one that cannot be read.
    """
    check_alike({"real": real} | {part: images.set for part, images in parts.items()})
    extractor = EXTRACTORS[name]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    meta = {
        "extractor": name,
        "backbone": extractor.backbone,
        "weights": {file: sha256_file(path) for file, path in weights.items() if WEIGHTS[file].extractor == name},
        "versions": {library: version(library) for library in extractor.libraries},
        "seeds": list(cfg.seeds) if name == "demo" else [],
        "real": len(real),
    }
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        extract = extractor.build(Images(real), cfg, weights, device)
        return {
            part: Features(images.ids, extract(images) | {"parents": np.array(images.parents, dtype=str)}, meta)
            for part, images in parts.items()
        }
