"""Methods that make masks with their images, and those that sample with an image without a lesion."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from data.exports.verify import verify
from data.masks.config import RealMasks
from data.masks.masks import write_masks
from data.pairs.assemble import write_synthetic
from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.image_io import png_text
from data.pairs.manifest import PairSet, check_one_class, read_pairs
from siamese.config.sections import Needs
from siamese.fit import load_data
from siamese.sampling.requests import Drawn, Sampler
from siamese.sampling.sample import sample_images
from tests.siamese.arsdm.test_arsdm import TINY
from tests.siamese.conftest import SAMPLING


def squares(requests):
    """Yield a grey image and a square, both of the request's seed; the normal image shows where there is one."""
    for request in requests:
        rng = np.random.default_rng(request.seed)
        labels = np.zeros(request.mask.shape, np.uint8)
        labels[: rng.integers(4, 20), : rng.integers(4, 20)] = 1
        image = np.full((*labels.shape, 3), rng.integers(256), np.uint8)
        yield Drawn(image if request.normal is None else request.normal, labels, {"attempts": str(len(request.parent))})


@pytest.fixture
def masks(real, tmp_path):
    write_masks(real, "real", RealMasks(kind="real", copies=1), tmp_path / "masks")
    return read_pairs(tmp_path / "masks/1")


def written(masks, tmp_path, name="drawn", batch=2, **needs):
    sampler = Sampler(Needs(latents=False, emits_masks=True, **needs), {}, squares)
    cfg = SAMPLING.model_copy(update={"batch": batch})
    sample_images(masks, sampler, cfg, tmp_path / name, {})
    return write_synthetic([masks], [tmp_path / name], "s-g0", tmp_path / f"{name}-set")


def provenance(pairs):
    with (pairs.folder / "provenance.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_masks_of_the_set_are_the_emitted_ones(masks, tmp_path):
    pairs = written(masks, tmp_path)
    verify(pairs)
    for pair, asked in zip(pairs.pairs, masks.pairs, strict=True):
        assert pair.parent == asked.parent
        assert pair.foreground == pytest.approx((pairs.labels(pair) > 0).mean(), abs=1e-6)
        assert not np.array_equal(pairs.labels(pair), masks.labels(asked))
        corner = np.argwhere(pairs.labels(pair)).max(0) + 1
        assert pairs.labels(pair).sum() == corner.prod()
    told = {"parent": "train-0000", "normal": "", "attempts": "10", "fallback": ""}
    assert provenance(pairs)[0] == {"id": pairs.pairs[0].id, **told}


def test_a_mask_of_no_training_pair_has_no_parent(masks, tmp_path):
    grouped = PairSet(masks.folder, tuple(replace(pair, group="g", box="0 0 32 20") for pair in masks.pairs))
    pairs = written(grouped, tmp_path, unconditional=True)
    assert {(pair.parent, pair.group, pair.box) for pair in pairs.pairs} == {("", "", "")}
    kept = written(grouped, tmp_path, "kept")
    assert {(pair.group, pair.box) for pair in kept.pairs} == {("g", "0 0 32 20")}


def test_neither_batch_nor_an_interruption_changes_a_byte(masks, tmp_path):
    written(masks, tmp_path, "one", batch=1)
    written(masks, tmp_path, "two")
    assert sha256_tree(tmp_path / "one") == sha256_tree(tmp_path / "two")
    next((tmp_path / "two").glob("*.mask.png")).unlink()
    written(masks, tmp_path, "two")
    assert sha256_tree(tmp_path / "one") == sha256_tree(tmp_path / "two")


def test_the_normal_image_is_drawn_by_the_id_and_named(masks, real, tmp_path):
    pool = PairSet(real.folder, real.pairs[:3])
    sampler = Sampler(Needs(latents=False, normal=True), {}, squares)
    sample_images(masks, sampler, SAMPLING, tmp_path / "n", {}, normal=pool)
    chosen = [png_text(tmp_path / "n" / f"{pair.id}.png")["normal"] for pair in masks.pairs]
    assert len(set(chosen)) > 1
    own = write_synthetic([masks], [tmp_path / "n"], "s-g0", tmp_path / "n-set")
    assert [line["normal"] for line in provenance(own)] == chosen
    assert [pair.mask_sha256 for pair in own.pairs] == [pair.mask_sha256 for pair in masks.pairs]
    by_id = {pair.id: pair for pair in pool.pairs}
    np.testing.assert_array_equal(own.image(own.pairs[0]), pool.image(by_id[chosen[0]]))
    few = PairSet(masks.folder, masks.pairs[3:])
    sample_images(few, sampler, SAMPLING, tmp_path / "few", {}, normal=pool)
    assert [png_text(tmp_path / "few" / f"{pair.id}.png")["normal"] for pair in few.pairs] == chosen[3:]
    with pytest.raises(UserError, match="images without a lesion: give normal in the data-set row"):
        sample_images(masks, sampler, SAMPLING, tmp_path / "no", {})


def test_several_classes_are_refused(masks, tmp_path):
    several = [replace(pair, classes="polyp|ulcer") for pair in masks.pairs]
    with pytest.raises(UserError, match="one class of lesion; these pairs have polyp, ulcer"):
        check_one_class(several, "this generator")


def test_other_methods_get_no_normal_images_and_pixel_methods_the_ids(real):
    data = load_data(TINY, real, real.folder, PairSet(real.folder, real.pairs[:2]))
    assert data.normals is None
    assert data.ids == tuple(pair.id for pair in real.pairs)
