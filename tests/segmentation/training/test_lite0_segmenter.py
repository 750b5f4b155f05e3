"""A segmenter with a pretrained encoder from its training to what generators are refined by."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from data.pairs.manifest import PairSet
from data.pretrained import lite0
from segmentation.config.architectures import ArchitectureRow
from segmentation.inference.predict import load_segmenter
from segmentation.training.export_loss import export_loss
from segmentation.training.losses import structure


@pytest.mark.heavy
def test_a_segmenter_and_its_exported_loss_carry_the_encoders_normalisation(fit, make_pairs, make_row, tmp_path):
    real = make_pairs(6, size_px=48)
    row = make_row(encoder="lite0", decoder_channels=(16, 16, 8, 8, 8), loss="structure")
    folder, facts = fit("lite0", real, PairSet(tmp_path, ()), row)
    config = json.loads((folder / "config.json").read_text())
    assert ArchitectureRow.model_validate_json(json.dumps(config["row"])) == row
    assert config["row"]["normalize"] == "half"
    assert facts["encoder_sha256"] == config["encoder_sha256"] == lite0.SHA256

    segmenter, images = load_segmenter(folder), np.stack([real.image(pair) for pair in real.pairs[:2]])
    again = load_segmenter(folder)
    assert np.array_equal(segmenter(images), again(images))

    export_loss(again, (48, 48), tmp_path / "loss.pt2")
    exported = torch.export.load(tmp_path / "loss.pt2").module()
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).requires_grad_()
    masks = torch.from_numpy(np.stack([real.mask(pair) for pair in real.pairs[:2]]))[:, None].float()
    large = functional.interpolate(pixels, size=(64, 64), mode="bilinear", align_corners=False)
    outputs = segmenter.network(lite0.normalised(large), size=(48, 48))
    loss = exported(pixels, masks)
    torch.testing.assert_close(loss, structure(outputs, masks, weighted_bce=True))
    assert torch.autograd.grad(loss, pixels)[0].abs().sum() > 0


def test_a_segmenter_that_starts_anew_records_no_hash(fit, make_pairs, make_row, tmp_path):
    _, facts = fit("anew", make_pairs(4), PairSet(tmp_path, ()), make_row())
    assert "encoder_sha256" not in facts
