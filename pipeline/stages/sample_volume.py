"""sample_volume: the further multiples, each a folder that holds the smaller ones too."""

from pipeline.params import paths
from pipeline.stages.sample import sample_copies

READS = {"sampling": "sampling", "multiples": "volume.multiples"}


def run(item: dict, params) -> None:
    """Write outputs/volume/<dataset>/<generator>-<masks>/x2/, x3/, ...; what 1x has drawn is not drawn again."""
    dataset, name, masks = item["dataset"], item["generator"], item["masks"]
    targets = [(paths.samples(dataset, name, masks, multiple), multiple) for multiple in params.multiples]
    sample_copies(item, params.sampling, targets)
