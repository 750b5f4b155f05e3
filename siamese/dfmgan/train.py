"""Training DFMGAN: stage 1 on images without lesion, stage 2 on pairs, with stage 1's generator frozen."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from data.pairs.errors import UserError, few
from data.pairs.files import code_fingerprint, work_folder
from data.pairs.seeds import item_seed
from siamese.base.checkpoint_files import flat_state, load_flat_state
from siamese.base.devices import Built, seeded
from siamese.base.latents import PixelData
from siamese.base.training_state import write_rows
from siamese.config.dfmgan import DfmganRow
from siamese.config.sections import TrainingConfig
from siamese.dfmgan.checkpoint import save_generator
from siamese.dfmgan.discriminator import Discriminator
from siamese.dfmgan.draws import Pool, as_pool, network_side
from siamese.dfmgan.generator import Defect, Normal
from siamese.dfmgan.loop import run_stage
from siamese.dfmgan.phases import lazy_intervals
from siamese.dfmgan.stage import Stage
from siamese.dfmgan.state import GanState
from siamese.training.loop import Run, one_training

STAGE_ONE, STAGE_ONE_LOSS = "stage1.safetensors", "stage1_loss.csv"
# what stage 1 reads of a row; of path_length whether it is off
STAGE_ONE_KEYS = {
    *("code", "channel_base", "channel_most", "mapping_layers", "images1", "augment", "ada_target", "ada_images1"),
    *("mirror", "style_mixing", "r1_gamma", "ema_images"),
}
LEAST_AREA, LAST_STEPS = 1e-3, 100  # mean share of the mask below which a training has failed, over its last steps


class Setting(NamedTuple):
    """What both stages are told."""

    row: DfmganRow
    cfg: TrainingConfig
    side: int
    accelerator: Accelerator

    def build(self, name: str, make: Callable[[], Built]) -> Built:
        """Return a network with first weights that are a function of the training's seed and its name."""
        return seeded(make, item_seed(self.cfg.seed, "weights", name)).to(self.accelerator.device)  # type: ignore

    def stage(self, number: int, pool: Pool, normal: Normal, state: GanState, defect: Defect | None = None) -> Stage:
        """Return one of the two stages."""
        gamma, seed = self.row.r1_gamma, item_seed(self.cfg.seed, "stage", number)
        gamma = 0.0002 * self.side**2 / self.cfg.batch if gamma is None else gamma
        return Stage(self.row, self.side, seed, pool, normal, state, defect, gamma)


class StageOne(NamedTuple):
    """What stage 1 leaves: its generator as it is and averaged, and its discriminator."""

    normal: Normal
    average: Normal
    critic: Discriminator


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def stage_one_fingerprint(pool: Pool, setting: Setting) -> dict[str, Any]:
    """Return all that stage 1 depends on, so that rows that differ in stage 2 alone share it."""
    row, cfg = setting.row, setting.cfg
    return {
        "pool": hashlib.sha256(pool.images.tobytes()).hexdigest(),
        "row": row.model_dump(mode="json", include=STAGE_ONE_KEYS) | {"path": row.path_length != "off"},
        "training": cfg.model_dump(mode="json", include={"batch", "micro_batch", "lr", "seed"}),
        "side": setting.side,
        "precision": setting.accelerator.mixed_precision,
        "code": code_fingerprint("data.pairs", "siamese.base", "siamese.dfmgan", "siamese.training"),
    }


def train_stage_one(pool: Pool, setting: Setting, work: Path) -> StageOne:
    """Train StyleGAN2 on normal images, or read what an earlier run left in `work`."""
    row, side, accelerator = setting.row, setting.side, setting.accelerator
    normal, average = (setting.build("normal", lambda: Normal(row, side)) for _ in range(2))
    critic = setting.build("critic", lambda: Discriminator(3, side, row.channel_base, row.channel_most))
    parts = {"normal": normal, "average": average.requires_grad_(False), "critic": critic}
    if not (work / STAGE_ONE).is_file():
        every = lazy_intervals(False, row.path_length)
        state = GanState({"generator": normal, "critic": critic}, every, average, setting.cfg.lr)
        stage = setting.stage(1, pool, normal, state)
        columns = run_stage("dfmgan, stage 1", stage, row.images1, row.ada_images1, setting.cfg, work, accelerator)
        if accelerator.is_main_process:
            write_rows(work / STAGE_ONE_LOSS, columns, state.rows)
            save_file(flat_state(parts), work / f"{STAGE_ONE}.tmp")
            (work / f"{STAGE_ONE}.tmp").rename(work / STAGE_ONE)
            for checkpoint in work.glob("step-*"):
                shutil.rmtree(checkpoint)
        accelerator.wait_for_everyone()
    load_flat_state(parts, load_file(work / STAGE_ONE))
    return StageOne(normal, average, critic)


def train_stage_two(pool: Pool, first: StageOne, setting: Setting, run: Run) -> tuple[Normal, Defect]:
    """Train the defect's part on pairs; return the frozen backbone and the averaged part. Writes loss.csv."""
    row, side, accelerator = setting.row, setting.side, setting.accelerator
    normal = (first.average if row.stage2_backbone == "ema" else first.normal).requires_grad_(False)
    defect, average = (setting.build("defect", lambda: Defect(row, side)) for _ in range(2))
    match = setting.build("match", lambda: Discriminator(4, side, row.match_base, row.match_most))
    networks = {"generator": defect, "critic": first.critic, "match": match}
    state = GanState(networks, lazy_intervals(True, row.path_length), average.requires_grad_(False), setting.cfg.lr)
    stage = setting.stage(2, pool, normal, state, defect)
    columns = run_stage("dfmgan, stage 2", stage, row.images2, row.ada_images2, setting.cfg, run.work, accelerator)
    if accelerator.is_main_process:
        write_rows(run.out / "loss.csv", columns, state.rows)
        _warn(np.array(state.rows)[:, 1:], columns)
    return normal, average


def _warn(rows: np.ndarray, columns: list[str]) -> None:
    area = rows[-LAST_STEPS:, columns.index("mask_area")].mean()
    if area < LEAST_AREA:
        sys.stderr.write(f"dfmgan: masks are all but empty at the end, {area:.2g} of the image: try lambda_match 0.2\n")
    if zeroed := int(rows[:, columns.index("zeroed")].sum()):
        sys.stderr.write(f"dfmgan: {zeroed} optimiser steps had gradients that were not finite and were set to 0\n")


def _check_lesions(data: PixelData, pairs: Pool, side: int) -> None:
    """Name the lesions that the networks' side is too small for. Raises: UserError when no lesion is left."""
    assert pairs.masks is not None
    what = f"lesions too small for the networks' images of {side} px"
    if not pairs.masks.any():
        raise UserError(f"dfmgan: no pair has a lesion, but for {what}", ["give the row a larger side"])
    masks = zip(data.ids, data.masks, pairs.masks, strict=False)  # mirrored copies come after all ids
    if lost := [own_id for own_id, mask, small in masks if mask.any() and not small.any()]:
        sys.stderr.write(f"dfmgan: {what}, lost: {', '.join(few(lost))}\n")


def train_dfmgan(data: PixelData, row: DfmganRow, run: Run) -> None:
    """Train both stages on data.normals and on the pairs; write weights, config, loss.csv and stage 1's loss.

    Stage 1 stays in .work/dfmgan for other rows that share its settings and its images. Of run.cfg, batch, lr, seed,
    checkpoint_steps and micro_batch are read. Two things see a micro-batch and not the whole batch: the deviation in
    the discriminators and mode seeking; so the weights depend on its size and on the number of processes.

    Raises: UserError when images are no squares or do not fit the row, when no lesion is left at the networks' side,
    when a loss is not finite, or when memory does not suffice.
    """
    assert data.normals is not None  # `load_data` has seen to it
    side = network_side(row, data.images)
    network_side(row, data.normals)
    normals = as_pool(data.normals, None, side, mirror=row.mirror)
    pairs = as_pool(data.images, data.masks, side, mirror=row.mirror)
    _check_lesions(data, pairs, side)
    with one_training(run.cfg) as accelerator:
        setting = Setting(row, run.cfg, side, accelerator)
        fingerprint = stage_one_fingerprint(normals, setting)
        with work_folder(f"dfmgan/{_hash(fingerprint)}", fingerprint, keep=True) as work:
            accelerator.wait_for_everyone()  # until the main process has made it
            first = train_stage_one(normals, setting, work)
            if accelerator.is_main_process:
                shutil.copyfile(work / STAGE_ONE_LOSS, run.out / STAGE_ONE_LOSS)
        normal, defect = train_stage_two(pairs, first, setting, run)
        if accelerator.is_main_process:
            settings = {"generator": row.model_dump(mode="json"), "training": run.cfg.model_dump(mode="json")}
            counts = {"pairs": len(data.images), "normals": len(data.normals)}
            sizes = {"side": side, "size_px": data.images.shape[1]}
            config = {**settings, **counts, **sizes, "precision": accelerator.mixed_precision}
            save_generator(normal, defect, config, run.out)
