"""sample: one synthetic image for each mask of the first copy."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from data.pairs.files import code_fingerprint, is_main_process, sha256_tree, whole_folder, work_folder
from data.pairs.manifest import PairSet, read_pairs
from data.pairs.prepared import Prepared
from pipeline.params import paths

READS = {"sampling": "sampling"}


@contextlib.contextmanager
def opened_generator(item: dict, sampling, scratch: str) -> Iterator[tuple[Path, Callable[..., Path]]]:
    """Yield a folder in .work and the function of (masks, draw=1) that draws their images in it and returns where.

    Images stay there by the hash of their masks, so that a larger multiple draws only what is new, and a crash loses
    one batch. Each training seed of a generator has its own noise, from sampling.seed + that seed, or else what the
    noise does would look the same in all of them.
    """
    from siamese.load import load
    from siamese.method.checkpoint import read_config
    from siamese.sampling.sample import generator_provenance, sample_images

    dataset, seed = item["dataset"], item["generator_seed"]
    base_dir, folder = paths.base(dataset), paths.generator(dataset, item["generator"], seed)
    name, sampling = folder.name, sampling.model_copy(update={"seed": sampling.seed + seed})
    sampler = load(folder, base_dir, sampling)
    provenance = generator_provenance(folder, base_dir, sampler)
    row = read_config(folder)["generator"]  # some of its keys change images and no weight
    fingerprint = {**provenance, "row": row, "sampling": sampling.model_dump(mode="json")}
    fingerprint |= {"code": code_fingerprint("data.pairs", "siamese")}
    real = Prepared(paths.processed(dataset)).train if sampler.needs.reference else None
    pool = read_pairs(paths.normal(dataset)) if sampler.needs.normal else None
    fingerprint |= {"normal": sha256_tree(pool.folder)} if pool else {}
    with work_folder(f"sample/{dataset}/{name}/{scratch}", fingerprint, keep=True) as work:

        def images_of(masks: PairSet, draw: int = 1) -> Path:
            images = work / (sha256_tree(masks.folder)[:16] + (f"-draw{draw}" if draw > 1 else ""))
            sample_images(masks, sampler, sampling, images, provenance, real, draw, pool)
            return images

        yield work, images_of


def sample_multiple(item: dict, sampling, multiple: int, masks_in: Callable[[Path], Path]) -> None:
    """Write the pair set of the masks of copies 1 to `multiple`, which lie in a folder each of `masks_in(work)`."""
    from data.pairs.assemble import write_synthetic

    name = paths.seeded(item["generator"], item["generator_seed"])
    with opened_generator(item, sampling, item["masks"]) as (work, images_of):
        masks = masks_in(work)
        mask_sets = [read_pairs(masks / str(copy), empty=False) for copy in range(1, multiple + 1)]
        drawn = [images_of(masks_of_copy) for masks_of_copy in mask_sets]
        if is_main_process():
            with whole_folder(paths.samples(item["dataset"], name, item["masks"], multiple)) as out:
                write_synthetic(mask_sets, drawn, name, out)


def run(item: dict, params) -> None:
    """Write outputs/samples/x1/<dataset>/<generator>-g<generator_seed>-<masks>/."""
    sample_multiple(item, params.sampling, 1, lambda _: paths.masks(item["dataset"], item["masks"]))
