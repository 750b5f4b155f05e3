"""A pyramid while it grows and when it is done: the generators, their noise, and one file for each training pair."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.pairs.errors import UserError
from siamese.config.singan_seg import SinganSegRow
from siamese.method.checkpoint import read_config, reading
from siamese.singan_seg.geometry import Scales, resize, scales_of
from siamese.singan_seg.networks import CHANNELS, Generator, State, apart, load_together

FOLDER = "pyramids"
SCALES, FIRST_NOISE, AMPLITUDES, IMAGE = "scale", "first_noise", "amplitudes", "image"  # keys of a pyramid's file

# (scale, channels a pyramid) -> fresh noise (1, K * channels, h, w) of that scale
Draw = Callable[[int, int], Tensor]


class Pyramids(NamedTuple):
    """Several pyramids side by side, as far as they are trained: frozen, in evaluation mode."""

    row: SinganSegRow
    scales: Scales
    generators: list[Generator]
    first_noise: Tensor  # (1, K, h, w): z* of the coarsest scale; that of all others is zero
    amplitudes: list[Tensor]  # of the noise of each scale, (K,)

    def _zero(self, scale: int) -> Tensor:
        """Return zeros (1, K * 4, h, w) at a scale."""
        channels = self.first_noise.shape[1] * CHANNELS
        return torch.zeros(1, channels, *self.scales.sides[scale]).to(self.first_noise)

    def noise(self, scale: int, fresh: Tensor | None) -> Tensor:
        """Return the noise of a scale, (1, K * 4, h, w): from a fresh draw, or z* for None."""
        if scale == 0:
            drawn = self.first_noise if fresh is None else fresh
            return drawn.repeat_interleave(CHANNELS, dim=1)  # one channel, the same in all
        amplitude = self.amplitudes[scale].repeat_interleave(CHANNELS).view(1, -1, 1, 1)
        if fresh is None:
            return self._zero(scale)
        return amplitude * fresh

    def before(self, scale: int, draw: Draw | None, start: int = 0) -> Tensor:
        """Return what a scale paints on, (1, K * 4, h, w): the scales before it, from noise, enlarged.

        `draw` None: the chain of z*, as in scales before `start`. Zero at the coarsest scale.
        """
        image = self._zero(0)
        for number in range(scale):
            image = self.generators[number](self.noise(number, self.drawn(number, draw, start)), image)
            image = resize(image, 1 / self.scales.factor, self.scales.sides[number + 1], self.row)
        return image

    @staticmethod
    def drawn(scale: int, draw: Draw | None, start: int) -> Tensor | None:
        """Return fresh noise of a scale, or None where it is z*."""
        if draw is None or scale < start:
            return None
        return draw(scale, CHANNELS if scale else 1)

    @torch.no_grad()
    def sample(self, draw: Draw | None, start: int = 0) -> Tensor:
        """Return images at the finest scale, (1, K * 4, h, w) in [-1, 1]; without `draw` the reconstructions."""
        last = len(self.scales.sides) - 1
        noise = self.noise(last, self.drawn(last, draw, start))
        return self.generators[last](noise, self.before(last, draw, start)).clamp(-1, 1)


def save_pyramids(pyramids: Pyramids, ids: Sequence[str], images: Tensor | None, folder: Path) -> None:
    """Write a file for each pyramid: weights and statistics of its generators, z* and the strengths of noise.

    `images`, uint8 (K, 3, h, w), are the training images at the finest scale, where samples get their style.
    """
    states = [apart(generator, len(ids)) for generator in pyramids.generators]
    for place, own_id in enumerate(ids):
        tensors: State = {
            f"{SCALES}.{scale}.{name}": value
            for scale, state in enumerate(states)
            for name, value in state[place].items()
        }
        tensors[FIRST_NOISE] = pyramids.first_noise[0, place].cpu().clone()
        tensors[AMPLITUDES] = torch.stack([amplitude[place] for amplitude in pyramids.amplitudes]).cpu()
        if images is not None:
            tensors[IMAGE] = images[place].cpu().contiguous()
        beside = folder / f".{own_id}.partial"
        save_file(tensors, beside)
        beside.replace(folder / f"{own_id}.safetensors")


def read_row(folder: Path) -> tuple[SinganSegRow, dict]:
    """Return the row of a trained generator and its config. Raises: UserError when the folder holds none."""
    config = read_config(folder)
    with reading(folder):
        row = SinganSegRow.model_validate_json(json.dumps(config["generator"]))
    return row, config


def load_pyramid(
    folder: Path, own_id: str, row: SinganSegRow, size: tuple[int, int], device: torch.device | str = "cpu"
) -> tuple[Pyramids, Tensor | None]:
    """Return the pyramid of one training pair, frozen, and the training image where its style is needed.

    Raises: UserError when there is none of this id, or it is damaged or of another row.
    """
    path = folder / FOLDER / f"{own_id}.safetensors"
    again = "run dvc repro, which trains it"
    if not path.is_file():
        raise UserError(f"{folder} holds no pyramid of the pair {own_id or '(no parent)'}", [again])
    scales = scales_of(row, *size)
    try:
        tensors = load_file(path, device=str(device))
        generators = []
        for scale, width in enumerate(scales.widths):
            start = f"{SCALES}.{scale}."
            state = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
            generators.append(Generator(row, width).to(device))
            load_together(generators[-1], [state])
            generators[-1].eval().requires_grad_(False)
        amplitudes = list(tensors[AMPLITUDES][:, None])
        return Pyramids(row, scales, generators, tensors[FIRST_NOISE][None, None], amplitudes), tensors.get(IMAGE)
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path} is no pyramid of the row in config.json", [str(error), again]) from error
