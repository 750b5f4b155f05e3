"""Sampling images for masks on any number of processes, one image file at a time, resumed where it stopped."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data.pairs.errors import UserError
from data.pairs.image_io import write_image
from data.pairs.manifest import Pair, PairSet
from data.pairs.seeds import item_seed
from data.pairs.training import accelerator
from siamese.base.devices import is_out_of_memory
from siamese.config.sections import Needs, SamplingConfig

WAITING = 32  # images: memory, and what a kill loses
SHOWN = 4  # ids in an error


class Request(NamedTuple):
    """One image to make. Every draw comes from `seed`, so that no image depends on its batch."""

    id: str
    mask: np.ndarray  # (H, W) in [0, 1], as PairSet.hint gives it
    seed: int
    reference: np.ndarray | None = None  # uint8 (H, W, 3): the real image that the mask belongs to


class Sampler(NamedTuple):
    """A trained generator of any method, on this process's device."""

    needs: Needs  # of the method
    settings: dict[str, str]  # what changed the images beside the weights, as text for their files: steps, ...
    # yields an image for each request, uint8 (H, W, 3), which depends on that request alone
    sample: Callable[[Sequence[Request]], Iterator[np.ndarray]]


@contextlib.contextmanager
def image_writer() -> Iterator[Callable[[Path, np.ndarray, Mapping[str, str]], None]]:
    """Yield a function that writes an image with its text in a thread, so that the device need not wait.

    Up to WAITING images are on their way, and the block ends when all of them are written. An error of the thread is
    raised by the next call, or at the end.
    """
    thread = ThreadPoolExecutor(1, "write-image")
    pending: deque[Future[None]] = deque()

    def write(path: Path, image: np.ndarray, text: Mapping[str, str]) -> None:
        while len(pending) >= WAITING or (pending and pending[0].done()):
            pending.popleft().result()
        pending.append(thread.submit(write_image, path, image, text))

    try:
        yield write
        while pending:
            pending.popleft().result()
    finally:
        thread.shutdown(cancel_futures=True)


def provenance_of(sampler: Sampler) -> dict[str, str]:
    """Return the text that every image of a sampler carries, beside the names of its generator and base."""
    copies = {"near-copy": "yes"} if sampler.needs.near_copies else {}
    return {**sampler.settings, "precision": accelerator().mixed_precision, "synthetic": "yes", **copies}


def own_parents(masks: PairSet, real: PairSet | None) -> dict[str, Pair]:
    """Return for each mask's id the real pair that it is the mask of.

    Raises: UserError, with ids, when a mask was moved or its parent is not among the real pairs: beside another image
    it would say that a lesion is where none is.
    """
    if real is None:
        raise UserError("this generator samples with the real image of each mask: the training pairs are needed")
    parents = {pair.id: pair for pair in real.pairs}
    orphans = [pair.id for pair in masks.pairs if pair.parent not in parents]
    moved = [
        pair.id
        for pair in masks.pairs
        if pair.parent in parents and not np.array_equal(masks.labels(pair), real.labels(parents[pair.parent]))
    ]
    problems = [
        f"{len(ids)} {what}, such as {', '.join(ids[:SHOWN])}"
        for ids, what in ((moved, "masks are not those of their images"), (orphans, "masks have no image in training"))
        if ids
    ]
    if problems:
        advice = "take masks of kind: real for this generator, or a generator that needs no image"
        raise UserError(
            "this generator pairs each mask with its own real image, and never with another one", [*problems, advice]
        )
    return {pair.id: parents[pair.parent] for pair in masks.pairs}


def sample_images(
    masks: PairSet,
    sampler: Sampler,
    cfg: SamplingConfig,
    folder: Path,
    provenance: dict[str, str],
    real: PairSet | None = None,
    draw: int = 1,
) -> None:
    """Write folder/<mask id>.png for every mask that has none yet; the processes take turns at the batches.

    `real` are the training pairs, for methods that need the image of each mask. The PNGs carry `provenance`, the mask's
    id and the seed as text. Batches are always the same slices of the list, and a batch with a missing image is drawn
    again whole, so that neither an interruption nor the number of processes changes a byte. Each `draw` of a mask has a
    seed of its own.

    Raises: UserError when memory does not suffice, and as `own_parents`.
    """
    processes = accelerator()
    processes.wait_for_everyone()  # until the main one holds the folder's lock
    parents = own_parents(masks, real) if sampler.needs.reference else {}
    again = (draw,) if draw > 1 else ()
    starts = range(0, len(masks), cfg.batch)[processes.process_index :: processes.num_processes]
    shown = tqdm(starts, desc="sample", unit="batch", mininterval=5, disable=not processes.is_main_process)
    with image_writer() as write:
        for start in shown:
            pairs = masks.pairs[start : start + cfg.batch]
            if all((folder / f"{pair.id}.png").is_file() for pair in pairs):
                continue
            requests = [
                Request(
                    id=pair.id,
                    mask=masks.hint(pair),
                    seed=item_seed(cfg.seed, "sample", pair.id, *again),
                    reference=real.image(parents[pair.id]) if real and parents else None,
                )
                for pair in pairs
            ]
            try:
                for request, image in zip(requests, sampler.sample(requests), strict=True):
                    text = {**provenance, "mask": request.id, "seed": str(request.seed)}
                    text |= {"draw": str(draw)} if again else {}
                    write(folder / f"{request.id}.png", image, text)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise UserError(f"out of memory with {len(pairs)} images at a time: lower sampling.batch") from error
    processes.wait_for_everyone()
