"""What can be seen of a training while it goes on: curves and samples. It changes no weight and no other file.

Asked for in the environment, so that it is no setting of a result; siamese/training reaches it by name, so that no
change in here makes DVC train anew.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from siamese.base.training_state import TrainingState
from siamese.live.samples import SAMPLES, Samples, Shown, asked_steps
from siamese.live.trackers import asked_trackers, show_images, start_trackers

POINTS = 200  # of a curve, each the mean of the steps since the last


def check() -> None:
    """Raise UserError when the environment asks for what is not here."""
    asked_trackers()
    asked_steps()


def _write(sheet: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    Image.fromarray(sheet).save(beside, format="PNG", optimize=True)
    beside.replace(path)


class Watch:
    """Follows one training in its main process. `run` is a siamese.training.loop.Run, `names` its loss terms first."""

    def __init__(
        self, row: Any, run: Any, names: tuple[str, ...], state: TrainingState, accelerator: Any, start: int, shown: Any
    ) -> None:
        self.run, self.names, self.state, self.accelerator = run, names, state, accelerator
        self.stride = max(1, run.cfg.steps // POINTS)
        self.every = asked_steps() if shown else 0
        self.samples: Samples | None = None
        self.parts = (row, run.base_dir, Shown(*shown), state, run.work, run.cfg.compile) if shown else None
        settings = {
            f"{group}.{key}": value if isinstance(value, int | float) else str(value)
            for group, section in (("generator", row), ("training", run.cfg))
            for key, value in section
        }
        start_trackers(accelerator, run.live, start > 0, settings)

    def logged(self, step: int) -> None:
        """Log the last row of losses, and those before it that were not, if it is time to. Terms of 0 are none."""
        if (step + 1) % self.stride and step + 1 < self.run.cfg.steps:
            return
        means = np.array(self.state.rows[-self.stride :])[:, 1:].mean(0)
        values = {name: float(mean) for name, mean in zip(self.names, means, strict=True) if mean}
        self.accelerator.log(values, step + 1)

    def stepped(self, done: int) -> None:
        """Draw the samples, if it is time to, to samples.png of the generator's folder and of the live one."""
        if not self.every or not self.parts or (done % self.every and done < self.run.cfg.steps):
            return
        self.samples = self.samples or Samples(*self.parts)
        images = self.samples.draw(done)
        if images is not None:
            sheet = self.samples.sheet()
            for folder in (self.run.live, self.run.out):
                _write(sheet, folder / SAMPLES)
            show_images(self.accelerator, images, sheet, done)
