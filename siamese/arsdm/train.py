"""Training ArSDM on images and masks."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import Tensor

from data.pairs.errors import UserError
from data.pairs.seeds import item_seed
from siamese.arsdm.checkpoint import build_network, check_size, save_network
from siamese.arsdm.network import SpadeUNet
from siamese.arsdm.sample import noise_schedule
from siamese.arsdm.step import TERMS, Refinement, add_step_gradients, draw_batch
from siamese.base.devices import accelerator, full_precision
from siamese.base.latents import PixelData
from siamese.config.arsdm import ArsdmRow
from siamese.config.sections import TrainingConfig
from siamese.training.loop import Part, one_training, run_steps
from siamese.training.state import TrainingState, Weights, at_once

REFINER = "loss.pt2"


def first_refined_step(row: ArsdmRow, steps: int) -> int:
    """Return the step from which on a segmenter refines, counted from 0; `steps` when none does."""
    return steps if row.refine == "off" else steps - max(1, round(row.refine_share * steps))


def _network(row: ArsdmRow, cfg: TrainingConfig, accelerator: Accelerator) -> SpadeUNet:
    network = build_network(row, item_seed(cfg.seed, "weights"))
    network.to(accelerator.device, memory_format=torch.channels_last).train()
    network.gradient_checkpointing = cfg.gradient_checkpointing
    if cfg.compile:
        network.compile()
    return network


def begin(network: SpadeUNet, row: ArsdmRow, cfg: TrainingConfig, scaler: torch.amp.GradScaler) -> TrainingState:
    """Return the state before the first step. Raises: UserError when the optimiser's package is missing."""

    def read() -> dict[str, Tensor]:
        return {name: value.contiguous() for name, value in network.state_dict().items()}

    def average(parameters: list[torch.nn.Parameter]) -> EMAModel | None:
        # update_after_step=-1 makes the decay of update n min(ema, (1 + n) / (10 + n)), n from 1: as in the source
        options = {"update_after_step": -1, "foreach": at_once(parameters)}
        return EMAModel(parameters, decay=row.ema, **options) if row.ema else None

    return TrainingState.begin([network], Weights(read, partial(_write, network)), cfg, scaler, average)


def _write(network: SpadeUNet, tensors: dict[str, Tensor]) -> None:
    network.load_state_dict(tensors)


def fit(
    images: np.ndarray,
    masks: np.ndarray,
    row: ArsdmRow,
    cfg: TrainingConfig,
    out: Path,
    work: Path,
    *,
    refinement: Refinement | None = None,
) -> None:
    """Train on images uint8 (N, H, W, 3) and masks (N, H, W), lesion above 0; write weights, config, loss.csv to `out`.

    `work` holds the checkpoints to resume from. Every optimiser step sees cfg.batch pairs, however many processes and
    micro-batches share them; only the first process writes. cfg.prompt_dropout and cfg.ema are not read: there is no
    prompt, and the row has its own decay. What is written are the averaged weights, where there are any.

    Raises: UserError when the size does not fit, when the row refines and there is no `refinement`, when a loss is not
    finite, or when memory does not suffice.
    """
    check_size(row, *images.shape[1:3])
    if row.refine != "off" and refinement is None:
        raise UserError(f"arsdm: refine: {row.refine} needs a trained segmenter", ["give one, or set refine: off"])
    schedule, refine_from = noise_schedule(), first_refined_step(row, cfg.steps)
    with one_training(cfg) as accelerator:
        scaler = torch.amp.GradScaler(accelerator.device.type, enabled=accelerator.mixed_precision == "fp16")
        network = _network(row, cfg, accelerator)
        state = begin(network, row, cfg, scaler)

        def add_gradients(step: int, parts: Sequence[Part], share: Tensor) -> Tensor:
            now, sums = refinement if step >= refine_from else None, []
            for indices, positions in parts:
                batch = draw_batch(images, masks, indices, positions, schedule, cfg.seed, accelerator.device)
                with accelerator.autocast():
                    sums.append(add_step_gradients(network, batch, schedule, row, share, now))
            return torch.stack(sums).sum(0)

        run_steps(row, len(images), TERMS, cfg, work, state, accelerator, add_gradients)
        if accelerator.is_main_process:
            if state.average:
                state.average.copy_to(network.parameters())
            rows = {"generator": row.model_dump(mode="json"), "training": cfg.model_dump(mode="json")}
            config = {
                **rows,
                "precision": accelerator.mixed_precision,
                "pairs": len(images),
                "size_px": images.shape[1],
            }
            save_network(network, config, out)
            state.write_losses(out / "loss.csv", TERMS)


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


def fit_pairs(
    data: PixelData, row: ArsdmRow, cfg: TrainingConfig, base_dir: Path, out: Path, work: Path, refiner: Path | None
) -> None:
    """Train on pairs alone: neither a base model nor latents are read.

    Raises: UserError as `fit`.
    """
    fit(data.images, data.masks, row, cfg, out, work, refinement=load_refinement(refiner))
