"""Networks at toy width: shapes, gradients and repeatability."""

import pytest
import torch

from segmentation.config.networks import NetworkConfig
from segmentation.networks.blocks import Outputs
from segmentation.networks.build import NETWORKS, build_network
from tests.segmentation.networks.toys import TOYS

CHANNELS = {"polyp_pvt": [1, 1], "plain_unet": [2]}  # of the maps; one map of one channel for the others
toys = pytest.mark.parametrize("name", TOYS)


def toy(name, seed=0, **changes):
    torch.manual_seed(seed)
    return build_network(NetworkConfig(network=name, **(TOYS[name] | changes)))


def test_every_network_has_a_toy():
    assert TOYS.keys() == NETWORKS.keys()


@toys
@pytest.mark.parametrize("size", [None, (75, 131), (64, 96)])
def test_maps_of_the_asked_size(name, size):
    network = toy(name)
    outputs = network(torch.zeros(2, 3, 64, 96), size)
    height, width = size or (64, 96)
    assert [logits.shape for logits in outputs.maps] == [(2, n, height, width) for n in CHANNELS.get(name, [1])]
    assert outputs.lesion_logit().shape == (2, 1, height, width)
    assert all(logits.dtype == torch.float32 and logits.requires_grad for logits in outputs.maps)
    assert (outputs.embedding is not None) == (name == "ctnet")


@toys
def test_every_parameter_gets_a_gradient_and_every_weight_moves(name):
    network = toy(name)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0)
    before = {key: parameter.detach().clone() for key, parameter in network.named_parameters()}
    for _ in range(3):  # in the first, the residual branches of ResNets are still multiplied by zero
        outputs = network(torch.rand(4, 3, 64, 64))
        loss = sum(logits.square().mean() for logits in outputs.maps)
        loss = loss if outputs.embedding is None else loss + outputs.embedding[:, :8].mean()
        optimizer.zero_grad()
        loss.backward()
        assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []
        optimizer.step()
    weights = {key: parameter for key, parameter in network.named_parameters() if parameter.ndim > 1}
    assert [key for key in weights if torch.equal(weights[key], before[key])] == []


def test_only_the_contrast_head_hears_nothing_of_the_map():
    network = toy("ctnet")
    network(torch.rand(2, 3, 64, 64)).maps[0].sum().backward()
    silent = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert silent == [f"contrast.{key}" for key, _ in network.contrast.named_parameters()]


@toys
def test_the_same_seed_gives_the_same_network(name):
    first, again, other = toy(name), toy(name), toy(name, seed=1)
    states = [network.state_dict() for network in (first, again, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])
    images = torch.rand(2, 3, 64, 64)
    maps = [network.eval()(images).lesion_logit() for network in (first, again)]
    assert torch.equal(*maps)


@toys
def test_an_image_does_not_see_its_neighbours(name):
    network, images = toy(name).eval(), torch.rand(3, 3, 64, 64)
    together = network(images, (50, 40)).lesion_logit()
    alone = torch.cat([network(image[None], (50, 40)).lesion_logit() for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert together.std() > 0


def test_the_lesion_is_the_sum_of_maps_or_the_difference_of_classes():
    one, other, pair = torch.randn(2, 1, 3, 3), torch.randn(2, 1, 3, 3), torch.randn(2, 2, 3, 3)
    assert torch.equal(Outputs((one,)).lesion_logit(), one)
    assert torch.equal(Outputs((one, other)).lesion_logit(), one + other)
    torch.testing.assert_close(Outputs((pair,)).lesion_logit().sigmoid(), pair.softmax(1)[:, 1:])


def test_the_decoder_has_the_widths_of_the_row():
    def count(widths):
        network = toy("unet", decoder_channels=widths)
        return sum(parameter.numel() for parameter in network.decoder.parameters())

    assert count((32, 16, 16)) > count((16, 16, 16)) > count((16, 16, 8))


def test_rows_of_before_still_build(make_row):
    for changes in ({}, {"encoder": "resnet18", "decoder_channels": (16, 16, 8, 8, 8)}):
        assert build_network(make_row(**changes))(torch.zeros(2, 3, 64, 64)).maps[0].shape == (2, 1, 64, 64)
    row = make_row(network="segformer", encoder="mit_b0", decoder_channels=(32,))
    names = set(build_network(row).state_dict())
    assert {"encoder.patch_embed1.proj.weight", "segmentation_head.0.weight"} <= names
