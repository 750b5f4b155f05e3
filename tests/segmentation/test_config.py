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
