"""The images of a pair set as a stream, so that memory does not grow with their number, and pairs of images."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from data.pairs.errors import UserError
from data.pairs.manifest import Pair, PairSet, read_pairs
from data.pairs.prepared import Prepared

JPEG_QUALITY = 95

Pairs = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Images:
    """The pairs of one set in the order of their ids; with `codec` every image went through JPEG once more."""

    set: PairSet
    codec: bool = False

    def __len__(self) -> int:
        return len(self.set)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Return the rows of the manifest."""
        return self.set.pairs

    @property
    def ids(self) -> list[str]:
        """Return the ids of the pairs."""
        return [pair.id for pair in self.pairs]

    @property
    def parents(self) -> list[str]:
        """Return the id of the real pair that each comes from; an image of the codec control comes from itself."""
        return self.ids if self.codec else [pair.parent for pair in self.pairs]

    def __getitem__(self, index: int) -> np.ndarray:
        """Return one image, uint8 (H, W, 3)."""
        image = self.set.image(self.pairs[index])
        if not self.codec:
            return image
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY)
        return np.asarray(Image.open(file))

    def mask(self, index: int) -> np.ndarray:
        """Return one mask, uint8 (H, W) in {0, 1}."""
        return self.set.mask(self.pairs[index])

    def take(self, indices: Sequence[int]) -> np.ndarray:
        """Return some images, uint8 (n, H, W, 3)."""
        return np.stack([self[index] for index in indices])

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """Yield all images in order, uint8 (up to `size`, H, W, 3) at a time."""
        for start in range(0, len(self), size):
            yield self.take(range(start, min(start + size, len(self))))


def image_sets(prepared: Path, added: Path | None) -> dict[str, Images]:
    """Return the sets to look at by name: synthetic, which was added, or train and holdout of the prepared splits."""
    if added:
        return {"synthetic": Images(read_pairs(added))}
    splits = Prepared(prepared)
    return {"train": Images(splits.train), "holdout": Images(read_pairs(prepared / splits.test_names()[0]))}


def check_alike(sets: Mapping[str, PairSet]) -> None:
    """Check by the files' headers that no set is empty and all images and masks have the size of the first image.

    Raises: UserError that names each empty set, each file that is no image and each of another size; a resize here
    would change the scores, so there is none.
    """
    problems = [f"{name} ({pairs.folder}) holds no pairs" for name, pairs in sets.items() if not len(pairs)]
    size = None
    for pairs in sets.values():
        for pair in pairs.pairs:
            for name in (pair.image, pair.mask):
                try:
                    with Image.open(pairs.folder / name) as image:
                        size = size or image.size
                        if image.size != size:
                            problems.append(
                                f"{pairs.folder}, {name}: is {image.width} x {image.height} px, the first image of the "
                                f"real set {size[0]} x {size[1]}: resize the set"
                            )
                except OSError as error:
                    problems.append(f"{pairs.folder}, {name}: {error}")
    if problems:
        raise UserError(f"pair sets cannot be scored: {len(problems)} problems", problems)


def paired(real_ids: Sequence[str], parents: Sequence[str]) -> list[tuple[int, int]]:
    """Return (i, j) for every synthetic j whose parent is the real i."""
    place = {name: i for i, name in enumerate(real_ids)}
    return [(place[parent], j) for j, parent in enumerate(parents) if parent in place]


def unpaired(first: Sequence[str], second: Sequence[str], most: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return at most `most` different random pairs (i, j), sorted, whose names differ, of all that there are."""
    return _drawn(np.asarray(first)[:, None] != np.asarray(second)[None], most, rng)


def within(n: int, most: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return at most `most` different random pairs i < j of n images, sorted, of all that there are."""
    return _drawn(np.triu(np.ones((n, n), bool), 1), most, rng)


def _drawn(allowed: np.ndarray, most: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    places = np.argwhere(allowed)
    chosen = rng.choice(len(places), min(most, len(places)), replace=False)
    return [(int(i), int(j)) for i, j in places[np.sort(chosen)]]
