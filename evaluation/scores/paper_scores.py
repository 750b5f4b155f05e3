"""The paper's scores from the features of pretrained networks: FID, KID, CLIP-I, CMMD, LPIPS."""

from collections.abc import Mapping

import numpy as np

from evaluation.features.config import ScoresConfig
from evaluation.features.pairing import paired
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
    yardsticks,
)
from evaluation.scores.record import entry, spread, standard_error

CMMD_SCALE = 1000
FID = "Frechet distance between Gaussians fitted to Inception features of all synthetic and all real training images."
KID = (
    "Squared maximum mean discrepancy of Inception features, cubic kernel, unbiased, over the whole sets; "
    "standard error by a two-sample jackknife."
)
CLIP_I = "Mean cosine between CLIP embeddings over all pairs of a synthetic and a real training image."
CLIP_I_PAIRED = "Mean cosine between CLIP embeddings of a synthetic image and the real one whose mask it was made from."
CMMD = (
    "Squared maximum mean discrepancy of unit CLIP embeddings, Gaussian kernel of sigma 10, times 1000; "
    "biased V-statistic as in the reference code."
)
CMMD_UNBIASED = "CMMD as the unbiased U-statistic; standard error by a two-sample jackknife."
PAIRED = "Mean LPIPS between each synthetic image and the real training image whose mask it was made from."
UNPAIRED = "Mean LPIPS over random pairs of a real training image and a synthetic one that is not made from its mask."
DIVERSITY = "Mean LPIPS over random pairs of two synthetic images; higher is more diverse."
COPIES_CLIP = "The copy rate on CLIP embeddings, which sees copies that are cropped or moved."
DEFINITIONS = {
    "inception": {"fid": FID, "kid": KID, **PRDC_TEXT},
    "clip_b32": {"clip_i": CLIP_I, "clip_i_paired": CLIP_I_PAIRED, "copy_rate_clip": COPIES_CLIP},
    "clip_l336": {"cmmd": CMMD, "cmmd_unbiased": CMMD_UNBIASED},
    "lpips": {"lpips_paired": PAIRED, "lpips_unpaired": UNPAIRED, "lpips_diversity": DIVERSITY},
}
NO_PARENT = "no synthetic pair names a real training pair as its parent"


def inception_entries(parts: Mapping[str, Features], cfg: ScoresConfig) -> Entries:
    """Return FID, KID, precision, recall, density and coverage."""
    sets, facts = [sets_of(parts)], common_facts(parts)
    return {
        "fid": frechet_entry(FID, sets, facts),
        "kid": kernel_entry(KID, sets, cfg, facts),
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
            CLIP_I,
            floor=clip_i(sets.train, sets.holdout),
            note="a collapse to one typical image raises it; real_real, the mean cosine of two real training images, "
            "and the floor are the practical ceiling",
            more={"real_real": within_cosine(sets.train)},
            **facts,
        ),
        "clip_i_paired": entry(
            float(cosines.mean()) if both else None,
            CLIP_I_PAIRED,
            sd=spread(cosines) if both else None,
            se=standard_error(cosines) if both else None,
            reason=None if both else NO_PARENT,
            note="copies raise it",
            more={"n_pairs": len(both)},
            **facts,
        ),
    }


def cmmd_entries(parts: Mapping[str, Features], cfg: ScoresConfig) -> Entries:
    """Return CMMD as its reference code has it, and unbiased."""
    facts, sets = common_facts(parts), sets_of(parts)

    def row(definition: str, value: float, statistic: Statistic, se: float | None = None) -> dict[str, object]:
        beside = yardsticks(lambda a, b: CMMD_SCALE * statistic(a, b), [sets])
        return distance_entry(definition, [CMMD_SCALE * value], beside, facts, se=se)

    unbiased, error = mmd2_u(sets.train, sets.synthetic, rbf)
    return {
        "cmmd": row(CMMD, mmd2_v(sets.train, sets.synthetic, rbf), lambda a, b: mmd2_v(a, b, rbf)),
        "cmmd_unbiased": row(CMMD_UNBIASED, unbiased, lambda a, b: mmd2_u(a, b, rbf)[0], CMMD_SCALE * error),
    }


def lpips_entries(parts: Mapping[str, Features], cfg: ScoresConfig) -> Entries:
    """Return LPIPS over pairs of one mask, over strangers, and within the synthetic set."""
    facts, found, holdout = common_facts(parts), parts["synthetic"], parts["holdout"]
    shared = "the standard error takes the pairs to be independent, although they share images"

    def row(definition: str, name: str, reason: str, note: str) -> dict[str, object]:
        values, floor = found[name], holdout[name]
        return entry(
            float(values.mean()) if len(values) else None,
            definition,
            sd=spread(values),
            se=standard_error(values),
            floor=float(floor.mean()) if len(floor) else None,
            reason=None if len(values) else reason,
            note=note,
            more={"n_pairs": len(values)},
            **facts,
        )

    lower = "lower rewards copies: read it beside the copy rate; no floor, because held-out pairs share no mask"
    return {
        "lpips_paired": row(PAIRED, "paired", NO_PARENT, lower),
        "lpips_unpaired": row(UNPAIRED, "unpaired", "there is no such pair", shared),
        "lpips_diversity": row(DIVERSITY, "diversity", "there is no such pair", shared),
    }
