"""The entry point of training: any method, by the row of params.yaml."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.pairs.manifest import PairSet
from siamese.config import TrainingConfig
from siamese.latents import load_pixels, load_training_data
from siamese.methods import METHODS
from siamese.needs import NEEDS
from siamese.train import train_generator

# method -> (data, row, training section, folder of the base model, folder to write, folder to resume from)
Fit = Callable[[Any, Any, TrainingConfig, Path, Path, Path], None]
FIT: dict[str, Fit] = {  # pixel methods bring a function of their own
    **dict.fromkeys(METHODS, train_generator),
}


def load_data(row: Any, real: PairSet, latents_dir: Path) -> Any:
    """Return what the method of a row trains on: a TrainingData of cached latents, or a PixelData of pairs alone."""
    return load_training_data(real, latents_dir) if NEEDS[row.method].latents else load_pixels(real)


def fit(data: Any, row: Any, cfg: TrainingConfig, base_dir: Path, out_dir: Path, work: Path) -> None:
    """Train the method of a row and write it to out_dir; `work` holds checkpoints to resume from.

    Raises: UserError when a loss is not finite, memory does not suffice, or the row does not fit the base model.
    """
    FIT[row.method](data, row, cfg, base_dir, out_dir, work)
