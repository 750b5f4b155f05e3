"""Training one scale of several pyramids side by side, exactly as one by one."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from data.pairs.seeds import item_seed
from siamese.config.singan_seg import SinganSegRow
from siamese.singan_seg.geometry import Scales
from siamese.singan_seg.losses import mixed_with, penalty, per_pyramid
from siamese.singan_seg.networks import CHANNELS, Discriminator, Generator, apart, first_states, load_together
from siamese.singan_seg.pyramid import Pyramids

TERMS = ("real", "fake", "penalty", "adversarial", "reconstruction")
DROP_AFTER, DROP = 0.8, 0.1  # share of the iterations, and what the rate is multiplied by from there on


class Noise:
    """The draws of one iteration: of each pyramid from its own seed, whatever lies beside it."""

    def __init__(self, ids: Sequence[str], scale: int, iteration: int, seed: int, like: Tensor) -> None:
        self.like = like
        self.rngs = [
            torch.Generator(like.device).manual_seed(item_seed(seed, "noise", own_id, scale, iteration))
            for own_id in ids
        ]

    def images(self, channels: int, sides: tuple[int, int]) -> Tensor:
        """Return (1, K * channels, h, w) from a normal law."""
        drawn = [torch.randn((channels, *sides), generator=rng, device=self.like.device) for rng in self.rngs]
        return torch.cat(drawn).to(self.like)[None]

    def shares(self) -> Tensor:
        """Return (K,) from 0 to 1."""
        drawn = [torch.rand((), generator=rng, device=self.like.device) for rng in self.rngs]
        return torch.stack(drawn).to(self.like)


def _trained(network: torch.nn.Module) -> list[Tensor]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


class ScaleTraining:
    """The two networks of the next scale of some pyramids, and what they learn from."""

    def __init__(
        self, pyramids: Pyramids, discriminator: Discriminator | None, real: Tensor, ids: Sequence[str], seed: int
    ) -> None:
        """Begin a scale on the real images (1, K * 4, h, w); `discriminator` is that of the scale before, if any.

        Where the width is that of the scale before, both networks start from its weights.
        """
        self.pyramids, self.real, self.ids, self.seed = pyramids, real, ids, seed
        self.row, self.scale = pyramids.row, len(pyramids.generators)
        widths, count = pyramids.scales.widths, len(ids)
        width = widths[self.scale]
        self.generator, self.discriminator = Generator(self.row, width, count), Discriminator(self.row, width, count)
        known = self.scale and widths[self.scale - 1] == width
        for network, previous in (
            (self.generator, pyramids.generators[-1] if self.scale else None),
            (self.discriminator, discriminator),
        ):
            states = (
                apart(previous, count)
                if known and previous is not None
                else first_states(type(network), self.row, width, ids, self.scale, seed)
            )
            load_together(network.to(real).train(), states)
        with torch.no_grad():
            self.rec_before = pyramids.before(self.scale, None)
            missing = per_pyramid((real - self.rec_before) ** 2, count).sqrt()
        amplitude = self.row.noise_share * missing if self.scale else torch.ones_like(missing)
        pyramids.amplitudes.append(amplitude)
        self.optimizers = [
            torch.optim.Adam(_trained(network), lr=self.row.lr, betas=(0.5, 0.999))
            for network in (self.generator, self.discriminator)
        ]

    @property
    def learning(self) -> list[Tensor]:
        """All weights that are trained."""
        return [*self.generator.parameters(), *self.discriminator.parameters()]

    def _set_rate(self, iteration: int) -> None:
        rate = self.row.lr * (DROP if iteration >= round(DROP_AFTER * self.row.iterations) else 1)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def step(self, iteration: int) -> Tensor:
        """Take the updates of one iteration; return the TERMS, (5, K)."""
        self._set_rate(iteration)
        row, count, scales, pyramids = self.row, len(self.ids), self.pyramids.scales, self.pyramids
        noise = Noise(self.ids, self.scale, iteration, self.seed, self.real)
        sides = scales.sides[self.scale]
        own = noise.images(CHANNELS if self.scale else 1, sides)
        if self.scale == 0 and (row.rec_noise == "redrawn" or iteration == 0):
            pyramids.first_noise.copy_(noise.images(1, sides))
        z, z_rec = pyramids.noise(self.scale, own), pyramids.noise(self.scale, None)

        def before() -> Tensor:
            with torch.no_grad():
                return pyramids.before(self.scale, lambda scale, channels: noise.images(channels, scales.sides[scale]))

        zero = torch.zeros(count).to(self.real)
        terms, below, fake = [zero] * 3, None, None
        for _ in range(row.d_steps):
            below = before()
            fake = self.generator(z, below)
            terms = self._train_discriminator(fake.detach(), noise.shares())
        for number in range(row.g_steps):
            if fake is None or number:
                fake = self.generator(z, below if below is not None else before())
            terms = [*terms[:3], *self._train_generator(fake, z_rec)]
        return torch.stack(terms).detach()

    def _train_discriminator(self, fake: Tensor, shares: Tensor) -> list[Tensor]:
        row, count, score = self.row, len(self.ids), self.discriminator
        of_real, of_fake = (-per_pyramid(score(self.real), count)), per_pyramid(score(fake), count)
        mixed = mixed_with(self.real, fake, shares)
        steep = row.penalty_weight * penalty(score, mixed, count, by=row.penalty)
        self._update(1, of_real + of_fake + steep)
        return [of_real, of_fake, steep]

    def _train_generator(self, fake: Tensor, z_rec: Tensor) -> list[Tensor]:
        count = len(self.ids)
        adversarial = -per_pyramid(self.discriminator(fake), count)
        rebuilt = self.generator(z_rec, self.rec_before)
        reconstruction = self.row.alpha * per_pyramid((rebuilt - self.real) ** 2, count)
        self._update(0, adversarial + reconstruction)
        return [adversarial, reconstruction]

    def _update(self, which: int, losses: Tensor) -> None:
        """Take a step on the sum: the gradient of each weight is that of its own pyramid's loss."""
        network, optimizer = (self.generator, self.discriminator)[which], self.optimizers[which]
        optimizer.zero_grad(set_to_none=True)
        losses.sum().backward(inputs=_trained(network))
        optimizer.step()

    def finish(self) -> Discriminator:
        """Add the trained generator to the pyramids, frozen; return the discriminator, from which the next begins."""
        self.pyramids.generators.append(self.generator.eval().requires_grad_(False))
        return self.discriminator


def begin_pyramids(row: SinganSegRow, scales: Scales, ids: Sequence[str], like: Tensor) -> Pyramids:
    """Return pyramids without a scale, for tensors as `like`."""
    return Pyramids(row, scales, [], torch.zeros(1, len(ids), *scales.sides[0]).to(like), [])


def train_pyramids(
    reals: Sequence[Tensor],
    row: SinganSegRow,
    scales: Scales,
    ids: Sequence[str],
    seed: int,
    log: Callable[[int, Tensor, ScaleTraining], None],
) -> Pyramids:
    """Return trained pyramids for real images (1, K * 4, h, w) at every scale; `log` gets step, terms and training."""
    pyramids = begin_pyramids(row, scales, ids, reals[0])
    discriminator = None
    for scale, real in enumerate(reals):
        training = ScaleTraining(pyramids, discriminator, real, ids, seed)
        for iteration in range(row.iterations):
            log(scale * row.iterations + iteration, training.step(iteration), training)
        discriminator = training.finish()
    return pyramids
