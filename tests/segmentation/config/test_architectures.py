"""Rows of architectures: what is refused, and with which words."""

import pytest
from pydantic import ValidationError

from segmentation.config.architectures import ArchitectureRow


def test_a_row_survives_json(make_row):
    row = make_row(augment={"flip": 0.5})
    assert ArchitectureRow.model_validate_json(row.model_dump_json()) == row


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "vnet"}, "'unet' or 'segformer'"),
        ({"input_px": 50}, "multiple of 32"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"lr": 0.0}, "greater than 0"),
        ({"epochs": "3"}, "valid integer"),
        ({"learning_rate": 0.1}, "Extra inputs are not permitted"),
        ({"decoder_channels": (16,)}, r"a unet takes 3 or 4 or 5 widths, got \[16\]"),
        ({"network": "segformer"}, r"a segformer takes 1 widths, got \[16, 8, 8\]"),
        ({"augment": {"flip": 1.5}}, "less than or equal to 1"),
    ],
)
def test_a_wrong_row_is_refused(make_row, changes, words):
    with pytest.raises(ValidationError, match=words):
        make_row(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "ce_dice"}, "ce_dice is for plain_unet"),
        ({"loss": "structure_contrast"}, "only a ctnet gives"),
        ({"schedule": "steps"}, "milestones: needed"),
        ({"milestones": (3,)}, "and for no other"),
        ({"warmup": 0.1}, "only for schedule: poly"),
        (
            {"scales": {"draw": "each", "factors": (1.0,), "probabilities": (1.0,), "align_corners": True}},
            "only with draw",
        ),
        ({"keep": "best"}, "best_val"),
        ({"early_stop": 3, "budget": "equal_steps"}, "need budget: equal_epochs"),
        ({"early_stop": 3, "keep": "best_test"}, "chooses weights alone"),
        ({"encoder": "lite0", "normalize": "imagenet"}, "lite0 was trained with half, got imagenet: leave it out"),
        ({"encoder": "lite0", "normalize": "min_max"}, "lite0 was trained with half, got min_max"),
        ({"network": "ctnet", "encoder": None, "decoder_channels": (16,), "input_px": 32}, "64 px or more"),
    ],
)
def test_a_recipe_that_does_not_fit_together_is_refused(make_row, changes, words):
    with pytest.raises(ValidationError, match=words):
        make_row(**changes)
    assert ArchitectureRow.model_fields["keep"].default == "last"


def test_normalisation_is_the_encoders_and_stands_in_the_row(make_row):
    assert {make_row().normalize, make_row(encoder="timm-tf_efficientnet_lite0").normalize} == {"imagenet"}
    row = make_row(encoder="lite0")
    assert '"normalize":"half"' in row.model_dump_json()
    assert ArchitectureRow.model_validate_json(row.model_dump_json()) == row
