"""sample: one synthetic image for each mask of the first copy."""

from collections.abc import Sequence
from pathlib import Path

from data.pairs.files import code_fingerprint, is_main_process, sha256_tree, whole_folder, work_folder
from pipeline.params import paths

READS = {"sampling": "sampling"}


def sample_copies(item: dict, sampling, targets: Sequence[tuple[Path, int]]) -> None:
    """Write a pair set of the masks of copies 1 to n for every (folder, n).

    Images stay in .work, so that a larger n later draws only what is new, and a crash loses one batch.
    """
    from data.pairs.assemble import write_synthetic
    from data.pairs.manifest import read_pairs
    from siamese.base.load import base_info
    from siamese.load import load
    from siamese.method.checkpoint import read_config
    from siamese.sampling.sample import provenance_of, sample_images

    dataset, name = item["dataset"], item["generator"]
    base_dir, folder = paths.base(dataset), paths.generator(dataset, name)
    sampler = load(folder, base_dir, sampling)
    base = {"base": base_info(base_dir)["sha256"]} if sampler.needs.latents else {}
    digest = sha256_tree(*sorted(folder.glob("*.safetensors")))
    provenance = {"generator": f"{name} {digest}", **base, **provenance_of(sampler)}
    row = read_config(folder)["generator"]  # some of its keys change images and no weight
    fingerprint = {**provenance, "row": row, "sampling": sampling.model_dump(mode="json")}
    fingerprint |= {"code": code_fingerprint("data", "siamese")}
    real = read_pairs(paths.processed(dataset, "train")) if sampler.needs.reference else None
    most = max((count for _, count in targets), default=0)
    mask_sets = [read_pairs(paths.masks(dataset, item["masks"], copy)) for copy in range(1, most + 1)]
    with work_folder(f"sample/{dataset}/{name}/{item['masks']}", fingerprint, keep=True) as work:
        drawn = [work / sha256_tree(masks.folder)[:16] for masks in mask_sets]
        for masks, images in zip(mask_sets, drawn, strict=True):
            sample_images(masks, sampler, sampling, images, provenance, real)
        for target, count in targets if is_main_process() else ():
            with whole_folder(target) as out:
                write_synthetic(mask_sets[:count], drawn[:count], name, out)


def run(item: dict, params) -> None:
    """Write outputs/samples/<dataset>/<generator>-<masks>/x1/."""
    target = paths.samples(item["dataset"], item["generator"], item["masks"])
    sample_copies(item, params.sampling, [(target, 1)])
