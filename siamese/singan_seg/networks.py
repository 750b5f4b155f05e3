"""The two networks of a scale, of several pyramids side by side: grouped convolutions, so that none sees another."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from data.pairs.seeds import item_seed
from siamese.base.devices import seeded
from siamese.config.singan_seg import SinganSegRow

CHANNELS = 4  # red, green, blue, mask
State = dict[str, Tensor]


def layer_stack(pyramids: int, channels: Sequence[int]) -> nn.Sequential:
    """Return 3x3 convolutions without padding, all but the last normalised and rectified, a group for each pyramid.

    With one image a batch, statistics of the normalisation are of one channel of one image: nothing is shared. Biases
    before a normalisation are not trained: their gradient is zero but for rounding, of which Adam would make steps.
    """
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(channels)):
        layers.append(nn.Conv2d(pyramids * before, pyramids * after, 3, groups=pyramids))
        if number < len(channels) - 2:
            layers[-1].bias.requires_grad_(False)
            layers += [nn.BatchNorm2d(pyramids * after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


class Generator(nn.Module):
    """Paints the details of one scale onto the enlarged image of the scale before."""

    def __init__(self, row: SinganSegRow, width: int, pyramids: int = 1) -> None:
        super().__init__()
        self.margin = row.layers
        self.stack = layer_stack(pyramids, [CHANNELS, *[width] * (row.layers - 1), CHANNELS])

    def forward(self, noise: Tensor, before: Tensor) -> Tensor:
        """Return images (1, K * 4, h, w) in (-2, 2) for noise and the enlarged images before, both (1, K * 4, h, w)."""
        framed = nn.functional.pad(noise + before, [self.margin] * 4)
        return torch.tanh(self.stack(framed)) + before


class Discriminator(nn.Module):
    """Says of every patch of an image how real it looks."""

    def __init__(self, row: SinganSegRow, width: int, pyramids: int = 1) -> None:
        super().__init__()
        self.stack = layer_stack(pyramids, [CHANNELS, *[width] * (row.layers - 1), 1])

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps (1, K, h - 2 * layers, w - 2 * layers) of images (1, K * 4, h, w)."""
        return self.stack(images)


def weights_of(network: nn.Module) -> State:
    """Return the weights and the statistics of the normalisation."""
    return {name: value for name, value in network.state_dict().items() if value.ndim}


def together(states: Sequence[Mapping[str, Tensor]]) -> State:
    """Return the state of one network of several pyramids from the states of theirs."""
    return {name: torch.cat([state[name] for state in states]) for name in states[0]}


def apart(network: nn.Module, pyramids: int) -> list[State]:
    """Return the state of each pyramid from that of their one network."""
    chunks = {name: value.detach().cpu().chunk(pyramids) for name, value in weights_of(network).items()}
    return [{name: value[place].clone() for name, value in chunks.items()} for place in range(pyramids)]


def load_together(network: nn.Module, states: Sequence[Mapping[str, Tensor]]) -> None:
    """Give a network of several pyramids the weights of each."""
    network.load_state_dict(together(states), strict=False)  # but for the number of batches, which nothing reads


def first_state(kind: type[Generator] | type[Discriminator], row: SinganSegRow, width: int, seed: int) -> State:
    """Return the first weights of one pyramid's network, a function of the seed alone."""

    def build() -> nn.Module:
        network = kind(row, width)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)
        return network

    return {name: value.detach().clone() for name, value in weights_of(seeded(build, seed)).items()}


def first_states(
    kind: type[Generator] | type[Discriminator],
    row: SinganSegRow,
    width: int,
    ids: Sequence[str],
    scale: int,
    seed: int,
) -> list[State]:
    """Return the first weights of every pyramid at a scale."""
    return [first_state(kind, row, width, item_seed(seed, kind.__name__, own_id, scale)) for own_id in ids]
