"""The scores of each extractor.

The paper's are from the features of pretrained networks: FID, KID, CLIP-I, CMMD, LPIPS. The demo's need no pretrained
weights, and have names that nobody takes for the paper's.
"""

from collections.abc import Callable, Mapping

import numpy as np

from evaluation.features import swd
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
    kernel_entry,
    prdc_entries,
    sets_of,
)
from evaluation.scores.record import entry, mean_entry, spread

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
DEMO_NOTE = "Demo score, random features: not comparable with the paper's Table 1."
DEMO_SEEDS = f"{DEMO_NOTE} Encoders of different seeds differ in scale, so compare two sets seed by seed (values)."
DEMO = {
    "demo_swd": swd.DEFINITION,
    "demo_fd_rand": "Frechet distance between Gaussians fitted to the pooled features (248-d, unscaled) of a randomly "
    "initialised encoder, its batch norms calibrated on real images; mean over seeds.",
    "demo_kid_rand": "Squared maximum mean discrepancy between the same features, cubic kernel, unbiased; mean over "
    "seeds, standard error by jackknife (mean over seeds).",
    **{f"demo_{name}": text for name, text in PRDC_TEXT.items()},
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

    def unbiased(real: np.ndarray, other: np.ndarray) -> float:
        return CMMD_SCALE * mmd2_u(real, other, rbf)[0]

    def biased(real: np.ndarray, other: np.ndarray) -> float:
        return CMMD_SCALE * mmd2_v(real, other, rbf)

    error = CMMD_SCALE * mmd2_u(sets.train, sets.synthetic, rbf)[1]
    return {
        "cmmd": distance_entry(CMMD["cmmd"], biased, [sets], facts),
        "cmmd_unbiased": distance_entry(CMMD["cmmd_unbiased"], unbiased, [sets], facts, se=error),
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


def demo_entries(parts: Mapping[str, Features], cfg: ScoresConfig) -> Entries:
    """Return the row of each demo score."""
    meta = parts["synthetic"].meta
    facts = common_facts(parts) | {"seeds": meta["seeds"]}
    sets = [sets_of(parts, f"features_{seed}") for seed in meta["seeds"]]
    return {
        "demo_swd": _swd(parts, facts),
        "demo_fd_rand": frechet_entry(DEMO["demo_fd_rand"], sets, facts, DEMO_SEEDS),
        "demo_kid_rand": kernel_entry(DEMO["demo_kid_rand"], sets, cfg, facts, DEMO_SEEDS),
        **prdc_entries("demo_", sets, cfg, facts, DEMO_NOTE),
    }


def _swd(parts: Mapping[str, Features], facts: dict[str, object]) -> dict[str, object]:
    """Each part holds its distances to the training images, (seeds, levels): patches are not kept."""
    totals = parts["synthetic"]["swd"].mean(1)
    levels = parts["synthetic"]["swd"].mean(0)
    return entry(
        float(totals.mean()),
        DEMO["demo_swd"],
        sd=spread(totals),
        floor=float(parts["holdout"]["swd"].mean()),
        note=DEMO_NOTE,
        more={
            "codec": float(parts["codec"]["swd"].mean()),
            "levels": {f"{px}px": float(level) for px, level in zip(parts["synthetic"]["swd_px"], levels, strict=True)},
        },
        **facts | {"backbone": "none: Laplacian pyramid, 48 patches an image, 128 directions", "weights": None},
    )


# extractor -> what computes its scores, and what each of them is
FAMILIES: dict[str, tuple[Family, dict[str, str]]] = {
    "demo": (demo_entries, DEMO),
    "inception": (inception_entries, INCEPTION),
    "clip_b32": (clip_i_entries, CLIP_I),
    "clip_l336": (cmmd_entries, CMMD),
    "lpips": (lpips_entries, LPIPS),
}
