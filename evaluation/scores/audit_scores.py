"""Scores that look at every image by itself: mask fidelity, the copy audit, colours."""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.audit import colour, copies
from evaluation.audit import mask_fidelity as fidelity
from evaluation.audit.copies import CopyAudit
from evaluation.features.config import ScoresConfig
from evaluation.features.store import Features
from evaluation.scores.families import Entries, counts
from evaluation.scores.record import entry, mean_entry, spread, standard_error

COLUMNS = (
    "id", "parent", "mask_fidelity", "colour_drift", "copy", "copy_distance", "nearest", "nearest_is_parent",
)  # fmt: skip
UNLABELLED = "Against the images without masks in place of the training images: "
OWN_START = "Share of synthetic images whose nearest image without a mask is the one that their mask was found in."
JUDGE = "the judge, a segmenter trained on real pairs only"


def copy_audit(
    parts: Mapping[str, Features], array: str, cfg: ScoresConfig, against: str = "train", parents: Sequence[str] = ()
) -> CopyAudit:
    """Return the copy audit of an array of the parts: `thumbnails` of the inspected ones, or `features` of CLIP.

    `against` is the part that may have been copied, `parents` its ids that the synthetic images are made of, without
    which they are those of the masks.
    """
    sets = [parts[part][array] for part in (against, "holdout", "synthetic")]
    parents = parents or parts["synthetic"]["parents"].tolist()
    return copies.audit(*sets, train_ids=parts[against].ids, parents=parents, quantile=cfg.copy_quantile)


def unlabelled_entries(parts: Mapping[str, Features], cfg: ScoresConfig, backbone: str) -> Entries:
    """Return the copy rate against the images without masks, which a base or a generator may have been trained on.

    Of a set that starts from such images also how many are still nearest to their own, by the ids that `masks` gives.
    """
    if "unlabelled" not in parts:
        return {}
    known, ids = set(parts["unlabelled"].ids), parts["synthetic"].ids
    own = [name if name in known else name.rsplit("-", 2)[0] for name in ids]
    audit = copy_audit(parts, "thumbnails", cfg, "unlabelled", own)
    found = copy_entries(audit, len(ids), backbone)
    rate = {**found["copy_rate"], "definition": UNLABELLED + str(found["copy_rate"]["definition"])}
    kept = {"self_retrieval_unlabelled": {**found["self_retrieval"], "definition": OWN_START}}
    return {"copy_rate_unlabelled": rate} | (kept if audit.self_retrieval is not None else {})


def image_rows(parts: Mapping[str, Features], audit: CopyAudit, drift: np.ndarray) -> list[list[object]]:
    """Return one row of `COLUMNS` for each synthetic image; what could not be computed is an empty cell."""
    train, synthetic = parts["train"], parts["synthetic"]
    flagged: Sequence[object] = [""] * len(synthetic) if audit.flagged is None else audit.flagged.astype(int).tolist()
    return [
        [name, parent, round(float(dice), 6), round(float(far), 4), copy, round(float(distance), 6), near, int(own)]
        for name, parent, dice, far, copy, distance, near, own in zip(
            synthetic.ids,
            synthetic["parents"].tolist(),
            synthetic["dice"],
            drift,
            flagged,
            audit.distance,
            [train.ids[place] for place in audit.nearest],
            audit.nearest_is_parent,
            strict=True,
        )
    ]


def fidelity_entries(parts: Mapping[str, Features]) -> Entries:
    """Return mask fidelity, its control with permuted masks, and the yardstick on held-out real pairs."""
    ours, theirs = parts["synthetic"], parts["holdout"]
    facts = {"n_synthetic": len(ours), "n_floor": len(theirs), "backbone": JUDGE}
    control = float(theirs["permuted"].mean()) if len(theirs["permuted"]) else None
    return {
        "mask_fidelity": mean_entry(
            ours["dice"], fidelity.DEFINITION, floor=float(theirs["dice"].mean()),
            note="floor is the judge on held-out real pairs: a ceiling in practice", **facts,
        ),
        "mask_fidelity_real": mean_entry(
            theirs["dice"], fidelity.DEFINITION + " On held-out real pairs: the yardstick.", n_real=len(theirs),
            backbone=JUDGE,
        ),
        "mask_fidelity_permuted": mean_entry(
            ours["permuted"], fidelity.PERMUTED, floor=control, reason=ours.meta["reason"], **facts
        ),
    }  # fmt: skip


def copy_entries(audit: CopyAudit, n_synthetic: int, backbone: str, suffix: str = "") -> Entries:
    """Return what the audit says of the set; `suffix` tells an audit on embeddings from the one on thumbnails."""
    facts = {"n_real": audit.n_train, "n_synthetic": n_synthetic, "n_floor": audit.n_holdout, "backbone": backbone}
    unknown = None if audit.self_retrieval is not None else "no image has its parent among the training images"

    def part(rate: float | None, of: str) -> dict[str, object]:
        return entry(rate, f"The part of the copy rate that is copies of {of}.", reason=audit.reason, **facts)

    entries = {
        "copy_rate": entry(
            audit.copy_rate, copies.DEFINITION, se=None if audit.flagged is None else standard_error(audit.flagged),
            floor=audit.expected_rate, reason=audit.reason, note=audit.note, more={"threshold": audit.threshold},
            **facts,
        ),
        "copy_rate_parent": part(audit.copy_rate_parent, "the image of the own mask"),
        "copy_rate_other": part(audit.copy_rate_other, "another training image"),
        "closer_to_train": entry(
            audit.closer_to_train, copies.CLOSER, floor=0.5, note="floor is that of images without memory of any",
            more={"closer_of_copies": audit.closer_of_copies}, **facts,
        ),
        "self_retrieval": entry(
            audit.self_retrieval, copies.SELF_RETRIEVAL, floor=1 / audit.n_train, reason=unknown,
            note="floor is chance", **facts,
        ),
    }  # fmt: skip
    return {f"{name}{suffix}": row for name, row in entries.items()}


def colour_entries(parts: Mapping[str, Features], drift: np.ndarray) -> Entries:
    """Return how far the colours of the set lie from those of the real images; `drift` is that of each image."""
    facts = counts(parts) | {"backbone": "none: CIE Lab"}
    train, others = parts["train"], (parts["synthetic"], parts["holdout"])
    shift, shift_floor = (colour.colour_shift(train["lab_mean"], other["lab_mean"]) for other in others)
    apart, apart_floor = (colour.histogram_distance(train["lab_histogram"], other["lab_histogram"]) for other in others)
    drift_floor = float(image_drift(parts, "holdout").mean())
    return {
        "colour_shift": entry(shift, colour.SHIFT, floor=shift_floor, **facts),
        "colour_histogram": entry(
            float(apart.mean()), colour.HISTOGRAM, floor=float(apart_floor.mean()),
            more={"channels": dict(zip("Lab", apart.tolist(), strict=True))}, **facts,
        ),
        "colour_drift": entry(
            float(drift.mean()), f"Mean over images. {colour.DRIFT}", sd=spread(drift), floor=drift_floor, **facts
        ),
    }  # fmt: skip


def image_drift(parts: Mapping[str, Features], part: str = "synthetic") -> np.ndarray:
    """Return the colour drift of each image of a part, (N,)."""
    train, other = parts["train"], parts[part]
    return colour.colour_drift(train["lab_mean"], train["lab_sd"], other["lab_mean"], other["lab_sd"])
