"""Fetch the archives of a data set, check them and unpack them into one folder."""

from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from data.acquire.config import Download
from data.acquire.fetch import Known, fetch
from data.acquire.unpack import unpack
from data.pairs.config import Config
from data.pairs.errors import UserError, redacted
from data.pairs.files import whole_folder, write_json


class Seen(Config):
    """An archive without a published hash as it was when it was first seen."""

    url: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int


def acquire(name: str, row: Download, downloads_dir: Path, out_dir: Path, record_path: Path) -> dict[str, Any]:
    """Write out_dir, whole or not at all, and return {archives: {name: sha256, bytes, hash}, files: their number}.

    `hash` says whether the archive's hash is "published", "recorded before" or "recorded now": where none is published
    it is recorded in record_path once the archive was unpacked, and must be the same ever after. What lies in
    downloads_dir already is used as it is.

    Raises: UserError when the licence is not accepted, and for archives that are missing, changed or unusable.
    """
    if not row.accept_licence:
        to_do = f"read the terms, then set downloads.{name}.accept_licence: true in params.yaml"
        title = f"{name}: its licence is not accepted, nothing was fetched"
        raise UserError(title, [f"licence: {row.licence}", f"page: {row.page}", to_do])
    by_hand = [downloads_dir / archive.name for archive in row.archives if not archive.url]
    if missing := [f"{path.name} at {path}" for path in by_hand if not path.exists()]:
        raise UserError(f"{name}: get these files from {row.page}, put them there and run again", missing)
    record = _read_record(record_path)
    facts: dict[str, dict[str, Any]] = {}
    new: dict[str, Seen] = {}
    for archive in row.archives:
        seen = record.get(archive.name)
        sha256 = fetch(archive, downloads_dir, Known(seen.sha256, record_path) if seen else None, row.page)
        known = "published" if archive.sha256 else "recorded before" if seen else "recorded now"
        size = (downloads_dir / archive.name).stat().st_size
        facts[archive.name] = {"sha256": sha256, "bytes": size, "hash": known}
        if known == "recorded now":
            new[archive.name] = Seen(url=redacted(archive.url), sha256=sha256, bytes=size)
    left = int(row.max_gb * 1e9)
    with whole_folder(out_dir) as folder:
        for archive in row.archives:
            left -= unpack(downloads_dir / archive.name, folder / archive.into, left)
        files = sum(path.is_file() for path in folder.rglob("*"))
    if new:
        write_json(record_path, {name: seen.model_dump() for name, seen in (record | new).items()})
    return {"archives": facts, "files": files}


def _read_record(path: Path) -> dict[str, Seen]:
    if not path.exists():
        return {}
    try:
        return TypeAdapter(dict[str, Seen]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} is no record of checksums: mend it, or delete it to record them anew") from error
