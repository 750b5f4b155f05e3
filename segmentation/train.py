"""Training a segmenter on real pairs and whatever was added to them."""

import csv
import io
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.optim import lr_scheduler

from data.pairs.errors import UserError
from data.pairs.files import write_json, write_text
from data.pairs.manifest import PairSet
from data.pairs.seeds import item_seed
from segmentation.augment import build_augment
from segmentation.config import CONFIG, WEIGHTS, ArchitectureRow
from segmentation.inputs import load_pairs, normalize
from segmentation.losses import LOSSES
from segmentation.networks import build_network

CURVE, CURVE_ROWS = "curve.csv", 200

Schedule = Callable[[torch.optim.Optimizer, float, int], lr_scheduler.LRScheduler]
SCHEDULES: dict[str, Schedule] = {
    "constant": lambda optimizer, _lr, _steps: lr_scheduler.ConstantLR(optimizer, factor=1),
    "one_cycle": lambda optimizer, lr, steps: lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps),
}


def count_steps(row: ArchitectureRow, real: int, synthetic: int) -> int:
    """Return the number of optimiser steps for so many real and synthetic pairs under the row's budget."""
    pairs = {"equal_epochs": real + synthetic, "equal_steps": real}[row.budget]
    return row.epochs * math.ceil(pairs / row.batch)


def chosen_pairs(real: PairSet, added: PairSet, row: ArchitectureRow) -> tuple[PairSet, PairSet]:
    """Return the real and the added pairs that the row trains on. A smaller share of the added ones is in every larger.

    Raises: UserError when none are left, or fewer added pairs are there than the row asks for.
    """
    if row.added_pairs is not None and row.added_pairs > len(added):
        raise UserError(
            f"{added.folder} holds {len(added)} pairs, and added_pairs asks for {row.added_pairs}: "
            "sample a larger multiple (volume.multiples), or lower it"
        )
    order = sorted(added.pairs, key=lambda pair: item_seed("added", pair.id))[: row.added_pairs]
    kept = replace(added, pairs=tuple(sorted(order, key=lambda pair: pair.id)))
    used = real if row.real_pairs else replace(real, pairs=())
    if not (used if row.real_pairs else kept).pairs:
        raise UserError(f"{(real if row.real_pairs else added).folder} holds no pairs to train on")
    return used, kept


def _batches(pairs: int, batch: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (epoch, indices) for ever: each epoch is a new order, cut into nearly equal parts.

    Nearly equal, because a remainder of one or two pairs makes poor batch statistics.
    """
    for epoch in itertools.count():
        order = np.random.default_rng(item_seed("order", seed, epoch)).permutation(pairs)
        for indices in np.array_split(order, math.ceil(pairs / batch)):
            yield epoch, indices


def _curve(losses: list[float]) -> str:
    """Return CSV of step and loss, where a loss is the mean over the steps since the row before."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "loss"])
    for steps in np.array_split(np.arange(len(losses)), min(CURVE_ROWS, len(losses))):
        writer.writerow([int(steps[-1]) + 1, f"{np.mean([losses[step] for step in steps]):.6g}"])
    return text.getvalue()


def train(real: PairSet, synthetic: PairSet, row: ArchitectureRow, out_dir: Path, *, seed: int) -> dict[str, object]:
    """Return what was done, and write the last weights, the configuration and the loss curve into a fresh folder.

    The pairs of both sets form one training set; `synthetic` may be empty. The initial weights depend on `seed` alone,
    so that runs with different pairs start alike. Device and precision are accelerate's, from the environment. Every
    process of a parallel run computes the same, because the loss is not a mean over pairs that could be shared out.

    Raises: UserError when there are no pairs, or fewer than the row asks for, when the encoder is unusable, or when the
    loss is no longer a finite number.
    """
    from accelerate import Accelerator
    from safetensors.torch import save_file
    from tqdm import tqdm

    planned = len(real)
    real, synthetic = chosen_pairs(real, synthetic, row)
    accelerator = Accelerator()
    loaded = [load_pairs(pair_set, row.input_px) for pair_set in (real, synthetic)]
    images, masks = (np.concatenate(arrays) for arrays in zip(*loaded, strict=True))
    keys = [f"real/{pair.id}" for pair in real.pairs] + [f"synthetic/{pair.id}" for pair in synthetic.pairs]
    steps = count_steps(row, planned if row.budget == "equal_steps" else len(real), len(synthetic))
    augment, loss_of = build_augment(row.augment), LOSSES[row.loss]

    with torch.random.fork_rng():  # the layers draw their weights, and drop paths, from the global generator only
        torch.manual_seed(item_seed("weights", seed))
        network = build_network(row).to(accelerator.device).to(memory_format=torch.channels_last)
        torch.manual_seed(item_seed("training", seed))
        optimizer = torch.optim.AdamW(network.parameters(), lr=row.lr, weight_decay=row.weight_decay, fused=True)
        schedule = SCHEDULES[row.schedule](optimizer, row.lr, steps)
        scaled = accelerator.prepare_optimizer(optimizer)
        losses: list[float] = []
        plan = itertools.islice(_batches(len(keys), row.batch, seed), steps)
        for epoch, indices in tqdm(plan, desc=row.network, total=steps, mininterval=5):
            batch = [augment(images[i], masks[i], item_seed("augment", seed, epoch, keys[i])) for i in indices]
            inputs = normalize(np.stack([image for image, _ in batch]), accelerator.device)
            targets = torch.from_numpy(np.stack([mask for _, mask in batch])[:, None]).to(accelerator.device).float()
            with accelerator.autocast():
                logits = network(inputs)
            loss = loss_of(logits.float(), targets)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise UserError(
                    f"the loss of the {row.network} is {losses[-1]} at step {len(losses)} of {steps}",
                    [f"lower lr, which is {row.lr:g}", "or train in full precision (ACCELERATE_MIXED_PRECISION=no)"],
                )
            scaled.zero_grad()
            accelerator.backward(loss)
            scaled.step()
            schedule.step()

    run: dict[str, object] = {
        "seed": seed,
        "real": len(real),
        "synthetic": len(synthetic),
        "steps": steps,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    if accelerator.is_main_process:
        state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        save_file(state, out_dir / WEIGHTS)
        write_json(out_dir / CONFIG, {"row": row.model_dump(mode="json"), **run})
        write_text(out_dir / CURVE, _curve(losses))
    return run
