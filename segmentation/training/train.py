"""Training a segmenter on real pairs and whatever was added to them."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from data.pairs import training
from data.pairs.errors import UserError
from data.pairs.files import write_json, write_text
from data.pairs.manifest import PairSet
from data.pairs.seeds import item_seed
from data.pairs.training import check_weights
from segmentation.config.architectures import CONFIG, WEIGHTS, ArchitectureRow
from segmentation.inference.inputs import load_pairs, scaled_sizes
from segmentation.networks.build import build_network
from segmentation.networks.encoders import weights_hash
from segmentation.training.batches import TrainingPairs, chosen_pairs, count_batches
from segmentation.training.losses import loss_of
from segmentation.training.run import Run, build_optimizer, build_schedule
from segmentation.training.validation import validation_sets

CURVE = "curve.csv"
STATE, SAVE_EVERY_S = "state.pt", 60.0


def train(
    real: PairSet,
    synthetic: PairSet,
    row: ArchitectureRow,
    out_dir: Path,
    *,
    seed: int,
    val: PairSet | None = None,
    tests: Sequence[PairSet] = (),
    work: Path | None = None,
    settings: str | None = None,
) -> dict[str, object]:
    """Return what was done, and write the weights, the configuration and the loss curve into a fresh folder.

    The pairs of both sets form one training set; `synthetic` may be empty. The initial weights depend on `seed` alone,
    so that runs with different pairs start alike. Device and precision are accelerate's, from the environment.
    `val` is the validation split where there is one; `tests` are looked at only with keep: best_test. From `work`, a
    folder that outlives a crash, a run goes on at its last saved epoch and, on the CPU, ends with the same bytes.
    `settings`, the key of params.yaml that `row` is, names the training in messages.

    Raises: UserError when there are no pairs, or fewer than the row asks for, when the row needs validation pairs and
    there are none, when the encoder is unusable, when the loss or a weight is no longer a finite number, and as
    `data.pairs.training.accelerator`.
    """
    accelerator = training.accelerator()
    planned = len(real)
    used, added, looked_at = validation_sets(row, real, synthetic, val, tests, seed)
    used, added = chosen_pairs(used, added, row)
    batches = count_batches(row, planned if row.budget == "equal_steps" else len(used), len(added))
    pairs = TrainingPairs(used, added, row, seed, batches=batches, ahead=accelerator.device.type != "cpu")
    if row.synthetic and not pairs.curriculum:
        sys.stderr.write(f"{settings or row.network}: no synthetic pairs are added, so `synthetic` changes nothing\n")
    steps = batches * (len(row.scales.factors) if row.scales and row.scales.draw == "each" else 1)
    with torch.random.fork_rng():  # the layers draw their weights, and drop paths, from the global generator only
        torch.manual_seed(item_seed("weights", seed))
        network = build_network(row).to(accelerator.device).to(memory_format=torch.channels_last)
        torch.manual_seed(item_seed("training", seed))
        optimizer = build_optimizer(network, row)
        schedule = build_schedule(optimizer, row, steps)
        prepared = accelerator.prepare_optimizer(optimizer)
        decoded = [load_pairs(pair_set, row) for pair_set in looked_at]
        run = Run(row, settings or row.network, accelerator, steps, network, prepared, schedule, loss_of(row), decoded)
        if work and (work / STATE).is_file():
            run.load(work / STATE)
        _train_epochs(run, pairs, batches, work)
    check_weights(run.settings, len(run.losses), network.parameters(), run.advice)
    facts: dict[str, object] = {
        "seed": seed,
        "real": len(used),
        "synthetic": len(added),
        "steps": len(run.losses),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "kept_epoch": run.best_epoch if run.weights else run.epochs,
        "validation_pairs": sum(len(pair_set) for pair_set in looked_at),
    }
    if pairs.curriculum:
        facts["synthetic_draws"] = pairs.synthetic_draws(min(run.epochs * pairs.in_epoch, batches))
    if digest := weights_hash(row):
        facts["encoder_sha256"] = digest
    if accelerator.is_main_process:
        _write(run, out_dir, facts)
    return facts


def _train_epochs(run: Run, pairs: TrainingPairs, batches: int, work: Path | None) -> None:
    """Train until the budget is used up or early stopping ends it, saving a state from time to time."""
    from tqdm import tqdm

    started = saved = time.monotonic()
    bar = tqdm(total=run.steps, initial=len(run.losses), desc=run.settings, mininterval=5)
    in_epoch = pairs.in_epoch
    while run.epochs * in_epoch < batches and not run.stopped:
        left = batches - run.epochs * in_epoch  # the last epoch may be cut short by the budget
        for number, batch in zip(range(min(in_epoch, left)), pairs.epoch(run.epochs), strict=False):
            rng = np.random.default_rng(item_seed("size", pairs.seed, run.epochs, number))
            sizes = scaled_sizes(run.row.scales, run.row.input_px, rng)
            run.take_steps(batch, sizes)
            bar.update(len(sizes))
        run.end_epoch()
        if work and time.monotonic() - saved > SAVE_EVERY_S:
            run.save(work / STATE)
            saved = time.monotonic()
    bar.close()
    took = max(time.monotonic() - started, 1e-9)
    sys.stderr.write(f"{run.settings}: waited for data {100 * pairs.waited_s / took:.0f} % of the time\n")


def _write(run: Run, out_dir: Path, facts: dict[str, object]) -> None:
    from safetensors.torch import save_file

    weights = run.network.state_dict() if run.row.keep == "last" else run.weights
    if not weights:
        raise UserError(f"{run.settings} never had a validation score that is a number", run.advice[:1])
    save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, out_dir / WEIGHTS)
    write_json(out_dir / CONFIG, {"row": run.row.model_dump(mode="json"), **facts})
    write_text(out_dir / CURVE, run.curve())
