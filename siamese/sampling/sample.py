"""Sampling images for masks on any number of processes, one image file at a time, resumed where it stopped."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.pairs.assemble import drawn_files
from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import PairSet, check_one_class
from data.pairs.training import accelerator
from siamese.base.devices import is_out_of_memory
from siamese.base.load import base_info
from siamese.config.sections import SamplingConfig
from siamese.sampling.requests import Drawn, Pools, Sampler, own_parents, requests_for

WAITING = 32  # files: memory, and what a kill loses


@contextlib.contextmanager
def image_writer() -> Iterator[Callable[[Path, np.ndarray, Mapping[str, str] | None], None]]:
    """Yield a function that writes an image with its text in a thread, so that the device need not wait.

    Without a text it writes a mask of labels 0 and 1. Up to WAITING files are on their way, and the block ends when all
    of them are written. An error of the thread is raised by the next call, or at the end.
    """
    thread = ThreadPoolExecutor(1, "write-image")
    pending: deque[Future[None]] = deque()

    def write(path: Path, image: np.ndarray, text: Mapping[str, str] | None) -> None:
        while len(pending) >= WAITING or (pending and pending[0].done()):
            pending.popleft().result()
        pending.append(
            thread.submit(write_mask, path, image) if text is None else thread.submit(write_image, path, image, text)
        )

    try:
        yield write
        while pending:
            pending.popleft().result()
    finally:
        thread.shutdown()  # what was drawn before an interruption is written


def generator_provenance(folder: Path, base_dir: Path, sampler: Sampler) -> dict[str, str]:
    """Return all text that every image of a trained generator carries: its name, hashes of its weights and base, ..."""
    digest = sha256_tree(*sorted(folder.rglob("*.safetensors")))
    base = {"base": base_info(base_dir)["sha256"]} if sampler.needs.latents else {}
    return {"generator": f"{folder.name} {digest}", **base, **provenance_of(sampler)}


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
    draw: int = 1,
    normal: PairSet | None = None,
) -> None:
    """Write folder/<mask id>.png for every mask that has none yet: one draw of each, as `sample_draws` does it.

    `real` are the training pairs, for methods that need the image of each mask, `normal` images without a lesion, for
    those that need one.
    """
    sample_draws(masks, sampler, cfg, {draw: folder}, provenance, Pools(real, normal))


def sample_draws(
    masks: PairSet,
    sampler: Sampler,
    cfg: SamplingConfig,
    folders: Mapping[int, Path],
    provenance: dict[str, str],
    pools: Pools,
    *,
    quiet: bool = False,
) -> None:
    """Write <mask id>.png for every mask to the folder of each draw that has none yet; processes take turns at batches.

    A method that emits masks gives <mask id>.mask.png too. The PNGs carry `provenance`, the mask's id and the seed as
    text; each draw of a mask has a seed of its own. Batches are always the same slices of the list, and a batch with a
    missing image is drawn again whole, so that neither an interruption nor the number of processes changes a byte. A
    last batch that is not full is filled up, because sums in the networks are rounded by the size of a batch. `quiet`
    shows no progress.

    Raises: UserError when memory does not suffice, and as `own_parents`.
    """
    processes = accelerator()
    processes.wait_for_everyone()  # until the main one holds the folder's lock
    parents = own_parents(masks, pools.real) if sampler.needs.reference else {}
    if emits := sampler.needs.emits_masks:
        check_one_class(masks.pairs, "this generator")
    items = [(draw, pair) for draw in folders for pair in masks.pairs]
    starts = range(0, len(items), cfg.batch)[processes.process_index :: processes.num_processes]
    shown = tqdm(starts, desc="sample", unit="batch", mininterval=5, disable=quiet or not processes.is_main_process)
    with image_writer() as write:
        for start in shown:
            batch = items[start : start + cfg.batch]
            files = [drawn_files(folders[draw], pair.id) for draw, pair in batch]
            if all(image.is_file() and (mask.is_file() or not emits) for image, mask in files):
                continue
            requests = [
                request
                for draw, pair in batch
                for request in requests_for(masks, [pair], sampler.needs, cfg.seed, pools, parents, draw)
            ]
            try:
                wanted = [request for request, _ in requests]
                filling = [] if emits else wanted[-1:] * (cfg.batch - len(wanted))
                drawn = islice(sampler.sample([*wanted, *filling]), len(wanted))
                for (image_path, mask_path), (_, text), made in zip(files, requests, drawn, strict=True):
                    image, labels, own_text = made if isinstance(made, Drawn) else Drawn(made)
                    if emits and labels is not None:
                        write(mask_path, labels, None)
                    write(image_path, image, {**provenance, **text, **own_text})
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise UserError(f"out of memory with {cfg.batch} images at a time: lower sampling.batch") from error
    processes.wait_for_everyone()
