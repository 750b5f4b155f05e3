"""base: the base model of a data set, pretrained on images with and without masks, or found where params.yaml says."""

from data.pairs.files import code_fingerprint, sha256_tree, whole_folder, work_folder
from pipeline.params import paths

READS = {"row": "datasets.{dataset}", "base": "base"}


def run(item: dict, params) -> None:
    """Write outputs/base/<dataset>/. Raises: UserError when a named model cannot be had."""
    from data.pairs.manifest import read_pairs
    from data.pairs.prepared import read_lone_images
    from data.pairs.training import accelerator
    from siamese.base.pretrain import pretrain
    from siamese.base.reference import write_base_reference
    from siamese.base.single_file import write_base_from_file

    dataset, base = item["dataset"], params.base
    if base.kind != "pretrain":
        with whole_folder(paths.base(dataset)) as out:
            if base.kind == "single_file":
                write_base_from_file(base, out)
            else:
                write_base_reference(base, out)
        return
    train = paths.processed(dataset, "train")
    lone = read_lone_images(paths.unlabelled(dataset))
    fingerprint = {"data": sha256_tree(train, lone.folder), "base": base.model_dump(mode="json")}
    fingerprint |= {"prompt": params.row.prompt, "code": code_fingerprint("data", "siamese")}
    fingerprint |= {"precision": accelerator().mixed_precision}
    with work_folder(f"base/{dataset}", fingerprint) as work, whole_folder(paths.base(dataset)) as out:
        images = lone.after(read_pairs(train, empty=False).images())
        pretrain(images, params.row.prompt, base, out, work)
