"""Archives are unpacked whole or refused by name; nothing is written outside and nothing grows without end."""

import gzip
import io
import itertools
import random
import stat
import struct
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from data.acquire import members
from data.acquire import unpack as module
from data.acquire.unpack import unpack
from data.pairs.errors import UserError

FILES = {"set/images/1.png": b"one" * 100, "set/masks/1.png": b"", "readme.txt": b"text"}
SIZE = sum(map(len, FILES.values()))
GB = 10**9


def make_zip(path, files=FILES, compression=zipfile.ZIP_DEFLATED):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in files.items() if isinstance(files, dict) else files:
            file.writestr(name, data)
    return path


def make_tar(path, files=FILES, others=(), mode="w"):
    with tarfile.open(path, mode) as file:
        for name, data in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o4777
            file.addfile(info, io.BytesIO(data))
        for name, kind, link in others:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            file.addfile(info)
    return path


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refuse(archive, text, max_bytes=GB):
    """The archive is refused before any file is written, into its folder or beside it."""
    target = archive.parent / "out"
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(UserError, match=text) as caught:
        unpack(archive, target, max_bytes)
    assert archive.name in str(caught.value)
    assert sorted(archive.parent.rglob("*")) in (before, sorted([*before, target]))
    return str(caught.value)


FORMATS = {"a.zip": None, "a.tar": "w", "a.tar.gz": "w:gz", "a.tgz": "w:gz", "a.tar.bz2": "w:bz2", "a.tar.xz": "w:xz"}


@pytest.mark.parametrize("name", [*FORMATS, "download"])
def test_every_format_gives_the_same_files(name, tmp_path):
    mode = FORMATS.get(name, "w:gz")
    archive = make_tar(tmp_path / name, mode=mode) if mode else make_zip(tmp_path / name)
    assert unpack(archive, tmp_path / "out" / "into", GB) == SIZE
    assert tree(tmp_path / "out" / "into") == FILES
    for path in (tmp_path / "out/into").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path):
    inner = make_zip(tmp_path / "in.zip", {"x": b"x"}).read_bytes()
    unpack(make_tar(tmp_path / "a.tar", {"first": b"1", "last.bin": inner}), tmp_path / "out", GB)
    assert sorted(tree(tmp_path / "out")) == ["first", "last.bin"]


def test_an_npz_is_copied_as_it_is(tmp_path):
    np.savez_compressed(tmp_path / "set.npz", images=np.zeros((4, 8, 8)))
    size = (tmp_path / "set.npz").stat().st_size
    assert unpack(tmp_path / "set.npz", tmp_path / "out", size) == size
    assert tree(tmp_path / "out") == {"set.npz": (tmp_path / "set.npz").read_bytes()}
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    refuse(tmp_path / "bad.npz", "damaged")


def test_a_list_of_ids_is_copied_as_it_is(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"a\nb\n")
    assert unpack(tmp_path / "train.txt", tmp_path / "out", GB) == 4
    assert tree(tmp_path / "out") == {"train.txt": b"a\nb\n"}


@pytest.mark.parametrize("name", ["a.rar", "a.7z", "a.bin"])
def test_other_formats_are_left_to_the_user(name, tmp_path):
    (tmp_path / name).write_bytes(b"Rar!\x1a\x07\x00" + bytes(1000))
    refuse(tmp_path / name, "unpack it by hand and set `path` of the data-set row")


def test_what_a_mac_adds_and_windows_slashes(tmp_path):
    files = {"__MACOSX/set/._1.png": b"x", "set/.DS_Store": b"x", "set\\images\\1.png": b"y", "set\\masks\\": b""}
    unpack(make_zip(tmp_path / "a.zip", files), tmp_path / "out", GB)
    assert tree(tmp_path / "out") == {"set/images/1.png": b"y"}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_paths_that_lead_out_are_all_named(make, tmp_path):
    names = ["../up", "/absolute", "..\\up", "\\\\host\\share", "C:\\x", "c:x", "a/../../up", "a\\..\\..\\up", "a/.."]
    message = refuse(
        make(tmp_path / "a.zip", {name: b"evil" for name in ["good", *names]}), "nothing of it was written"
    )
    assert message.count("leads out of the folder") == len(names)
    assert "good" not in message
    many = {f"../{number}": b"" for number in range(25)}
    message = refuse(make(tmp_path / "b.zip", many), "and 15 more")
    assert message.count("leads out") == 10


def test_links_and_devices_are_refused(tmp_path):
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
    others = [(f"bad{number}", kind, "/etc/passwd") for number, kind in enumerate(kinds)]
    message = refuse(make_tar(tmp_path / "a.tar", others=others), "is a link or device")
    assert all(f"'bad{number}' is a link or device" in message for number in range(5))
    through = [*[("way", tarfile.SYMTYPE, "..")], ("way/out", tarfile.REGTYPE, "")]
    refuse(make_tar(tmp_path / "b.tar", others=through), "'way' is a link or device")
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refuse(make_zip(tmp_path / "a.zip", [(link, "/etc/passwd")]), "'link' is a link or device")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_the_same_path_twice_is_refused(make, tmp_path):
    for twice in (("a/1.png", "a/1.png"), ("a/1.png", "A/1.PNG"), ("a/1.png", "./a//1.png")):
        files = [("other.png", b""), *((name, b"x") for name in twice)]
        message = refuse(make(tmp_path / "a.zip", files), "twice")
        assert "other" not in message
    refuse(make(tmp_path / "b.zip", {"__MACOSX/x": b""}), "holds no files")
    with pytest.raises(UserError, match=r"b\.zip could not be unpacked"):
        unpack(make(tmp_path / "b.zip", {"a": b"", "a/b": b""}), tmp_path / "out", GB)


def test_a_second_archive_writes_over_nothing(tmp_path):
    archive = make_zip(tmp_path / "a.zip")
    unpack(archive, tmp_path / "out", GB)
    with pytest.raises(UserError, match=r"'set/images/1\.png' is there already"):
        unpack(archive, tmp_path / "out", GB)


def patch(path, field, value, size="<L"):
    """Overwrite a number in the central directory's first entry of a zip."""
    data = bytearray(path.read_bytes())
    struct.pack_into(size, data, data.index(b"PK\1\2") + field, value)
    path.write_bytes(data)
    return path


def test_bombs_stop_at_the_limit(tmp_path):
    zeros = {"zeros": bytes(3_000_000)}
    refuse(make_zip(tmp_path / "a.zip", zeros), r"more than the 0\.002 GB", 2_000_000)
    refuse(make_tar(tmp_path / "a.tar.gz", zeros, mode="w:gz"), r"more than the 0\.002 GB", 2_000_000)
    assert unpack(tmp_path / "a.zip", tmp_path / "exact", 3_000_000) == 3_000_000
    # each says 10 bytes and has three million
    lying = patch(make_zip(tmp_path / "lie.zip", zeros), 24, 10)
    with pytest.raises(UserError, match=r"lie\.zip is damaged"):
        unpack(lying, tmp_path / "lie", 2_000_000)
    assert sum(map(len, tree(tmp_path / "lie").values())) <= 10
    overstated = patch(make_zip(tmp_path / "over.zip", {"x": b"x" * 50}), 24, 60)
    with pytest.raises(UserError, match="has another size than declared"):
        unpack(overstated, tmp_path / "over", 2_000_000)


def test_bytes_are_counted_as_they_are_written(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "a.zip", {"x": bytes(3_000_000)})
    monkeypatch.setattr(members, "zip_member", lambda _, info: liar(info.filename))
    with pytest.raises(UserError, match=r"more than the 0\.002 GB"):
        unpack(archive, tmp_path / "out", 2_000_000)
    assert len(tree(tmp_path / "out")["x"]) <= 2_000_000


def liar(name):
    return members.Member(name, 10, False, None, lambda: io.BytesIO(bytes(3_000_000)))


def test_too_many_members_and_a_full_disk(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=SIZE - 1))
        refuse(make_zip(tmp_path / "a.zip"), "more than are free")
    monkeypatch.setattr(module, "MAX_MEMBERS", 2)
    refuse(make_zip(tmp_path / "b.zip"), "more than 2 members")
    refuse(make_tar(tmp_path / "b.tar"), "more than 2 members")
    inner = make_zip(tmp_path / "i.zip", {"1": b"", "2": b""}).read_bytes()
    with pytest.raises(UserError, match=r"i\.zip in c\.zip has more than 2 members"):
        unpack(make_zip(tmp_path / "c.zip", {"i.zip": inner}), tmp_path / "out", GB)


def test_encrypted_members_are_named(tmp_path):
    message = refuse(patch(make_zip(tmp_path / "a.zip"), 8, 1, "<H"), "is encrypted")
    assert "'set/images/1.png' is encrypted: unpack it by hand" in message
    deflate64 = patch(make_zip(tmp_path / "b.zip"), 10, 9, "<H")
    with pytest.raises(UserError, match="not read here"):
        unpack(deflate64, tmp_path / "b", GB)


NOISE = {f"{number}.png": random.Random(number).randbytes(3000) for number in range(3)}


@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_archive_is_refused(name, tmp_path):
    whole = make_tar(tmp_path / name, NOISE, mode=FORMATS[name]) if FORMATS[name] else make_zip(tmp_path / name, NOISE)
    data = whole.read_bytes()
    # in the first member, in and between later ones, in the end marks
    for cut in (100, 600, 2000, len(data) // 2, 512 * 7, 10_752 if name == "a.tar" else len(data) - 1):
        whole.write_bytes(data[:cut])
        refuse(whole, "copy or download it again")


def test_no_damage_ends_in_a_traceback_or_in_wrong_bytes(tmp_path):
    rng = random.Random(0)
    for name, mode in FORMATS.items():
        path = tmp_path / name
        data = (make_tar(path, NOISE, mode=mode) if mode else make_zip(path, NOISE)).read_bytes()
        for turn in range(40):
            bad = bytearray(data)
            for _ in range(rng.choice([1, 20])):
                bad[rng.randrange(len(bad))] = rng.randrange(256)
            path.write_bytes(bad)
            try:
                unpack(path, tmp_path / f"{name}{turn}", GB)
            except UserError:
                continue
            if name != "a.tar":  # it has checksums of its headers only
                assert set(tree(tmp_path / f"{name}{turn}").values()) == set(NOISE.values())


def test_a_negative_size_in_a_tar_does_not_go_round_for_ever(tmp_path):
    header = bytearray(tarfile.TarInfo("x").tobuf())
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"  # -1024
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    start = tarfile.TarInfo("a").tobuf()
    (tmp_path / "a.tar").write_bytes(start + bytes(header) + bytes(10240))
    refuse(tmp_path / "a.tar", "negative size")


def nest(folder, levels):
    """Return the bytes of an archive with a file at each of so many levels of archives inside it."""
    data = b""
    for level, make, name in zip(range(levels, -1, -1), itertools.cycle((make_zip, make_tar)), "fedcba", strict=False):
        files = {f"{level}.txt": b"x", **({f"in/{name}.zip": data} if data else {})}
        data = make(folder / f"{name}.tmp", files).read_bytes()
    return data


def test_nested_archives_are_unpacked_beside_themselves_two_levels_deep(tmp_path):
    inner = gzip.compress(make_tar(tmp_path / "i.tar", {"images/1.png": b"1", "images/2.png": b"2"}).read_bytes())
    archive = make_zip(tmp_path / "kvasir.zip", {"k/images.tar.gz": inner, "k/test.txt": b"1"})
    unpack(archive, tmp_path / "out", GB)
    assert tree(tmp_path / "out") == {"k/images/1.png": b"1", "k/images/2.png": b"2", "k/test.txt": b"1"}
    (tmp_path / "deep.zip").write_bytes(nest(tmp_path, 3))
    unpack(tmp_path / "deep.zip", tmp_path / "deep", GB)
    left = sorted(tree(tmp_path / "deep"))
    assert [name for name in left if name.endswith("txt")] == ["0.txt", "in/1.txt", "in/in/2.txt"]
    assert len([name for name in left if name.endswith("zip")]) == 1


def test_nested_archives_share_the_limit_and_the_checks(tmp_path):
    bomb = make_zip(tmp_path / "b.zip", {"zeros": bytes(3_000_000)}).read_bytes()
    with pytest.raises(UserError, match=r"b\.zip in a\.zip unpacks to more"):
        unpack(make_zip(tmp_path / "a.zip", {"b.zip": bomb}), tmp_path / "one", 2_000_000)
    slip = make_zip(tmp_path / "s.zip", {"../../../up": b"evil"}).read_bytes()
    with pytest.raises(UserError, match=r"s\.zip in a\.zip cannot be unpacked[\s\S]*leads out"):
        unpack(make_zip(tmp_path / "a.zip", {"x/s.zip": slip}), tmp_path / "two", GB)
    assert not list(tmp_path.rglob("up"))
    with pytest.raises(UserError, match=r"d\.tgz in a\.zip is damaged"):
        unpack(make_zip(tmp_path / "a.zip", {"d.tgz": b"nothing"}), tmp_path / "three", GB)
