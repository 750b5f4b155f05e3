"""All scores of one synthetic set, from features and inspected images: no picture is read here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from data.pairs.errors import UserError
from evaluation.features.config import ScoresConfig
from evaluation.features.store import Features, read_parts
from evaluation.scores.audit_scores import (
    colour_entries,
    copy_audit,
    copy_entries,
    fidelity_entries,
    image_drift,
    image_rows,
    unlabelled_entries,
)
from evaluation.scores.by_extractor import FAMILIES
from evaluation.scores.distances import MIN_IMAGES
from evaluation.scores.families import Entries
from evaluation.scores.record import entry

Parts = Mapping[str, Features]
SPREADS = {"lite0_kernel": "se", "lite0_kernel_heldout": "se", "kid": "se", "cmmd_unbiased": "se"}
THUMBNAILS = "none: 16x16 tiles of thumbnails, 8 symmetries, 29 windows"
MOS = "Share of synthetic images that clinicians take for real (`python -m pipeline mos`)."


class Scored(NamedTuple):
    """What the score stage writes: flat numbers, their details, and one row of `COLUMNS` an image."""

    flat: dict[str, Any]
    details: dict[str, object]
    images: list[list[object]]


def read_sets(real: Path, synthetic: Path, names: tuple[str, ...]) -> dict[str, Parts]:
    """Return for each name (an extractor) the parts of the real pairs and of the synthetic set under it."""
    return {name: read_parts(real / name) | read_parts(synthetic / name) for name in names}


def score(features: Mapping[str, Parts], inspected: Parts, cfg: ScoresConfig) -> Scored:
    """Return the scores; `features` has the parts of each extractor in cfg.extractors, `inspected` those of `inspect`.

    Details hold an entry a score (see record.py). What could not be computed is None with its reason: the
    paper's scores whose extractor is not listed, and all that need more images than there are.

    Raises: UserError when cfg.kid_subset_size is more than the smaller set holds, or parts disagree on the images.
    """
    _check(features, inspected, cfg)
    entries: Entries = {}
    for name, (family, definitions) in FAMILIES.items():
        if name in cfg.extractors:
            n, m = len(features[name]["train"]), len(features[name]["synthetic"])
            if min(n, m) >= MIN_IMAGES:
                entries |= family(features[name], cfg)
                continue
            reason = f"needs {MIN_IMAGES} real and {MIN_IMAGES} synthetic images, got {n} and {m}"
        else:
            reason = f"scores.extractors in params.yaml lists no {name}"
            reason += "" if name == "lite0" else ", which needs pretrained weights"
        entries |= {score: entry(None, text, reason=reason) for score, text in definitions.items()}
    audit, drift = copy_audit(inspected, "thumbnails", cfg), image_drift(inspected)
    n_synthetic = len(inspected["synthetic"])
    entries |= fidelity_entries(inspected) | copy_entries(audit, n_synthetic, THUMBNAILS)
    entries |= unlabelled_entries(inspected, cfg, THUMBNAILS)
    if "clip_b32" in cfg.extractors:  # embeddings see copies that are cropped or moved
        backbone = str(features["clip_b32"]["synthetic"].meta["backbone"])
        entries |= copy_entries(copy_audit(features["clip_b32"], "features", cfg), n_synthetic, backbone, "_clip")
    entries |= colour_entries(inspected, drift) | {"mos": entry(None, MOS, reason="no rater file")}
    versions = {key: text for parts in features.values() for key, text in parts["train"].meta["versions"].items()}
    details = {
        "extractors": list(cfg.extractors),
        "holdout": inspected["holdout"].meta["split"],
        "versions": versions,
        **entries,
    }
    flat = _flat(entries, cfg, inspected)
    return Scored(flat, details, image_rows(inspected, audit, drift))


def _check(features: Mapping[str, Parts], inspected: Parts, cfg: ScoresConfig) -> None:
    needed = ("train", "holdout", "synthetic")
    problems = [f"inspected, {part}: is not there" for part in needed if part not in inspected]
    for name, parts in features.items():
        for part, found in ((part, inspected[part]) for part in needed if part in inspected):
            if part not in parts or parts[part].ids != found.ids:
                problems.append(f"{name}, {part}: other images than were inspected")
        alike = {str(parts[part].meta["weights"]) for part in parts}
        if len(alike) > 1:
            problems.append(f"{name}: real and synthetic features are of different weights")
    if problems:
        raise UserError("features do not belong together: run dvc repro, which extracts them anew", problems)
    smallest = min(len(inspected["train"]), len(inspected["synthetic"]))
    if cfg.kid_subset_size != "auto" and cfg.kid_subset_size > smallest:
        raise UserError(
            f"scores.kid_subset_size is {cfg.kid_subset_size}, but the smaller set holds {smallest} images: "
            f"set it to auto or to at most {smallest}"
        )


def _flat(entries: Entries, cfg: ScoresConfig, inspected: Parts) -> dict[str, Any]:
    """Return what `dvc metrics` compares: values and spreads, but no line for what was not asked for."""
    absent = {"mos"} | {score for name, (_, texts) in FAMILIES.items() if name not in cfg.extractors for score in texts}
    flat = {name: row["value"] for name, row in entries.items() if name not in absent}
    flat |= {f"{name}_{kind}": entries[name][kind] for name, kind in SPREADS.items() if name in flat}
    return flat | {"n_real": len(inspected["train"]), "n_synthetic": len(inspected["synthetic"])}
