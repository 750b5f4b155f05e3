"""Unpack hostile archives, each in a process of its own: nothing leaves the folder, memory stays small.

python -m tests.campaigns.archives --cases 120 --seed 7

The last line is a JSON of counts, and the exit code is 1 if anything escaped, took too much memory or time, or ended
in a traceback.
"""

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.campaigns.counts import main

MOST_BYTES, MOST_MIB, LIMIT_S = 50_000_000, 200, 60
BIG = 300 * 2**20  # bytes that a header or a member stands for
NAMES = (
    "../out", "a/../../out", "/tmp/siamese-escaped", "..\\out", "C:\\out", "C:out", "a\0b", "x" * 300, "a/" * 300 + "b",
    "", ".", "..", "a//b", "./a", "caf\udce9", "\u202egnp.a", "-rf", "~", "$HOME/a", "con", "a\nb", "images/1.png",
)  # fmt: skip
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": lambda content: content, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
}  # fmt: skip


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tar_name(chooser: random.Random) -> bytes:
    """Return a tar with an odd name."""
    return _tar((member("ok.txt"), b"1"), (member(chooser.choice(NAMES)), b"escaped"))


def tar_link(chooser: random.Random) -> bytes:
    """Return a tar with a link or a device, and a file that would be written through it."""
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE]
    target = chooser.choice(["..", "/tmp", "../../out", "/etc/passwd", "ok.txt"])
    return _tar((member("way", chooser.choice(kinds), target), b""), (member("way/out"), b"escaped"))


def tar_header(chooser: random.Random) -> bytes:
    """Return a tar whose first or second header of names is as large as BIG; most of it is really there."""
    info = member("header", chooser.choice([b"x", b"g", b"L", b"K"]))
    info.size = BIG
    before = b"" if chooser.random() < 0.5 else _tar((member("ok.txt"), b"1"))[:1024]
    there = b"a" * chooser.choice([0, 10_000, 40 * 2**20])
    return before + info.tobuf(tarfile.USTAR_FORMAT) + there


def tar_many(chooser: random.Random) -> bytes:
    """Return a tar of very many members, or of very many headers before one."""
    kind = chooser.choice([tarfile.REGTYPE, tarfile.DIRTYPE, b"x"])
    return member("a", kind).tobuf(tarfile.USTAR_FORMAT) * chooser.choice([5_000, 250_000])


def tar_pax(chooser: random.Random) -> bytes:
    """Return a tar whose extended header gives another name, link or size."""
    info = member("a.txt")
    key, value = chooser.choice(
        [("path", "../out"), ("path", "/tmp/siamese-escaped"), ("size", "-5"), ("size", str(2**62)), ("size", "x"),
         ("linkpath", "/etc"), ("GNU.sparse.size", str(2**60)), ("GNU.sparse.map", "0," * 5000), ("path", "a" * 60_000)]
    )  # fmt: skip
    info.pax_headers = {key: value}
    return _tar((info, b"12345"))


def bomb(chooser: random.Random) -> bytes:
    """Return few bytes that unpack to BIG, as a tar or a zip."""
    zeros = bytes(BIG)
    if chooser.random() < 0.5:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("zeros.bin", zeros)
        return out.getvalue()
    return gzip.compress(_tar((member("zeros.bin"), zeros)), compresslevel=1)


def _zip(members: list[tuple[zipfile.ZipInfo | str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in members:
            archive.writestr(info, content)
    return out.getvalue()


def zip_name(chooser: random.Random) -> bytes:
    """Return a zip with an odd name, as often twice or in other letters."""
    name = chooser.choice(NAMES).replace("\udce9", "\xe9") or "a"
    members: list[tuple[zipfile.ZipInfo | str, bytes]] = [("ok.txt", b"1"), (name, b"escaped")]
    return _zip([*members, *chooser.choice([[], [(name.upper(), b"2")], [(name, b"3")]])])


def zip_link(chooser: random.Random) -> bytes:
    """Return a zip with a link or a device."""
    info = zipfile.ZipInfo("way")
    info.external_attr = (chooser.choice([stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK]) | 0o777) << 16
    return _zip([(info, b"/tmp"), ("way/out", b"escaped")])


def zip_lies(chooser: random.Random) -> bytes:
    """Return a zip with changed sizes, flags, offsets or counts, or cut."""
    content = bytearray(_zip([("a.txt", b"1" * 1000), ("b.txt", b"2" * 1000)]))
    for _ in range(chooser.randint(1, 8)):
        place = chooser.choice([content.rindex(b"PK\x01\x02"), content.rindex(b"PK\x05\x06"), 0]) + chooser.randrange(
            4, 40
        )
        content[place % len(content)] = chooser.choice([0, 1, 255, chooser.randrange(256)])
    return bytes(content if chooser.random() < 0.8 else content[: chooser.randrange(len(content))])


def zip_many(chooser: random.Random) -> bytes:
    """Return a zip of very many members."""
    entry = _zip([("a", b"")])
    start, end = entry.index(b"PK\x01\x02"), entry.index(b"PK\x05\x06")
    count = chooser.choice([5_000, 700_000])
    listed = entry[start:end] * count
    tail = bytearray(entry[end:])
    tail[8:12] = (min(count, 65535)).to_bytes(2, "little") * 2
    tail[12:16] = len(listed).to_bytes(4, "little")
    return entry[:start] + listed + bytes(tail)


def nested(chooser: random.Random) -> bytes:
    """Return an archive in an archive in an archive, the innermost one hostile."""
    content = chooser.choice([tar_name, tar_link, zip_name, zip_link, zip_lies])(chooser)
    for level in range(chooser.randint(1, 4)):
        inner = f"in{level}.zip" if zipfile.is_zipfile(io.BytesIO(content)) else f"in{level}.tar"
        content = chooser.choice([lambda c, n: _zip([(n, c)]), lambda c, n: _tar((member(n), c))])(content, inner)
    return content


WAYS = (
    tar_name, tar_link, tar_header, tar_many, tar_pax, bomb, zip_name, zip_link, zip_lies, zip_many, nested,
)  # fmt: skip


def unpack_here(archive: Path, target: Path) -> None:
    """Unpack in this process and print how it ended, written or refused in so many words, and the peak memory."""
    from data.acquire.unpack import unpack
    from data.pairs.errors import UserError

    try:
        unpack(archive, target, MOST_BYTES)
    except UserError as error:
        sys.stdout.write(f"refused {str(error)[:300]!a}\n")
    else:
        sys.stdout.write("written\n")
    status = Path("/proc/self/status").read_text()  # getrusage would count the process that started this one
    sys.stderr.write(f"peak {int(status.split('VmHWM:')[1].split()[0]) / 1024:.0f}\n")


def in_a_process(archive: Path, target: Path) -> tuple[str, float]:
    """Return how unpacking ends in a process of its own, and its peak memory in MiB."""
    code = "import sys; from pathlib import Path; from tests.campaigns.archives import unpack_here\n"
    command = [sys.executable, "-c", f"{code}unpack_here(*map(Path, sys.argv[1:]))", str(archive), str(target)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "hang", 0.0
    peak = float(err.rsplit("peak ", 1)[-1].split()[0]) if "peak " in err else 0.0
    return out.split(" ")[0].strip() if process.returncode == 0 else f"traceback {err[-300:]}", peak


def escaped(root: Path, target: Path, archive: Path) -> list[str]:
    """Return what lies outside the target, and what in it is no plain file or folder."""
    found = [str(path) for path in root.rglob("*") if path != archive and path != target and target not in path.parents]
    odd = [str(path) for path in target.rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())]
    return found + odd + (["/tmp/siamese-escaped"] if os.path.lexists("/tmp/siamese-escaped") else [])


def run(cases: int, seed: int) -> dict[str, Any]:
    """Return the counts of all outcomes, and every failure with the number of its case."""
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    peak_mib = slowest = 0.0
    for case in range(cases):
        chooser = random.Random(f"{seed} {case}")
        way = WAYS[case % len(WAYS)]
        with tempfile.TemporaryDirectory() as folder:
            root, target = Path(folder), Path(folder) / "inside/target"
            target.parent.mkdir()
            content = way(chooser)
            packed = chooser.choice(list(PACKED)) if way.__name__.startswith("tar") and len(content) < 2**26 else ""
            plain = ".zip" if content.startswith(b"PK") else ".tar"
            archive = root / f"hostile{plain}{packed}"
            archive.write_bytes(PACKED[packed](content))
            del content
            start = time.monotonic()
            outcome, peak = in_a_process(archive, target)
            seconds = time.monotonic() - start
            slowest, peak_mib = max(slowest, seconds), max(peak_mib, peak)
            left = escaped(root, target, archive)
            left = [one for one in left if one != str(target.parent)]
        wrong = "escaped " + ", ".join(left) if left else f"memory {peak:.0f} MiB" if peak > MOST_MIB else ""
        wrong = wrong or ("" if outcome in ("written", "refused") else outcome)
        outcomes[f"{way.__name__}, {'failed' if wrong else outcome}"] += 1
        if wrong:
            failures.append(f"case {case}, {way.__name__} {archive.name}: {wrong}")
    kinds = {name: sum(name in one for one in failures) for name in ("escaped", "memory", "hang", "traceback")}
    facts = {"cases": cases, "seed": seed, "peak_mib": round(peak_mib), "slowest_s": round(slowest, 1)}
    return {**facts, **dict(sorted(outcomes.items())), **kinds, "failures": failures}


if __name__ == "__main__":
    sys.exit(main(run, __doc__, cases=120))
