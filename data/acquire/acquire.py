"""Fetch the archives of a data set, check them and unpack them into one folder."""

from pathlib import Path
from typing import TypedDict

from pydantic import Field, TypeAdapter, ValidationError

from data.acquire.config import Archive, Download
from data.acquire.fetch import Known, fetch
from data.acquire.secrets import redacted
from data.acquire.unpack import unpack
from data.pairs.config import Config
from data.pairs.errors import UserError
from data.pairs.files import whole_folder, write_json


class Seen(Config):
    """An archive without a published hash as it was when it was first seen."""

    url: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int


class ArchiveFacts(TypedDict):
    """An archive as it lies on disk, and whether its hash is "published", "recorded before" or "recorded now"."""

    sha256: str
    bytes: int
    hash: str


class Facts(TypedDict):
    """All archives of a data set and how many files were in them."""

    archives: dict[str, ArchiveFacts]
    files: int


def acquire(name: str, row: Download, downloads_dir: Path, out_dir: Path, record_path: Path) -> Facts:
    """Write out_dir, whole or not at all, and return the hash of every archive and the number of files.

    The hash of an archive for which none is published is recorded in record_path once it was unpacked, and must be
    the same ever after. What lies in downloads_dir already is used as it is.

    Raises: UserError when the licence is not accepted, and for archives that are missing, changed or unusable.
    """
    _check_licence(name, row)
    _check_missing(name, row, downloads_dir)
    record = _read_record(record_path)
    facts = {archive.name: _fetch(archive, row, downloads_dir, record, record_path) for archive in row.archives}
    left = int(row.max_gb * 1e9)
    with whole_folder(out_dir) as folder:
        for archive in row.archives:
            left -= unpack(downloads_dir / archive.name, folder / archive.into, left)
        files = sum(path.is_file() for path in folder.rglob("*"))
    _record_new(row, facts, record, record_path)
    return {"archives": facts, "files": files}


def _check_licence(name: str, row: Download) -> None:
    if not row.accept_licence:
        to_do = f"read the terms, then set downloads.{name}.accept_licence: true in params.yaml"
        title = f"{name}: its licence is not accepted, nothing was fetched"
        raise UserError(title, [f"licence: {row.licence}", f"page: {row.page}", to_do])


def _check_missing(name: str, row: Download, downloads_dir: Path) -> None:
    places = [downloads_dir / archive.name for archive in row.archives if not archive.url]
    missing = [f"{path.name} at {path}" for path in places if not path.exists()]
    if missing:
        raise UserError(f"{name}: get these files from {row.page}, put them there and run again", missing)


def _read_record(path: Path) -> dict[str, Seen]:
    if not path.exists():
        return {}
    try:
        return TypeAdapter(dict[str, Seen]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} is no record of checksums: mend it, or delete it to record them anew") from error


def _fetch(archive: Archive, row: Download, folder: Path, record: dict[str, Seen], path: Path) -> ArchiveFacts:
    seen = record.get(archive.name)
    sha256 = fetch(archive, folder, Known(seen.sha256, path) if seen else None, row.page)
    known = "published" if archive.sha256 else "recorded before" if seen else "recorded now"
    return {"sha256": sha256, "bytes": (folder / archive.name).stat().st_size, "hash": known}


def _record_new(row: Download, facts: dict[str, ArchiveFacts], record: dict[str, Seen], path: Path) -> None:
    new = {
        archive.name: Seen(
            url=redacted(archive.url), sha256=facts[archive.name]["sha256"], bytes=facts[archive.name]["bytes"]
        )
        for archive in row.archives
        if facts[archive.name]["hash"] == "recorded now"
    }
    if new:
        write_json(path, {name: seen.model_dump() for name, seen in (record | new).items()})
