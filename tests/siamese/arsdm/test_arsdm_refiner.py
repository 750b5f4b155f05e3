"""ArSDM through the registry: trained on pairs alone, refined by an exported segmenter, sampled by requests."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data.pairs.errors import UserError
from data.pairs.manifest import PairSet
from segmentation.config.architectures import ArchitectureRow
from segmentation.inference.predict import load_segmenter
from segmentation.training.export_loss import export_loss
from segmentation.training.losses import structure
from segmentation.training.train import train
from siamese.arsdm.train import REFINER, load_refinement
from siamese.config.arsdm import ArsdmRow
from siamese.fit import fit, load_data
from siamese.load import load
from siamese.sampling.requests import Request
from siamese.training.loop import Run
from tests.siamese.conftest import SAMPLING, TRAINING

ROW = ArsdmRow(
    method="arsdm", width=8, multipliers=(1, 1), blocks=1, attention_factors=(), head_width=8, norm_groups=4,
    spade_width=8, sample_steps=3, steps=4, refine="one_step", refine_share=1.0, refine_t_max=999,
)  # fmt: skip
SEGMENTER = ArchitectureRow(
    network="unet", encoder="tu-test_resnet", decoder_channels=(8, 8, 8), input_px=32, epochs=1, batch=4, lr=3e-3,
    weight_decay=1e-2, schedule="one_cycle", loss="bce_dice", budget="equal_epochs",
)  # fmt: skip


@pytest.fixture(scope="module")
def refiner(tmp_path_factory, real) -> Path:
    folder = tmp_path_factory.mktemp("refiner")
    train(real, PairSet(folder, ()), SEGMENTER, folder, seed=1)
    export_loss(load_segmenter(folder), real.image(real.pairs[0]).shape[:2], folder / REFINER)
    return folder


@pytest.mark.heavy
@pytest.mark.parametrize("count", [1, 3])
def test_the_exported_loss_is_that_of_the_segmenter_and_reaches_the_images(refiner, real, count):
    segmenter = load_segmenter(refiner)
    images = torch.from_numpy(real.images()[:count]).permute(0, 3, 1, 2).float() / 255
    masks = torch.from_numpy(real.masks()[:count])[:, None].float()
    found = load_refinement(refiner)(images.requires_grad_(), masks)
    from segmentation.inference.inputs import MEAN, STD

    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    inputs = torch.nn.functional.interpolate(images, size=(32, 32), mode="bilinear", align_corners=False)
    expected = structure(segmenter.network((inputs - mean) / std, size=masks.shape[2:]), masks, weighted_bce=True)
    torch.testing.assert_close(found, expected)
    assert torch.autograd.grad(found, images)[0].abs().sum() > 0


@pytest.mark.heavy
def test_pairs_alone_train_it_and_requests_sample_it(refiner, real, tmp_path):
    data = load_data(ROW, real, tmp_path / "there are no latents")
    nowhere = tmp_path / "no base model"
    for name, folder in (("refined", refiner), ("again", refiner)):
        for made in (tmp_path / name, tmp_path / f"work-{name}"):
            made.mkdir()
        fit(data, ROW, Run(TRAINING, nowhere, tmp_path / name, tmp_path / f"work-{name}", folder))
    rows = (tmp_path / "refined/loss.csv").read_text().splitlines()
    assert rows[-1].split(",")[0] == "3", "four steps, as the row says and not the training section"
    sampler = load(tmp_path / "refined", nowhere, SAMPLING)
    requests = [Request(f"m{n}", mask, seed=n) for n, mask in enumerate(real.hints()[:3])]
    images = list(sampler.sample(requests))
    assert [image.shape for image in images] == [real.image(real.pairs[0]).shape] * 3
    np.testing.assert_allclose(images[1].astype(int), next(iter(sampler.sample(requests[1:2]))), atol=1)
    assert sampler.settings == {"steps": "3", "eta": "1.0", "clip": "false"}
    assert not sampler.needs.latents
    again = load(tmp_path / "again", nowhere, SAMPLING)
    np.testing.assert_array_equal(next(iter(again.sample(requests[:1]))), next(iter(sampler.sample(requests[:1]))))


def test_a_row_that_refines_needs_the_file(real, tmp_path):
    run = Run(TRAINING, tmp_path, tmp_path / "out", tmp_path / "work", tmp_path)
    with pytest.raises(UserError, match="needs a trained segmenter"):
        fit(load_data(ROW, real, tmp_path), ROW, run)
