"""Networks at full width against the counts and facts of spec/segmenters.md."""

from functools import cache, partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from data.pairs.errors import UserError
from segmentation.config.networks import NetworkConfig
from segmentation.networks.blocks import ConvNorm
from segmentation.networks.build import build_network


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def whole(**values):
    """Return a network at full width without drawing its weights."""
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))  # smp reads its drop path rates
        return build_network(NetworkConfig(**values))


build = cache(whole)


@pytest.mark.parametrize(
    ("network", "total", "encoder", "parts"),
    [
        ("sanet", 23_899_497, 23_669_352, {}),
        ("polyp_pvt", 25_107_604, 24_849_856, {"cfm": 221_952, "sam": 2_096, "cim.channel": 512, "cim.spatial": 98}),
        ("ctnet", 44_290_657, 44_072_128, {"contrast": 50_496, "smim": 74_304, "up": 25_696, "last_up": 25_696}),
    ],
)
def test_counts_of_the_three_for_polyps(network, total, encoder, parts):
    built = build(network=network)
    assert (count(built), count(built.encoder)) == (total, encoder)
    assert {name: count(built.get_submodule(name)) for name in parts} == parts


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("row", "millions"),
    [
        ({"network": "segformer", "encoder": "mit_b0"}, 3.71),
        ({"network": "segformer", "encoder": "mit_b1"}, 13.68),
        ({"network": "segformer"}, 27.35),
        ({"network": "segformer", "decoder_channels": (256,)}, 24.72),
        ({"network": "segformer", "encoder": "mit_b3"}, 47.22),
        ({"network": "segformer", "encoder": "mit_b4"}, 63.99),
        ({"network": "segformer", "encoder": "mit_b5"}, 84.59),
        ({"network": "unet", "encoder": "resnet34"}, 24.44),
    ],
)
def test_counts_of_the_librarys_networks(row, millions):
    assert round(count(build(**row)) / 1e6, 2) == millions


def test_count_of_the_plain_unet():
    network = build(network="plain_unet")
    assert count(network) == 1_946_914
    assert not [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    ("network", "channels"),
    [("sanet", [512, 1024, 2048]), ("polyp_pvt", [64, 128, 320, 512]), ("ctnet", [64, 128, 320, 512])],
)
def test_stages_have_the_channels_and_strides_of_the_sources(network, channels):
    stages = build(network=network).encoder(torch.zeros(1, 3, 352, 352, device="meta"))[-len(channels) :]
    deepest = [(each, 352 // 32 * 2**power) for power, each in enumerate(reversed(channels))]
    assert [(stage.shape[1], stage.shape[2]) for stage in stages] == deepest[::-1]


@pytest.mark.heavy
@pytest.mark.parametrize("network", ["sanet", "polyp_pvt", "ctnet", "plain_unet", "segformer"])
def test_forward_at_352(network):
    built = whole(network=network).to_empty(device="cpu").eval()
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.02)
    for name, buffer in built.named_buffers():
        buffer.fill_("var" in name)
    with torch.inference_mode():
        outputs = built(torch.randn(1, 3, 352, 352))
    assert {logits.shape[2:] for logits in outputs.maps} == {(352, 352)}
    assert all(logits.isfinite().all() for logits in outputs.maps)
    if outputs.embedding is not None:
        assert outputs.embedding.shape == (1, 32, 88, 88)
        torch.testing.assert_close(outputs.embedding.norm(dim=1), torch.ones(1, 88, 88))


def test_sanet_stands_on_the_deep_stem():
    with pytest.raises(UserError, match=r"tu-res2net50_26w_4s' cannot serve a sanet\n.*tu-res2net50d"):
        build(network="sanet", encoder="tu-res2net50_26w_4s")
    stem = build(network="sanet").encoder.model.conv1
    convs = [module for module in stem if isinstance(module, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels, conv.kernel_size[0]) for conv in convs] == [
        (3, 32, 3), (32, 32, 3), (32, 64, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("network", ["polyp_pvt", "ctnet"])
def test_drop_path_reaches_a_tenth(network):
    rates = [getattr(module, "drop_prob", 0.0) for module in build(network=network).encoder.modules()]
    assert max(rates) == pytest.approx(0.1)


@pytest.mark.parametrize("network", ["polyp_pvt", "ctnet"])
def test_blocks_after_the_encoder_have_no_relu(network):
    blocks = [module for module in build(network=network).modules() if isinstance(module, ConvNorm)]
    assert len(blocks) == {"polyp_pvt": 4 + 8, "ctnet": 4 + 3}[network]
    assert all([type(layer) for layer in block] == [nn.Conv2d, nn.BatchNorm2d] for block in blocks)
    assert all(block[0].bias is None for block in blocks)


def test_the_head_of_segformer_drops_channels_before_its_classifier():
    network = build(network="segformer")
    assert network.dropout.p == 0.1
    assert isinstance(network.dropout, nn.Dropout2d)


def test_resizing_leaves_the_corners_where_they_are_only_in_sanet():
    """The corner of a map that is resized with aligned corners is the corner of the small map."""
    torch.manual_seed(0)
    widths = {"layers": (1, 1, 1, 1), "channels": (8, 16, 32, 64), "stem_width": 8}
    network = build_network(NetworkConfig(network="sanet", encoder_args=widths, decoder_channels=(8,))).eval()
    small = []
    network.predict.register_forward_hook(lambda _module, _inputs, output: small.append(output))
    (large,) = network(torch.rand(1, 3, 64, 64), (100, 90)).maps
    assert small[0].shape[2:] == (8, 8)
    torch.testing.assert_close(large, functional.interpolate(small[0], (100, 90), mode="bilinear", align_corners=True))
