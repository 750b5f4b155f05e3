"""masks: the masks that images are sampled for, real, moved at random or new ones, one folder a copy."""

from data.masks.masks import write_masks
from data.pairs.files import code_fingerprint, sha256_tree, work_folder
from pipeline.params import paths

READS = {"row": "masks.{masks}"}


def new_masks(dataset: str, name: str, row) -> dict:
    """Return the masks of kind inverted that `write_masks` takes, and none for other kinds.

    The words stay in .work, so that more copies, or `sample_volume`, learn nothing again.
    """
    from data.masks.config import InvertedMasks

    if not isinstance(row, InvertedMasks):
        return {}
    from data.pairs.manifest import read_pairs
    from data.pairs.training import accelerator
    from siamese.anomaly.inversion import inverted_masks
    from siamese.base.load import base_info

    real, base_dir = read_pairs(paths.processed(dataset, "train")), paths.base(dataset)
    fingerprint = {
        "data": sha256_tree(real.folder),
        "base": base_info(base_dir)["sha256"],
        "params": row.model_dump(mode="json", exclude={"copies"}),
        "precision": accelerator().mixed_precision,
        "code": code_fingerprint("siamese.anomaly.inversion", "siamese.anomaly.words", "siamese.base"),
    }
    with work_folder(f"masks/{dataset}/{name}", fingerprint, keep=True) as work:
        return inverted_masks(real, name, row, base_dir, work)


def run(item: dict, params) -> None:
    """Write outputs/masks/<dataset>/<masks>/<copy>/. Raises: UserError when no new mask could be drawn."""
    from data.pairs.files import write_json
    from data.pairs.manifest import read_pairs

    dataset, name = item["dataset"], item["masks"]
    out = paths.masks(dataset, name)
    real = read_pairs(paths.processed(dataset, "train"))
    write_json(out / "counts.json", write_masks(real, name, params.row, out, new_masks(dataset, name, params.row)))
