"""Sampling images for masks on any number of processes, one image file at a time, resumed where it stopped."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from tqdm import tqdm

from data.pairs.devices import accelerator
from data.pairs.errors import UserError
from data.pairs.image_io import write_image
from data.pairs.manifest import PairSet
from data.pairs.seeds import item_seed
from siamese.base.devices import is_out_of_memory
from siamese.config.sections import Needs, SamplingConfig
from siamese.sampling.sample_requests import Request, own_parents

WAITING = 32  # images: memory, and what a kill loses


class Sampler(Protocol):
    """A trained generator of any method, on this process's device."""

    @property
    def needs(self) -> Needs:
        """What the method needs."""

    @property
    def settings(self) -> dict[str, str]:
        """What changed the images beside the weights, as text for their files: number of steps, guidance, ..."""

    def sample(self, requests: Sequence[Request]) -> Iterator[np.ndarray]:
        """Yield an image for each request, uint8 (H, W, 3), which depends on that request alone."""


class ImageWriter:
    """Writes images in a thread of its own, so that the device need not wait; an error is raised where it is used.

    Up to WAITING images are on their way. The block ends when all of them are written.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "write-image")
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> "ImageWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            while self._pending and error is None:
                self._pending.popleft().result()
        finally:
            self._thread.shutdown(cancel_futures=True)

    def write(self, path: Path, image: np.ndarray, text: Mapping[str, str]) -> None:
        """Write one image, later. Raises: what an earlier write has raised."""
        while len(self._pending) >= WAITING or (self._pending and self._pending[0].done()):
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(write_image, path, image, text))


def provenance_of(sampler: Sampler) -> dict[str, str]:
    """Return the text that every image of a sampler carries, beside the names of its generator and base."""
    copies = {"near-copy": "yes"} if sampler.needs.near_copies else {}
    return {**sampler.settings, "precision": accelerator().mixed_precision, "synthetic": "yes", **copies}


def sample_images(
    masks: PairSet,
    sampler: Sampler,
    cfg: SamplingConfig,
    folder: Path,
    provenance: dict[str, str],
    real: PairSet | None = None,
) -> None:
    """Write folder/<mask id>.png for every mask that has none yet; the processes take turns at the batches.

    `real` are the training pairs, for methods that need the image of each mask. The PNGs carry `provenance`, the mask's
    id and the seed as text. Batches are always the same slices of the list, and a batch with a missing image is drawn
    again whole, so that neither an interruption nor the number of processes changes a byte.

    Raises: UserError when memory does not suffice, and as `siamese.sampling.sample_requests.own_parents`.
    """
    processes = accelerator()
    processes.wait_for_everyone()  # until the main one holds the folder's lock
    parents = own_parents(masks, real) if sampler.needs.reference else {}
    starts = range(0, len(masks), cfg.batch)[processes.process_index :: processes.num_processes]
    shown = tqdm(starts, desc="sample", unit="batch", mininterval=5, disable=not processes.is_main_process)
    with ImageWriter() as writer:
        for start in shown:
            pairs = masks.pairs[start : start + cfg.batch]
            if all((folder / f"{pair.id}.png").is_file() for pair in pairs):
                continue
            requests = [
                Request(
                    id=pair.id,
                    mask=masks.hint(pair),
                    seed=item_seed(cfg.seed, "sample", pair.id),
                    reference=real.image(parents[pair.id]) if real and parents else None,
                )
                for pair in pairs
            ]
            try:
                for request, image in zip(requests, sampler.sample(requests), strict=True):
                    text = {**provenance, "mask": request.id, "seed": str(request.seed)}
                    writer.write(folder / f"{request.id}.png", image, text)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise UserError(f"out of memory with {len(pairs)} images at a time: lower sampling.batch") from error
    processes.wait_for_everyone()
