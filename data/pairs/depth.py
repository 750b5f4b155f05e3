"""More than 8 bits a channel, and kinds of TIFF, that Pillow does not tell of: they are read from the file itself."""

import re
import struct
from collections.abc import Callable
from pathlib import Path

from PIL import ImageFile, TiffImagePlugin

from data.pairs.damage import COMPRESSION, STRIP_BYTES, TILE_BYTES, DamageError, check_tiff
from data.pairs.errors import BadImageError

TIFF = (b"II*\0", b"MM\0*")
# tags of a TIFF, and the value of the last that means floating point
WIDTH, HEIGHT, BITS, CHANNELS, SAMPLES, FLOAT = 256, 257, 258, 277, 339, 3
# the start of a JPEG 2000's codestream, and the number of channels, which have 3 bytes each after it
CODESTREAM = re.compile(rb"(?s)\xff\x4f\xff\x51.{36}(..)")
AV1_DEPTH, HIGH = re.compile(rb"(?s)av1C\x81.(.)"), 0x40  # of an AVIF: the byte whose bit says 10 or 12 bits


def more_than_8_bits(path: Path, picture: ImageFile.ImageFile) -> str:
    """Return what says that the file of an opened picture has more bits than Pillow would give unasked, or nothing."""
    found = re.search(r"(RGB|RGBA|RGBX|LA|CMYK);16", str(picture.tile))
    check = BY_FORMAT.get(picture.format or "")
    return found.group() if found else check(path, picture) if check else ""


def _ppm(_: Path, picture: ImageFile.ImageFile) -> str:
    values = (tile.args[1] for tile in picture.tile if isinstance(tile.args, tuple) and len(tile.args) > 1)
    most = max(values, default=0)
    return f"PPM with values up to {most}" if isinstance(most, int) and most > 255 else ""


def _jpeg2000(path: Path, _: ImageFile.ImageFile) -> str:
    content = path.read_bytes()
    if not (head := CODESTREAM.search(content)):
        return ""
    channels = content[head.end() : head.end() + 3 * int.from_bytes(head[1]) : 3]
    most = max(((size & 0x7F) + 1 for size in channels), default=0)  # the first bit is the sign's
    return f"JPEG 2000 of {most} bits" if most > 8 else ""


def _avif(path: Path, _: ImageFile.ImageFile) -> str:
    depths = AV1_DEPTH.findall(path.read_bytes())
    return "AVIF of 10 or 12 bits" if any(depth[0] & HIGH for depth in depths) else ""


def refuse_unread_tiff(path: Path) -> None:
    """Raise a BadImageError for a whole TIFF, which Pillow does not read as its kind; damaged ones are not refused."""
    with path.open("rb") as file:
        head = file.read(8)
        if not head.startswith(TIFF):
            return
        try:
            tags = TiffImagePlugin.ImageFileDirectory_v2(head)
            start = tags.next
            file.seek(start)
            tags.load(file)
            check_tiff(file, tags)
            if tags.next == start or not {WIDTH, HEIGHT} <= set(tags) or not {STRIP_BYTES, TILE_BYTES} & set(tags):
                return  # Pillow stops where the file ends, before it knows the place of the next page
            bits = max(tags[BITS])
            numbers = "floating-point" if FLOAT in tags.get(SAMPLES, ()) else "whole"
            found = f"channels: {tags.get(CHANNELS, 1)}, {bits}-bit {numbers} numbers"
            packing = f"compression {tags.get(COMPRESSION, 1)}"
        except (DamageError, OSError, ValueError, LookupError, TypeError, SyntaxError, struct.error):
            return
    text = f"is a TIFF of a kind that is not read ({found}, {packing}): save it as an 8-bit PNG"
    raise BadImageError(text, "sixteen_bit" if bits > 8 else "not_an_image")


# format as Pillow names it -> what its file says
BY_FORMAT: dict[str, Callable[[Path, ImageFile.ImageFile], str]] = {
    "PPM": _ppm,
    "JPEG2000": _jpeg2000,
    "AVIF": _avif,
}
