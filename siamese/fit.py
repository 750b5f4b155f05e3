"""The door of training: any method, by the row of params.yaml."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.pairs.errors import UserError
from data.pairs.manifest import PairSet, check_one_class
from siamese.anomaly.train import train_anomaly
from siamese.arsdm.train import train_arsdm
from siamese.base.latents import PixelData, load_training_data
from siamese.config.sections import NEEDS
from siamese.dfmgan.train import train_dfmgan
from siamese.method.registry import METHODS
from siamese.singan_seg.train import train_singan_seg
from siamese.training.loop import Run
from siamese.training.train import train_generator

# each trains one method on what `load_data` gave for its row, and writes the generator to run.out
FIT: dict[str, Callable[[Any, Any, Run], None]] = {
    **dict.fromkeys(METHODS, train_generator),
    "arsdm": train_arsdm,
    "singan_seg": train_singan_seg,
    "dfmgan": train_dfmgan,
    "anomaly_diffusion": train_anomaly,
}


def load_data(
    row: Any, real: PairSet, latents_dir: Path, pool: PairSet | None = None, pseudo: PairSet | None = None
) -> Any:
    """Return what the method of a row trains on: a TrainingData of cached latents, or a PixelData of pairs alone.

    `pool` are images without a lesion, for the methods that need them; `pseudo` the images without masks, with masks of
    a segmenter, for the rows on latents that ask for them.

    Raises: UserError when it is needed and empty, and for several classes of lesion where the method makes its masks.
    """
    needs = NEEDS[row.method]
    if needs.emits_masks:
        check_one_class(real.pairs, row.method)
    if needs.normal and not pool:
        raise UserError(
            f"{row.method} needs images without a lesion, and the data set has none",
            ["give `normal` in its row under datasets, such as normal: {path: train/good} or normal: {crops: 200}"],
        )
    normals = pool.images() if needs.normal and pool else None
    if needs.latents:
        return load_training_data(real, latents_dir, normals, pseudo)
    return PixelData(real.images(), real.hints(), normals, tuple(pair.id for pair in real.pairs))


def fit(data: Any, row: Any, run: Run) -> None:
    """Train the method of a row and write it to run.out. The row's own steps, batch and lr count where it gives them.

    Raises: UserError when a loss is not finite, memory does not suffice, or the row does not fit the base model.
    """
    FIT[row.method](data, row, replace(run, cfg=run.cfg.model_copy(update=row.own_training())))
