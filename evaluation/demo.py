"""The demo profile: scores that need no pretrained weights, under names that nobody takes for the paper's."""

import numpy as np
import torch

from data.pairs.seeds import item_seed
from evaluation import random_encoder, swd
from evaluation.config import ScoresConfig
from evaluation.entry import entry, spread
from evaluation.loading import Loaded
from evaluation.statistics import MIN_IMAGES, frechet, mmd2_u, poly

NOTE = "Demo score, not comparable with the paper's Table 1."
SEEDS = "Random features; encoders of different seeds differ in scale, so compare two sets seed by seed (values)."
FD = (
    "Frechet distance between Gaussians fitted to the pooled features (248-d, unscaled) of a randomly initialised "
    "encoder, its batch norms calibrated on real images; mean over seeds."
)
KID = (
    "Squared maximum mean discrepancy between the same features, cubic kernel, unbiased; mean over seeds, "
    "standard error by jackknife (mean over seeds)."
)
NEEDS_WEIGHTS = "needs a pretrained network: set scores.profile: full and fetch its weights"
ABSENT = {
    "fid": ("Frechet distance between Inception features.", NEEDS_WEIGHTS),
    "kid": ("Kernel distance between Inception features.", NEEDS_WEIGHTS),
    "clip_i": ("Mean cosine between CLIP embeddings.", NEEDS_WEIGHTS),
    "cmmd": ("Kernel distance between CLIP embeddings.", NEEDS_WEIGHTS),
    "lpips_paired": ("Perceptual distance to the real image of the same mask.", NEEDS_WEIGHTS),
}


def demo_metrics(real: Loaded, holdout: Loaded, synthetic: Loaded, cfg: ScoresConfig) -> dict[str, dict[str, object]]:
    """Return an entry for each demo score, and a null with its reason for each of the paper's."""
    counts = {"n_real": len(real), "n_synthetic": len(synthetic), "n_floor": len(holdout)}
    absent = {name: entry(None, definition, reason=reason) for name, (definition, reason) in ABSENT.items()}
    if min(len(real), len(synthetic)) < MIN_IMAGES:
        reason = f"needs {MIN_IMAGES} real and {MIN_IMAGES} synthetic images, got {len(real)} and {len(synthetic)}"
        definitions = {"demo_swd": swd.DEFINITION, "demo_fd_rand": FD, "demo_kid_rand": KID}
        return {name: entry(None, text, **counts, reason=reason) for name, text in definitions.items()} | absent
    return (
        {"demo_swd": _swd(real, holdout, synthetic, cfg, counts)}
        | _random(real, holdout, synthetic, cfg, counts)
        | absent
    )


def _swd(
    real: Loaded, holdout: Loaded, synthetic: Loaded, cfg: ScoresConfig, counts: dict[str, int]
) -> dict[str, object]:
    sets = [swd.descriptors(data.images, data.ids, batch=cfg.batch) for data in (real, synthetic, holdout)]

    def values(other: list[torch.Tensor]) -> list[tuple[float, list[float]]]:
        generators = [torch.Generator().manual_seed(item_seed("swd directions", seed)) for seed in cfg.seeds]
        return [swd.swd(sets[0], other, generator) for generator in generators]

    found = values(sets[1])
    totals = [total for total, _ in found]
    sizes = swd.level_sizes(min(real.images.shape[1:3]))
    levels = np.mean([levels for _, levels in found], axis=0)
    return entry(
        float(np.mean(totals)),
        swd.DEFINITION,
        **counts,
        sd=spread(totals),
        floor=float(np.mean([total for total, _ in values(sets[2])])),
        backbone="none: Laplacian pyramid, 48 patches an image, 128 directions",
        seeds=cfg.seeds,
        note=NOTE,
        more={"levels": {f"{px}px": float(level) for px, level in zip(sizes, levels, strict=True)}},
    )


def _random(
    real: Loaded, holdout: Loaded, synthetic: Loaded, cfg: ScoresConfig, counts: dict[str, int]
) -> dict[str, dict[str, object]]:
    fd, fd_floor, kid, kid_se, kid_floor = [], [], [], [], []
    for seed in cfg.seeds:
        encoder = random_encoder.random_encoder(seed, real.images)
        x, y, z = (
            random_encoder.features(encoder, data.images, batch=cfg.batch) for data in (real, synthetic, holdout)
        )
        fd.append(frechet(x, y))
        value, error = mmd2_u(x, y, poly)
        kid.append(value)
        kid_se.append(error)
        if len(holdout) >= MIN_IMAGES:
            fd_floor.append(frechet(x, z))
            kid_floor.append(mmd2_u(x, z, poly)[0])
    common = {
        **counts,
        "backbone": "random convolutional encoder, 5 stages of widths 8-128, ReLU, batch norm",
        "weights": "random-init seed " + ", ".join(str(seed) for seed in cfg.seeds),
        "seeds": cfg.seeds,
        "note": f"{NOTE} {SEEDS}",
    }
    return {
        "demo_fd_rand": entry(
            float(np.mean(fd)),
            FD,
            sd=spread(fd),
            floor=float(np.mean(fd_floor)) if fd_floor else None,
            more={"values": fd},
            **common,
        ),
        "demo_kid_rand": entry(
            float(np.mean(kid)),
            KID,
            sd=spread(kid),
            se=float(np.mean(kid_se)),
            floor=float(np.mean(kid_floor)) if kid_floor else None,
            more={"values": kid},
            **common,
        ),
    }
