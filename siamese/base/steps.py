"""The training steps of the base model's networks, resumed after a crash: AdamW, one cycle, on any device."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from data.pairs.training import accelerator, check_losses, check_weights
from siamese.base.devices import LateReader
from siamese.base.training_state import TrainingState
from siamese.config.sections import TrainingConfig


class Steps(Protocol):
    """How long something is trained: what every section with a training of its own says."""

    @property
    def steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def lr(self) -> float: ...


def train_steps(
    network: torch.nn.Module,
    name: str,
    shape: Steps,
    loss_of_batch: Callable[[torch.Generator], Tensor],
    seed: int,
    checkpoint_steps: int,
    work: Path,
    *,
    what: str = "base",
    schedule: Literal["constant", "one_cycle"] = "one_cycle",
) -> None:
    """Take every step from the last checkpoint in `work` on, each on the loss of one batch.

    All draws of a batch come from the generator that `loss_of_batch` is given, which is on the CPU and whose state is
    part of a checkpoint. On the CPU a resumed run ends with the weights of an unbroken one, to the bit. `what` and
    `name` are the keys of the settings in params.yaml.

    Raises: UserError when the loss or a weight is not finite.
    """
    processes, rng = accelerator(), torch.Generator().manual_seed(seed)
    cfg = TrainingConfig(
        steps=shape.steps, batch=shape.batch, lr=shape.lr, weight_decay=1e-2, schedule=schedule, prompt_dropout=0.0,
        checkpoint_steps=checkpoint_steps, seed=0,
    )  # fmt: skip
    state = TrainingState([network], {"network": network}, cfg, processes, getattr(shape, "ema", 0) or None, rng=rng)
    training, advice = f"{what} {name}", [f"lower {what}.{name}.lr (now {shape.lr:g})", "remove the outlier images"]
    work.mkdir(exist_ok=True)
    start = state.resume(work)
    with tqdm(total=shape.steps, initial=start, desc=name, unit="step", mininterval=5) as bar:

        def log(step: int, losses: list[float]) -> None:
            check_losses(training, step, shape.steps, {"loss": losses[0]}, advice)
            bar.set_postfix(loss=f"{losses[0]:.3f}", refresh=False)

        reader = LateReader(log)
        for step in range(start, shape.steps):
            state.optimizer.zero_grad(set_to_none=True)
            with processes.autocast():
                loss = loss_of_batch(rng)
            state.scaler.scale(loss).backward()
            reader.put(step, loss.detach().reshape(1))
            state.update()
            bar.update()
            if (step + 1) % checkpoint_steps == 0 and step + 1 < shape.steps:
                reader.flush()
                state.save(work, step + 1)
        reader.flush()
    check_weights(training, shape.steps, network.parameters(), advice)
    if state.average:
        state.average.copy_to(state.parameters)
