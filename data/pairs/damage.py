"""Damage that a picture file proves by itself: checksums, missing rows, missing ends, warnings of a decoder.

Decoders for the screen show what they can of a damaged file; as training data the rest would be made up. What no file
can prove is not found: bytes of a JPEG, BMP, PPM or lossy WebP that were replaced by others that decode as well.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, TiffImagePlugin

CHUNK_BYTES = 2**20
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG's colour type
# first column, first row, step right, step down of the seven passes of an interlaced PNG
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# tags of a TIFF, and the values of the first that mean deflation
COMPRESSION, STRIP_STARTS, STRIP_BYTES, TILE_STARTS, TILE_BYTES = 259, 273, 279, 324, 325
DEFLATED = (8, 32946)
SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"RIFF", b"\0\0\0\x0cjP  ")


class DamageError(ValueError):
    """What a file proves against itself, in words."""


def prove_damage(path: Path, picture: Image.Image) -> None:
    """Look for damage in the file of an opened picture. Raises: DamageError that says what was found, OSError."""
    try:
        with path.open("rb") as file:
            if check := CHECKS.get(picture.format or ""):
                check(file)
            elif isinstance(picture, TiffImagePlugin.TiffImageFile):
                check_tiff(file, picture.tag_v2)
    except (struct.error, TypeError) as error:
        raise DamageError(f"its structure is broken ({error})") from error


def begins_as_picture(path: Path) -> bool:
    """Return whether the first bytes of a file are those of a picture, so that one that cannot be read is damaged."""
    with path.open("rb") as file:
        return file.read(12).startswith(SIGNATURES)


def _read(file: BinaryIO, count: int, what: str) -> bytes:
    found = file.read(count)
    if len(found) < count:
        raise DamageError(f"it ends within {what}")
    return found


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, a part of its content) of a PNG's chunks, whose checksums are compared, until its end marker."""
    file.seek(8)
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", _read(file, 8, "its chunks: the end marker IEND is missing"))
        name, checksum = repr(kind)[2:-1], zlib.crc32(kind)
        while True:
            part = _read(file, min(length, CHUNK_BYTES), f"its chunk {name}")
            checksum = zlib.crc32(part, checksum)
            length -= len(part)
            yield kind, part
            if not length:
                break
        if checksum != int.from_bytes(_read(file, 4, f"its chunk {name}")):
            raise DamageError(f"the checksum of its chunk {name} is wrong")


def _png_bytes(header: bytes) -> int:
    """Return how many bytes the rows of a PNG have, before they are compressed."""
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", header[:13])
    bits = depth * CHANNELS.get(colour, 1)

    def size(columns: int, rows: int) -> int:
        return rows * (1 + (columns * bits + 7) // 8) if columns else 0

    if not interlace:
        return size(width, height)
    return sum(size(-(-(width - x) // right), -(-(height - y) // down)) for x, y, right, down in ADAM7)


def _inflate(inflate: Any, part: bytes) -> int:
    """Undo the deflation of one more part of a stream, keep nothing of it, and return how many bytes it gave."""
    count = 0
    while part and not inflate.eof:
        count += len(inflate.decompress(part, CHUNK_BYTES))
        part = inflate.unconsumed_tail
    return count


def _check_png(file: BinaryIO) -> None:
    inflate = zlib.decompressobj()
    rows = wanted = 0
    try:
        for kind, part in _chunks(file):
            if kind == b"IHDR":
                wanted = _png_bytes(part)
            elif kind == b"IDAT" and rows <= wanted and not inflate.eof:
                rows += _inflate(inflate, part)
    except zlib.error as error:
        raise DamageError(f"its compressed rows are broken ({error})") from error
    if rows < wanted or not inflate.eof:
        raise DamageError(f"{100 * rows // max(wanted, 1)} % of its rows are there, or their end is missing")


def _check_jpeg(file: BinaryIO) -> None:
    import simplejpeg

    content = file.read()
    for colours in ("GRAY", "CMYK"):
        try:  # at an eighth of the size: all is decoded, little is drawn
            simplejpeg.decode_jpeg(content, colours, min_height=1, min_width=1, min_factor=8, strict=True)
            return
        except ValueError as error:
            problem = str(error)
        if not any(word in problem.lower() for word in ("colorspace", "conversion", "unsupported")):
            raise DamageError(problem)


def _check_gif(file: BinaryIO) -> None:
    end = "its blocks: the end marker is missing"
    file.seek(10)
    flags = _read(file, 3, end)[0]
    _read(file, 3 << (flags & 7) + 1 if flags & 0x80 else 0, "its colours")
    while (kind := _read(file, 1, end)) != b";":
        if kind == b",":
            flags = _read(file, 9, "a frame")[8]
            _read(file, (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1, "a frame")
        elif kind == b"!":
            _read(file, 1, "an extension")
        elif kind != b"\0":
            raise DamageError(f"its blocks are broken at byte {file.tell() - 1}")
        while kind != b"\0" and (count := _read(file, 1, "a block")[0]):
            _read(file, count, "a block")


def check_tiff(file: BinaryIO, tags: Mapping[int, Any]) -> None:
    """Compare the places of the first picture's strips or tiles with the size of the file, and undo their deflation.

    Raises: DamageError that says what was found.
    """
    size = os.fstat(file.fileno()).st_size
    starts, lengths = tags.get(STRIP_STARTS, tags.get(TILE_STARTS, ())), tags.get(STRIP_BYTES, tags.get(TILE_BYTES, ()))
    strips = list(zip(starts, lengths, strict=False))
    if any(start + length > size for start, length in strips):
        raise DamageError("it ends before its last strip")
    for start, length in strips if tags.get(COMPRESSION) in DEFLATED else ():
        file.seek(start)
        inflate = zlib.decompressobj()
        try:
            for place in range(0, length, CHUNK_BYTES):
                _inflate(inflate, _read(file, min(length - place, CHUNK_BYTES), "a strip"))
        except zlib.error as error:
            raise DamageError(f"a compressed strip is broken ({error})") from error
        if not inflate.eof:
            raise DamageError("a compressed strip has no end")


# format as Pillow names it -> its check; other decoders refuse what is cut off by themselves
CHECKS: dict[str, Callable[[BinaryIO], None]] = {
    "PNG": _check_png,
    "JPEG": _check_jpeg,
    "MPO": _check_jpeg,
    "GIF": _check_gif,
}
