"""Damage one file of a small folder of pairs in any way: doctor and prepare read every pair or name it.

python -m tests.campaigns.damage --cases 560 --seed 7

Provable is damage that the file itself shows: a wrong checksum of a PNG or of a deflated TIFF, missing rows, a missing
end, more than 8 bits. The last line is a JSON of counts, and the exit code is 1 if any of them is a failure.
"""

import contextlib
import io
import json
import os
import random
import signal
import struct
import sys
import tempfile
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.doctor.doctor import examine
from data.pairs.config import FolderDataset
from data.pairs.errors import UserError, one_line
from data.prepare.prepare import prepare
from tests.campaigns.counts import main

PAIRS, SIDE, LIMIT_S = 6, 96, 60
FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"}, ".jpg": {"format": "JPEG", "quality": 90}, ".bmp": {"format": "BMP"},
    ".gif": {"format": "GIF"}, ".webp": {"format": "WEBP", "lossless": True}, ".ppm": {"format": "PPM"},
    ".tif": {"format": "TIFF", "compression": "tiff_adobe_deflate"}, ".tiff": {"format": "TIFF"},
    ".jp2": {"format": "JPEG2000"},
}  # fmt: skip


def draw(folder: Path, ending: str, number: int) -> None:
    """Write a pair of noise and a disc; masks are PNG, or of the same format where that keeps them."""
    rng = np.random.default_rng(number)
    image = Image.fromarray(rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)).resize((SIDE, SIDE), 0)
    across, down = np.mgrid[:SIDE, :SIDE]
    disc = np.hypot(across - 40 - number, down - 50) < 20 + number
    for kind, picture in (("images", image), ("masks", Image.fromarray(disc.astype(np.uint8) * 255))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        picture.save(folder / kind / f"p{number}{ending}", **FORMATS[ending])


def cut(path: Path, chooser: random.Random) -> bool:
    """Cut the end off."""
    content = path.read_bytes()
    path.write_bytes(content[: -chooser.choice([1, 2, 5, 12, 40, len(content) // 3, len(content) // 2])])
    return True


def change(path: Path, chooser: random.Random, how: Callable[[bytearray, int], None]) -> bool:
    """Change bytes after the head; only some formats can show it."""
    before = path.read_bytes()
    content = bytearray(before)
    how(content, chooser.randrange(40, len(content) - 20))
    path.write_bytes(bytes(content))
    if content == before:
        return False
    return path.suffix == ".png" or (path.suffix == ".tif" and deflation_broken(content, before))


def deflation_broken(content: bytes, before: bytes) -> bool:
    """Return whether the strips of a TIFF, as they were placed before, no longer inflate to their end."""
    with Image.open(io.BytesIO(before)) as file:
        strips = zip(file.tag_v2[273], file.tag_v2[279], strict=True)
    for offset, length in strips:
        inflate = zlib.decompressobj()
        try:
            inflate.decompress(content[offset : offset + length])
        except zlib.error:
            return True
        if not inflate.eof:
            return True
    return False


def zero(path: Path, chooser: random.Random) -> bool:
    """Write zeros over a block."""
    length = chooser.choice([4, 16, 64])

    def how(content: bytearray, place: int) -> None:
        content[place : place + length] = bytes(len(content[place : place + length]))

    return change(path, chooser, how)


def flip(path: Path, chooser: random.Random) -> bool:
    """Flip one bit."""
    bit = 1 << chooser.randrange(8)

    def how(content: bytearray, place: int) -> None:
        content[place] ^= bit

    return change(path, chooser, how)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def half_rows(path: Path, chooser: random.Random) -> bool:
    """Write a PNG, whatever the ending says, whose head promises more rows than there are, with right checksums."""
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((SIDE + 1) * chooser.randint(1, SIDE - 1)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return True


def wrong_checksum(path: Path, chooser: random.Random) -> bool:
    """Write a PNG with one wrong checksum, or without its end marker."""
    with Image.open(path) as picture:
        made = io.BytesIO()
        picture.convert("L").save(made, "PNG")
    content = made.getvalue()
    place = content.rindex(b"IEND") + chooser.choice([-5, -6, -8, 4])
    other = content[: content.rindex(b"IEND") - 4]
    broken = content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]
    path.write_bytes(chooser.choice([other, broken]))
    return True


def closed(path: Path, chooser: random.Random) -> bool:
    """Write a JPEG that was cut and closed by its end marker."""
    with Image.open(path) as picture:
        made = io.BytesIO()
        picture.convert("RGB").save(made, "JPEG", quality=95)
    content = made.getvalue()
    path.write_bytes(content[: len(content) * chooser.randint(5, 8) // 10] + b"\xff\xd9")
    return True


def deep(path: Path, chooser: random.Random) -> bool:
    """Write more than 8 bits a channel."""
    noise = np.random.default_rng(chooser.randrange(99)).integers(0, 65535, (SIDE, SIDE), np.uint16)
    if chooser.random() < 0.5:
        path.write_bytes(f"P6 {SIDE} {SIDE} 65535\n".encode() + noise.repeat(3).astype(">u2").tobytes())
    else:
        Image.fromarray(noise).save(path, chooser.choice(["PNG", "TIFF"]))
    return True


def ending(path: Path, chooser: random.Random) -> bool:
    """Write another format, or mode, than the ending says."""
    other, mode = chooser.choice(list(FORMATS.values())), chooser.choice(["RGB", "L", "1", "P", "CMYK", "RGBA", "LA"])
    with Image.open(path) as picture:
        changed = picture.convert("RGB").convert(mode)
    try:
        changed.save(path, **other)
    except (OSError, ValueError):
        changed.convert("RGB").save(path, "PNG")
    return False


def other_content(path: Path, chooser: random.Random) -> bool:
    """Write what is no picture."""
    path.write_bytes(
        chooser.choice([b"", b"\0", b"<html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"P6", os.urandom(50)])
    )
    return True


def name(path: Path, chooser: random.Random) -> bool:
    """Give both files of the pair an odd name."""
    odd = chooser.choice(
        [b"caf\xe9", b"x" * 247, b"-rf", b"=1+1", b"a b", b"a\nb", b"%s", b"a;b", "ä".encode(), "漢字".encode() * 30]
    )
    for kind in ("images", "masks"):
        old = path.parent.parent / kind / path.name
        os.rename(os.fsencode(old), os.path.join(os.fsencode(old.parent), odd + os.fsencode(path.suffix)))
    return False


def link(path: Path, chooser: random.Random) -> bool:
    """Put a link in the place of the file: to nothing, to itself, to a folder, to what cannot be read, to a partner."""
    target = chooser.choice(
        ["nothing.png", path.name, "..", "/proc/self/mem", "/dev/null", f"../images/p0{path.suffix}"]
    )
    path.unlink()
    path.symlink_to(target)
    return False


WAYS = (cut, zero, flip, half_rows, wrong_checksum, closed, deep, ending, other_content, name, link)


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """End the block by TimeoutError when it takes longer."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def take(root: Path, out: Path) -> tuple[str, str | None, set[str]]:
    """Return what the doctor says, why prepare refuses (None where it does not), and the ids that it writes."""
    said: str
    try:
        found, _ = examine(root)
        said = json.dumps(found["faults"], ensure_ascii=False)
    except UserError as error:
        said = str(error)
    row = FolderDataset(
        kind="folder",
        path=str(root),
        size_px=64,
        prompt="",
        splits={"train": 0.5, "test": 0.5},
        allow_duplicates=("*",),
    )
    try:
        sets = prepare(row, out)
    except UserError as error:
        return said, str(error), set()
    return said, None, {pair.id for pairs in sets.values() for pair in pairs.pairs}


def judge(stems: list[str], hit: str, taken: tuple[str, str | None, set[str]], *, provable: bool) -> str | None:
    """Return the failure in what was said and written, or None."""
    said, refused, ids = taken
    ids = {unicodedata.normalize("NFC", one) for one in ids}
    if refused is None:
        if provable:
            return "provable damage accepted"
        lost = [stem for stem in stems if unicodedata.normalize("NFC", stem) not in ids]
        return f"silent drop of {lost}" if lost else None
    shown = {hit, one_line(hit), hit.replace("\n", " "), json.dumps(hit, ensure_ascii=False)[1:-1]}
    if not any(text in refused or text in one_line(refused, 10**6) for text in shown):
        return f"not named by prepare: {refused[:200]!r}"
    return (
        None
        if any(text in said or text in one_line(said, 10**6) for text in shown)
        else f"not named by doctor: {said!r}"
    )


def run(cases: int, seed: int) -> dict[str, Any]:
    """Return the counts of all outcomes, and every failure with the number of its case."""
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    for case in range(cases):
        chooser = random.Random(f"{seed} {case}")
        suffix, way = chooser.choice(list(FORMATS)), WAYS[case % len(WAYS)]
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "pairs"
            for number in range(PAIRS):
                draw(root, suffix, number)
            path = root / chooser.choice(["images", "masks"]) / f"p{chooser.randrange(1, PAIRS)}{suffix}"
            provable = way(path, chooser)
            stems = sorted(
                {file.stem for file in (root / "images").iterdir()} | {f.stem for f in (root / "masks").iterdir()}
            )
            changed = [stem for stem in stems if stem not in {f"p{number}" for number in range(PAIRS)}]
            try:
                with limited(LIMIT_S):
                    taken = take(root, Path(folder) / "out")
                failure = judge(stems, changed[0] if changed else path.stem, taken, provable=provable)
                outcome = "failed" if failure else "read" if taken[1] is None else "refused"
            except TimeoutError:
                failure, outcome = "hang", "failed"
            except Exception as error:  # noqa: BLE001 (any other error is what is looked for)
                failure, outcome = f"traceback {type(error).__name__}: {one_line(str(error))}", "failed"
        outcomes[f"{way.__name__}, {outcome}"] += 1
        if failure:
            failures.append(f"case {case}, {way.__name__} {suffix} {path.parent.name}: {failure}")
    kinds = {
        key: sum(key in one for one in failures) for key in ("traceback", "hang", "silent", "provable", "not named")
    }
    return {"cases": cases, "seed": seed, **dict(sorted(outcomes.items())), **kinds, "failures": failures}


if __name__ == "__main__":
    sys.exit(main(run, __doc__, cases=560))
