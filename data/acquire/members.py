"""The files that an archive of strangers declares, whatever its format; lists too large to be read are refused."""

import contextlib
import functools
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from data.pairs.errors import UserError

MAX_MEMBERS = 150_000
LISTED_BYTES = 150  # of a member in the list of a zip
MAX_HEADER_BYTES = 2**16
PLAIN = (".npz", ".txt", ".csv", ".json", ".jsonl")  # copied as they are
NESTED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
BY_HAND = "unpack it by hand and set `path` of the data-set row to the folder"
CHUNK_BYTES = 2**20


class Member(NamedTuple):
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
            # no ReadError, after which tarfile would open the file in another way
            raise tarfile.TarError(f"a header of {self.size} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]


@contextlib.contextmanager
def members(archive: Path, label: str) -> Iterator[Iterable[Member]]:
    """Yield the members, told apart by content. Raises: UserError for a format that is not read."""
    suffix = archive.suffix.lower()
    if suffix in PLAIN and (suffix != ".npz" or zipfile.is_zipfile(archive)):
        yield [Member(archive.name, archive.stat().st_size, False, None, lambda: archive.open("rb"))]
    # first, because a tar that ends with a zip passes for a zip
    elif tar := _opened_tar(archive):
        with tar:
            yield _tar_members(tar)
    elif zipfile.is_zipfile(archive):
        with archive.open("rb") as file:
            end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # there is no public way to its size
        if end and end[zipfile._ECD_SIZE] > MAX_MEMBERS * LISTED_BYTES:  # type: ignore[attr-defined]  # it is read whole
            raise UserError(f"{label} has more than {MAX_MEMBERS} members: {BY_HAND}")
        with zipfile.ZipFile(archive) as zipped:
            yield [zip_member(zipped, info) for info in zipped.infolist()]
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


def zip_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    # some programs on Windows write backslashes
    name = info.filename.replace("\\", "/")
    plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
    fault = f"is encrypted: {BY_HAND}" if info.flag_bits & 1 else None if plain else "is a link or device"
    return Member(name, info.file_size, name.endswith("/"), fault, lambda: zipped.open(info))


def _tar_members(tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        if info.size < 0:
            raise tarfile.ReadError("a negative size")
        fault = None if info.isreg() or info.isdir() else "is a link or device"
        content = cast(Callable[[], IO[bytes]], functools.partial(tar.extractfile, info))
        yield Member(info.name.replace("\\", "/"), info.size, info.isdir(), fault, content)
    # tarfile takes a damaged header for the end; what follows the end is read for the checksum of a compressed file
    stream = cast(IO[bytes], tar.fileobj)
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")
    stream.read(CHUNK_BYTES)
