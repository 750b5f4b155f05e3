"""Which pair sets features are extracted from and images inspected of."""

from data.pairs.manifest import PairSet, held_out_splits, read_pairs
from pipeline.params import paths


def image_sets(dataset: str, source: str, mask_name: str) -> dict[str, PairSet]:
    """Return the pair sets to look at by name: train and holdout of the real pairs, or the synthetic set."""
    if source != "real":
        return {"synthetic": read_pairs(paths.samples(dataset, source, mask_name))}
    splits = {"train": "train", "holdout": held_out_splits(paths.processed(dataset))[0]}
    return {name: read_pairs(paths.processed(dataset, split)) for name, split in splits.items()}
