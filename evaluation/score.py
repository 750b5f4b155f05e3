"""All scores of one synthetic set."""

from importlib.metadata import version
from typing import Any

from data.pairs.manifest import PairSet
from evaluation import fidelity, full
from evaluation.config import ScoresConfig
from evaluation.demo import ABSENT, demo_metrics
from evaluation.entry import entry, spread, standard_error
from evaluation.fidelity import Judge, mask_fidelity
from evaluation.loading import Loaded, load
from evaluation.weights import require, weights_folder

SPREADS = {"demo_fd_rand": "sd", "demo_kid_rand": "sd", "kid": "se"}
LIBRARIES = {
    "demo": ("numpy", "torch"),
    "full": ("numpy", "torch", "torch-fidelity", "open_clip_torch", "lpips", "torchvision"),
}


def score(
    real: PairSet, holdout: PairSet, synthetic: PairSet, cfg: ScoresConfig, judge: Judge
) -> tuple[dict[str, float | int | None], dict[str, object]]:
    """Return the flat scores of a synthetic set, and their details.

    `real` is all real training pairs, `holdout` real pairs that neither the generator nor the judge was trained on. The
    details hold an entry a score (see `evaluation.entry`), the profile and the versions of the libraries. What could
    not be computed is None, and the details say why.

    Raises: UserError for missing or altered weights (before any image is read), sets that are too small for the full
    profile, empty, unreadable or of different sizes.
    """
    networks = None
    if cfg.profile == "full":
        paths = require(full.NAMES, weights_folder(cfg.weights_dir))
        full.check_counts(cfg, len(real), len(synthetic))
        networks = full.load_networks(paths)
    sets = load({"real": real, "holdout": holdout, "synthetic": synthetic})
    if networks is None:
        entries = demo_metrics(**sets, cfg=cfg)
    else:
        entries = full.full_metrics(**sets, networks=networks, cfg=cfg)
    entries |= _mask_fidelity(sets["holdout"], sets["synthetic"], cfg, judge)
    entries["mos"] = entry(None, "Share of synthetic images that clinicians take for real.", reason="no rater file")
    return _flat(entries, len(real), len(synthetic)), {
        "profile": cfg.profile,
        "versions": {name: version(name) for name in LIBRARIES[cfg.profile]},
        **entries,
    }


def _mask_fidelity(holdout: Loaded, synthetic: Loaded, cfg: ScoresConfig, judge: Judge) -> dict[str, dict[str, object]]:
    ours = mask_fidelity(synthetic.images, synthetic.masks, judge, boxes=synthetic.boxes, batch=cfg.batch)
    theirs = mask_fidelity(holdout.images, holdout.masks, judge, boxes=holdout.boxes, batch=cfg.batch)
    yardstick = float(theirs.dice.mean())
    common = {"backbone": "the judge, a segmenter trained on real pairs only", "n_floor": len(holdout)}
    rows = {
        "mask_fidelity": entry(
            float(ours.dice.mean()),
            fidelity.DEFINITION,
            n_synthetic=len(synthetic),
            sd=spread(ours.dice),
            se=standard_error(ours.dice),
            floor=yardstick,
            note="floor is the judge on held-out real pairs: a ceiling in practice",
            **common,
        ),
        "mask_fidelity_real": entry(
            yardstick,
            fidelity.DEFINITION + " On held-out real pairs: the yardstick.",
            n_real=len(holdout),
            sd=spread(theirs.dice),
            se=standard_error(theirs.dice),
            backbone=common["backbone"],
        ),
    }
    permuted = ours.permuted
    rows["mask_fidelity_permuted"] = entry(
        None if permuted is None else float(permuted.mean()),
        fidelity.PERMUTED,
        n_synthetic=len(synthetic),
        sd=None if permuted is None else spread(permuted),
        se=None if permuted is None else standard_error(permuted),
        floor=None if theirs.permuted is None else float(theirs.permuted.mean()),
        reason=ours.reason,
        **common,
    )
    return rows


def _flat(entries: dict[str, dict[str, object]], n_real: int, n_synthetic: int) -> dict[str, Any]:
    absent = {"mos", *ABSENT} if "demo_swd" in entries else {"mos"}
    flat = {name: row["value"] for name, row in entries.items() if name not in absent}
    flat |= {f"{name}_{kind}": entries[name][kind] for name, kind in SPREADS.items() if name in flat}
    return flat | {"n_real": n_real, "n_synthetic": n_synthetic}
