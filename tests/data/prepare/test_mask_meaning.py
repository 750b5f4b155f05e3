"""Masks mean what they say: every way to write one is read right or refused, by the doctor's row and by any other."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.doctor.doctor import examine
from data.mask_files.checks import mask_facts
from data.pairs.errors import UserError
from data.pairs.manifest import PairSet
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare
from tests.data.doctor.test_doctor import run
from tests.data.pairs import encodings as e

JPEG, RAMP = {"ending": ".jpg"}, [value for number in range(256) for value in (number,) * 3]


def one_empty(mask, number):
    return e.grey(255 if number else 0)(mask, number)


def half_empty(mask, number):
    return e.grey(255 if number % 2 else 0)(mask, number)


def mixed(mask, number):
    return e.grey(255 if number % 2 else 1)(mask, number)


def one_bit(mask, number):
    return e.grey(255)(mask, number).convert("1")


# name -> encoding, options of saving, keys that the doctor's row has; None where it suggests none
READ = {
    "white": (e.grey(255), {}, {}),
    "zero and one": (e.grey(1), {}, {"mask_threshold": 0}),
    "zero and two": (e.grey(2), {}, {"classes": {"class-1": 2}}),
    "zero and 128": (e.grey(128), {}, {}),
    "zero and 100": (e.grey(100), {}, {"mask_threshold": 0}),
    "white in colours": (e.colour(255, 255, 255), {}, {}),
    "number in red": (e.colour(1, 0, 0), {}, {"classes": {"class-1": [1, 0, 0]}}),
    "number in green": (e.colour(0, 2, 0), {}, {"classes": {"class-1": [0, 2, 0]}}),
    "dark red": (e.colour(60, 0, 0), {}, {"classes": {"class-1": [60, 0, 0]}}),
    "alpha over black": (e.alpha(0, 0), {}, {}),
    "alpha over white": (e.alpha(255, 255), {}, {}),
    "alpha and white": (e.alpha(0, 255), {}, {}),
    "alpha of grey": (e.grey_alpha, {}, {}),
    "one bit": (one_bit, {}, {}),
    "palette of black and white": (e.palette([0, 0, 0, 255, 255, 255]), {}, {}),
    "palette of greys": (e.palette(RAMP), {}, {"mask_threshold": 0}),
    "palette of one colour": (e.palette([]), {}, {"mask_threshold": 0}),
    "palette in colours": (e.palette([0, 0, 0, 128, 0, 0]), {}, {"classes": {"class-1": [128, 0, 0]}}),
    "jpeg": (e.grey(255), JPEG, {}),
    "poor jpeg in colours": (e.colour(255, 255, 255), JPEG | {"quality": 40}, {}),
    "gif": (e.grey(255), {"ending": ".gif"}, {}),
    "antialiased": (e.antialiased, {}, {}),
    "interpolated": (e.interpolated, {}, {}),
    "two class numbers": (e.classes(1, 2), {}, {"classes": {"class-1": 1, "class-2": 2}}),
    "two greys": (e.classes(100, 200), {}, {"classes": {"class-1": 100, "class-2": 200}}),
    "border of voc": (e.bordered, {}, {"classes": {"class-1": 1}, "as_background": [255]}),
    "palette of voc": (e.voc_palette, {}, {"classes": {"class-1": [128, 0, 0]}, "as_background": [[224, 224, 192]]}),
    "numbers of objects": (e.objects, {}, {"mask_threshold": 0}),
    "some 0/1, some 0/255": (mixed, {}, {"mask_threshold": 0}),
}
REFUSED = {
    "nothing": (e.constant(0), {}, "no mask of 4 has a lesion"),
    "all white": (e.constant(255), {}, "4 masks are nothing but lesion"),
    "all of one grey": (e.constant(128), {}, "4 masks are nothing but lesion"),
    "inverted": (e.inverted(255), {}, "in 4 of 4 masks, as if black and white were exchanged.* inverted_masks: true"),
    "inverted jpeg": (e.inverted(255), JPEG, "as if black and white were exchanged"),
    "black opaque on clear white": (e.alpha(255, 0), {}, "as if black and white were exchanged"),
    "palette white first": (e.palette([255, 255, 255, 0, 0, 0]), {}, "as if black and white were exchanged"),
    "image with alpha": (e.cut_out, {}, "has colours and an alpha channel that part it differently"),
    "grey photo": (e.photo, {}, "is a photo: .* are images and masks exchanged"),
    "photo": (e.colour_photo, JPEG, "is a photo: .* are images and masks exchanged"),
    "the image": (e.itself, {}, "is a photo: .* or is it a copy of the image"),
    "unsure map": (e.probability, {}, "is a photo"),
    "soft map": (e.smooth(8), {}, "has areas of grey, .* say where a soft mask is cut, mask_threshold: 127"),
    "steep soft map": (e.smooth(6), {}, "has areas of grey"),
    "photo cut out": (e.grey_cut_out, {}, "has areas of grey, .* is it cut out of the photo"),
    "outline": (e.outline(1), {}, "lesion is a line about background in 4 of 4 masks"),
    "broad outline": (e.outline(2), {}, "fill the outlines, remove the frame"),
    "outline in jpeg": (e.outline(2), JPEG, "lesion is a line about background"),
    "frame": (e.framed, {}, "as if outlines or a frame were drawn"),
    "greys of classes in jpeg": (e.classes(100, 200), JPEG, "has areas of grey"),
    "numbers in jpeg": (e.classes(1, 2), JPEG, "no value above mask_threshold 127"),
    "area of 255 beside numbers": (e.classes(1, 255), {}, r"has areas of \[1\], which mask_threshold 127 would lose"),
}


def prepared(row: dict, out: Path) -> dict[str, PairSet]:
    return prepare(FolderDataset.model_validate_json(json.dumps(row | {"size_px": e.SIZE})), out)


def plain_row(root: Path, **more) -> dict:
    return {"kind": "folder", "path": str(root), "prompt": "p", "splits": {"train": 0.7, "test": 0.3}, **more}


def share(sets: dict[str, PairSet]) -> float:
    return float(np.mean([pair.foreground for pairs in sets.values() for pair in pairs.pairs]))


def right_or_refused(row: dict, out: Path, found_by_row: float) -> None:
    """Check that a row reads the lesion as it is, but for what smooth edges cost, or is refused with a reason."""
    try:
        sets = prepared(row, out)
    except UserError:
        return
    assert share(sets) == pytest.approx(found_by_row, abs=0.003)


@pytest.mark.parametrize("name", READ)
def test_the_doctors_row_reads_the_lesion(name, tmp_path):
    encode, options, keys = READ[name]
    e.write(tmp_path / "raw", encode, **options)
    result, _ = examine(tmp_path / "raw")
    assert result["stops"] == []
    assert {key: result["row"][key] for key in keys} == keys
    assert not {"mask_threshold", "classes", "as_background", "inverted_masks"} & (set(result["row"]) - set(keys))
    assert share(prepared(result["row"], tmp_path / "out")) == pytest.approx(e.truth(), abs=0.003)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_mask_stops_and_no_row_is_suggested(name, tmp_path):
    encode, options, reason = REFUSED[name]
    e.write(tmp_path / "raw", encode, **options)
    with pytest.raises(UserError, match=reason):
        prepared(plain_row(tmp_path / "raw"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result, _ = examine(tmp_path / "raw")
    assert result["row"] is None
    assert result["stops"]


# with mask_threshold: 127 a row says itself that what is darker is no lesion
CUT = {
    "soft map", "steep soft map", "photo cut out", "greys of classes in jpeg", "two greys",
    "area of 255 beside numbers", "border of voc", "numbers of objects",
}  # fmt: skip


@pytest.mark.parametrize("name", [*READ, *REFUSED])
def test_no_row_reads_a_mask_wrong_without_a_word(name, tmp_path):
    encode, options, _ = (READ | REFUSED)[name]
    e.write(tmp_path / "raw", encode, **options)
    rows = [{}, {"mask_threshold": 0}, {"classes": {"lesion": 1}}, *([] if name in CUT else [{"mask_threshold": 127}])]
    for number, keys in enumerate(rows):
        right_or_refused(plain_row(tmp_path / "raw", **keys), tmp_path / str(number), e.truth())


def test_a_soft_mask_is_cut_where_the_row_says(tmp_path):
    e.write(tmp_path / "raw", e.smooth(5))
    assert share(prepared(plain_row(tmp_path / "raw", mask_threshold=127), tmp_path / "out")) > 0.04


@pytest.mark.parametrize("options", [{}, JPEG])
def test_inverted_masks_are_read_when_the_row_says_so_and_only_then(options, tmp_path):
    e.write(tmp_path / "raw", e.inverted(255), **options)
    sets = prepared(plain_row(tmp_path / "raw", inverted_masks=True), tmp_path / "out")
    assert share(sets) == pytest.approx(e.truth(), abs=0.003)
    large = prepared(plain_row(tmp_path / "raw", inverted_masks=False), tmp_path / "large")
    assert share(large) == pytest.approx(1 - e.truth(), abs=0.003)
    e.write(tmp_path / "right", e.grey(255))
    with pytest.raises(UserError, match="leave inverted_masks out"):
        prepared(plain_row(tmp_path / "right", inverted_masks=True), tmp_path / "no")


def test_a_test_set_is_held_to_the_same(tmp_path):
    e.write(tmp_path / "raw/train", e.grey(255))
    e.write(tmp_path / "raw/test", e.inverted(255))
    row = plain_row(tmp_path / "raw", allow_duplicates=["*"]) | {"splits": {"train": "train", "test": "test"}}
    with pytest.raises(UserError, match="split test: lesion covers most of the border in 6 of 6 masks"):
        prepared(row, tmp_path / "out")
    e.write(tmp_path / "raw/test", e.constant(0))
    with pytest.raises(UserError, match="split test: no mask of 6 has a lesion"):
        prepared(row, tmp_path / "out")


def test_one_large_lesion_in_a_split_of_one_pair_is_chance(tmp_path):
    e.write(tmp_path / "raw/train", e.grey(255))
    e.write(tmp_path / "raw/test", e.inverted(255))
    for place in ("images", "masks"):
        for path in sorted((tmp_path / "raw/test" / place).iterdir())[1:]:
            path.unlink()
    row = plain_row(tmp_path / "raw", allow_duplicates=["*"]) | {"splits": {"train": "train", "test": "test"}}
    assert len(prepared(row, tmp_path / "out")["test"]) == 1


def test_masks_that_are_empty_or_full_have_no_outline(tmp_path):
    e.write(tmp_path / "raw", lambda mask, number: e.constant(255 * (number % 2))(mask, number))
    with pytest.raises(UserError, match="either empty or all lesion"):
        prepared(plain_row(tmp_path / "raw"), tmp_path / "out")


def test_a_few_empty_masks_stay_legal(tmp_path):
    e.write(tmp_path / "raw", one_empty)
    result, _ = examine(tmp_path / "raw")
    assert [fault["code"] for fault in result["faults"]] == ["empty_mask"]
    assert result["stops"] == []
    assert share(prepared(result["row"], tmp_path / "out")) > 0


def test_a_draw_without_lesions_is_drawn_anew(tmp_path):
    e.write(tmp_path / "raw", half_empty)
    row = examine(tmp_path / "raw")[0]["row"]
    sets = prepared(row, tmp_path / "out")
    assert all(any(pair.foreground for pair in pairs.pairs) for pairs in sets.values())


def test_exchanged_folders_are_told_even_where_photos_are_dark_and_the_row_says_where_to_cut(tmp_path):
    e.write(tmp_path / "raw", e.grey(255))
    (tmp_path / "raw/images").rename(tmp_path / "raw/x")
    (tmp_path / "raw/masks").rename(tmp_path / "raw/images")
    (tmp_path / "raw/x").rename(tmp_path / "raw/masks")
    for path in (tmp_path / "raw/masks").iterdir():
        dark = np.asarray(Image.open(path).convert("L")).astype(float) ** 3 / 255**2
        Image.fromarray(dark.astype(np.uint8)).save(path)
    with pytest.raises(UserError, match=r"has two values, as masks do, and .* are images and masks exchanged"):
        prepared(plain_row(tmp_path / "raw", mask_threshold=127), tmp_path / "out")
    assert examine(tmp_path / "raw")[0]["row"] is None


def test_a_large_lesion_in_one_mask_is_no_fault(tmp_path):
    e.write(tmp_path / "raw", lambda mask, number: e.grey(255)(mask if number else 1 - mask, number))
    assert set(prepared(plain_row(tmp_path / "raw"), tmp_path / "out")) == {"train", "test"}


def test_rings_are_read_when_the_row_says_so(tmp_path):
    e.write(tmp_path / "raw", e.outline(2))
    ring = np.mean([np.asarray(e.outline(2)(e.lesion(number), number)) > 0 for number in range(e.PAIRS)])
    sets = prepared(plain_row(tmp_path / "raw", inverted_masks=False), tmp_path / "out")
    assert share(sets) == pytest.approx(ring, abs=0.001)


def test_a_net_of_vessels_is_no_outline():
    net = np.zeros((96, 96), np.uint8)
    net[4:92:11], net[:, 4:92:11] = 1, 1
    assert not mask_facts(net, "net").is_outline
    assert mask_facts(np.asarray(e.outline(1)(e.lesion(0), 0)), "line").is_outline
    assert not mask_facts(1 - e.lesion(0), "hole").is_outline


def test_what_is_odd_in_single_masks_is_said_and_stops_nothing(tmp_path, capsys):
    odd = {0: e.inverted(255), 1: e.outline(1)}
    e.write(tmp_path / "raw", lambda mask, number: odd.get(number, e.grey(255))(mask, number))
    e.grey(255)(e.lesion(9), 2).save(tmp_path / "raw/masks/casec_mask_2.png")
    codes = {fault["code"] for fault in examine(tmp_path / "raw")[0]["faults"]}
    assert {"inverted_mask", "outline_mask", "several_masks"} <= codes
    prepared(plain_row(tmp_path / "raw"), tmp_path / "out")
    said = capsys.readouterr().err
    assert "1 of 6 masks have lesion on most of their border, as where black and white are exchanged" in said
    assert "1 of 6 masks are a line about background, as outlines are: look at them (caseb)" in said
    assert "1 images have several masks, merged" in said


def test_one_mask_for_all_images_is_said(tmp_path, capsys):
    e.write(tmp_path / "raw", lambda *_: e.grey(255)(e.lesion(0), 0))
    assert "same_mask" in {fault["code"] for fault in examine(tmp_path / "raw")[0]["faults"]}
    prepared(plain_row(tmp_path / "raw"), tmp_path / "out")
    assert "all 6 masks with a lesion are the same to the pixel" in capsys.readouterr().err
    e.write(tmp_path / "right", e.grey(255))
    assert "same_mask" not in {fault["code"] for fault in examine(tmp_path / "right")[0]["faults"]}


def test_background_with_a_value_of_its_own_is_put_away(tmp_path):
    e.write(tmp_path / "raw", lambda mask, _: Image.fromarray((mask + 1).astype(np.uint8)))
    result, _ = examine(tmp_path / "raw")
    assert result["row"] is None
    sets = prepared(plain_row(tmp_path / "raw", classes={"lesion": 2}, as_background=[1]), tmp_path / "out")
    assert share(sets) == pytest.approx(e.truth(), abs=0.003)


def test_the_command_says_by_its_exit_code_whether_its_row_can_be_used(tmp_path):
    e.write(tmp_path / "good", e.grey(1))
    e.write(tmp_path / "bad", e.inverted(255))
    good, bad = run(tmp_path / "good"), run(tmp_path / "bad", "--out", tmp_path / "look.png")
    assert (good.returncode, bad.returncode) == (0, 2)
    assert "mask_threshold: 0" in good.stdout
    assert "datasets:" not in bad.stdout
    assert "inverted_masks: true" in bad.stdout
    assert "Traceback" not in bad.stderr


# arrays --------------------------------------------------------------------------------------------------------------


def arrays(root: Path, change) -> Path:
    images = np.stack([e.noise(number) for number in range(e.PAIRS)])
    masks = np.stack([np.asarray(change(e.lesion(number), number)) for number in range(e.PAIRS)])
    root.mkdir(parents=True)
    both = {"images": images, "label": masks}
    np.savez(root / "set.npz", **{f"{side}_{key}": v[part] for key, v in both.items()
                                  for side, part in (("train", slice(4)), ("test", slice(4, 6)))})  # fmt: skip
    return root


@pytest.mark.parametrize(
    ("encode", "reason"),
    [
        (e.constant(0), "no mask of 4 has a lesion"),
        (e.constant(1), "nothing but lesion"),
        (e.inverted(1), "as if black and white were exchanged"),
        (e.interpolated, "is grey at its edges"),
        (e.photo, "is a photo"),
        (e.bordered, "as VOC marks borders"),
    ],
)
def test_arrays_are_held_to_the_same(encode, reason, tmp_path):
    arrays(tmp_path / "raw", encode)
    row = plain_row(tmp_path / "raw", mask_threshold=0) | {"splits": {"train": "train", "test": "test"}}
    with pytest.raises(UserError, match=reason):
        prepared(row, tmp_path / "out")
