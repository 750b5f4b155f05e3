"""What the discriminator sees instead of the images: adaptive augmentation (Karras et al. 2020, "ADA"), or mirrored.

The transforms and their ranges are the paper's "bgc" set. Resampling is bilinear at twice the resolution, where the
paper has wavelet filters.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from siamese.base.devices import full_precision, moved, rows_of

BILINEAR, MIRRORED = 0, 2  # PyTorch's numbers of them
EVERY = 4  # steps between two changes of the probability
TURN = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
GREY = torch.full((3, 1), 1 / math.sqrt(3))  # axis of brightness in the space of colours


class _Gather(Function):
    """Adjoint of bilinear sampling, with the derivative that PyTorch lacks: sampling."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, side: int) -> Tensor:
        ctx.save_for_backward(grid)
        shape = (*gradient.shape[:2], side, side)
        zeros = gradient.new_zeros(()).expand(shape)
        return torch.ops.aten.grid_sampler_2d_backward(gradient, zeros, grid, BILINEAR, MIRRORED, False, [True, False])[
            0
        ]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _sample(gradient, ctx.saved_tensors[0]), None, None


class _Sample(Function):
    """Bilinear sampling with mirrored borders that can be differentiated twice by the images."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.side = images.shape[2]
        return _sample(images, grid)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Gather.apply(gradient, ctx.saved_tensors[0], ctx.side), None


def _sample(images: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def warped(images: Tensor, moves: Tensor, *, finer: int = 1) -> Tensor:
    """Return square images (B, C, S, S) moved by `moves` (B, 3, 3), in coordinates of [-1, 1]; borders are mirrored.

    They are sampled at `finer` times the resolution and averaged. Differentiable twice.
    """
    count, depth, side, _ = images.shape
    shape = [count, depth, side * finer, side * finer]
    grid = functional.affine_grid(torch.linalg.inv(moves)[:, :2].to(images.dtype), shape, align_corners=False)
    fine = _Sample.apply(images, grid)
    return functional.avg_pool2d(fine, finer) if finer > 1 else fine


class Change(NamedTuple):
    """What happens to one image."""

    pixels: Tensor  # (3, 3): mirror, quarter turns and whole shifts, exact
    shape: Tensor  # (3, 3): scale, turns, stretch and a shift
    colour: Tensor  # (4, 4): of colours in [-1, 1]


def _plane(linear: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    move = torch.eye(3)
    if linear is not None:
        move[:2, :2] = linear
    if shift is not None:
        move[:2, 2] = shift
    return move


def _rotation(angle: Tensor) -> Tensor:
    return torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])


def _about_grey(angle: Tensor) -> Tensor:
    """Return the rotation (3, 3) of colours about the axis of brightness, by Rodrigues' formula."""
    x = 1 / math.sqrt(3)
    cross = torch.tensor([[0.0, -x, x], [x, 0.0, -x], [-x, x, 0.0]])
    return torch.eye(3) + angle.sin() * cross + (1 - angle.cos()) * cross @ cross


def adaptive(rng: torch.Generator, side: int, probability: float) -> Change:
    """Return a draw in which each transform is applied with the probability; 0 changes nothing."""
    coins, turns = torch.rand(13, generator=rng), (torch.rand(4, generator=rng) * 2 - 1) * math.pi
    whole, normal = torch.rand(4, generator=rng), torch.randn(7, generator=rng)
    chosen = (coins < probability).tolist()
    turned = (coins < 1 - math.sqrt(1 - min(probability, 1.0))).tolist()  # two turns, so that either one is as likely
    pixels, shape, colour = torch.eye(3), torch.eye(3), torch.eye(4)
    if chosen[0] and whole[0] < 0.5:
        pixels = _plane(torch.diag(torch.tensor([-1.0, 1.0]))) @ pixels
    if chosen[1]:
        pixels = _plane(torch.linalg.matrix_power(TURN, int(whole[1] * 4))) @ pixels
    if chosen[2]:
        reach = (whole[2:] * 2 - 1) / 8
        pixels = _plane(shift=(reach * side).round() * 2 / side) @ pixels
    if chosen[3]:
        shape = _plane(torch.eye(2) * 2 ** (normal[0] * 0.2)) @ shape
    if turned[4]:
        shape = _plane(_rotation(turns[0])) @ shape
    if chosen[5]:
        stretch = 2 ** (normal[1] * 0.2)
        shape = _plane(torch.diag(torch.stack([stretch, 1 / stretch]))) @ shape
    if turned[6]:
        shape = _plane(_rotation(turns[1])) @ shape
    if chosen[7]:
        shape = _plane(shift=normal[2:4] * 0.125 * 2) @ shape
    if chosen[8]:
        colour = _colours(torch.eye(3), normal[4] * 0.2) @ colour
    if chosen[9]:
        colour = _colours(torch.eye(3) * 2 ** (normal[5] * 0.5)) @ colour
    if chosen[10] and turns[2] < 0:
        colour = _colours(torch.eye(3) - 2 * GREY @ GREY.T) @ colour
    if chosen[11]:
        colour = _colours(_about_grey(turns[3])) @ colour
    if chosen[12]:
        colour = _colours(GREY @ GREY.T + (torch.eye(3) - GREY @ GREY.T) * 2 ** normal[6]) @ colour
    return Change(pixels, shape, colour)


def _colours(linear: Tensor, shift: Tensor | float = 0.0) -> Tensor:
    colour = torch.eye(4)
    colour[:3, :3], colour[:3, 3] = linear, shift
    return colour


def mirrored(rng: torch.Generator, side: int, probability: float) -> Change:
    """Return a draw of each mirror with probability 1 / 2, whatever the probability of `adaptive`."""
    signs = torch.where(torch.rand(2, generator=rng) < 0.5, -1.0, 1.0)
    return Change(_plane(torch.diag(signs)), torch.eye(3), torch.eye(4))


def unchanged(rng: torch.Generator, side: int, probability: float) -> Change:
    """Return a draw that changes nothing."""
    return Change(torch.eye(3), torch.eye(3), torch.eye(4))


AUGMENT: dict[str, Callable[[torch.Generator, int, float], Change]] = {
    "ada": adaptive, "flips": mirrored, "none": unchanged,
}  # fmt: skip


def _where_changed(pixels: Tensor, maps: list[Tensor], apply: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the samples, those whose map is not the identity replaced by apply(sample, map); known on the CPU."""
    rows = [i for i, one in enumerate(maps) if not torch.equal(one, torch.eye(len(one)))]
    if not rows:
        return pixels
    places, matrices = moved([torch.tensor(rows), torch.stack([maps[i] for i in rows])], pixels.device)
    return pixels.index_copy(0, places, apply(rows_of(pixels, places), matrices.to(pixels.dtype)))


def _recoloured(pixels: Tensor, matrices: Tensor) -> Tensor:
    colours = torch.einsum("bij,bjhw->bihw", matrices[:, :3, :3], pixels[:, :3]) + matrices[:, :3, 3, None, None]
    return torch.cat([colours, pixels[:, 3:]], 1)


def augmented(pixels: Tensor, changes: list[Change]) -> Tensor:
    """Return float32 (B, C, S, S), each sample changed in its own way; channels behind the third keep their values.

    Differentiable twice by the pixels; samples whose draw changes nothing are the same to the bit.
    """
    with full_precision(pixels.device):  # in half precision a grid is off by pixels
        pixels = _where_changed(pixels, [change.pixels for change in changes], warped)
        pixels = _where_changed(
            pixels, [change.shape for change in changes], lambda x, moves: warped(x, moves, finer=2)
        )
        return _where_changed(pixels, [change.colour for change in changes], _recoloured)


def next_probability(probability: float, mean_sign: float, target: float, batch: int, images: int) -> float:
    """Return the probability after EVERY steps: one towards the target, so that it takes `images` from 0 to 1."""
    direction = math.copysign(1.0, mean_sign - target) if mean_sign != target else 0.0
    return max(0.0, probability + direction * batch * EVERY / images)
