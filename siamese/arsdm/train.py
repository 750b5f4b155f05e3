"""Training ArSDM on images and masks, with a segmenter's loss in the last steps where the row asks for it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from data.pairs.errors import UserError
from data.pairs.seeds import item_seed
from data.pairs.training import accelerator
from siamese.arsdm.denoise import check_size, noise_schedule
from siamese.arsdm.network import SpadeUNet, build_network, save_network
from siamese.arsdm.step import TERMS, Refinement, add_step_gradients, draw_batch
from siamese.base.devices import full_precision
from siamese.base.latents import PixelData
from siamese.base.training_state import TrainingState
from siamese.config.arsdm import ArsdmRow
from siamese.config.sections import TrainingConfig
from siamese.training.loop import MicroBatch, Run, one_training, run_steps

REFINER = "loss.pt2"


def _network(row: ArsdmRow, cfg: TrainingConfig, accelerator: Accelerator) -> SpadeUNet:
    network = build_network(row, item_seed(cfg.seed, "weights"))
    network.to(accelerator.device, memory_format=torch.channels_last).train()
    network.gradient_checkpointing = cfg.gradient_checkpointing
    if cfg.compile:
        network.compile()
    return network


def begin(network: SpadeUNet, row: ArsdmRow, cfg: TrainingConfig, accelerator: Accelerator) -> TrainingState:
    """Return the state before the first step. Raises: UserError when the optimiser's package is missing."""
    # update_after_step=-1 makes the decay of update n min(ema, (1 + n) / (10 + n)), n from 1: as in the source
    return TrainingState([network], {"network": network}, cfg, accelerator, row.ema, update_after_step=-1)


def load_refinement(folder: Path | None) -> Refinement | None:
    """Return the loss of a trained segmenter that the refiner stage has exported, or None where it left none."""
    if folder is None or not (folder / REFINER).is_file():
        return None
    where = accelerator().device
    program = torch.export.load(folder / REFINER).module().to(where)

    def loss(images: Tensor, masks: Tensor) -> Tensor:
        with full_precision(where):  # losses are in full precision everywhere
            return program(images.float(), masks.float())

    return loss


def train_arsdm(data: PixelData, row: ArsdmRow, run: Run, refinement: Refinement | None = None) -> None:
    """Train on pairs alone and write weights, config and loss.csv; neither a base model nor latents are read.

    Every optimiser step sees cfg.batch pairs, however many processes and micro-batches share them; only the first
    process writes. cfg.prompt_dropout and cfg.ema are not read: there is no prompt, and the row has its own decay. What
    is written are the averaged weights, where there are any. `refinement` stands in for the one in run.refiner.

    Raises: UserError when the size does not fit, when the row refines and there is no refinement, when a loss is not
    finite, or when memory does not suffice.
    """
    cfg, refinement = run.cfg, refinement or load_refinement(run.refiner)
    check_size(row, *data.images.shape[1:3])
    if row.refine != "off" and refinement is None:
        raise UserError(f"arsdm: refine: {row.refine} needs a trained segmenter", ["give one, or set refine: off"])
    schedule = noise_schedule()
    refined_steps = 0 if row.refine == "off" else max(1, round(row.refine_share * cfg.steps))
    with one_training(cfg) as accelerator:
        network = _network(row, cfg, accelerator)
        state = begin(network, row, cfg, accelerator)

        def add_gradients(step: int, micro_batches: Sequence[MicroBatch], share: Tensor) -> Tensor:
            now, sums = refinement if step >= cfg.steps - refined_steps else None, []
            for indices, positions in micro_batches:
                device = accelerator.device
                batch = draw_batch(data.images, data.masks, indices, positions, schedule, cfg.seed, device)
                with accelerator.autocast():
                    sums.append(add_step_gradients(network, batch, schedule, row, share, now))
            return torch.stack(sums).sum(0)

        config = run_steps(row, len(data.images), TERMS, run, state, accelerator, add_gradients)
        if accelerator.is_main_process:
            save_network(network, {**config, "size_px": data.images.shape[1]}, run.out)
