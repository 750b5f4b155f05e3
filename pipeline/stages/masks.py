"""masks: the masks that images are sampled for, real or moved at random, one folder a copy."""

from data.masks.masks import write_masks
from pipeline.params import paths

READS = {"row": "masks.{masks}"}


def run(item: dict, params) -> None:
    """Write outputs/masks/<dataset>/<masks>/<copy>/."""
    from data.pairs.files import write_json
    from data.pairs.manifest import read_pairs

    out = paths.masks(item["dataset"], item["masks"])
    real = read_pairs(paths.processed(item["dataset"], "train"))
    write_json(out / "counts.json", write_masks(real, item["masks"], params.row, out))
