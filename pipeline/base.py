"""base: the base model of a data set, pretrained here or found where params.yaml says."""

from data.pairs.files import code_fingerprint, sha256_tree, whole_folder, work_folder
from pipeline import paths

READS = {"row": "datasets.{dataset}", "base": "base"}


def run(item: dict, params) -> None:
    """Write outputs/base/<dataset>/. Raises: UserError when a named model cannot be had."""
    from siamese.base import write_base_reference

    with whole_folder(paths.base(item["dataset"])) as out:
        if params.base.kind == "diffusers":
            write_base_reference(params.base, out)
            return
        from data.pairs.manifest import read_pairs
        from siamese import pretrain
        from siamese.latents import to_signed

        train = paths.processed(item["dataset"], "train")
        fingerprint = {"data": sha256_tree(train), "base": params.base.model_dump(mode="json")}
        fingerprint |= {"code": code_fingerprint([pretrain.__file__])}
        with work_folder(f"base/{item['dataset']}", fingerprint) as work:
            pretrain.pretrain(to_signed(read_pairs(train).images()), params.row.prompt, params.base, out, work)
