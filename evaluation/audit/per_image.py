"""What is measured of every image by itself: mask fidelity, a thumbnail for the copy audit, its colours in Lab."""

from collections.abc import Mapping

import numpy as np
from tqdm import tqdm

from data.pairs.manifest import content
from data.pairs.prepared import LoneImages
from evaluation.audit.colour import lab_statistics
from evaluation.audit.mask_fidelity import Fidelity, Judge, mask_fidelity
from evaluation.audit.thumbnails import thumbnails
from evaluation.features.images import Images, check_alike
from evaluation.features.store import Features


def inspect_images(parts: Mapping[str, Images], judge: Judge, *, batch: int) -> dict[str, Features]:
    """Return the measures of each part, one row an image.

    Arrays: `parents`; of all but `train` `dice` in [0, 1], what the judge finds against the mask, and `permuted`,
    against another image's mask (empty where that is impossible; `reason` in meta says why); `thumbnails`
    (N, 32, 32, 3); `lab_mean` and `lab_sd` (N, 3); `lab_histogram` (N, 3, bins).

    Raises: UserError for empty sets and images of other sizes, all at once; BadImageError for one that cannot be read.
    """
    check_alike({part: images.set for part, images in parts.items()})
    nothing = Fidelity(np.empty(0), None, "the judge was trained on these images")
    return {
        part: _inspect(images, nothing if part == "train" else mask_fidelity(images, judge, batch=batch), batch, part)
        for part, images in parts.items()
    }


def _inspect(images: Images, fidelity: Fidelity, batch: int, name: str) -> Features:
    looked_at = []
    for number, some in enumerate(tqdm(images.batches(batch), desc=name, unit="batch", mininterval=5)):
        pairs = images.pairs[number * batch : number * batch + len(some)]
        contents = [content(pair, image) for pair, image in zip(pairs, some, strict=True)]
        looked_at.append((thumbnails(contents), *lab_statistics(contents)))
    small, mean, sd, histogram = (np.concatenate(column) for column in zip(*looked_at, strict=True))
    arrays = {
        "parents": np.array(images.parents, dtype=str),
        "dice": fidelity.dice,
        "permuted": np.empty(0) if fidelity.permuted is None else fidelity.permuted,
        "thumbnails": small,
        "lab_mean": mean,
        "lab_sd": sd,
        "lab_histogram": histogram,
    }
    meta = {"reason": fidelity.reason, "split": images.set.folder.name, "size_px": list(images[0].shape[:2])}
    return Features(images.ids, arrays, meta)


def inspect_lone(lone: LoneImages, *, batch: int) -> Features:
    """Return the thumbnails (N, 32, 32, 3) of images without masks: a generator may have learnt these by heart too."""
    blocks = [lone.rows[start : start + batch] for start in range(0, len(lone), batch)]
    small = [thumbnails([content(row, lone.image(row)) for row in rows]) for rows in blocks]
    return Features([row.id for row in lone.rows], {"thumbnails": np.concatenate(small)}, {"split": "unlabelled"})
