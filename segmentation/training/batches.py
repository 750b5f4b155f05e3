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
from segmentation.config.architectures import ArchitectureRow, Curriculum
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


def curriculum_of(row: ArchitectureRow, added: PairSet) -> Curriculum | None:
    """Return the row's curriculum where there are synthetic pairs to draw; real pairs twice are none."""
    return row.synthetic if any(pair.source != "duplicate" for pair in added.pairs) else None


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
        self,
        real: PairSet,
        synthetic: PairSet,
        row: ArchitectureRow,
        seed: int,
        *,
        batches: int | None = None,
        ahead: bool = False,
    ) -> None:
        """A curriculum goes by the `batches` of the whole run: if None, what the budget gives for these pairs."""
        self.row, self.seed, self.ahead = row, seed, ahead
        self.real, self.synthetic, self.curriculum = len(real), len(synthetic), curriculum_of(row, synthetic)
        self.in_epoch = math.ceil((self.real if self.curriculum else self.real + self.synthetic) / row.batch)
        self.epochs = (batches or count_batches(row, self.real, self.synthetic)) / self.in_epoch
        sets = [load_pairs(pair_set, row) for pair_set in (real, synthetic)]
        self.images = [image for decoded in sets for image in decoded.images]
        self.masks = [mask for decoded in sets for mask in decoded.masks]
        self.keys = [f"real/{pair.id}" for pair in real.pairs] + [f"synthetic/{pair.id}" for pair in synthetic.pairs]
        self.augment = build_augment(row.augment)
        self.waited_s = 0.0
        donors = real.pairs if self.curriculum else (*real.pairs, *synthetic.pairs)
        domains = [pair.domain for pair in donors]
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

    def _order(self, epoch: int) -> np.ndarray:
        """Return the places of an epoch's pairs, in the order of training: real ones come before synthetic ones."""
        count = self.real if self.curriculum else self.real + self.synthetic
        order = np.random.default_rng(item_seed("order", self.seed, epoch)).permutation(count)
        if self.curriculum:
            rng = np.random.default_rng(item_seed("synthetic", self.seed, epoch))
            drawn = rng.random(count) < self.curriculum.chance(epoch / self.epochs)
            order[drawn] = self.real + np.resize(rng.permutation(self.synthetic), np.count_nonzero(drawn))
        return order

    def parts(self, epoch: int) -> list[np.ndarray]:
        """Return the places of the pairs of each batch of an epoch."""
        # nearly equal parts, because a remainder of one or two makes poor batch statistics
        return np.array_split(self._order(epoch), self.in_epoch)

    def synthetic_draws(self, batches: int) -> int:
        """Return how many synthetic pairs the first batches of a run hold."""
        epochs = range(math.ceil(batches / self.in_epoch))
        parts = [part for epoch in epochs for part in self.parts(epoch)][:batches]
        return sum(int(np.count_nonzero(part >= self.real)) for part in parts)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch: a new order each time. With `ahead` the next one is made while one is used.

        That keeps a GPU busy; on the CPU the two would only be in each other's way.
        """
        parts = self.parts(number)
        make = partial(self._batch, epoch=number)
        batches = _ahead(make, parts) if self.ahead else map(make, parts)
        for _ in parts:
            start = time.perf_counter()
            batch = next(batches)
            self.waited_s += time.perf_counter() - start
            yield batch
