"""sample: one synthetic image for each mask of the first copy."""

from collections.abc import Callable
from pathlib import Path

from data.pairs.files import code_fingerprint, is_main_process, sha256_tree, whole_folder, work_folder
from pipeline.params import paths

READS = {"sampling": "sampling"}


def sample_multiple(item: dict, sampling, multiple: int, masks_in: Callable[[Path], Path]) -> None:
    """Write the pair set of the masks of copies 1 to `multiple`, which lie in a folder each of `masks_in(work)`.

    Images stay in .work by the hash of their masks, so that a larger multiple draws only what is new, and a crash loses
    one batch. Each training seed of a generator has its own noise, from sampling.seed + that seed, or else what the
    noise does would look the same in all of them.
    """
    from data.pairs.assemble import write_synthetic
    from data.pairs.manifest import read_pairs
    from siamese.base.load import base_info
    from siamese.load import load
    from siamese.method.checkpoint import read_config
    from siamese.sampling.sample import provenance_of, sample_images

    dataset, seed = item["dataset"], item["generator_seed"]
    base_dir, folder = paths.base(dataset), paths.generator(dataset, item["generator"], seed)
    name, sampling = folder.name, sampling.model_copy(update={"seed": sampling.seed + seed})
    sampler = load(folder, base_dir, sampling)
    base = {"base": base_info(base_dir)["sha256"]} if sampler.needs.latents else {}
    digest = sha256_tree(*sorted(folder.glob("*.safetensors")))
    provenance = {"generator": f"{name} {digest}", **base, **provenance_of(sampler)}
    row = read_config(folder)["generator"]  # some of its keys change images and no weight
    fingerprint = {**provenance, "row": row, "sampling": sampling.model_dump(mode="json")}
    fingerprint |= {"code": code_fingerprint("data.pairs", "siamese")}
    real = read_pairs(paths.processed(dataset, "train")) if sampler.needs.reference else None
    with work_folder(f"sample/{dataset}/{name}/{item['masks']}", fingerprint, keep=True) as work:
        masks = masks_in(work)
        mask_sets = [read_pairs(masks / str(copy)) for copy in range(1, multiple + 1)]
        drawn = [work / sha256_tree(masks.folder)[:16] for masks in mask_sets]
        for masks_of_copy, images in zip(mask_sets, drawn, strict=True):
            sample_images(masks_of_copy, sampler, sampling, images, provenance, real)
        if is_main_process():
            with whole_folder(paths.samples(dataset, name, item["masks"], multiple)) as out:
                write_synthetic(mask_sets, drawn, name, out)


def run(item: dict, params) -> None:
    """Write outputs/samples/x1/<dataset>/<generator>-g<generator_seed>-<masks>/."""
    sample_multiple(item, params.sampling, 1, lambda _: paths.masks(item["dataset"], item["masks"]))
