"""What the heads compute, by closed forms and by watching their parts."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.nn import functional

from segmentation.config.networks import NetworkConfig
from segmentation.networks.build import build_network
from segmentation.networks.ctnet import Smim
from segmentation.networks.polyp_pvt import Cim, Sam
from tests.segmentation.networks.toys import TOYS


@pytest.mark.parametrize(
    ("row", "oracle"),
    [
        (
            {"network": "unet", "encoder": "tu-test_resnet", "decoder_channels": (16, 8, 8)},
            lambda: smp.Unet("tu-test_resnet", encoder_depth=3, encoder_weights=None, decoder_channels=(16, 8, 8)),
        ),
        (
            {"network": "segformer", "encoder": "mit_b0", "decoder_channels": (16,)},
            lambda: smp.Segformer("mit_b0", encoder_weights=None, decoder_segmentation_channels=16),
        ),
    ],
)
def test_the_librarys_networks_are_the_librarys(row, oracle):
    networks = []
    for build in (lambda: build_network(NetworkConfig(**row)), oracle):
        torch.manual_seed(3)
        networks.append(build().eval())
    states = [network.state_dict() for network in networks]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(networks[0](images).maps[0], networks[1](images))


@pytest.fixture
def watched():
    """Return a function that runs a toy network and gives what its named parts were handed and gave, in order."""

    def run(name, *parts):
        torch.manual_seed(0)
        network = build_network(NetworkConfig(network=name, **TOYS[name])).eval()
        calls = {part: [] for part in parts}
        for part in parts:
            module, kept = network.get_submodule(part), calls[part]
            module.register_forward_hook(lambda _module, inputs, output, kept=kept: kept.append((*inputs, output)))
        return calls, network(torch.rand(2, 3, 64, 96))

    return run


def test_sanet_multiplies_upwards(watched):
    calls, _ = watched("sanet", "laterals.0", "laterals.1", "laterals.2", "predict")
    f3, f4, f5 = (calls[f"laterals.{number}"][0][-1] for number in range(3))
    f4, f5 = (functional.interpolate(f, f3.shape[2:], mode="bilinear", align_corners=True) for f in (f4, f5))
    expected = torch.cat([f5, f4 * f5, f3 * f4 * f5], dim=1)
    torch.testing.assert_close(calls["predict"][0][0], expected)
    assert f3.min() >= 0


def test_sanet_starts_as_its_source_does():
    torch.manual_seed(0)
    network = build_network(NetworkConfig(network="sanet", **(TOYS["sanet"] | {"decoder_channels": (256,)})))
    for lateral in network.laterals:
        conv = lateral[0]
        assert conv.weight.std().item() == pytest.approx((2 / conv.in_channels) ** 0.5, rel=0.05)
        assert conv.bias.abs().max() == 0


def test_polyp_pvt_gives_both_maps_from_stride_8(watched):
    calls, outputs = watched("polyp_pvt", "cfm", "sam", "predict.0", "predict.1")
    fused = calls["cfm"][0][-1]
    assert fused.shape == (2, 16, 8, 12)
    assert torch.equal(calls["sam"][0][0], fused)
    assert torch.equal(calls["predict.0"][0][0], fused)
    assert torch.equal(calls["predict.1"][0][0], calls["sam"][0][-1])
    assert calls["sam"][0][1].shape == fused.shape
    for logits, part in zip(outputs.maps, ("predict.0", "predict.1"), strict=True):
        small = calls[part][0][-1]
        expected = functional.interpolate(small, scale_factor=8, mode="bilinear", align_corners=False)
        torch.testing.assert_close(logits, expected)


def test_cim_weights_every_value_by_less_than_one():
    torch.manual_seed(0)
    maps, cim = torch.randn(2, 64, 8, 8), Cim(64)
    ratio = cim(maps) / maps
    assert ratio.min() > 0
    assert ratio.max() < 1
    for parameter in cim.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(cim(maps), maps / 4)  # two attentions of one half


def test_sam_adds_a_graph_of_16_nodes_to_its_input():
    torch.manual_seed(0)
    sam, fused, details = Sam(32), torch.randn(2, 32, 8, 12), torch.randn(2, 32, 8, 12)
    change = sam(fused, details) - fused
    assert change.abs().max() > 0
    shifted = details + 3.0  # the softmax over channels does not see a constant
    torch.testing.assert_close(sam(fused, shifted), fused + change, atol=1e-5, rtol=1e-4)
    nn.init.zeros_(sam.over_states.weight)
    torch.testing.assert_close(sam(fused, details), fused)


def test_smim_is_its_input_plus_what_it_finds():
    torch.manual_seed(0)
    smim, x = Smim(16).eval(), torch.randn(2, 16, 11, 11)
    assert smim(x).shape == x.shape
    assert (smim(x) - x).min() >= 0  # the last step ends with a ReLU
    nn.init.constant_(smim.norms["h2"].bias, -1e6)
    torch.testing.assert_close(smim(x), x)


def test_ctnet_shares_one_smim_and_one_up(watched):
    calls, outputs = watched("ctnet", "smim", "up", "last_up", "contrast", "predict")
    (t4, s4), (_, s3), (_, s2) = calls["smim"]
    assert [s2.shape[2:], s3.shape[2:], s4.shape[2:]] == [(8, 12), (4, 6), (2, 3)]
    (first, up4), (second, up3), (third, up_middle) = calls["up"]
    assert torch.equal(first, s4)
    assert torch.equal(second, s3)
    torch.testing.assert_close(third, up4 * s3 + s3)
    large = up3 * s2 + s2
    torch.testing.assert_close(calls["last_up"][0][0], up_middle * large + large)
    assert torch.equal(calls["contrast"][0][0], t4)
    torch.testing.assert_close(outputs.embedding, functional.normalize(calls["contrast"][0][-1], dim=1))
    assert outputs.embedding.shape == (2, 16, 16, 24)
    assert calls["predict"][0][-1].shape == (2, 1, 16, 24)
