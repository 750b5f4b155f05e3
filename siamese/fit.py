"""The door of training: any method, by the row of params.yaml."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.pairs.manifest import PairSet
from siamese.arsdm.train import train_arsdm
from siamese.base.latents import PixelData, load_training_data
from siamese.config.sections import NEEDS
from siamese.method.registry import METHODS
from siamese.training.loop import Run
from siamese.training.train import train_generator

# each trains one method on what `load_data` gave for its row, and writes the generator to run.out
FIT: dict[str, Callable[[Any, Any, Run], None]] = {**dict.fromkeys(METHODS, train_generator), "arsdm": train_arsdm}


def load_data(row: Any, real: PairSet, latents_dir: Path) -> Any:
    """Return what the method of a row trains on: a TrainingData of cached latents, or a PixelData of pairs alone."""
    if NEEDS[row.method].latents:
        return load_training_data(real, latents_dir)
    return PixelData(real.images(), real.hints())


def fit(data: Any, row: Any, run: Run) -> None:
    """Train the method of a row and write it to run.out. The row's own steps, batch and lr count where it gives them.

    Raises: UserError when a loss is not finite, memory does not suffice, or the row does not fit the base model.
    """
    FIT[row.method](data, row, replace(run, cfg=run.cfg.model_copy(update=row.own_training())))
