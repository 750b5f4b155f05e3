"""Training AnomalyDiffusion: words and the spatial encoder, through the frozen base model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from data.pairs.seeds import item_seed
from siamese.anomaly.augment import MIRRORS, Views, augmented, is_augmented, mirror_at, step_box, used_pairs
from siamese.anomaly.latent_masks import lesion_names, lesion_values
from siamese.anomaly.latents import Posterior, posterior
from siamese.anomaly.networks import Networks, build, save
from siamese.anomaly.step import FIGURES, TERMS, add_step_gradients, draw_batch
from siamese.base.devices import place
from siamese.base.latents import TrainingData, to_signed
from siamese.base.load import base_info, load_scheduler, load_vae
from siamese.base.training_state import TrainingState
from siamese.config.anomaly import AnomalyRow
from siamese.config.sections import TrainingConfig
from siamese.training.loop import MicroBatch, Run, one_training, run_steps


class Source:
    """The pairs of a run as latents and masks: the cached ones, mirrored copies encoded once, or new ones each step."""

    def __init__(
        self, data: TrainingData, count: int, row: AnomalyRow, cfg: TrainingConfig, base_dir: Path, device: torch.device
    ) -> None:
        self.images, self.masks, self.cfg = data.images[:count], data.masks[:count], cfg
        self.how, self.moves = row.augment, False
        self.cached: list[Posterior] = [(data.mean[:count], data.std[:count])]
        if self.how == "none":
            return
        self.vae = load_vae(base_dir)
        place(self.vae, device)
        if self.how == "flips":
            self.cached += [posterior(self.vae, to_signed(self.images).flip(axes)) for axes in MIRRORS[1:]]

    def begin(self, step: int) -> None:
        """Draw what all pairs of a step have in common."""
        self.moves = self.how == "official" and is_augmented(step, self.cfg.seed)
        if self.moves:
            self.box = step_box(self.masks, step, self.cfg.batch, self.cfg.seed)

    def __call__(self, indices: Sequence[int], positions: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return posterior means and deviations (B, C, h, w) and masks (B, 1, H, W) of 0 and 1."""
        if self.moves:
            views: Views = augmented(self.images, self.masks, indices, positions, self.cfg.seed, self.box)
            return (*posterior(self.vae, views.images), views.lesion)
        copies = [mirror_at(position, self.cfg.seed) if self.how == "flips" else 0 for position in positions]
        mean, std = (
            torch.stack([self.cached[copy][part][i] for i, copy in zip(indices, copies, strict=True)])
            for part in (0, 1)
        )
        lesion = torch.from_numpy(np.asarray(self.masks[list(indices)]) != 0).float()
        flipped = [mask.flip(MIRRORS[copy]) for mask, copy in zip(lesion, copies, strict=True)]
        return mean, std, torch.stack(flipped)[:, None]


def train_anomaly(data: TrainingData, row: AnomalyRow, run: Run) -> None:
    """Train on pairs alone, no image without lesion among them, and write weights, config and loss.csv.

    Every optimiser step sees cfg.batch pairs; only the first process writes. cfg.prompt_dropout is not read: there is
    no guidance. With `encoder: ir50` the batch normalisation sees a micro-batch of one process at a time.

    Raises: UserError when masks hold several classes of lesion, a template is too long, a loss is not finite, or memory
    does not suffice.
    """
    cfg, schedule = run.cfg, load_scheduler(run.base_dir)
    count = used_pairs(len(data.images), row.share)
    values = lesion_values(data.masks[:count])
    names = lesion_names(data.masks[:count], values, data.ids[:count])
    with one_training(cfg) as accelerator:
        networks = build(row, run.base_dir, len(values), item_seed(cfg.seed, "weights"))
        _place(networks, cfg, accelerator)
        source = Source(data, count, row, cfg, run.base_dir, accelerator.device)
        parts = networks.learned.parts()
        state = TrainingState(list(parts.values()), parts, cfg, accelerator, cfg.ema)
        ordinary = networks.prompts.ordinary_norm()

        def add_gradients(step: int, micro_batches: Sequence[MicroBatch], share: Tensor) -> Tensor:
            source.begin(step)
            sums = []
            for indices, positions in micro_batches:
                batch = draw_batch(
                    source, names, len(row.templates), indices, positions, schedule, cfg.seed, accelerator.device
                )
                with accelerator.autocast():
                    sums.append(add_step_gradients(networks, batch, row, share, ordinary))
            return torch.stack(sums).sum(0)

        config = run_steps(row, count, TERMS, run, state, accelerator, add_gradients, FIGURES)
        if accelerator.is_main_process:
            config |= {"base": base_info(run.base_dir)["sha256"], "lesions": values}
            save(networks.learned, config, run.out)


def _place(networks: Networks, cfg: TrainingConfig, accelerator: Accelerator) -> None:
    for network in (*networks.learned, networks.prompts, networks.unet):
        place(network, accelerator.device)
    networks.learned.spatial.train()
    if cfg.gradient_checkpointing:
        networks.unet.enable_gradient_checkpointing()
    if cfg.compile:
        networks.unet.compile()
