"""The training step of either side on random pairs, as benchmarks/step.py and benchmarks/gpu.py take it."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.networks.measuring import autocast, seconds_of
from benchmarks.networks.sd15 import Networks
from siamese.base.devices import place
from siamese.config.sections import SiameseRow
from siamese.method.batch import Batch
from siamese.method.control import decoder_modules
from siamese.method.loss_weights import loss_weights
from siamese.method.step import siamese_step
from tests.siamese.method.oracle import official_step

NUM_STEPS = 3000
CACHE_SHARE = 1450 / (NUM_STEPS * 48)  # how often a training image is encoded, per time that it is used
PAPER = SiameseRow(method="siamese", hint="dhi", hint_widths=(16, 32, 64))
Latents = dict[str, Tensor]  # mean and std of the posteriors, (B, 4, h, w), and the prompts' context, (B, 77, D)
Step = Callable[[int, Tensor], None]  # adds the gradients of a step of the run at timesteps (B,)


class Pairs(NamedTuple):
    """One batch of random pairs, and the timesteps at which its steps see it."""

    images: Tensor  # (B, 3, H, W) in [0, 1]
    hints: tuple[Tensor, Tensor]  # of mask and image, in channels_last memory
    tokens: Tensor  # (B, 77)
    timesteps: Tensor  # (steps, B), spread evenly over 0..999, on the CPU as in training


def draw_pairs(batch: int, size_px: int, steps: int, device: torch.device) -> Pairs:
    """Return the same pairs at every call."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand((batch, 3, size_px, size_px), generator=rng).to(device)
    masks = (images[:, :1] > 0.5).float().expand(-1, 3, -1, -1)
    mask_hint, image_hint = (hint.contiguous(memory_format=torch.channels_last) for hint in (masks, images))
    tokens = torch.randint(0, 1000, (batch, 77), generator=rng).to(device)
    total = batch * steps
    order = torch.randperm(total, generator=rng)
    timesteps = ((torch.arange(total)[order] + 0.5) / total * 1000).long().view(steps, batch)
    return Pairs(images, (mask_hint, image_hint), tokens, timesteps)


def place_networks(nets: Networks, device: torch.device, *, narrow_heads: bool, checkpointing: bool = False) -> None:
    """Move what is trained to the device, in channels_last memory; narrow_heads: with siamese/base/devices.py."""
    for network in (nets.unet, nets.controlnet):
        network.to(device, memory_format=torch.channels_last)
        if narrow_heads:
            place(network, device)
        if checkpointing:
            network.enable_gradient_checkpointing()


def encode(nets: Networks, pairs: Pairs, precision: str) -> Latents:
    """Return what VAE and text encoder make of the pairs."""
    with torch.inference_mode(), autocast(pairs.images.device, precision):
        posterior = nets.vae.encode(pairs.images * 2 - 1).latent_dist
        context = nets.text(pairs.tokens)[0]
        return {"mean": posterior.mean.float(), "std": posterior.std.float(), "context": context.float()}


def _noisy(alphas: Tensor, pairs: Pairs, latents: Latents, number: int, timesteps: Tensor) -> Batch:
    draw = torch.Generator().manual_seed(number)
    device = pairs.images.device
    z_noise, noise = (torch.randn(latents["mean"].shape, generator=draw).to(device) for _ in range(2))
    clean = 0.18215 * (latents["mean"] + latents["std"] * z_noise)
    kept = alphas[timesteps].to(device)
    sigmas = (1 - kept).sqrt()
    noisy = kept.sqrt().view(-1, 1, 1, 1) * clean + sigmas.view(-1, 1, 1, 1) * noise
    return Batch(noisy, timesteps.to(device), sigmas, noise, latents["context"].clone(), *pairs.hints)


def official(nets: Networks, pairs: Pairs, precision: str) -> Step:
    """Return the official step, which encodes its batch at every step."""
    device = pairs.images.device
    alphas = nets.scheduler.alphas_cumprod

    def step(number: int, timesteps: Tensor) -> None:
        batch = _noisy(alphas, pairs, encode(nets, pairs, precision), number, timesteps)
        with autocast(device, precision):
            official_step(nets.controlnet, nets.unet, batch, step=number, num_steps=NUM_STEPS)

    return step


def ours(nets: Networks, pairs: Pairs, cached: Latents, precision: str) -> Step:
    """Return our step, which reads what was encoded once."""
    device = pairs.images.device
    alphas = nets.scheduler.alphas_cumprod

    def step(number: int, timesteps: Tensor) -> None:
        batch = _noisy(alphas, pairs, cached, number, timesteps)._replace(timesteps=timesteps)  # on the CPU
        with autocast(device, precision):
            weights = loss_weights(number, NUM_STEPS, batch.timesteps, PAPER)
            siamese_step(nets.controlnet, nets.unet, batch, weights, 1 / len(timesteps))

    return step


def make_step(nets: Networks, side: str, pairs: Pairs, precision: str) -> tuple[Step, float]:
    """Return the step of a side, `ours` or `official`, and the seconds a step that encoding costs beside it.

    VAE and text encoder are on the device for the official side alone.
    """
    device = pairs.images.device
    nets.vae.to(device)
    nets.text.to(device)
    if side == "official":
        return official(nets, pairs, precision), 0.0
    cached = encode(nets, pairs, precision)
    seconds = seconds_of(lambda: encode(nets, pairs, precision), device)
    nets.vae.to("cpu")
    nets.text.to("cpu")
    return ours(nets, pairs, cached, precision), seconds * CACHE_SHARE


def augmented(timesteps: Tensor) -> list[int]:
    """Return how many samples are augmented online in each of the steps (steps, B), spread evenly over the run."""
    late = [number_of(index, len(timesteps)) > PAPER.augment_after * NUM_STEPS for index in range(len(timesteps))]
    chosen = (timesteps <= PAPER.augment_t_max).sum(1).tolist()
    return [count if is_late else 0 for count, is_late in zip(chosen, late, strict=True)]


def trained_parameters(nets: Networks) -> dict[str, torch.nn.Parameter]:
    """Return ControlNet and the UNet's decoder by name."""
    named = {f"controlnet.{name}": p for name, p in nets.controlnet.named_parameters()}
    decoder = decoder_modules(nets.unet).items()
    return named | {f"{part}.{name}": p for part, module in decoder for name, p in module.named_parameters()}


def number_of(index: int, steps: int) -> int:
    """Return the place in the run of the index-th of so many steps that are spread evenly over it."""
    return int((index + 0.5) / steps * NUM_STEPS)


def some_augmented(batch: int) -> tuple[int, Tensor]:
    """Return a late step and timesteps at which some samples are augmented online."""
    return NUM_STEPS - 1, torch.linspace(50, 950, batch).long()


def relative_difference(
    names: Iterable[str], ours_of: Callable[[str], Tensor], theirs_of: Callable[[str], Tensor]
) -> float:
    """Return |ours - theirs| / |theirs| over all tensors together, in float64."""
    difference = size = 0.0
    for name in names:
        theirs = theirs_of(name).double()
        difference += float((ours_of(name).double() - theirs).square().sum())
        size += float(theirs.square().sum())
    return (difference / size) ** 0.5
