"""The batches of training: which pairs, how they are changed, and made ready while the device computes."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from data.pairs.errors import UserError
from data.pairs.manifest import PairSet
from data.pairs.seeds import item_seed
from segmentation.config.architectures import ArchitectureRow
from segmentation.inference.inputs import load_pairs
from segmentation.training.augment import build_augment, donor_chooser, exchange

Batch = tuple[np.ndarray, np.ndarray]  # images uint8 (B, H, W, 3), masks uint8 (B, H, W) in 255ths


def chosen_pairs(real: PairSet, added: PairSet, row: ArchitectureRow) -> tuple[PairSet, PairSet]:
    """Return the real and the added pairs that the row trains on. A smaller share of the added ones is in every larger.

    Raises: UserError when none are left, or fewer added pairs are there than the row asks for.
    """
    if row.added_pairs is not None and row.added_pairs > len(added):
        raise UserError(
            f"{added.folder} holds {len(added)} pairs, and added_pairs asks for {row.added_pairs}: "
            "sample a larger multiple (volume.multiples), or lower it"
        )
    order = sorted(added.pairs, key=lambda pair: item_seed("added", pair.id))[: row.added_pairs]
    kept = replace(added, pairs=tuple(sorted(order, key=lambda pair: pair.id)))
    used = real if row.real_pairs else replace(real, pairs=())
    if not (used if row.real_pairs else kept).pairs:
        raise UserError(f"{(real if row.real_pairs else added).folder} holds no pairs to train on")
    return used, kept


def count_batches(row: ArchitectureRow, real: int, synthetic: int) -> int:
    """Return the number of batches of a whole run under the row's budget, for so many real and synthetic pairs."""
    pairs = {"equal_epochs": real + synthetic, "equal_steps": real}[row.budget]
    return row.epochs * math.ceil(pairs / row.batch)


def _ahead(make: Callable[[np.ndarray], Batch], parts: Sequence[np.ndarray]) -> Iterator[Batch]:
    """Yield make(part) for every part, the next of which is made while one is used."""
    with ThreadPoolExecutor(1) as pool:  # one thread, because augmentation draws from a stream of its own
        ready = pool.submit(make, parts[0])
        for part in parts[1:]:
            batch, ready = ready.result(), pool.submit(make, part)
            yield batch
        yield ready.result()


class TrainingPairs:
    """All pairs of a run, decoded once, and its batches. Every draw depends on the seed and on what is drawn for."""

    def __init__(
        self, real: PairSet, synthetic: PairSet, row: ArchitectureRow, seed: int, *, ahead: bool = False
    ) -> None:
        self.row, self.seed, self.ahead = row, seed, ahead
        sets = [load_pairs(pair_set, row) for pair_set in (real, synthetic)]
        self.images = [image for decoded in sets for image in decoded.images]
        self.masks = [mask for decoded in sets for mask in decoded.masks]
        self.keys = [f"real/{pair.id}" for pair in real.pairs] + [f"synthetic/{pair.id}" for pair in synthetic.pairs]
        self.augment = build_augment(row.augment)
        self.waited_s = 0.0
        domains = [pair.domain for pair in (*real.pairs, *synthetic.pairs)]
        self.donor = donor_chooser(row.colour_exchange, domains) if row.colour_exchange else None

    def _item(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask, key = self.images[index], self.masks[index], self.keys[index]
        if self.donor and self.row.colour_exchange:
            donor = self.images[self.donor(index, item_seed("donor", self.seed, epoch, key))]
            image = exchange(image, donor, wrap=self.row.colour_exchange.wrap)
        return self.augment(np.asarray(image), np.asarray(mask), item_seed("augment", self.seed, epoch, key))

    def _batch(self, indices: np.ndarray, epoch: int) -> Batch:
        items = [self._item(int(index), epoch) for index in indices]
        return np.stack([image for image, _ in items]), np.stack([mask for _, mask in items])

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch: a new order each time. With `ahead` the next one is made while one is used.

        That keeps a GPU busy; on the CPU the two would only be in each other's way.
        """
        order = np.random.default_rng(item_seed("order", self.seed, number)).permutation(len(self.keys))
        # nearly equal parts, because a remainder of one or two makes poor batch statistics
        parts = np.array_split(order, math.ceil(len(order) / self.row.batch))
        make = partial(self._batch, epoch=number)
        batches = _ahead(make, parts) if self.ahead else map(make, parts)
        for _ in parts:
            start = time.perf_counter()
            batch = next(batches)
            self.waited_s += time.perf_counter() - start
            yield batch
