"""Training a generator of any method on cached latents."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor

from data.pairs.seeds import item_seed
from siamese.base.attention import place
from siamese.base.latents import TrainingData
from siamese.base.load import base_info, load_scheduler
from siamese.config.sections import TrainingConfig
from siamese.method.checkpoint import build_networks, load_trained_state, save_generator, trained_state
from siamese.method.networks import Networks
from siamese.method.registry import METHODS, Terms
from siamese.method.step import TERMS, Augmented, online_step
from siamese.training.batches import draw_batch
from siamese.training.loop import Part, one_training, run_steps
from siamese.training.state import TrainingState, Weights, at_once

COMPILED_VARIANTS = 64


def _networks(row: Any, cfg: TrainingConfig, base_dir: Path, device: torch.device) -> Networks:
    networks = build_networks(row, base_dir, item_seed(cfg.seed, "weights"))
    for network in networks.all():
        network.train(network is not networks.unet)
        place(network, device)
        if cfg.gradient_checkpointing and getattr(network, "_supports_gradient_checkpointing", False):
            network.enable_gradient_checkpointing()
        if cfg.compile:
            middle = [network.mid_block] if hasattr(network, "mid_block") else []
            for block in (*getattr(network, "down_blocks", []), *middle, *getattr(network, "up_blocks", [])):
                block.compile(dynamic=True)  # the number of samples that are augmented online varies
            if hasattr(network, "controlnet_cond_embedding"):
                network.controlnet_cond_embedding.compile(dynamic=True)
    if cfg.compile:  # blocks of one class share the limit, and past it they would silently run uncompiled
        torch._dynamo.config.recompile_limit = COMPILED_VARIANTS
    return networks


def _state(networks: Networks, cfg: TrainingConfig, scaler: torch.amp.GradScaler) -> TrainingState:
    weights = Weights(partial(trained_state, networks), partial(load_trained_state, networks))

    def average(parameters: list[torch.nn.Parameter]) -> EMAModel | None:
        return EMAModel(parameters, decay=cfg.ema, foreach=at_once(parameters)) if cfg.ema else None

    return TrainingState.begin(networks.all(), weights, cfg, scaler, average)


def train_generator(
    data: TrainingData, row: Any, cfg: TrainingConfig, base_dir: Path, out_dir: Path, work: Path
) -> None:
    """Train a generator and write it with loss.csv to out_dir; `work` holds the checkpoints to resume from.

    `row` is one of the classes in config/rows.py. A loss term that the method does not have is 0 in loss.csv. Only the
    first process writes.

    Raises: UserError when a loss is not finite, with the step and the term, or when memory does not suffice.
    """
    method, scheduler = METHODS[row.method], load_scheduler(base_dir)
    with one_training(cfg) as accelerator:
        scaler = torch.amp.GradScaler(accelerator.device.type, enabled=accelerator.mixed_precision == "fp16")
        networks = _networks(row, cfg, base_dir, accelerator.device)
        state = _state(networks, cfg, scaler)

        def add_gradients(step: int, parts: Sequence[Part], share: Tensor) -> Tensor:
            found: list[Terms] = []
            waiting: list[Augmented] = []
            for indices, positions in parts:
                batch = draw_batch(data, indices, positions, scheduler, cfg, accelerator.device, row.t_sampling)
                with accelerator.autocast():
                    found.append(method.step(networks, row, batch, step, cfg.steps, share, waiting))
            if waiting:
                with accelerator.autocast():
                    online_step(networks.controlnet, networks.unet, waiting, share, len(parts[0][0]))
            sums = [terms[name].sum() if name in terms else share.new_zeros(()) for terms in found for name in TERMS]
            return torch.stack(sums).view(len(found), len(TERMS)).sum(0)

        run_steps(row, len(data.mean), TERMS, cfg, work, state, accelerator, add_gradients)
        if accelerator.is_main_process:
            if state.average:
                state.average.copy_to(state.parameters)
            config = {
                "generator": row.model_dump(mode="json"),
                "training": cfg.model_dump(mode="json"),
                "precision": accelerator.mixed_precision,
                "base": base_info(base_dir)["sha256"],
                "pairs": len(data.mean),
            }
            save_generator(networks, data.context, config, out_dir)
            state.write_losses(out_dir / "loss.csv", TERMS)
