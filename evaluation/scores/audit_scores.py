"""Scores that look at every image by itself: mask fidelity, the copy audit, colours."""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.audit import colour, copies
from evaluation.audit import mask_fidelity as fidelity
from evaluation.audit.copies import CopyAudit
from evaluation.features.config import ScoresConfig
from evaluation.features.store import Features
from evaluation.scores.families import Entries, counts
from evaluation.scores.record import entry, spread, standard_error

COLUMNS = (
    "id", "parent", "mask_fidelity", "colour_drift", "copy", "copy_distance", "nearest", "nearest_is_parent",
)  # fmt: skip
JUDGE = "the judge, a segmenter trained on real pairs only"


def image_audit(parts: Mapping[str, Features], cfg: ScoresConfig) -> CopyAudit:
    """Return the copy audit of the inspected parts."""
    small = [parts[part]["thumbnails"] for part in ("train", "holdout", "synthetic")]
    parents = parts["synthetic"]["parents"].tolist()
    return copies.audit(*small, train_ids=parts["train"].ids, parents=parents, quantile=cfg.copy_quantile)


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
    yardstick = float(theirs["dice"].mean())

    def row(values: np.ndarray, definition: str, **facts: object) -> dict[str, object]:
        if not len(values):
            return entry(None, definition, backbone=JUDGE, **facts)
        mean, sd, se = float(values.mean()), spread(values), standard_error(values)
        return entry(mean, definition, sd=sd, se=se, backbone=JUDGE, **facts)

    n = {"n_synthetic": len(ours), "n_floor": len(theirs)}
    control = float(theirs["permuted"].mean()) if len(theirs["permuted"]) else None
    return {
        "mask_fidelity": row(
            ours["dice"], fidelity.DEFINITION, floor=yardstick,
            note="floor is the judge on held-out real pairs: a ceiling in practice", **n,
        ),
        "mask_fidelity_real": row(
            theirs["dice"], fidelity.DEFINITION + " On held-out real pairs: the yardstick.", n_real=len(theirs)
        ),
        "mask_fidelity_permuted": row(
            ours["permuted"], fidelity.PERMUTED, floor=control, reason=ours.meta["reason"], **n
        ),
    }  # fmt: skip


def copy_entries(audit: CopyAudit, n_synthetic: int, backbone: str, suffix: str = "") -> Entries:
    """Return what the audit says of the set; `suffix` tells an audit on embeddings from the one on thumbnails."""
    facts = {"n_real": audit.n_train, "n_synthetic": n_synthetic, "n_floor": audit.n_holdout, "backbone": backbone}
    flags = {"reason": audit.reason, "floor": audit.expected_rate, "note": audit.note}
    se = None if audit.flagged is None else standard_error(audit.flagged)
    found = None if audit.self_retrieval is not None else "no image has its parent among the training images"
    return {
        f"copy_rate{suffix}": entry(
            audit.copy_rate, copies.DEFINITION, se=se, more={"threshold": audit.threshold}, **flags, **facts
        ),
        f"copy_rate_parent{suffix}": entry(
            audit.copy_rate_parent, "The part of the copy rate that is copies of the image of the own mask.",
            reason=audit.reason, **facts,
        ),
        f"copy_rate_other{suffix}": entry(
            audit.copy_rate_other, "The part of the copy rate that is copies of another training image.",
            reason=audit.reason, **facts,
        ),
        f"closer_to_train{suffix}": entry(
            audit.closer_to_train, copies.CLOSER, floor=0.5, note="floor is that of images without memory of any",
            more={"closer_of_copies": audit.closer_of_copies}, **facts,
        ),
        f"self_retrieval{suffix}": entry(
            audit.self_retrieval, copies.SELF_RETRIEVAL, floor=audit.chance, reason=found, note="floor is chance",
            **facts,
        ),
    }  # fmt: skip


def embedding_entries(parts: Mapping[str, Features], cfg: ScoresConfig) -> Entries:
    """Return the copy audit on CLIP embeddings, which sees copies that are cropped or moved."""
    vectors = [parts[part]["features"] for part in ("train", "holdout", "synthetic")]
    parents = parts["synthetic"]["parents"].tolist()
    audit = copies.embedding_audit(*vectors, train_ids=parts["train"].ids, parents=parents, quantile=cfg.copy_quantile)
    return copy_entries(audit, len(parts["synthetic"]), str(parts["synthetic"].meta["backbone"]), "_clip")


def colour_entries(parts: Mapping[str, Features], drift: np.ndarray) -> Entries:
    """Return how far the colours of the set lie from those of the real images; `drift` is that of each image."""
    facts = counts(parts) | {"backbone": "none: CIE Lab"}
    train, synthetic, holdout = (parts[part] for part in ("train", "synthetic", "holdout"))
    shifts = [colour.colour_shift(train["lab_mean"], other["lab_mean"]) for other in (synthetic, holdout)]
    apart = [
        colour.histogram_distance(train["lab_histogram"], other["lab_histogram"]) for other in (synthetic, holdout)
    ]
    channels = dict(zip("Lab", apart[0].tolist(), strict=True))
    fresh = image_drift(parts, "holdout")
    return {
        "colour_shift": entry(shifts[0], colour.SHIFT, floor=shifts[1], **facts),
        "colour_histogram": entry(
            float(apart[0].mean()), colour.HISTOGRAM, floor=float(apart[1].mean()), more={"channels": channels}, **facts
        ),
        "colour_drift": entry(
            float(drift.mean()),
            f"Mean over images. {colour.DRIFT}",
            sd=spread(drift),
            floor=float(fresh.mean()),
            **facts,
        ),
    }


def image_drift(parts: Mapping[str, Features], part: str = "synthetic") -> np.ndarray:
    """Return the colour drift of each image of a part, (N,)."""
    train, other = parts["train"], parts[part]
    return colour.colour_drift(train["lab_mean"], train["lab_sd"], other["lab_mean"], other["lab_sd"])
