"""Damage that a file proves is refused with its name by doctor and prepare; whole files of every kind are not."""

import io
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, features

from data.doctor.doctor import examine
from data.mask_files.pixels import mask_pixels
from data.pairs.errors import UserError
from data.pairs.image_io import BadImageError, each_decoded_once, read_image
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare
from tests.campaigns import damage as campaign
from tests.contracts.imports import ROOT

RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(RNG.integers(0, 256, (12, 12, 3), np.uint8)).resize((96, 96), Image.Resampling.NEAREST)
WHOLE = {
    **{f"png-{mode}": (mode, {"format": "PNG"}) for mode in ("1", "L", "P", "RGB", "RGBA", "LA")},
    "tif": ("RGB", {"format": "TIFF"}),
    **{f"tif-{kind}": ("RGB", {"format": "TIFF", "compression": kind}) for kind in ("tiff_adobe_deflate", "tiff_lzw")},
    "gif": ("P", {"format": "GIF"}), "jpg": ("RGB", {"format": "JPEG"}), "jpg-L": ("L", {"format": "JPEG"}),
    "jpg-cmyk": ("CMYK", {"format": "JPEG"}), "jpg-progressive": ("RGB", {"format": "JPEG", "progressive": True}),
    "webp": ("RGB", {"format": "WEBP"}), "bmp": ("RGB", {"format": "BMP"}), "jp2": ("RGB", {"format": "JPEG2000"}),
    "ppm": ("RGB", {"format": "PPM"}),
}  # fmt: skip


def encoded(name: str) -> bytes:
    mode, how = WHOLE[name]
    out = io.BytesIO()
    PICTURE.convert(mode).save(out, **how)
    return out.getvalue()


def interlaced(rows: int) -> bytes:
    """Return a grey PNG of 9 x 9 px in seven passes, with so many bytes of rows; 100 are all."""
    head = struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 0, 1)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(campaign.chunk(*part) for part in parts)


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_is_read_as_ever_and_one_without_its_end_is_refused(tmp_path, name):
    path, content = tmp_path / "a.png", encoded(name)
    path.write_bytes(content)
    with Image.open(io.BytesIO(content)) as picture:
        assert (read_image(path) == np.asarray(picture.convert("RGB"))).all()
    for length in (1, 2, 12, len(content) // 3, len(content) // 2):
        path.write_bytes(content[:-length])
        with pytest.raises(BadImageError) as refused:
            read_image(path)
        assert refused.value.code == "damaged" or (refused.value.code == "not_an_image" and name in ("ppm", "bmp"))


def test_rows_of_an_interlaced_png_are_counted(tmp_path):
    (tmp_path / "a.png").write_bytes(interlaced(100))
    assert read_image(tmp_path / "a.png").shape == (9, 9, 3)
    (tmp_path / "a.png").write_bytes(interlaced(99))
    with pytest.raises(BadImageError, match="is damaged"):
        read_image(tmp_path / "a.png")


def replaced(content: bytes, place: int, by: bytes) -> bytes:
    return content[:place] + by + content[place + len(by) :]


PNG, JPEG = encoded("png-L"), encoded("jpg")
DAMAGED = {
    "checksum": replaced(PNG, PNG.index(b"IDAT") - 8, b"\0\0\0\0"),
    "no end marker": PNG[: PNG.index(b"IEND") - 4],
    "zeroed rows": replaced(PNG, PNG.index(b"IDAT") + 40, bytes(24)),
    "a text that was changed": replaced(PNG, PNG.index(b"IEND"), b"IENE"),
    "cut and closed": JPEG[: len(JPEG) * 2 // 3] + b"\xff\xd9",
    "deflated strip": replaced(encoded("tif-tiff_adobe_deflate"), 60, bytes(24)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_stops_prepare_and_is_listed_by_the_doctor(tmp_path, name):
    root = tmp_path / "pairs"
    for number in range(3):
        campaign.draw(root, ".png", number)
    path = root / "images/p1.png"
    path.write_bytes(DAMAGED[name])
    faults, _ = examine(root)
    assert [(one["code"], one["files"]) for one in faults["faults"] if one["severity"] == "stops prepare"] == [
        ("damaged", [str(path)])
    ]
    row = FolderDataset(kind="folder", path=str(root), size_px=64, prompt="", splits={"train": 0.5, "test": 0.5})
    with pytest.raises(UserError, match=r"p1.png: is damaged"):
        prepare(row, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_ppm_of_16_bits_is_refused_and_one_of_fewer_values_is_not(tmp_path):
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6 8 8 65535\n" + RNG.bytes(8 * 8 * 6))
    with pytest.raises(BadImageError, match="more than 8 bits") as refused:
        read_image(path)
    assert refused.value.code == "sixteen_bit"
    path.write_bytes(b"P6 8 8 100\n" + bytes(8 * 8 * 3))
    assert read_image(path).shape == (8, 8, 3)


DEEP = {
    "rgb.jp2": ((64, 64, 3), "JPEG 2000 of 16 bits"),
    "grey.jp2": ((64, 64), "JPEG 2000 of 16 bits"),
    "rgb.avif": ((64, 64, 3), "AVIF of 10 or 12 bits"),
}


@pytest.mark.parametrize("name", DEEP)
def test_more_than_8_bits_that_pillow_does_not_tell_of_are_refused(name, tmp_path):
    (shape, said), path = DEEP[name], tmp_path / name
    if path.suffix == ".avif" and not (cv2.haveImageWriter(str(path)) and features.check("avif")):
        pytest.skip("AVIF is not written or read here")
    values = RNG.integers(0, 256, shape, np.uint8)
    cv2.imwrite(str(path), values)
    assert read_image(path).shape == (64, 64, 3)
    depth = [cv2.IMWRITE_AVIF_DEPTH, 10] if path.suffix == ".avif" else []
    cv2.imwrite(str(path), values.astype(np.uint16) * 4, depth)
    with pytest.raises(BadImageError, match=rf"more than 8 bits a channel \(mode {said}\)") as refused:
        read_image(path)
    assert refused.value.code == "sixteen_bit"


@pytest.mark.parametrize(("channels", "bits"), [(3, 32), (1, 64)])
def test_a_tiff_of_a_kind_that_is_not_read_is_not_called_damaged(channels, bits, tmp_path):
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), RNG.random((12, 12, channels)).astype(f"float{bits}"))
    said = (
        rf"a TIFF of a kind that is not read \(channels: {channels}, {bits}-bit floating-point numbers, compression 1"
    )
    with pytest.raises(BadImageError, match=rf"{said}\): save it as an 8-bit PNG") as refused:
        read_image(path)
    assert refused.value.code == "sixteen_bit"
    whole = path.read_bytes()
    for length in (20, len(whole) // 2, len(whole) - 12):
        path.write_bytes(whole[:length])
        with pytest.raises(BadImageError, match="is damaged"):
            read_image(path)


def test_a_large_picture_is_thinned_while_it_is_looked_at_and_no_other_is(tmp_path):
    mask = np.zeros((100, 200), np.uint8)
    mask[20:60, 40:120] = 255
    Image.fromarray(mask).save(tmp_path / "a.png")
    with each_decoded_once(most_px=100 * 200):
        assert (mask_pixels(tmp_path / "a.png") == mask).all()
    with each_decoded_once(most_px=100 * 200 // 4):
        thin = mask_pixels(tmp_path / "a.png") > 127
    assert thin.shape == (50, 100)
    assert abs(thin.mean() - (mask > 0).mean()) < 0.01
    assert mask_pixels(tmp_path / "a.png").shape == (100, 200)


def test_large_pictures_are_no_matter_of_warnings(tmp_path):
    Image.new("1", (10_000, 9_500)).save(tmp_path / "a.png")
    code = "import pathlib, sys; from data.mask_files.pixels import mask_pixels; mask_pixels(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.heavy
def test_the_campaign_finds_nothing_in_a_few_cases():
    counts = campaign.run(22, seed=1)
    assert counts["failures"] == []
    assert counts["cases"] == 22
