"""Unpack the archives of strangers: nothing is written outside the folder, nothing grows without end."""

import contextlib
import functools
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from tqdm import tqdm

from data.acquire.config import leads_out
from data.pairs.errors import UserError

CHUNK_BYTES = 2**20
MAX_MEMBERS = 150_000
LISTED_BYTES = 150  # of a member in the list of a zip
MAX_HEADER_BYTES = 2**16
NESTED_LEVELS = 2
NAMED = 10  # offending members in one error
PLAIN = (".npz", ".txt", ".csv", ".json", ".jsonl")  # copied as they are
NESTED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
BY_HAND = "unpack it by hand and set `path` of the data-set row to the folder"
# what zipfile and tarfile let through when lengths, names or flags are garbage
GARBAGE = (struct.error, ValueError, OverflowError, RuntimeError)
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, *GARBAGE)


class _Member(NamedTuple):
    """A file or folder in an archive, as the archive declares it."""

    name: str
    size: int
    is_folder: bool
    fault: str | None
    open: Callable[[], IO[bytes]]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(part for part in self.name.split("/") if part not in ("", "."))


class _PlainHeader(tarfile.TarInfo):
    """A header whose long names and extended fields are refused when they are too large: they are read whole."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) and self.size > MAX_HEADER_BYTES:
            raise _HeaderError(f"a header of {self.size} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]


class _HeaderError(tarfile.TarError):
    """A header that is too large to be read, which no other way of opening the file would mend."""


class _Budget:
    """Bytes and members that may still be written, by an archive and all inside it."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.bytes, self.members = max_bytes, 0, 0

    def check(self, label: str, size: int, members: int = 0) -> None:
        """Raises: UserError if so many more bytes or members are too many."""
        if self.bytes + size > self.max_bytes:
            left = f"{self.max_bytes / 1e9:g} GB that are left of max_gb"
            raise UserError(f"{label} unpacks to more than the {left}: raise it if that is meant")
        if self.members + members > MAX_MEMBERS:
            raise UserError(f"{label} has more than {MAX_MEMBERS} members: {BY_HAND}")


def unpack(archive_path: Path, target: Path, max_bytes: int) -> int:
    """Unpack a zip or tar archive, and archives inside it, into a folder and return the number of bytes written.

    Arrays and lists of ids (PLAIN) are copied as they are. When it fails, the folder may hold a part: use one that is
    dropped then.

    Raises: UserError for a damaged archive, another format, and members that must not be written.
    """
    budget = _Budget(max_bytes)
    _unpack(archive_path, target, budget, archive_path.name, NESTED_LEVELS)
    return budget.bytes


def _unpack(archive: Path, target: Path, budget: _Budget, label: str, levels: int) -> None:
    with _faults_named(label), _members(archive, label) as listed:
        target.mkdir(parents=True, exist_ok=True)
        members = _checked(listed, target, budget, label)
        files = _write(members, target, budget, label)
    for path in (file for file in files if levels and file.name.lower().endswith(NESTED)):
        _unpack(path, path.parent, budget, f"{path.name} in {label}", levels - 1)
        path.unlink()


@contextlib.contextmanager
def _faults_named(label: str) -> Iterator[None]:
    """Raises: UserError in place of all that a damaged archive or a full disk raises."""
    try:
        yield
    except NotImplementedError as error:
        raise UserError(f"{label} is packed in a way that is not read here ({error}): {BY_HAND}") from error
    except (OSError, *DAMAGED) as error:
        # gzip and bz2 tell of damaged streams by an OSError that no system call made
        if getattr(error, "errno", None) is not None:
            raise UserError(f"{label} could not be unpacked: {error}") from error
        raise UserError(f"{label} is damaged ({error}): copy or download it again") from error


@contextlib.contextmanager
def _members(archive: Path, label: str) -> Iterator[Iterable[_Member]]:
    """Yield the members, told apart by content. Raises: UserError for a format that is not read."""
    suffix = archive.suffix.lower()
    if suffix in PLAIN and (suffix != ".npz" or zipfile.is_zipfile(archive)):
        yield [_Member(archive.name, archive.stat().st_size, False, None, lambda: archive.open("rb"))]
    # first, because a tar that ends with a zip passes for a zip
    elif tar := _opened_tar(archive):
        with tar:
            yield _tar_members(tar)
    elif zipfile.is_zipfile(archive):
        _check_directory(archive, label)
        with zipfile.ZipFile(archive) as zipped:
            yield [_zip_member(zipped, info) for info in zipped.infolist()]
    elif archive.name.lower().endswith((*NESTED, ".npz")):
        raise zipfile.BadZipFile("its beginning or end is missing")
    else:
        raise UserError(f"{label} is no zip or tar archive: {BY_HAND}")


def _opened_tar(archive: Path) -> tarfile.TarFile | None:
    """Return a tar archive whose headers are guarded from the first on, or None for what is none."""
    try:
        return tarfile.open(archive, tarinfo=_PlainHeader)
    except (tarfile.ReadError, tarfile.CompressionError, EOFError):
        return None


def _check_directory(archive: Path, label: str) -> None:
    """Raises: UserError when the list of members of a zip, which is read whole, is too large."""
    with archive.open("rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # there is no public way to its size
    if end and end[zipfile._ECD_SIZE] > MAX_MEMBERS * LISTED_BYTES:  # type: ignore[attr-defined]
        raise UserError(f"{label} has more than {MAX_MEMBERS} members: {BY_HAND}")


def _zip_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    # some programs on Windows write backslashes
    name = info.filename.replace("\\", "/")
    plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
    fault = f"is encrypted: {BY_HAND}" if info.flag_bits & 1 else None if plain else "is a link or device"
    return _Member(name, info.file_size, name.endswith("/"), fault, lambda: zipped.open(info))


def _tar_members(tar: tarfile.TarFile) -> Iterator[_Member]:
    for info in tar:
        if info.size < 0:
            raise tarfile.ReadError("a negative size")
        fault = None if info.isreg() or info.isdir() else "is a link or device"
        content = cast(Callable[[], IO[bytes]], functools.partial(tar.extractfile, info))
        yield _Member(info.name.replace("\\", "/"), info.size, info.isdir(), fault, content)
    # tarfile takes a damaged header for the end; what follows the end is read for the checksum of a compressed file
    stream = cast(IO[bytes], tar.fileobj)
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")
    stream.read(CHUNK_BYTES)


def _checked(listed: Iterable[_Member], target: Path, budget: _Budget, label: str) -> list[_Member]:
    """Return the files to write. Raises: UserError naming what must not be, before anything is."""
    members, size = [], 0
    for member in listed:
        size += member.size
        members.append(member)
        budget.check(label, size, len(members))
    # letters of either case are the same to some file systems
    files = Counter("/".join(member.parts).casefold() for member in members if not member.is_folder)
    faults = [f"{m.name!r} {fault}" for m in members if (fault := _fault(m, target, files))]
    if faults:
        faults[NAMED:] = [f"and {len(faults) - NAMED} more"] if len(faults) > NAMED else []
        raise UserError(f"{label} cannot be unpacked, nothing of it was written", faults)
    kept = [m for m in members if not m.is_folder and "__MACOSX" not in m.parts and m.parts[-1:] != (".DS_Store",)]
    if not kept:
        raise UserError(f"{label} holds no files: copy or download it again")
    if size > shutil.disk_usage(target).free:
        raise UserError(f"{label} needs {size / 1e9:.1f} GB, more than are free in {target}")
    return kept


def _fault(member: _Member, target: Path, files: Counter[str]) -> str | None:
    if leads_out(member.name):
        return "leads out of the folder"
    if member.fault or member.is_folder:
        return member.fault
    if files["/".join(member.parts).casefold()] > 1:
        return "is there twice, or in capital and small letters"
    if target.joinpath(*member.parts).exists():
        return "is there already from another archive: unpack one of them `into` a folder of its own"
    return None


def _write(members: list[_Member], target: Path, budget: _Budget, label: str) -> list[Path]:
    """Return the written files. Raises: UserError when they are larger than declared, and errors of damage."""
    with tqdm(total=sum(m.size for m in members), desc=label, unit="B", unit_scale=True, mininterval=5) as bar:
        for member in members:
            path = target.joinpath(*member.parts)
            before = budget.bytes
            _make_folders(target, member.parts[:-1])
            with member.open() as source, path.open("xb") as out:
                while chunk := source.read(CHUNK_BYTES):
                    budget.check(label, len(chunk))
                    budget.bytes += len(chunk)
                    out.write(chunk)
                    bar.update(len(chunk))
            path.chmod(0o644)
            if budget.bytes - before != member.size:
                raise zipfile.BadZipFile(f"{member.name!r} has another size than declared")
    budget.members += len(members)
    return [target.joinpath(*member.parts) for member in members]


def _make_folders(target: Path, parts: tuple[str, ...]) -> None:
    # step by step, because mkdir(parents=True) leaves the modes of the parents to the umask
    for depth in range(1, len(parts) + 1):
        folder = target.joinpath(*parts[:depth])
        if not folder.is_dir():
            folder.mkdir()
            folder.chmod(0o755)
