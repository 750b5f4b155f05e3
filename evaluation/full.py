"""The full profile: the paper's metrics, from weight files that the user brings."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from data.pairs.errors import UserError
from data.pairs.files import sha256_file
from data.pairs.seeds import item_seed
from evaluation import clip, inception, perceptual
from evaluation.config import ScoresConfig
from evaluation.entry import entry, spread, standard_error
from evaluation.loading import Loaded
from evaluation.statistics import MIN_IMAGES, clip_i, frechet, mmd2_subsets, mmd2_u, mmd2_v, poly, rbf

NAMES = ("inception", "clip_b32", "clip_l336", "alexnet")
SUBSET_SIZE = 1000

Entries = dict[str, dict[str, object]]


class Networks(NamedTuple):
    """The four networks and the SHA-256 of their weight files, by the names of `NAMES`."""

    inception: nn.Module
    clip_b32: clip.Clip
    clip_l336: clip.Clip
    alexnet: nn.Module
    hashes: Mapping[str, str]


def load_networks(paths: Mapping[str, Path]) -> Networks:
    """Return all networks, on the GPU where there is one, from paths that `weights.require` has checked."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Networks(
        inception.load_inception(paths["inception"], device),
        clip.load_clip(clip.CLIP_I_MODEL, paths["clip_b32"], device),
        clip.load_clip(clip.CMMD_MODEL, paths["clip_l336"], device),
        perceptual.load_lpips(paths["alexnet"], device),
        {name: sha256_file(path) for name, path in paths.items()},
    )


def check_counts(cfg: ScoresConfig, *counts: int) -> None:
    """Check that the sets are large enough, before anything is computed.

    Raises: UserError for fewer than 3 images, or fewer than the subsets of KID are to have.
    """
    smallest = min(counts)
    if smallest < MIN_IMAGES:
        raise UserError(f"scores.profile full needs {MIN_IMAGES} images in each of real and synthetic, got {smallest}")
    if cfg.kid_subset_size != "auto" and cfg.kid_subset_size > smallest:
        raise UserError(
            f"scores.kid_subset_size is {cfg.kid_subset_size}, but the smaller set holds {smallest} images: "
            f"set it to auto or to at most {smallest}"
        )


def full_metrics(real: Loaded, holdout: Loaded, synthetic: Loaded, networks: Networks, cfg: ScoresConfig) -> Entries:
    """Return an entry for each of the paper's scores."""
    sets = (real, holdout, synthetic)
    # TF32 would round the features to 10 bits on a GPU, and the fastest kernel is not always the same one.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        return _inception(*sets, networks, cfg) | _clip(*sets, networks, cfg) | _lpips(*sets, networks, cfg)


def _counts(real: Loaded, holdout: Loaded, synthetic: Loaded) -> dict[str, int]:
    return {"n_real": len(real), "n_synthetic": len(synthetic), "n_floor": len(holdout)}


def _floor(statistic: Callable[[np.ndarray, np.ndarray], float], real: np.ndarray, holdout: np.ndarray) -> float | None:
    return statistic(real, holdout) if len(holdout) >= MIN_IMAGES else None


def _inception(real: Loaded, holdout: Loaded, synthetic: Loaded, networks: Networks, cfg: ScoresConfig) -> Entries:
    x, z, y = (
        inception.inception_features(networks.inception, data.images, batch=cfg.batch)
        for data in (real, holdout, synthetic)
    )
    common = {
        **_counts(real, holdout, synthetic),
        "backbone": inception.BACKBONE,
        "weights": networks.hashes["inception"],
    }
    kid, error = mmd2_u(x, y, poly)
    smallest = min(len(x), len(y))
    automatic = SUBSET_SIZE if smallest >= SUBSET_SIZE else max(MIN_IMAGES, smallest // 2)
    size = automatic if cfg.kid_subset_size == "auto" else cfg.kid_subset_size
    rng = np.random.default_rng(item_seed("kid subsets"))
    mean, sd = mmd2_subsets(x, y, poly, subsets=cfg.kid_subsets, size=size, rng=rng)
    return {
        "fid": entry(
            frechet(x, y),
            inception.FID,
            floor=_floor(frechet, x, z),
            note="biased upwards in small sets: compare only at equal n; no spread, because a bootstrap is biased too",
            **common,
        ),
        "kid": entry(
            kid,
            inception.KID,
            se=error,
            floor=_floor(lambda a, b: mmd2_u(a, b, poly)[0], x, z),
            more={"subsets": {"mean": mean, "sd": sd, "subsets": cfg.kid_subsets, "size": size}},
            **common,
        ),
    }


def _clip(real: Loaded, holdout: Loaded, synthetic: Loaded, networks: Networks, cfg: ScoresConfig) -> Entries:
    small, large = (
        [clip.clip_features(network, data.images, batch=cfg.batch) for data in (real, holdout, synthetic)]
        for network in (networks.clip_b32, networks.clip_l336)
    )
    counts = _counts(real, holdout, synthetic)
    common = {
        **counts,
        "backbone": f"{clip.CMMD_MODEL}, OpenAI",
        "weights": networks.hashes["clip_l336"],
    }

    def biased(a: np.ndarray, b: np.ndarray) -> float:
        return clip.CMMD_SCALE * mmd2_v(a, b, rbf)

    def unbiased(a: np.ndarray, b: np.ndarray) -> float:
        return clip.CMMD_SCALE * mmd2_u(a, b, rbf)[0]

    return {
        "clip_i": entry(
            clip_i(small[0], small[2]),
            clip.CLIP_I,
            **counts,
            floor=_floor(clip_i, small[0], small[1]),
            backbone=f"{clip.CLIP_I_MODEL}, OpenAI",
            weights=networks.hashes["clip_b32"],
            note="a collapse to one typical image raises it; the held-out real value is the practical ceiling",
        ),
        "cmmd": entry(biased(large[0], large[2]), clip.CMMD, floor=_floor(biased, large[0], large[1]), **common),
        "cmmd_unbiased": entry(
            unbiased(large[0], large[2]),
            clip.CMMD_UNBIASED,
            se=clip.CMMD_SCALE * mmd2_u(large[0], large[2], rbf)[1],
            floor=_floor(unbiased, large[0], large[1]),
            **common,
        ),
    }


def _lpips(real: Loaded, holdout: Loaded, synthetic: Loaded, networks: Networks, cfg: ScoresConfig) -> Entries:
    common = {
        **_counts(real, holdout, synthetic),
        "backbone": perceptual.BACKBONE,
        "weights": networks.hashes["alexnet"],
    }
    most = cfg.max_unpaired_pairs

    def rng(name: str) -> np.random.Generator:
        return np.random.default_rng(item_seed("lpips pairs", name))

    def distances(first: Loaded, second: Loaded, pairs: perceptual.Pairs) -> np.ndarray:
        return perceptual.lpips_distances(networks.alexnet, first.images, second.images, pairs, batch=cfg.batch)

    def row(definition: str, values: np.ndarray, floor: np.ndarray, reason: str, note: str) -> dict[str, object]:
        return entry(
            float(values.mean()) if len(values) else None,
            definition,
            sd=spread(values),
            se=standard_error(values),
            floor=float(floor.mean()) if len(floor) else None,
            reason=None if len(values) else reason,
            note=note,
            more={"n_pairs": len(values)},
            **common,
        )

    note = "the standard error takes the pairs to be independent, although they share images"
    same = distances(real, synthetic, perceptual.paired(real.ids, synthetic.parents))
    other = distances(real, synthetic, perceptual.unpaired(real.ids, synthetic.parents, most, rng("unpaired")))
    floor = distances(real, holdout, perceptual.unpaired(real.ids, holdout.ids, most, rng("floor")))
    inside = distances(synthetic, synthetic, perceptual.within(len(synthetic), most, rng("diversity")))
    inside_floor = distances(holdout, holdout, perceptual.within(len(holdout), most, rng("diversity floor")))
    return {
        "lpips_paired": row(
            perceptual.PAIRED,
            same,
            np.empty(0),
            "no synthetic pair names a real training pair as its parent",
            "lower rewards copies; no floor, because held-out pairs share no mask with the training pairs",
        ),
        "lpips_unpaired": row(perceptual.UNPAIRED, other, floor, "there is no such pair", note),
        "lpips_diversity": row(perceptual.DIVERSITY, inside, inside_floor, "there is no such pair", note),
    }
