"""Further draws of the same masks, and the filter stage that keeps the best of them."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from data.exports.verify import verify
from data.masks.config import PseudoMasks, RealMasks
from data.masks.dealt import write_given
from data.masks.given import pseudo_masks
from data.masks.masks import write_masks
from data.pairs.assemble import write_synthetic
from data.pairs.files import sha256_tree
from data.pairs.image_io import png_text, read_image
from data.pairs.manifest import read_pairs, write_manifest
from data.pairs.seeds import item_seed
from evaluation.audit.config import FilterRow
from evaluation.features.config import FeaturesConfig
from pipeline.params import paths
from pipeline.stages import filter as filter_stage
from siamese.load import load
from siamese.sampling.sample import sample_images
from tests.siamese.conftest import SAMPLING

ITEM = {"dataset": "d", "generator": "siamese", "generator_seed": 0, "masks": "real", "filter": "best"}


@pytest.fixture
def masks(real, tmp_path):
    write_masks(real, "real", RealMasks(kind="real", copies=1), tmp_path / "masks")
    return read_pairs(tmp_path / "masks/1")


def test_draws_differ_by_their_seed_and_say_which_they_are(tmp_path, masks, generators, base_dir):
    masks, sampler = replace(masks, pairs=masks.pairs[:2]), load(generators["controlnet"], base_dir, SAMPLING)
    for name, options in (("plain", ()), ("first", (1,)), ("second", (2,)), ("again", (2,))):
        sample_images(masks, sampler, SAMPLING, tmp_path / name, {}, None, *options)
    assert sha256_tree(tmp_path / "plain") == sha256_tree(tmp_path / "first")
    assert sha256_tree(tmp_path / "second") == sha256_tree(tmp_path / "again")
    name = masks.pairs[0].id
    first, second = (png_text(tmp_path / folder / f"{name}.png") for folder in ("first", "second"))
    assert first["seed"] == str(item_seed(0, "sample", name))
    assert "draw" not in first
    assert (second["seed"], second["draw"]) == (str(item_seed(0, "sample", name, 2)), "2")
    assert second["mask"] == name
    assert (tmp_path / "first" / f"{name}.png").read_bytes() != (tmp_path / "second" / f"{name}.png").read_bytes()


def test_further_draws_start_where_the_first_did(tmp_path, real, generators, base_dir, monkeypatch):
    """From the image that the mask came with, and never from what the first draw made of it."""
    monkeypatch.chdir(tmp_path)
    for source, target in (
        (real.folder, paths.processed("d", "train")),
        (base_dir, paths.base("d")),
        (generators["siamese"], paths.generator("d", "siamese", 0)),
    ):
        shutil.copytree(source, target)
    given = pseudo_masks(real, "real")
    masks_row = PseudoMasks(kind="pseudo", copies=1)
    write_given(given, len(real), "real", masks_row, paths.masks("d", "real"))
    cfg = SAMPLING.model_copy(update={"strength": 0.4})
    masks = read_pairs(paths.masks("d", "real", 1))
    [further] = filter_stage.further_draws(ITEM, cfg, 1)
    expected = tmp_path / "expected"
    sample_images(masks, load(generators["siamese"], base_dir, cfg), cfg, expected, {}, draw=2)
    for pair in further.pairs:
        assert np.array_equal(further.image(pair), read_image(expected / f"{pair.id}.png"))
        text = png_text(further.folder / pair.image)
        assert (text["near-copy"], text["strength"]) == ("yes", "0.4")
    bare = [replace(pair, image="", image_sha256="") for pair in masks.pairs]
    write_manifest(paths.masks("d", "real", 1), bare)
    [from_noise] = filter_stage.further_draws(ITEM, cfg, 1)
    assert all("strength" not in png_text(from_noise.folder / pair.image) for pair in from_noise.pairs)


@pytest.mark.heavy
def test_the_stage_refills_to_the_count_and_draws_nothing_twice(
    tmp_path, real, masks, generators, base_dir, monkeypatch
):
    from segmentation.config.architectures import ArchitectureRow
    from segmentation.training.train import train

    monkeypatch.chdir(tmp_path)
    for source, target in (
        (real.folder, paths.processed("d", "train")),
        (base_dir, paths.base("d")),
        (generators["siamese"], paths.generator("d", "siamese", 0)),
        (masks.folder, paths.masks("d", "real", 1)),
    ):
        shutil.copytree(source, target)
    sample_images(masks, load(generators["siamese"], base_dir, SAMPLING), SAMPLING, tmp_path / "drawn", {})
    synthetic = write_synthetic([masks], [tmp_path / "drawn"], "siamese", paths.samples("d", "siamese-g0", "real"))
    row = ArchitectureRow(
        network="unet", encoder="tu-test_resnet", decoder_channels=(16, 8, 8), input_px=32, epochs=1, batch=4, lr=1e-3,
        weight_decay=0.0, schedule="constant", loss="bce_dice", budget="equal_epochs",
    )  # fmt: skip
    paths.judge("d").mkdir(parents=True)
    train(real, real.__class__(real.folder, ()), row, paths.judge("d"), seed=0)

    def filtered(filter_row):
        params = SimpleNamespace(row=filter_row, sampling=SAMPLING, features=FeaturesConfig())
        filter_stage.run(ITEM, params)
        return read_pairs(paths.samples("d", "siamese-best-g0", "real"))

    kept = filtered(FilterRow(best_of=3, fidelity=(0.999, 1.0)))
    verify(kept)
    assert [(pair.id, pair.parent, pair.mask_sha256) for pair in kept.pairs] == [
        (pair.id, pair.parent, pair.mask_sha256) for pair in synthetic.pairs
    ]
    counts = json.loads((paths.RESULTS / "filters/d/siamese-best-g0-real.json").read_text())
    assert (counts["before"], counts["kept"], counts["draws"]) == (5, 5, 3)
    texts = [png_text(kept.folder / pair.image) for pair in kept.pairs]
    assert counts["changed"] == sum("draw" in text for text in texts)
    assert {text["mask"] for text in texts} == {pair.id for pair in synthetic.pairs}

    monkeypatch.setattr("siamese.sampling.sampler.denoise", None)  # drawing anew would fail
    matched = filtered(FilterRow(best_of=3, match_colour="parent"))
    verify(matched)
    assert len(matched) == 5
    assert all("colours" in png_text(matched.folder / pair.image) for pair in matched.pairs)
