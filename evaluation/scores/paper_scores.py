"""The paper's scores from the features of pretrained networks: FID, KID, CLIP-I, CMMD, LPIPS."""

from collections.abc import Mapping

import numpy as np

from evaluation.features.config import ScoresConfig
from evaluation.features.images import paired
from evaluation.features.store import Features
from evaluation.scores.distances import clip_i, mmd2_u, mmd2_v, rbf, within_cosine
from evaluation.scores.families import (
    PRDC_TEXT,
    Entries,
    Statistic,
    common_facts,
    distance_entry,
    frechet_entry,
    kernel_entry,
    prdc_entries,
    sets_of,
)
from evaluation.scores.record import entry, mean_entry

CMMD_SCALE = 1000
INCEPTION = {
    "fid": "Frechet distance between Gaussians fitted to Inception features of all synthetic and all real training "
    "images.",
    "kid": "Squared maximum mean discrepancy of Inception features, cubic kernel, unbiased, over the whole sets; "
    "standard error by a two-sample jackknife.",
    **PRDC_TEXT,
}
CLIP_I = {
    "clip_i": "Mean cosine between CLIP embeddings over all pairs of a synthetic and a real training image.",
    "clip_i_paired": "Mean cosine between CLIP embeddings of a synthetic image and the real one whose mask it was made "
    "from.",
    "copy_rate_clip": "The copy rate on CLIP embeddings, which sees copies that are cropped or moved.",
}
CMMD = {
    "cmmd": "Squared maximum mean discrepancy of unit CLIP embeddings, Gaussian kernel of sigma 10, times 1000; "
    "biased V-statistic as in the reference code.",
    "cmmd_unbiased": "CMMD as the unbiased U-statistic; standard error by a two-sample jackknife.",
}
LPIPS = {
    "lpips_paired": "Mean LPIPS between each synthetic image and the real training image whose mask it was made from.",
    "lpips_unpaired": "Mean LPIPS over random pairs of a real training image and a synthetic one that is not made from "
    "its mask.",
    "lpips_diversity": "Mean LPIPS over random pairs of two synthetic images; higher is more diverse.",
}
NO_PARENT = "no synthetic pair names a real training pair as its parent"


def inception_entries(parts: Mapping[str, Features], cfg: ScoresConfig) -> Entries:
    """Return FID, KID, precision, recall, density and coverage."""
    sets, facts = [sets_of(parts)], common_facts(parts)
    return {
        "fid": frechet_entry(INCEPTION["fid"], sets, facts),
        "kid": kernel_entry(INCEPTION["kid"], sets, cfg, facts),
        **prdc_entries("", sets, cfg, facts, "in the features of FID"),
    }


def clip_i_entries(parts: Mapping[str, Features], cfg: ScoresConfig) -> Entries:
    """Return CLIP-I over all pairs and over the pairs of one mask."""
    facts, sets = common_facts(parts), sets_of(parts)
    both = paired(parts["train"].ids, parts["synthetic"]["parents"].tolist())
    real, synthetic = (list(column) for column in zip(*both, strict=True)) if both else ([], [])
    cosines = (sets.train[real].astype(np.float64) * sets.synthetic[synthetic]).sum(1)
    return {
        "clip_i": entry(
            clip_i(sets.train, sets.synthetic),
            CLIP_I["clip_i"],
            floor=clip_i(sets.train, sets.holdout),
            note="a collapse to one typical image raises it; real_real, the mean cosine of two real training images, "
            "and the floor are the practical ceiling",
            more={"real_real": within_cosine(sets.train)},
            **facts,
        ),
        "clip_i_paired": mean_entry(
            cosines,
            CLIP_I["clip_i_paired"],
            reason=NO_PARENT,
            note="copies raise it",
            more={"n_pairs": len(both)},
            **facts,
        ),
    }


def cmmd_entries(parts: Mapping[str, Features], cfg: ScoresConfig) -> Entries:
    """Return CMMD as its reference code has it, and unbiased."""
    facts, sets = common_facts(parts), sets_of(parts)

    def row(name: str, statistic: Statistic, se: float | None = None) -> dict[str, object]:
        def scaled(real: np.ndarray, other: np.ndarray) -> float:
            return CMMD_SCALE * statistic(real, other)

        return distance_entry(CMMD[name], scaled, [sets], facts, se=se)

    error = mmd2_u(sets.train, sets.synthetic, rbf)[1]
    return {
        "cmmd": row("cmmd", lambda a, b: mmd2_v(a, b, rbf)),
        "cmmd_unbiased": row("cmmd_unbiased", lambda a, b: mmd2_u(a, b, rbf)[0], CMMD_SCALE * error),
    }


def lpips_entries(parts: Mapping[str, Features], cfg: ScoresConfig) -> Entries:
    """Return LPIPS over pairs of one mask, over strangers, and within the synthetic set."""
    facts = common_facts(parts)
    shared = "the standard error takes the pairs to be independent, although they share images"
    lower = "lower rewards copies: read it beside the copy rate; no floor, because held-out pairs share no mask"

    def row(name: str, reason: str, note: str) -> dict[str, object]:
        values, floor = parts["synthetic"][name], parts["holdout"][name]
        yardstick = float(floor.mean()) if len(floor) else None
        more = {"n_pairs": len(values)}
        definition = LPIPS[f"lpips_{name}"]
        return mean_entry(values, definition, reason=reason, floor=yardstick, note=note, more=more, **facts)

    return {
        "lpips_paired": row("paired", NO_PARENT, lower),
        "lpips_unpaired": row("unpaired", "there is no such pair", shared),
        "lpips_diversity": row("diversity", "there is no such pair", shared),
    }
