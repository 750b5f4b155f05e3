"""Trained segmenters as functions of images."""

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from data.pairs.errors import UserError
from segmentation.inference.predict import load_segmenter

SEGFORMER = {"network": "segformer", "encoder": "mit_b0", "decoder_channels": (16,)}


@pytest.mark.parametrize("changes", [{}, SEGFORMER])
def test_probabilities_depend_on_the_image_alone(fit, make_pairs, make_row, changes):
    real = make_pairs(6, size_px=96)
    folder, _ = fit("a", real, make_pairs(0, "none"), make_row(**changes))
    segmenter, images = load_segmenter(folder), real.images()
    together, one_by_one = segmenter(images), segmenter(images, batch=1)
    assert together.shape == (6, 96, 96)
    assert together.dtype == np.float32
    assert together.min() >= 0
    assert together.max() <= 1
    np.testing.assert_allclose(one_by_one, together, atol=2e-6)
    np.testing.assert_allclose(segmenter(images[::-1], batch=4)[::-1], together, atol=2e-6)
    assert together.std(axis=0).max() > 1e-4


def test_damaged_segmenters_are_refused(fit, make_pairs, make_row, tmp_path):
    folder, _ = fit("a", make_pairs(4), make_pairs(0, "none"), make_row())
    with pytest.raises(UserError, match="is not a trained segmenter"):
        load_segmenter(tmp_path)
    state = load_file(folder / "model.safetensors")
    state.pop(next(name for name in state if name.startswith("decoder") and name.endswith("weight")))
    save_file(state, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"is not of the network in config\.json"):
        load_segmenter(folder)
    (folder / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(UserError, match="holds a damaged segmenter"):
        load_segmenter(folder)
