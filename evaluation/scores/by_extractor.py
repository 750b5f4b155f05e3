"""The scores of each extractor.

The paper's are FID, KID, CLIP-I, CMMD and LPIPS, of networks that need a download. Those of lite0, which needs none,
have names that nobody takes for the paper's.
"""

from collections.abc import Callable, Mapping

import numpy as np

from evaluation.features.config import ScoresConfig
from evaluation.features.images import paired
from evaluation.features.store import Features
from evaluation.scores.distances import clip_i, mmd2_u, mmd2_v, rbf, within_cosine
from evaluation.scores.families import (
    PRDC_TEXT,
    Entries,
    common_facts,
    distance_entry,
    frechet_entry,
    held_out_entry,
    kernel_entry,
    prdc_entries,
    sets_of,
)
from evaluation.scores.record import entry, mean_entry

Family = Callable[[Mapping[str, Features], ScoresConfig], Entries]
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
LITE0_NOTE = "Not FID, not KID: these features are not Inception's, so no value of the paper stands beside it."
LITE0 = {
    "lite0_frechet": "Frechet distance between Gaussians fitted to the features of all synthetic and all real training "
    "images.",
    "lite0_kernel": "Squared maximum mean discrepancy of the features, cubic kernel, unbiased, over the whole sets; "
    "standard error by a two-sample jackknife. It hardly sees brightness, contrast and a faint tint, which are in "
    "colour_shift and colour_histogram.",
    "lite0_kernel_heldout": "The same to the held-out real images (the test set whose name comes first), which no copy "
    "of a training image is near to; its floor is the distance of the training images to them.",
    **{f"lite0_{name}": text for name, text in PRDC_TEXT.items()},
}
NO_PARENT = "no synthetic pair names a real training pair as its parent"


def inception_entries(parts: Mapping[str, Features], cfg: ScoresConfig) -> Entries:
    """Return FID, KID, precision, recall, density and coverage."""
    sets, facts = sets_of(parts), common_facts(parts)
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

    def unbiased(real: np.ndarray, other: np.ndarray) -> float:
        return CMMD_SCALE * mmd2_u(real, other, rbf)[0]

    def biased(real: np.ndarray, other: np.ndarray) -> float:
        return CMMD_SCALE * mmd2_v(real, other, rbf)

    error = CMMD_SCALE * mmd2_u(sets.train, sets.synthetic, rbf)[1]
    return {
        "cmmd": distance_entry(CMMD["cmmd"], biased, sets, facts),
        "cmmd_unbiased": distance_entry(CMMD["cmmd_unbiased"], unbiased, sets, facts, se=error),
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


def lite0_entries(parts: Mapping[str, Features], cfg: ScoresConfig) -> Entries:
    """Return the row of each score of the network that needs no download."""
    sets, facts = sets_of(parts), common_facts(parts)
    return {
        "lite0_frechet": frechet_entry(LITE0["lite0_frechet"], sets, facts, LITE0_NOTE),
        "lite0_kernel": kernel_entry(LITE0["lite0_kernel"], sets, cfg, facts, LITE0_NOTE),
        "lite0_kernel_heldout": held_out_entry(LITE0["lite0_kernel_heldout"], sets, facts, LITE0_NOTE),
        **prdc_entries("lite0_", sets, cfg, facts, "in the features of lite0"),
    }


# extractor -> what computes its scores, and what each of them is
FAMILIES: dict[str, tuple[Family, dict[str, str]]] = {
    "lite0": (lite0_entries, LITE0),
    "inception": (inception_entries, INCEPTION),
    "clip_b32": (clip_i_entries, CLIP_I),
    "clip_l336": (cmmd_entries, CMMD),
    "lpips": (lpips_entries, LPIPS),
}
