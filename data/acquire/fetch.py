"""Make sure that an archive lies on disk and is whole; downloads go on from where they broke."""

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tqdm import tqdm

from data.acquire.secrets import address, without_secrets
from data.pairs.errors import UserError, redacted
from data.pairs.files import sha256_file, write_json

if TYPE_CHECKING:
    import requests

CHUNK_BYTES = 2**20
RETRIES = 5  # in a row, without a further byte
PAUSE_S = 1.0  # after the first failure; doubles with each
TIMEOUT_S = (15, 60)  # to connect, between two bytes


class Source(Protocol):
    """A file to download, such as an Archive: its name on disk, an empty URL if it is got by hand, published digits."""

    @property
    def name(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def sha256(self) -> str | None: ...


class Known(NamedTuple):
    """The hash that an archive had when it was first seen, and the file in which that is recorded."""

    sha256: str
    record: Path


class _BrokenError(Exception):
    """The connection or the server failed for now."""


class _Place(NamedTuple):
    """The files of one download, and what to do when it cannot be had."""

    part: Path
    note: Path  # URL and validator of what lies in part
    by_hand: str

    def start_anew(self) -> None:
        """Forget what was downloaded."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def fetch(archive: Source, folder: Path, known: Known | None, page: str) -> str:
    """Download an archive into the folder unless it is there, and return its hex SHA-256.

    It must be the published one of the row, or else the known one. A wrong download is kept as <name>.wrong.

    Raises: UserError when the archive cannot be had or is another; it says what to do.
    """
    whole = folder / archive.name
    by_hand = f"to get it by hand: find {archive.name} on {page} and put it at {whole}"
    if whole.exists():
        return _checked(archive, whole, known, f"it is left as it is; {by_hand}")
    if not archive.url:
        raise UserError(f"{archive.name} has no URL", [by_hand])
    place = _Place(folder / f"{archive.name}.part", folder / f"{archive.name}.part.json", by_hand)
    folder.mkdir(parents=True, exist_ok=True)
    _download(archive, place)
    wrong = folder / f"{archive.name}.wrong"
    try:
        sha256 = _checked(archive, place.part, known, f"it is kept as {wrong}; {by_hand}")
    except UserError:
        place.part.replace(wrong)
        place.start_anew()
        raise
    place.part.replace(whole)
    place.start_anew()
    return sha256


def _checked(archive: Source, path: Path, known: Known | None, what_to_do: str) -> str:
    """Return the file's hash. Raises: UserError when another is published or recorded."""
    found, expected = sha256_file(path), ""
    if archive.sha256:
        expected = archive.sha256.lower()
        title, reason = f"{archive.name} is not the published file", "sha256 of its row is what it must have"
    elif known:
        expected = known.sha256
        title = f"{archive.name} changed since it was first seen"
        reason = f"if the change is meant, delete its entry in {known.record}"
    if not found.startswith(expected):
        raise UserError(title, [f"SHA-256 expected {expected}", f"SHA-256 found    {found}", reason, what_to_do])
    return found


def _download(archive: Source, place: _Place) -> None:
    """Bring the whole file to place.part. Raises: UserError when the connection keeps breaking or nothing fits."""
    import requests
    import urllib3

    failures, furthest = 0, _size(place.part)
    while True:
        try:
            return _attempt(archive, place)
        except (_BrokenError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            reason: Exception = error
        except OSError as error:
            raise UserError(f"{place.part} could not be written: {error}") from error
        size = _size(place.part)
        failures = 0 if size > furthest else failures + 1
        furthest = max(size, furthest)
        if failures > RETRIES:
            break
        time.sleep(PAUSE_S * 2 ** max(failures - 1, 0))
    title = f"{archive.name} could not be downloaded, {failures} times in a row: {redacted(archive.url)}"
    going_on = "running again starts anew: nothing is there, or the server has no way to go on"
    if note := _note(archive, place):
        going_on = f"{size} of {note['bytes'] or '?'} bytes are there; running again goes on from there"
    raise UserError(title, [f"the last failure: {without_secrets(str(reason), archive.url)}", going_on, place.by_hand])


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _note(archive: Source, place: _Place) -> dict:
    """Return validator and size in bytes of the file that part is the beginning of; empty if it cannot go on."""
    try:
        note = json.loads(place.note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    usable = isinstance(note, dict) and {"url", "validator", "bytes"} <= note.keys()
    return note if usable and note["url"] == address(archive.url) and note["validator"] else {}


def _attempt(archive: Source, place: _Place) -> None:
    """Ask for what is missing and append it. Raises: _BrokenError and errors of requests and urllib3 if it breaks."""
    import requests

    note = _note(archive, place)
    start = _size(place.part) if note else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": note["validator"]}
    with requests.get(archive.url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        _refuse(archive, response, place)
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        goes_on = start > 0 and begins and _validator(response) in (None, note["validator"])
        if response.status_code == 206 and not goes_on:
            place.start_anew()
            raise _BrokenError("the file changed on the server")
        if response.status_code == 200:
            start = 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        if total and total - start > shutil.disk_usage(place.part.parent).free:
            raise UserError(f"{archive.name} needs {total - start} bytes more than are free in {place.part.parent}")
        if start == 0:
            place.start_anew()
            write_json(place.note, {"url": address(archive.url), "validator": _validator(response), "bytes": total})
        progress = tqdm(total=total, initial=start, desc=archive.name, unit="B", unit_scale=True, mininterval=5)
        with place.part.open("ab") as part, progress:
            # the bytes as they are sent: requests would unpack a .gz that is labelled as an encoding
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                part.write(chunk)
                progress.update(len(chunk))
    if total is not None and _size(place.part) != total:
        raise _BrokenError(f"{_size(place.part)} of {total} bytes came")


def _refuse(archive: Source, response: "requests.Response", place: _Place) -> None:
    """Raises: UserError for what no second try mends, _BrokenError for what one may."""
    status = response.status_code
    if status == 416:
        place.start_anew()
    if status in (416, 429) or status >= 500:
        raise _BrokenError(f"the server answered {status} {response.reason}")
    if status not in (200, 206):
        raise UserError(f"{redacted(archive.url)}: the server answered {status} {response.reason}", [place.by_hand])
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        title = f"{redacted(archive.url)}: the server sent a web page in place of the file"
        raise UserError(title, ["it may ask for a log-in or consent, or a quota is used up", place.by_hand])


def _validator(response: "requests.Response") -> str | None:
    """Return what tells this file from a later one under the same URL; a weak ETag does not."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")
