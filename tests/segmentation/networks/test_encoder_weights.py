"""Pretrained weights: by name, and from a local file, of which nothing may be skipped."""

import re
import socket

import huggingface_hub
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import save_file

from data.pairs.errors import UserError
from data.pairs.files import sha256_file
from segmentation.config.networks import NetworkConfig
from segmentation.networks.build import build_network
from tests.segmentation.networks.toys import TOYS


def whole_network(name):
    """Return the state of the classification network that a toy's encoder is a part of, by its library's names."""
    torch.manual_seed(9)
    args = TOYS[name].get("encoder_args", {})
    if name == "ctnet":
        entry = smp.encoders.encoders["mit_b3"]
        widths = {"out_channels": [3, 0, *args["embed_dims"]], "depth": 5}
        return entry["encoder"](**(entry["params"] | widths | args)).state_dict() | {"head.weight": torch.zeros(9, 64)}
    model = {"sanet": "res2net50d", "polyp_pvt": "pvt_v2_b2", "unet": "test_resnet"}[name]
    return timm.create_model(model, **args).state_dict()


def as_the_authors_name_it(state):
    """Return the state of a timm PVTv2 under the names of the authors' files."""
    renamed = {}
    for name, value in state.items():
        name = re.sub(r"^patch_embed\.", "patch_embed1.", name)
        name = re.sub(r"^stages\.(\d)\.downsample", lambda m: f"patch_embed{int(m[1]) + 1}", name)
        name = re.sub(r"^stages\.(\d)\.blocks", lambda m: f"block{int(m[1]) + 1}", name)
        name = re.sub(r"^stages\.(\d)\.norm", lambda m: f"norm{int(m[1]) + 1}", name)
        renamed[name.replace("dwconv", "dwconv.dwconv")] = value
    return renamed


@pytest.fixture
def refuse(tmp_path):
    """Return a function that builds a toy over a file and gives the words with which it is refused."""

    def build(path, name="polyp_pvt", **values):
        with pytest.raises(UserError) as caught:
            build_network(NetworkConfig(network=name, encoder_file=str(path), **(TOYS[name] | values)))
        text = str(caught.value)
        assert text.startswith(f"encoder_file {path} ")
        assert {"polyp_pvt": "timm/pvt_v2_b2.in1k", "ctnet": "smp-hub/mit_b3.imagenet"}[name] in text
        assert (sha256_file(path) if path.is_file() else "sha256 of the file: none") in text
        return text

    return build


@pytest.mark.parametrize("name", ["sanet", "polyp_pvt", "ctnet", "unet"])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_file_fills_the_whole_encoder_without_the_network(name, suffix, tmp_path, monkeypatch):
    def blocked(*_args, **_kwargs):
        raise AssertionError("the network was asked for")

    state, path = whole_network(name), tmp_path / f"weights.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save({"state_dict": state}, path)
    monkeypatch.setattr(socket, "socket", blocked)
    monkeypatch.setattr(socket, "create_connection", blocked)
    row = NetworkConfig(network=name, encoder_file=str(path), encoder_sha256=sha256_file(path), **TOYS[name])
    unused = set(state)
    for key, value in build_network(row).encoder.state_dict().items():
        origin = re.sub(r"^stages_(\d)", r"stages.\1", key.removeprefix("model."))
        assert torch.equal(value, state[origin]), key
        unused.remove(origin)
    deeper = {"layer3", "layer4"} if name == "unet" else set()
    assert {key.split(".")[0] for key in unused} <= {"fc", "head"} | deeper


def test_the_authors_names_are_read_with_timms_filter(tmp_path):
    state, path = whole_network("polyp_pvt"), tmp_path / "pvt_v2_b2.pth"
    torch.save(as_the_authors_name_it(state), path)
    assert "block4.0.mlp.dwconv.dwconv.weight" in as_the_authors_name_it(state)
    encoder = build_network(NetworkConfig(network="polyp_pvt", encoder_file=str(path), **TOYS["polyp_pvt"])).encoder
    assert torch.equal(encoder.model.stages_3.blocks[0].mlp.dwconv.weight, state["stages.3.blocks.0.mlp.dwconv.weight"])


def test_a_caller_with_all_the_weights_reads_no_file():
    row = NetworkConfig(network="ctnet", encoder_file="/nowhere", encoder_weights="imagenet", **TOYS["ctnet"])
    build_network(row, pretrained=False)


def test_a_missing_file(refuse, tmp_path):
    assert "is missing" in refuse(tmp_path / "no.pth")


def test_a_file_with_another_hash(refuse, tmp_path):
    (tmp_path / "a.pth").write_bytes(b"a")
    assert f"encoder_sha256: {'0' * 64}" in refuse(tmp_path / "a.pth", "ctnet", encoder_sha256="0" * 64)


@pytest.mark.parametrize("file", ["a.pth", "a.bin", "a.safetensors"])
def test_a_file_that_is_no_checkpoint(refuse, tmp_path, file):
    (tmp_path / file).write_bytes(b"<html>not found</html>")
    assert "cannot be read as a checkpoint" in refuse(tmp_path / file)


def test_a_file_that_holds_code_is_not_run(refuse, tmp_path):
    torch.save({"a": Exec(tmp_path / "ran")}, tmp_path / "a.pth")
    assert "cannot be read as a checkpoint" in refuse(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


class Exec:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["polyp_pvt", "ctnet"])
def test_a_file_that_does_not_fit_names_every_kind_of_problem(refuse, tmp_path, name):
    state, path = whole_network(name), tmp_path / "a.pth"
    gone, wide = [key for key in state if key.endswith("mlp.fc1.weight")][:2]
    state.pop(gone)
    state |= {wide: torch.zeros(3, 3), "blocks.extra": torch.zeros(1)}
    torch.save(state, path)
    text = refuse(path, name)
    assert "does not fit encoder" in text
    for line in (f"missing: {gone}", "unexpected: blocks.extra", f"{wide} has the shape (3, 3), not ("):
        assert line in text


def test_a_file_of_another_network_is_named_in_few_lines(refuse, tmp_path):
    torch.save(whole_network("sanet"), tmp_path / "a.pth")
    text = refuse(tmp_path / "a.pth")
    assert re.search(r"and \d+ more", text)
    assert len(text.splitlines()) == 1 + 9 + 2


@pytest.mark.parametrize(
    ("values", "source"),
    [
        ({"network": "sanet", "encoder_weights": "in1k"}, "timm/res2net50d.in1k"),
        ({"network": "polyp_pvt", "encoder_weights": "imagenet"}, "timm/pvt_v2_b2.in1k"),
        ({"network": "ctnet", "encoder": "mit_b0", "encoder_weights": "imagenet"}, "smp-hub/mit_b0.imagenet"),
        ({"network": "unet", "encoder": "resnet18", "encoder_weights": "swsl"}, "smp-hub/resnet18.swsl"),
        ({"network": "unet", "encoder": "tu-resnet18", "encoder_weights": "tv_in1k"}, "timm/resnet18.tv_in1k"),
    ],
)
def test_weights_that_cannot_be_fetched(values, source, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=f"the weights '{values['encoder_weights']}' .*could not be fetched") as caught:
        build_network(NetworkConfig(**values))
    text = str(caught.value)
    for words in (f"the repository {source} ", "encoder_file and encoder_sha256", "encoder_weights: null"):
        assert words in text


@pytest.mark.parametrize(("name", "near"), [("resnet81", "resnet18"), ("tu-test_resnett", "tu-test_resnet")])
def test_an_unknown_encoder_is_met_with_the_nearest_names(name, near):
    with pytest.raises(UserError, match=f"{name}.* is unknown") as caught:
        build_network(NetworkConfig(network="unet", encoder=name))
    assert near in caught.value.problems[0]


@pytest.mark.parametrize(
    ("encoder", "allowed"), [("resnet18", "imagenet, ssl, swsl"), ("tu-resnet18", "imagenet, a1_in1k, .*tv_in1k")]
)
def test_weights_that_an_encoder_never_had(encoder, allowed):
    with pytest.raises(UserError, match=rf"no weights 'imagnet'\n.*allowed are {allowed}, or encoder_weights: null"):
        build_network(NetworkConfig(network="unet", encoder=encoder, encoder_weights="imagnet"))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"network": "unet", "encoder": "tu-test_vit"}, "Error"),
        ({"network": "polyp_pvt", "encoder_args": {"channels": (8, 16)}}, "unexpected keyword argument 'channels'"),
        ({"network": "polyp_pvt", "encoder_args": {"embed_dims": (10, 20, 31, 40)}}, "dim 31 should be divided"),
        ({"network": "ctnet", "encoder_args": {"embed_dims": (8, 16, 32, 64), "num_heads": (1,)}}, "IndexError"),
    ],
)
def test_an_encoder_or_arguments_that_cannot_serve(values, reason):
    with pytest.raises(UserError, match=rf"cannot serve a {values['network']}\n.*{reason}"):
        build_network(NetworkConfig(**values))
