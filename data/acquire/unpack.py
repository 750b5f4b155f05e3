"""Unpack the archives of strangers: nothing is written outside the folder, nothing grows without end."""

import contextlib
import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from data.acquire.config import leads_out
from data.acquire.members import BY_HAND, CHUNK_BYTES, MAX_MEMBERS, NESTED, Member, members
from data.pairs.errors import UserError, few

NESTED_LEVELS = 2
NAMED = 10  # offending members in one error
# what zipfile and tarfile let through when lengths, names or flags are garbage
GARBAGE = (struct.error, ValueError, OverflowError, RuntimeError)
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, *GARBAGE)


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
    with _faults_named(label), members(archive, label) as listed:
        target.mkdir(parents=True, exist_ok=True)
        files = _write(_checked(listed, target, budget, label), target, budget, label)
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


def _checked(listed: Iterable[Member], target: Path, budget: _Budget, label: str) -> list[Member]:
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
        raise UserError(f"{label} cannot be unpacked, nothing of it was written", few(faults, NAMED))
    kept = [m for m in members if not m.is_folder and "__MACOSX" not in m.parts and m.parts[-1:] != (".DS_Store",)]
    if not kept:
        raise UserError(f"{label} holds no files: copy or download it again")
    if size > shutil.disk_usage(target).free:
        raise UserError(f"{label} needs {size / 1e9:.1f} GB, more than are free in {target}")
    return kept


def _fault(member: Member, target: Path, files: Counter[str]) -> str | None:
    if leads_out(member.name):
        return "leads out of the folder"
    if member.fault or member.is_folder:
        return member.fault
    if files["/".join(member.parts).casefold()] > 1:
        return "is there twice, or in capital and small letters"
    if target.joinpath(*member.parts).exists():
        return "is there already from another archive: unpack one of them `into` a folder of its own"
    return None


def _write(members: list[Member], target: Path, budget: _Budget, label: str) -> list[Path]:
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
