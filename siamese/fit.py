"""The entry point of training: any method, by the row of params.yaml."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.pairs.manifest import PairSet
from siamese.arsdm.train import fit_pairs
from siamese.base.latents import load_pixels, load_training_data
from siamese.config.needs import NEEDS
from siamese.config.sections import TrainingConfig
from siamese.method.registry import METHODS
from siamese.training.train import train_generator

# method -> (data, row, training section, folder of the base model, folder to write, folder to resume from, folder of
# the loss of a segmenter for the methods that refine)
Fit = Callable[[Any, Any, TrainingConfig, Path, Path, Path, Path | None], None]
FIT: dict[str, Fit] = {  # pixel methods bring a function of their own
    **dict.fromkeys(METHODS, lambda *arguments: train_generator(*arguments[:-1])),
    "arsdm": fit_pairs,
}


def load_data(row: Any, real: PairSet, latents_dir: Path) -> Any:
    """Return what the method of a row trains on: a TrainingData of cached latents, or a PixelData of pairs alone."""
    return load_training_data(real, latents_dir) if NEEDS[row.method].latents else load_pixels(real)


def fit(
    data: Any, row: Any, cfg: TrainingConfig, base_dir: Path, out_dir: Path, work: Path, refiner: Path | None = None
) -> None:
    """Train the method of a row and write it to out_dir; `work` holds checkpoints to resume from.

    The row's own steps, batch and lr count where it gives them.

    Raises: UserError when a loss is not finite, memory does not suffice, or the row does not fit the base model.
    """
    FIT[row.method](data, row, cfg.model_copy(update=row.own_training()), base_dir, out_dir, work, refiner)
