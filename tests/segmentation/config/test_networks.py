"""Networks as rows: defaults, and what is refused before anything is built."""

import pytest
from pydantic import ValidationError

from segmentation.config.networks import NetworkConfig


@pytest.mark.parametrize(
    ("values", "encoder", "widths"),
    [
        ({"network": "sanet"}, "tu-res2net50d", (64,)),
        ({"network": "polyp_pvt"}, "tu-pvt_v2_b2", (32,)),
        ({"network": "ctnet"}, "mit_b3", (32,)),
        ({"network": "segformer"}, "mit_b2", (768,)),
        ({"network": "segformer", "encoder": "mit_b1"}, "mit_b1", (256,)),
        ({"network": "segformer", "encoder": "mit_b5"}, "mit_b5", (768,)),
        ({"network": "segformer", "encoder": "mit_b0", "decoder_channels": (32,)}, "mit_b0", (32,)),
        ({"network": "unet", "encoder": "resnet34"}, "resnet34", (256, 128, 64, 32, 16)),
        ({"network": "unet", "encoder": "tu-test_resnet", "decoder_channels": (32, 16, 16)}, None, (32, 16, 16)),
    ],
)
def test_what_is_left_out_is_the_sources_own(values, encoder, widths):
    row = NetworkConfig(**values)
    assert (row.encoder_name(), row.widths()) == (encoder or values["encoder"], widths)


def test_a_row_survives_json():
    row = NetworkConfig(
        network="ctnet",
        encoder_args={"depths": (1, 1, 1, 1), "drop_path_rate": 0.2, "qkv_bias": True, "sr_ratios": (8, 4, 2, 1)},
        encoder_file="mit_b3.safetensors",
        encoder_sha256="0" * 64,
    )
    assert NetworkConfig.model_validate_json(row.model_dump_json()) == row


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"network": "unet"}, "encoder: a unet needs one"),
        ({"network": "unet", "encoder": ""}, "at least 1 character"),
        ({"network": "plain_unet", "encoder": "resnet18"}, "encoder: a plain_unet has no encoder"),
        ({"network": "plain_unet", "encoder_weights": "imagenet"}, "encoder_weights: a plain_unet has no encoder"),
        ({"network": "plain_unet", "decoder_channels": (8, 16)}, r"takes 4 widths, got \[8, 16\]"),
        ({"network": "sanet", "decoder_channels": (8, 16)}, r"a sanet takes 1 widths, got \[8, 16\]"),
        ({"network": "sanet", "decoder_channels": (2,)}, "greater than or equal to 4"),
        ({"network": "ctnet", "encoder_sha256": "0" * 64}, "there is no encoder_file to compare it with"),
        ({"network": "ctnet", "encoder_file": "a.pth", "encoder_sha256": "abc"}, "should match pattern"),
        ({"network": "ctnet", "encoder_args": {"depths": {"a": 1}}}, "encoder_args.depths"),
        (
            {"network": "polyp_pvt", "encoder_weights": "imagenet", "encoder_args": {"depths": (1, 1, 1, 1)}},
            "fetched weights fit the encoder as it is, without encoder_args depths",
        ),
        (
            {"network": "unet", "encoder": "lite0", "encoder_weights": "imagenet", "encoder_file": "a.pth"},
            "encoder_weights: lite0 always starts from .*; encoder_file: lite0 always starts from the weights of its",
        ),
        (
            {"network": "unet", "encoder": "lite0", "encoder_args": {"channel_multiplier": 0.5}},
            "encoder_args: lite0's weights fit it as it is, so leave out channel_multiplier",
        ),
        (
            {"network": "unet", "encoder": "timm-tf_efficientnet_lite0", "encoder_weights": "imagenet"},
            "other padding and epsilon .* use lite0, or tu-tf_efficientnet_lite0",
        ),
        (
            {"network": "segformer", "encoder": "timm-tf_efficientnet_lite4", "encoder_file": "a.pth"},
            "use lite0, or tu-tf_efficientnet_lite4",
        ),
    ],
)
def test_a_wrong_row_is_refused(values, words):
    with pytest.raises(ValidationError, match=words):
        NetworkConfig(**values)


def test_fetched_weights_may_come_with_another_drop_path():
    row = NetworkConfig(network="polyp_pvt", encoder_weights="imagenet", encoder_args={"drop_path_rate": 0.2})
    assert row.encoder_args == {"drop_path_rate": 0.2}


def test_the_librarys_wrong_variant_may_start_anew():
    assert NetworkConfig(network="unet", encoder="timm-tf_efficientnet_lite0").encoder_weights is None
