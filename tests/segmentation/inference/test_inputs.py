"""What a network sees: sizes, numbers, and pairs that are decoded once."""

import shutil

import numpy as np
import pytest
import torch

from segmentation.inference.inputs import at_size, load_pairs, normalize, scaled_sizes
from tests.segmentation.conftest import PVT, SANET


def test_sizes_are_those_of_the_sources():
    rng = np.random.default_rng(0)
    assert scaled_sizes(PVT, 352, rng) == [256, 352, 448]
    drawn = [scaled_sizes(SANET, 352, rng)[0] for _ in range(4000)]
    shares = [drawn.count(size) / 4000 for size in (256, 288, 320, 352)]
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.03)
    assert scaled_sizes(None, 96, rng) == [96]
    assert scaled_sizes(PVT, 64, rng) == [64, 64, 96] or scaled_sizes(PVT, 96, rng) == [64, 96, 128]


def test_images_and_masks_are_brought_to_another_size_as_the_row_says(make_row):
    image, mask = torch.rand(1, 3, 64, 64), (torch.rand(1, 1, 64, 64) > 0.5).float()
    hard = at_size(image, mask, 96, make_row(scales=SANET))[1]
    soft = at_size(image, mask, 96, make_row(scales=PVT, soft_masks=True))[1]
    assert hard.shape == soft.shape == (1, 1, 96, 96)
    assert set(hard.unique().tolist()) == {0, 1}
    assert len(soft.unique()) > 10
    assert soft[0, 0, 0, 0] == mask[0, 0, 0, 0]  # corners are aligned


@pytest.mark.parametrize(
    ("changes", "mean", "std"),
    [({}, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ({"encoder": "lite0"}, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))],
)
def test_normalising_as_the_encoder_was_trained(make_row, changes, mean, std):
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    found = normalize(images, make_row(**changes), torch.device("cpu")).permute(0, 2, 3, 1)
    expected = (torch.from_numpy(images).float() / 255 - torch.tensor(mean)) / torch.tensor(std)
    assert torch.equal(found, expected)


def test_normalising_by_the_extremes_of_each_image(make_row):
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[0, :4], images[1] = 200, 7
    found = normalize(images, make_row(normalize="min_max"), torch.device("cpu"))
    assert (found[0].min().item(), found[0].max().item(), found[1].unique().tolist()) == (0, 1, [0])


def test_pairs_are_decoded_once_and_mapped_by_every_run(make_pairs, make_row):
    real, row = make_pairs(5), make_row()
    first = load_pairs(real, row)
    shutil.rmtree(real.folder / "images")
    again = load_pairs(real, row)
    assert isinstance(again.images, np.memmap)
    assert np.array_equal(first.images, again.images)
    assert set(np.unique(again.masks)) == {0, 255}


def test_without_room_on_the_disk_pairs_are_decoded_into_memory(make_pairs, make_row, monkeypatch):
    real, row = make_pairs(5), make_row(soft_masks=True, input_px=32)
    kept = load_pairs(real, row)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    in_memory = load_pairs(real, row)
    assert not isinstance(in_memory.images, np.memmap)
    assert np.array_equal(kept.masks, in_memory.masks)
    assert len(np.unique(kept.masks)) > 3
