"""What augmentation and cut-and-paste share: a made pair, and writing one for every copy of every real pair."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.baselines.config import MadePairs
from data.masks.config import Move
from data.masks.moves import moves_as_text
from data.pairs.assemble import write_pair
from data.pairs.manifest import Pair, PairSet, content, file_names, write_manifest
from data.pairs.parallel import threaded
from data.pairs.seeds import item_seed
from data.pairs.tables import write_table

Array = np.ndarray
PROVENANCE = ("id", "parent", "donor", "copy", "attempts", "moves", "rejected")


class Made(NamedTuple):
    """A made pair, how it was made, and why the draws before it were rejected."""

    image: Array  # uint8 (H, W, 3)
    labels: Array  # uint8 (H, W) in {0..K}
    moves: Sequence[Move]
    rejected: Counter[str]
    donor: str = ""


Make = Callable[[Pair, Array, Array, np.random.Generator], Made]


def write_made(real: PairSet, name: str, row: MadePairs, make: Make, folder: Path) -> PairSet:
    """Write `row.copies` pairs made of each real one, a manifest and provenance.csv to `folder`.

    `make` gets the pair, its image and labels without padding, and a random generator that depends on (seed, id, copy)
    alone: not on the order, nor on how many copies there are. Padding takes no part and stays black.
    """

    def write(task: tuple[int, Pair]) -> tuple[Pair, dict[str, object]]:
        copy, parent = task
        own_seed = item_seed(row.seed, parent.id, copy)
        image, labels = real.image(parent), real.labels(parent)
        made = make(parent, content(parent, image), content(parent, labels), np.random.default_rng(own_seed))
        framed, framed_labels = np.zeros_like(image), np.zeros_like(labels)
        content(parent, framed)[:] = made.image
        content(parent, framed_labels)[:] = made.labels
        made_id = f"{parent.id}-{name}-{copy}"
        image_name, mask_name = file_names(made_id)
        pair = replace(parent, id=made_id, image=image_name, mask=mask_name, source=name, native="")
        pair = replace(pair, parent=parent.id, donor=made.donor, seed=str(own_seed))
        line = {"id": made_id, "parent": parent.id, "donor": made.donor, "copy": copy}
        line |= {"attempts": made.rejected.total() + 1, "moves": moves_as_text(made.moves)}
        rejected = " ".join(f"{reason}:{count}" for reason, count in sorted(made.rejected.items()))
        return write_pair(folder, pair, framed, framed_labels), line | {"rejected": rejected}

    tasks = [(copy, parent) for copy in range(1, row.copies + 1) for parent in real.pairs]
    done = list(threaded(write, tasks, title=name, unit="pair"))
    write_table(folder / "provenance.csv", PROVENANCE, [line for _, line in done])
    return write_manifest(folder, [pair for pair, _ in done])
