"""Masks for images that have none."""

import shutil

import numpy as np

from data.exports.verify import verify
from data.masks.given import pseudo_masks
from data.pairs.image_io import png_text
from data.pairs.manifest import PairSet, read_pairs
from data.pairs.prepared import LoneImage, read_lone_images, write_lone_images
from segmentation.inference.predict import load_segmenter
from segmentation.training.pseudo import SEED, write_pseudo_pairs
from segmentation.training.train import train


def test_images_without_masks_become_pairs_with_a_segmenters_masks(make_pairs, make_row, tmp_path, capsys):
    real, further, row = make_pairs(6), make_pairs(5, "further", seed=1), make_row(epochs=20)
    lone = tmp_path / "lone"
    shutil.copytree(further.folder / "images", lone / "images")
    facts = [(pair.image, "", "64x64", pair.image_sha256, "0 8 32 16") for pair in further.pairs]
    rows = [LoneImage(f"frame{number}", *row) for number, row in enumerate(facts)]
    write_lone_images(lone, rows)
    images = read_lone_images(lone)

    out = tmp_path / "pseudo"
    out.mkdir()
    written = write_pseudo_pairs(real, images, row, "best", out)

    assert written == read_pairs(out)
    verify(written)
    assert [pair.id for pair in written.pairs] == [image.id for image in images.rows]
    assert {(pair.source, pair.split, pair.parent, pair.box) for pair in written.pairs} == {
        ("best", "train", "", "0 8 32 16")
    }
    assert png_text(out / written.pairs[0].image) == {"near-copy": "yes"}
    assert {mask.row.box for mask in pseudo_masks(written, "found")} == {"0 8 32 16"}
    assert np.array_equal(written.images(), further.images())
    folder = tmp_path / "again"
    folder.mkdir()
    train(real, PairSet(folder, ()), row, folder, seed=SEED)
    assert np.array_equal(written.masks() > 0, load_segmenter(folder)(further.images()) > 0.5)
    assert 0 < written.masks().mean() < 1
    empty = sum(not mask.any() for mask in written.masks())
    assert f"best: masks for 5 images without one; {empty} of these masks are empty" in capsys.readouterr().err
