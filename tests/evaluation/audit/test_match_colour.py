"""Colours of synthetic images brought to those of their parent, or of the parent's domain, among training images."""

from dataclasses import replace

import numpy as np
import pytest

from data.exports.verify import verify
from data.pairs.errors import UserError
from data.pairs.image_io import png_text, write_image
from data.pairs.manifest import read_pairs, write_manifest
from evaluation.audit.colour import lab_statistics
from evaluation.audit.config import FilterRow
from evaluation.audit.filters import write_set
from evaluation.audit.match_colour import recolour_to, with_colours


@pytest.fixture
def train(tmp_path, draw, save):
    """Four real pairs of two domains; the second pair of each is darker."""
    images, masks = draw(4, 0)
    images[1::2] = images[1::2] // 2
    pairs = save(tmp_path / "train", images, masks, "r")
    return write_manifest(
        pairs.folder, [replace(pair, domain=name) for pair, name in zip(pairs.pairs, "aabb", strict=True)]
    )


@pytest.fixture
def synthetic(tmp_path, draw, save):
    images, masks = draw(2, 9)
    return save(tmp_path / "x1", images // 3 + 100, masks, "s", parents=["r001", "r002"])


def colours(pairs):
    found = lab_statistics(pairs.images())
    return found.mean, found.sd


def test_an_image_of_its_own_colours_stays(draw):
    images, _ = draw(1, 0)
    found = lab_statistics(images)
    again = with_colours(images[0], found.mean[0], found.sd[0]).astype(int)
    assert abs(again - images[0]).max() <= 1


def test_a_flat_channel_is_moved_and_not_blown_up():
    grey = np.full((8, 8, 3), 90, np.uint8)
    grey[0, 0] = 91
    found = lab_statistics([with_colours(grey, np.array([60.0, 0, 0]), np.array([10.0, 1, 1]))])
    assert found.mean[0, 0] == pytest.approx(60, abs=0.5)
    assert found.sd[0, 0] < 2


@pytest.mark.parametrize("match", ["parent", "domain"])
def test_images_get_the_colours_and_say_so(tmp_path, train, synthetic, match):
    first = synthetic.folder / synthetic.pairs[0].image
    write_image(first, synthetic.image(synthetic.pairs[0]), {"seed": "7"})
    write_set(synthetic, tmp_path / "out", "s-colours", recolour_to(train, match, synthetic.pairs))
    out = read_pairs(tmp_path / "out")
    verify(out)
    (mean, sd), (real_mean, real_sd) = colours(out), colours(train)
    if match == "parent":
        wanted_mean, wanted_sd = real_mean[1:3], real_sd[1:3]
    else:
        wanted_mean, wanted_sd = (values.reshape(2, 2, 3).mean(1) for values in (real_mean, real_sd))
    np.testing.assert_allclose(mean, wanted_mean, atol=0.5)
    np.testing.assert_allclose(sd, wanted_sd, atol=1.0)  # a little is cut off where sRGB ends
    assert abs(colours(synthetic)[0] - wanted_mean).max() > 5
    name = {"parent": "parent r001", "domain": "domain a"}[match]
    assert png_text(out.folder / out.pairs[0].image) == {
        "seed": "7",
        "colours": f"Lab mean and deviation of the {name}",
    }
    for pair, before in zip(out.pairs, synthetic.pairs, strict=True):
        assert (out.folder / pair.mask).read_bytes() == (synthetic.folder / before.mask).read_bytes()
        assert pair.source == "s-colours"


def test_off_copies_the_bytes(tmp_path, synthetic):
    write_set(synthetic, tmp_path / "out", "s-plain")
    for pair in synthetic.pairs:
        assert (tmp_path / "out" / pair.image).read_bytes() == (synthetic.folder / pair.image).read_bytes()


def test_padding_stays_and_counts_nowhere(tmp_path, train, draw, save):
    images, masks = draw(1, 3)
    images[:, :, 48:] = 0
    padded = save(tmp_path / "padded", images, masks, "p", parents=["r000"])
    padded = replace(padded, pairs=(replace(padded.pairs[0], box="0 0 48 64"),))
    changed, _ = recolour_to(train, "parent", padded.pairs)(padded.pairs[0], images[0])
    assert not changed[:, 48:].any()
    np.testing.assert_allclose(lab_statistics([changed[:, :48]]).mean[0], colours(train)[0][0], atol=0.5)


def test_pairs_without_a_real_parent_are_named(train, synthetic):
    strangers = [replace(pair, parent=name) for pair, name in zip(synthetic.pairs, ("r000", "test7"), strict=True)]
    with pytest.raises(UserError, match="s001"):
        recolour_to(train, "parent", strangers)


def test_colours_alone_make_a_filter():
    assert FilterRow(match_colour="domain").criteria() == ()
