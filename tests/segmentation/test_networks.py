"""Networks: shapes, and errors that a user can mend."""

import huggingface_hub
import pytest
import torch

from data.pairs.errors import UserError
from segmentation.networks import build_network


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": "tu-test_resnet"},
        {"encoder": "resnet18", "decoder_channels": (16, 16, 8, 8, 8)},
        {"network": "segformer", "encoder": "mit_b0", "decoder_channels": (16,)},
    ],
)
def test_one_logit_map_of_the_inputs_size(make_row, changes):
    network = build_network(make_row(**changes))
    logits = network(torch.zeros(2, 3, 64, 64))
    assert logits.shape == (2, 1, 64, 64)
    assert logits.requires_grad


def test_the_decoder_has_the_widths_of_the_row(make_row):
    def count(widths):
        network = build_network(make_row(decoder_channels=widths))
        return sum(parameter.numel() for parameter in network.decoder.parameters())

    assert count((32, 16, 16)) > count((16, 16, 16)) > count((16, 16, 8))


@pytest.mark.parametrize(("name", "near"), [("resnet81", "resnet18"), ("tu-test_resnett", "tu-test_resnet")])
def test_an_unknown_encoder_is_met_with_the_nearest_names(make_row, name, near):
    with pytest.raises(UserError, match=f"{name}.* is unknown") as caught:
        build_network(make_row(encoder=name))
    assert near in caught.value.problems[0]


def test_weights_that_an_encoder_never_had(make_row):
    with pytest.raises(UserError, match=r"allowed are .*imagenet.* or encoder_weights: null"):
        build_network(make_row(encoder="resnet18", encoder_weights="imagnet"))


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18"])
def test_weights_that_cannot_be_fetched(make_row, encoder, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="could not be fetched") as caught:
        build_network(make_row(encoder=encoder, encoder_weights="imagenet"))
    assert "encoder_weights: null" in caught.value.problems[1]


def test_an_encoder_without_stages_is_refused(make_row):
    with pytest.raises(UserError, match="cannot serve a unet"):
        build_network(make_row(encoder="tu-test_vit"))
