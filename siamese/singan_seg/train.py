"""Training a pyramid for each pair, in groups side by side; a finished group is never trained again."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from data.pairs.errors import UserError, few
from data.pairs.files import copy_file, write_json, write_text
from data.pairs.tables import csv_text
from data.pairs.training import accelerator, check_losses, check_weights
from siamese.base.devices import LateReader, is_out_of_memory
from siamese.base.latents import PixelData, to_signed
from siamese.base.training_state import LOG_ROWS
from siamese.config.singan_seg import SinganSegRow
from siamese.singan_seg.geometry import Scales, pyramid_of, scales_of
from siamese.singan_seg.networks import CHANNELS
from siamese.singan_seg.pyramid import FOLDER, save_pyramids
from siamese.singan_seg.scale import TERMS, ScaleTraining, train_pyramids
from siamese.training.loop import Run


def four_channels(images: np.ndarray, masks: np.ndarray) -> Tensor:
    """Return float32 (1, N * 4, H, W) in [-1, 1]: red, green, blue and mask of each of N pairs."""
    lesion = torch.from_numpy(masks != 0).float()[:, None] * 2 - 1
    return torch.cat([to_signed(images), lesion], 1).flatten(0, 1)[None]


def _losses_path(work: Path, first: str) -> Path:
    return work / f"{first}.npy"


def _train_group(
    data: PixelData,
    places: Sequence[int],
    row: SinganSegRow,
    scales: Scales,
    run: Run,
    device: torch.device,
    quiet: bool,
) -> None:
    """Train the pyramids of some pairs and write them, and the means of their terms, to run.work."""
    ids = [data.ids[place] for place in places]
    steps, rows = len(scales.sides) * row.iterations, []
    reals = pyramid_of(four_channels(data.images[places], data.masks[places]).to(device), scales, row)
    bar = tqdm(total=steps, desc=f"singan_seg {ids[0]}", unit="step", mininterval=5, disable=quiet)
    kept = ((reals[-1][0, CHANNELS - 1 :: CHANNELS] + 1) / 2 > row.mask_cut).flatten(1).any(1).tolist()
    if lost := [ids[k] for k, place in enumerate(places) if data.masks[place].any() and not kept[k]]:
        side = scales.sides[-1][0]
        bar.write(f"singan_seg: lesions too small for {side} px, lost: {', '.join(few(lost))}", file=sys.stderr)
    advice = [f"lower lr of singan_seg in generators (now {row.lr:g})"]

    def read(step: int, means: list[float]) -> None:
        check_losses("singan_seg", step, steps, dict(zip(TERMS, means, strict=True)), advice)
        rows.append(means)

    reader = LateReader(read)

    def log(step: int, terms: Tensor, training: ScaleTraining) -> None:
        reader.put(step, terms.mean(1))
        bar.update()
        if (step + 1) % row.iterations == 0:
            reader.flush()
            check_weights("singan_seg", step + 1, training.learning, advice)

    pyramids = train_pyramids(reals, row, scales, ids, run.cfg.seed, log)
    bar.close()
    images = ((reals[-1][0].unflatten(0, (-1, 4))[:, :3] + 1) / 2 * 255).round().to(torch.uint8)
    folder = run.work / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    np.save(_losses_path(run.work, ids[0]), np.array(rows, np.float32).reshape(-1, len(TERMS)))
    save_pyramids(pyramids, ids, images if row.style != "none" else None, folder)


def _write_losses(groups: Sequence[Sequence[str]], run: Run) -> None:
    """Write the terms as means over all pyramids and over up to LOG_ROWS windows of steps, scale after scale."""
    of_groups = [np.load(_losses_path(run.work, ids[0])) for ids in groups]
    terms = np.average(of_groups, axis=0, weights=[len(ids) for ids in groups])
    windows = np.array_split(np.arange(len(terms)), min(LOG_ROWS, max(1, len(terms))))
    lines = [[int(w[-1]), *(f"{value:.6g}" for value in terms[w].mean(0))] for w in windows if len(w)]
    write_text(run.out / "loss.csv", csv_text(["step", *TERMS], lines))


def train_singan_seg(data: PixelData, row: SinganSegRow, run: Run) -> None:
    """Train a pyramid for each pair and write them, the config and loss.csv to run.out.

    Groups of row.parallel pairs are trained side by side, the processes take turns at groups, and after a crash the
    groups that are whole stay. Of the training section only the seed is read: all else is the row's. In float32.

    Raises: UserError when images are too small, a loss is not finite, or memory does not suffice.
    """
    processes = accelerator()
    processes.wait_for_everyone()
    size = data.images.shape[1:3]
    scales = scales_of(row, *size)
    groups = [list(range(at, min(at + row.parallel, len(data.ids)))) for at in range(0, len(data.ids), row.parallel)]
    quiet = not processes.is_main_process
    say = (lambda text: None) if quiet else partial(print, file=sys.stderr)
    say(f"singan_seg: {len(data.ids)} pyramids of {len(scales.sides)} scales, {row.parallel} side by side")
    for places in groups[processes.process_index :: processes.num_processes]:
        files = [run.work / FOLDER / f"{data.ids[place]}.safetensors" for place in places]
        if all(path.is_file() for path in files):
            continue
        try:
            _train_group(data, places, row, scales, run, processes.device, quiet)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"out of memory with {len(places)} pyramids side by side: lower parallel of singan_seg in generators"
            ) from error
    processes.wait_for_everyone()
    if not processes.is_main_process:
        return
    for own_id in data.ids:
        copy_file(run.work / FOLDER / f"{own_id}.safetensors", run.out / FOLDER / f"{own_id}.safetensors")
    _write_losses([[data.ids[place] for place in places] for places in groups], run)
    settings = {"generator": row.model_dump(mode="json"), "training": run.cfg.model_dump(mode="json")}
    write_json(run.out / "config.json", {**settings, "precision": "no", "pairs": len(data.ids), "size_px": size[0]})
