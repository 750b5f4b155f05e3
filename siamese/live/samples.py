"""What a generator on latents draws for four fixed masks while it is trained, as one picture."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from data.drawing import GAP_PX, HEADER_PX, Sheet, enlarged, evenly
from data.pairs.errors import UserError
from data.pairs.seeds import item_seed
from siamese.base.devices import is_out_of_memory
from siamese.base.load import load_scheduler, load_vae
from siamese.base.training_state import TrainingState
from siamese.config.sections import NEEDS, SamplingConfig
from siamese.method.checkpoint import Trained
from siamese.sampling.requests import Request
from siamese.sampling.sampler import latent_sampler

VARIABLE = "SIAMESE_SAMPLES_EVERY"
SAMPLES = "samples.png"
MASKS, ROWS, CELL_PX = 4, 12, (96, 192)
# few steps from pure noise, no guidance on the prompt: a look at little cost, and not params.yaml's sampling
LOOK = SamplingConfig(steps=20, guidance=1.0, spacing="trailing", batch=1, seed=0)


class Shown(NamedTuple):
    """A training on latents as far as images can be drawn from it."""

    networks: Any  # siamese.method.networks.Networks
    context: torch.Tensor  # (2, 77, D)
    masks: np.ndarray  # (N, H, W) in [0, 1]
    images: np.ndarray  # uint8 (N, H, W, 3)


def asked_steps() -> int:
    """Return after how many steps SIAMESE_SAMPLES_EVERY wants samples; 0 without it. Raises: UserError."""
    value = os.environ.get(VARIABLE, "0") or "0"
    if not value.isdecimal():
        raise UserError(f"{VARIABLE} is '{value}' in the environment: set it to a number of steps, such as 100")
    return int(value)


@contextlib.contextmanager
def _as_it_would_be_saved(shown: Shown, state: TrainingState, compiled: bool) -> Iterator[None]:
    """Let networks draw with the weights that would be saved now, and leave them to the bit as they were."""
    modes = [(network, network.training) for network in shown.networks.all()]
    uncompiled = torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()
    if state.average:
        state.average.store(state.parameters)
        state.average.copy_to(state.parameters)
    try:
        with uncompiled:
            for network, _ in modes:
                network.eval()
            yield
    finally:
        for network, mode in modes:
            network.train(mode)
        if state.average:
            state.average.restore(state.parameters)


class Samples:
    """Draws the same masks with the same noise again and again, and keeps what was drawn in `work`.

    The masks are those of training pairs, spread evenly over them.
    """

    def __init__(
        self, row: Any, base_dir: Path, shown: Shown, state: TrainingState, work: Path, compiled: bool
    ) -> None:
        self.shown, self.state, self.work, self.compiled = shown, state, work / "samples", compiled
        self.places = evenly(range(len(shown.masks)), MASKS)
        trained = Trained(shown.networks, shown.context, row)
        self.sampler = latent_sampler(trained, load_vae(base_dir), load_scheduler(base_dir), LOOK)
        self.reference = NEEDS[row.method].reference

    def draw(self, step: int) -> np.ndarray | None:
        """Return images uint8 (MASKS, H, W, 3) of the model after `step` steps; None where memory did not suffice."""
        requests = [
            Request(str(i), self.shown.masks[i], item_seed(0, "look", i), self.shown.images[i]) for i in self.places
        ]
        try:
            with _as_it_would_be_saved(self.shown, self.state, self.compiled):
                images = np.stack([np.asarray(next(iter(self.sampler.sample([one])))) for one in requests])
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            sys.stderr.write(f"step {step}: no samples, memory does not suffice for one image beside the training\n")
            return None
        self.work.mkdir(exist_ok=True)
        Image.fromarray(np.concatenate(images, 1)).save(self.work / f"{step:08d}.png")
        return images

    def sheet(self) -> np.ndarray:
        """Return uint8 (H, W, 3): the masks, and below them up to ROWS of the steps at which they were drawn."""
        side = self.shown.masks.shape[1]
        cell = int(np.clip(side, *CELL_PX))
        files = evenly(sorted(self.work.glob("*.png")), ROWS)
        sheet = Sheet(1 + len(self.places), 1 + len(files), (cell + GAP_PX, cell + GAP_PX))
        sheet.write(0, 0, "mask", (0, (cell - HEADER_PX) // 2))
        for column, place in enumerate(self.places, 1):
            grey = (self.shown.masks[place] * 255).astype(np.uint8)
            sheet.paste(column, 0, enlarged(np.stack([grey] * 3, -1), cell))
        for row, path in enumerate(files, 1):
            sheet.write(0, row, f"step {int(path.stem)}", (0, (cell - HEADER_PX) // 2))
            strip = np.asarray(Image.open(path))
            for column, image in enumerate(np.split(strip, len(self.places), 1), 1):
                sheet.paste(column, row, enlarged(image, cell))
        return np.asarray(sheet.image)
