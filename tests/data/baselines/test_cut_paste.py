"""Cut and paste: the donor's pixels under the new mask, the own lesion kept, all within the frame, ids recorded."""

import csv

import numpy as np
import pytest

from data.baselines.config import CutPaste
from data.baselines.cut_paste import BLEND, cut, paste, whole_lesions, write_cut_paste
from data.exports.verify import verify
from data.pairs.errors import UserError
from data.pairs.files import sha256_file, sha256_tree
from data.pairs.manifest import PairSet
from tests.data.pairs.real_pairs import disk, phantoms, plain, write_set

TURNS = (
    {"name": "flip"},
    {"name": "scale", "factor": (0.6, 1.3)},
    {"name": "rotate", "degrees": (-180.0, 180.0)},
)
GREEN, RED, BLUE = (20, 200, 40), (180, 60, 60), (40, 40, 220)


def row(**more) -> CutPaste:
    return CutPaste.model_validate({"kind": "cut_paste", **more})


def donor(_name):
    """A blue lesion in a green image."""
    lesion = disk(12, 40, 8)
    return np.where(lesion[..., None] > 0, np.uint8(BLUE), np.uint8(GREEN)), lesion


def pasted(seed, image=None, labels=None, **more):
    labels = disk(44, 20, 10) if labels is None else labels
    image = plain(RED) if image is None else image
    made = paste(image, labels, ["d"], donor, row(**more), np.random.default_rng(seed))
    return image, labels, made


@pytest.mark.parametrize("edge_px", [0, 1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_pixels_under_the_new_mask_are_the_donors_and_all_others_the_receivers(seed, edge_px):
    image, labels, made = pasted(seed, edge_px=edge_px, overlap=0.0)
    new = (made.labels > 0) & (labels == 0)
    assert new.sum() == disk(12, 40, 8).sum()
    assert (made.image[new] == BLUE).all()
    assert (made.labels[labels > 0] == 1).all()
    ys, xs = np.nonzero(new)
    away = np.min(np.hypot(*(np.mgrid[:64, :64][:, :, :, None] - np.stack([ys, xs])[:, None, None])), -1)
    assert (made.image[away > edge_px + 1] == image[away > edge_px + 1]).all()
    rim = (away > 0) & (away <= edge_px)
    assert not rim.any() or (made.image[rim] != RED).any(-1).mean() > 0.9  # softly blended
    assert made.donor == "d"


def test_an_overlap_lies_on_top_and_is_bounded():
    for seed in range(20):
        _, labels, made = pasted(seed, overlap=1.0)
        blue = (made.image == BLUE).all(-1)
        assert blue.sum() == disk(12, 40, 8).sum()
        assert np.array_equal(made.labels > 0, blue | (labels > 0))
        _, labels, made = pasted(seed, overlap=0.2)
        assert ((made.image == BLUE).all(-1) & (labels > 0)).sum() <= 0.2 * disk(12, 40, 8).sum()


def test_a_turned_lesion_stays_whole_and_its_mask_fits_it():
    image, lesion = donor("d")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        factor, degrees = rng.uniform(0.5, 1.6), rng.uniform(-180, 180)
        piece = cut(image, lesion, [{"name": "scale", "factor": factor}, {"name": "rotate", "degrees": degrees}], 2)
        assert piece.labels.sum() == pytest.approx(lesion.sum() * factor**2, rel=0.08)
        blue = piece.image[..., 2].astype(int) > 130
        assert np.count_nonzero(blue != (piece.labels > 0)) <= 0.12 * piece.labels.sum()
        assert not np.concatenate([piece.labels[[0, -1]].ravel(), piece.labels[:, [0, -1]].ravel()]).any()
        flat = cut(image, lesion, [{"name": "flip", "x": True, "y": False}], 2)
        assert np.array_equal(flat.labels[:, ::-1], cut(image, lesion, [], 2).labels)


@pytest.mark.parametrize("seed", range(10))
def test_the_lesion_lies_within_the_frame_whatever_its_turn(seed):
    empty = np.zeros((64, 64), np.uint8)
    _, _, made = pasted(seed, labels=empty, transforms=TURNS, edge_px=2)
    assert made.labels.any()
    border = np.concatenate([made.labels[:2].ravel(), made.labels[-2:].ravel(), made.labels[:, [0, 1, -2, -1]].ravel()])
    assert not border.any()


def test_black_corners_and_full_frames_take_nothing():
    image = plain(RED)
    image[:, :40] = 0
    for seed in range(10):
        _, _, made = pasted(seed, image=image, labels=np.zeros((64, 64), np.uint8), black=0.0)
        assert not made.donor or not made.labels[:, :40].any()
    image, labels, made = pasted(0, image=plain((0, 0, 0)), attempts=5)
    assert made.rejected.total() == 5
    assert set(made.rejected) <= {"black", "overlap"}
    assert made.donor == ""
    assert np.array_equal(made.image, image)
    assert np.array_equal(made.labels, labels)
    assert pasted(0, area=(0.0001, 0.05), attempts=5, overlap=1.0)[2].rejected == {"area": 5}


def test_lesions_that_the_border_cuts_are_no_donors():
    labels = disk(2, 30, 8) | disk(40, 30, 6)
    assert [lesion.sum() for lesion in whole_lesions(labels)] == [disk(40, 30, 6).sum()]
    assert list(whole_lesions(disk(2, 30, 8))) == []


def test_poisson_keeps_place_and_changes_nothing_where_both_images_are_alike():
    ys, xs = np.mgrid[:64, :64]
    same = np.stack([xs * 3, ys * 3, 60 + xs + ys], -1).astype(np.uint8)
    lesion = disk(30, 26, 9)
    assert np.abs(BLEND["poisson"](same, same, lesion, 2).astype(int) - same).max() <= 2
    spot = same.copy()
    spot[24:28, 30:34] = 255
    changed = np.abs(BLEND["poisson"](same, spot, lesion, 2).astype(int) - same).sum(-1) > 60
    ys, xs = np.nonzero(changed)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (24, 27, 30, 33)


def test_a_set_records_both_ids_and_is_the_same_whatever_the_order(tmp_path):
    real = phantoms(tmp_path / "real", 8)["train"]
    once = write_cut_paste(real, "cp", row(transforms=TURNS), tmp_path / "once")
    verify(once)
    ids = {pair.id for pair in real.pairs}
    assert [pair.parent for pair in once.pairs] == sorted(ids)
    for pair in once.pairs:
        assert pair.source == "cp"
        assert pair.donor in ids - {pair.parent}
        parent = next(one for one in real.pairs if one.id == pair.parent)
        assert (once.mask(pair) >= real.mask(parent)).all()
        assert pair.foreground > parent.foreground
    write_cut_paste(PairSet(real.folder, real.pairs[::-1]), "cp", row(transforms=TURNS), tmp_path / "turned")
    assert sha256_tree(tmp_path / "once/images") == sha256_tree(tmp_path / "turned/images")
    twice = write_cut_paste(real, "cp", row(transforms=TURNS, copies=2), tmp_path / "twice")
    assert len(twice) == 2 * len(real)
    assert all(sha256_file(tmp_path / "twice" / pair.mask) == pair.mask_sha256 for pair in once.pairs)
    lines = list(csv.DictReader((tmp_path / "once/provenance.csv").open()))
    assert [(line["parent"], line["donor"]) for line in lines] == [(pair.parent, pair.donor) for pair in once.pairs]


def test_without_two_whole_lesions_it_says_so(tmp_path):
    pairs = {"a": (plain(RED), disk(30, 30, 9)), "b": (plain(RED), disk(2, 30, 9))}
    with pytest.raises(UserError, match=r"baselines.cp: 1 of 2 training pairs have a lesion that does not touch"):
        write_cut_paste(write_set(tmp_path / "real", pairs), "cp", row(), tmp_path / "out")
