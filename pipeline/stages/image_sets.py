"""Which pair sets features are extracted from and images inspected of."""

from data.pairs.manifest import PairSet, read_pairs
from data.pairs.prepared import Prepared
from pipeline.params import paths


def image_sets(dataset: str, source: str, mask_name: str) -> dict[str, PairSet]:
    """Return the pair sets to look at by name: train and holdout of the real pairs, or the synthetic set."""
    if source != "real":
        return {"synthetic": read_pairs(paths.samples(dataset, source, mask_name))}
    prepared = Prepared(paths.processed(dataset))
    return {"train": prepared.train, "holdout": read_pairs(prepared.folder / prepared.test_names()[0])}
