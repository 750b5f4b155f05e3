"""What a user can choose of an export."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Each format reads what it needs."""

    name: str  # of the data set, in titles and folder names
    dataset_id: int = 501  # nnU-Net's number of the data set
    folds: int = 5  # of nnU-Net's cross-validation
    seed: int = 0  # deals the real training pairs into folds
    shard_pairs: int = 1000  # most pairs in one WebDataset archive
    prompt: str = ""  # text of every line of ControlNet's JSON Lines
