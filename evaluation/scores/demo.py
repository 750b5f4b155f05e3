"""The demo profile: scores that need no pretrained weights, under names that nobody takes for the paper's."""

from collections.abc import Mapping

from evaluation.features import swd
from evaluation.features.config import ScoresConfig
from evaluation.features.store import Features
from evaluation.scores.families import (
    PRDC_TEXT,
    Entries,
    common_facts,
    frechet_entry,
    kernel_entry,
    prdc_entries,
    sets_of,
)
from evaluation.scores.record import entry, spread

NOTE = "Demo score, random features: not comparable with the paper's Table 1."
SEEDS = f"{NOTE} Encoders of different seeds differ in scale, so compare two sets seed by seed (values)."
DEMO = {
    "demo_swd": swd.DEFINITION,
    "demo_fd_rand": "Frechet distance between Gaussians fitted to the pooled features (248-d, unscaled) of a randomly "
    "initialised encoder, its batch norms calibrated on real images; mean over seeds.",
    "demo_kid_rand": "Squared maximum mean discrepancy between the same features, cubic kernel, unbiased; mean over "
    "seeds, standard error by jackknife (mean over seeds).",
    **{f"demo_{name}": text for name, text in PRDC_TEXT.items()},
}


def demo_entries(parts: Mapping[str, Features], cfg: ScoresConfig) -> Entries:
    """Return the row of each demo score."""
    meta = parts["synthetic"].meta
    facts = common_facts(parts) | {"seeds": meta["seeds"]}
    sets = [sets_of(parts, f"features_{seed}") for seed in meta["seeds"]]
    return {
        "demo_swd": _swd(parts, facts),
        "demo_fd_rand": frechet_entry(DEMO["demo_fd_rand"], sets, facts, SEEDS),
        "demo_kid_rand": kernel_entry(DEMO["demo_kid_rand"], sets, cfg, facts, SEEDS),
        **prdc_entries("demo_", sets, cfg, facts, NOTE),
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
        note=NOTE,
        more={
            "codec": float(parts["codec"]["swd"].mean()),
            "levels": {f"{px}px": float(level) for px, level in zip(parts["synthetic"]["swd_px"], levels, strict=True)},
        },
        **facts | {"backbone": "none: Laplacian pyramid, 48 patches an image, 128 directions", "weights": None},
    )
