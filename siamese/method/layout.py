"""A loss that finds the mask again in the denoised latents: `layout_loss`.

The idea is that of ControlNet++ and InnerControl (2505.21144), in the latents: no image is decoded. A small segmenter S
is trained on the cached latents of the training pairs, then frozen. The noise e that the generator predicts gives the
clean latents in one step, and S has to find the mask in them:

    z0 = (z_t - sigma_t e) / sqrt(abar_t),   loss = layout_loss sqrt(abar_t) BCE(S(z0, t), mask),   t <= layout_t_max

The slope of z0 in e is -sigma_t / sqrt(abar_t), 1.2 at t = 400 and 14.6 at 999: hence the bound. S is a sibling of the
judge that measures mask fidelity, trained on the same pairs: read that column by a judge of another architecture.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from diffusers import DDIMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from data.pairs.errors import UserError
from data.pairs.seeds import item_seed
from siamese.base.devices import full_precision, moved, rows_of, seeded
from siamese.base.latents import TrainingData, mask_hints
from siamese.config.loss_switches import LossSwitches
from siamese.method.batch import Batch
from siamese.method.reweight import lesion_cells

LAYOUT_FIGURES = ("layout",)
CHANNELS = (16, 24, 40)
GROUPS, BATCH, RATE = 8, 16, 2e-3


def build_segmenter(channels: int) -> UNet2DModel:
    """Return S: latents (B, channels, h, w) and timesteps (B,) -> logits (B, 1, h, w); sides are multiples of 4."""
    return UNet2DModel(
        in_channels=channels, out_channels=1, block_out_channels=CHANNELS, layers_per_block=1, norm_num_groups=GROUPS,
        down_block_types=("DownBlock2D",) * 3, up_block_types=("UpBlock2D",) * 3, add_attention=False,
    )  # fmt: skip


def train_segmenter(
    data: TrainingData, row: LossSwitches, scheduler: DDIMScheduler, seed: int, device: torch.device | str
) -> UNet2DModel:
    """Return S, trained for `layout_steps` steps and frozen; a function of its arguments.

    At timestep t it sees z0 + u (sigma_t / sqrt(abar_t)) noise, u uniform in [0, 1): the error of a one-step estimate
    lies between nothing and all of the noise.
    """
    rng = torch.Generator().manual_seed(item_seed(seed, "layout batches"))
    network = seeded(lambda: build_segmenter(data.mean.shape[1]), item_seed(seed, "layout")).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, row.layout_steps + 1)
    lesions = lesion_cells(mask_hints(data.masks), data.mean)
    for _ in tqdm(range(row.layout_steps), desc="layout", unit="step", mininterval=5):
        chosen = torch.randint(0, len(data.mean), (BATCH,), generator=rng)
        timesteps = torch.randint(0, row.layout_t_max + 1, (BATCH,), generator=rng)
        latents = data.mean[chosen] + data.std[chosen] * torch.randn(data.mean[chosen].shape, generator=rng)
        alphas = scheduler.alphas_cumprod[timesteps]
        level = ((1 - alphas) / alphas).sqrt() * torch.rand(BATCH, generator=rng)
        noisy = latents + level.view(-1, 1, 1, 1) * torch.randn(latents.shape, generator=rng)
        noisy, timesteps, lesion = moved([noisy, timesteps, lesions[chosen]], device)
        with full_precision(torch.device(device)):
            loss = functional.binary_cross_entropy_with_logits(network(noisy, timesteps).sample, lesion)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


class Layout(NamedTuple):
    """The frozen segmenter and the row that says how much it counts."""

    network: UNet2DModel
    row: LossSwitches

    def loss(self, pred: Tensor, batch: Batch, figures: dict[str, Tensor]) -> Tensor:
        """Return the sum of the samples' weighted losses for predicted noise (B, C, h, w); gradients go into `pred`.

        It is 0 at timesteps above `layout_t_max`, and without any below there is no pass. `figures` takes
        LAYOUT_FIGURES, the losses (B,).
        """
        losses = self._losses(pred, batch)
        figures.update(zip(LAYOUT_FIGURES, [losses.detach()], strict=True))
        return losses.sum()

    def _losses(self, pred: Tensor, batch: Batch) -> Tensor:
        dtype = self.network.dtype
        whole = torch.zeros(len(batch.timesteps), dtype=dtype, device=pred.device)
        rows = [row for row, t in enumerate(batch.timesteps.tolist()) if t <= self.row.layout_t_max]
        if not rows:
            return whole
        chosen, timesteps = moved([torch.tensor(rows), batch.timesteps[rows]], pred.device)
        noisy, noise, hints, sigmas = (
            rows_of(tensor, chosen) for tensor in (batch.noisy_latents, pred, batch.mask_hint, batch.sigmas)
        )
        sigma = sigmas.to(dtype).view(-1, 1, 1, 1)
        root = (1 - sigma.square()).sqrt()
        with full_precision(pred.device):
            clean = (noisy.to(dtype) - sigma * noise.to(dtype)) / root
            logits = self.network(clean, timesteps).sample
            lesion = lesion_cells(hints, clean).to(dtype)
            missed = functional.binary_cross_entropy_with_logits(logits, lesion, reduction="none").mean((1, 2, 3))
        return whole.index_copy(0, chosen, self.row.layout_loss * root.flatten() * missed)


def build_layout(
    row: LossSwitches, data: TrainingData, scheduler: DDIMScheduler, seed: int, work: Path, accelerator: Accelerator
) -> Layout | None:
    """Return the loss of a row with its segmenter, or None where the row has none.

    The first process trains it and leaves it in `work`, where the others, and a run that is resumed, read it.

    Raises: UserError when the sides of the latents are no multiple of 4.
    """
    if not row.layout_loss:
        return None
    height, width = data.mean.shape[2:]
    if height % 4 or width % 4:
        raise UserError(
            f"layout_loss needs latents whose sides are multiples of 4, here {height} x {width}",
            ["another size_px of the data set", "or layout_loss: 0"],
        )
    file = work / "layout.safetensors"
    if accelerator.is_main_process and not file.is_file():
        trained = train_segmenter(data, row, scheduler, seed, accelerator.device)
        part = file.with_suffix(".part")
        save_file({name: value.cpu().contiguous() for name, value in trained.state_dict().items()}, part)
        part.rename(file)
    accelerator.wait_for_everyone()
    network = build_segmenter(data.mean.shape[1])
    network.load_state_dict(load_file(file))
    return Layout(network.to(accelerator.device).eval().requires_grad_(False), row)
