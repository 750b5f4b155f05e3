"""Files from the web or from the user's hands, whole and with the hash that they should have."""

import json
import re
import time
from pathlib import Path

import requests
from tqdm import tqdm

from data.pairs.downloads import SUMS, DownloadFile, DownloadRow
from data.pairs.errors import UserError
from data.pairs.files import sha256_file, write_json, write_text

ATTEMPTS = 6  # without a byte of progress
CONNECT_S, READ_S = 10, 60
CHUNK = 1 << 16
LONGEST_WAIT_S = 60
BUSY = (408, 429, 500, 502, 503, 504)
WEB_PAGES = (".html", ".htm")


class FetchError(Exception):
    """A file that cannot be had, with the reason and what to do."""


class _TryAgainError(Exception):
    """The server or the line is at fault, perhaps for a moment only."""


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _validator(response: requests.Response) -> str:
    """Return what names this version of the file for If-Range, which takes no weak ETag; empty when there is none."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _kept(part: Path, state: Path, url: str) -> tuple[int, str]:
    """Return the bytes of an earlier try that can be gone on from and the version they are of; 0 when unsure."""
    try:
        known = json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    return (_size(part), known["validator"]) if known.get("url") == url and known.get("validator") else (0, "")


def _refuse(response: requests.Response, target: Path) -> None:
    by_hand = f"get the file in a browser and put it at {target}"
    if response.status_code in BUSY:
        raise _TryAgainError(f"the server answers {response.status_code} {response.reason}")
    if not response.ok and response.status_code != 416:
        raise FetchError(f"{response.url}: the server answers {response.status_code} {response.reason}; {by_hand}")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/html" and target.suffix.lower() not in WEB_PAGES:
        page = "a web page instead of the file, as Google Drive, log-ins and addresses that moved do"
        raise FetchError(f"{response.url}: answers with {page}; {by_hand}")


def _receive(url: str, target: Path, part: Path, state: Path) -> None:
    """Append what is missing to `part`, or write it anew where the server cannot go on."""
    have, version = _kept(part, state, url)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-", "If-Range": version} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_S, READ_S)) as response:
        _refuse(response, target)
        starts = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        goes_on = response.status_code == 206 and starts is not None and int(starts[1]) == have
        if response.status_code == 416 or (response.status_code == 206 and not goes_on):
            part.unlink(missing_ok=True)
            raise _TryAgainError(f"the server has nothing after byte {have}")
        have = have if goes_on else 0
        length = response.headers.get("Content-Length", "")
        encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        total = have + int(length) if length.isdigit() and not encoded else None
        part.unlink(missing_ok=True) if not have else None
        write_json(state, {"url": url, "validator": "" if encoded else _validator(response)})
        bar = tqdm(desc=target.name, total=total, initial=have, unit="B", unit_scale=True, unit_divisor=1024)
        with part.open("ab") as file, bar:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _size(part) != total:
        raise _TryAgainError(f"{_size(part)} of {total} bytes came")


def fetch(url: str, target: Path, *, attempts: int = ATTEMPTS, wait_s: float = 1.0) -> None:
    """Download `url` to `target`, which appears whole or not at all; what came lies in `target`.part until then.

    A broken connection, in this run or an earlier one, is gone on from by Range where the server can and its file is
    still the same, and from zero otherwise. It gives up after `attempts` breaks without progress; the wait between
    them starts at `wait_s` seconds and doubles.

    Raises: FetchError when the server refuses, answers with a web page, or the line breaks too often.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, state = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.json")
    failures = 0
    most = _size(part)
    while True:
        try:
            _receive(url, target, part, state)
        except requests.exceptions.SSLError as error:
            raise FetchError(
                f"{url}: the server's certificate is not trusted ({error}); get the file in a browser, if you trust "
                f"it, and put it at {target}"
            ) from error
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, _TryAgainError) as e:
            failures = 0 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            if failures >= attempts:
                kept = f"{_size(part)} bytes are kept: run again to go on, or put the file at {target}"
                raise FetchError(f"{url}: gave up after {attempts} tries without progress ({e}); {kept}") from e
            time.sleep(min(wait_s * 2**failures, LONGEST_WAIT_S))
        except requests.RequestException as error:
            raise FetchError(f"{url}: cannot be asked for ({error})") from error
        else:
            part.replace(target)
            state.unlink(missing_ok=True)
            return


def read_sums(path: Path) -> dict[str, str]:
    """Return file name -> hex SHA-256 of a file that sha256sum writes and checks; nothing when it is not there.

    Raises: UserError naming the lines that are none.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = [re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line) for line in lines]
    bad = [f"line {i}: '{line}'" for i, line in enumerate(lines, 1) if not found[i - 1]]
    if bad:
        raise UserError(f"{path}: not the lines that sha256sum writes; mend or remove them", bad)
    return {match[2]: match[1] for match in found if match}


def _problem(path: Path, file: DownloadFile, recorded: str | None) -> tuple[str, str]:
    """Return the hash of a file and what is wrong with it, empty when nothing is."""
    with path.open("rb") as opened:
        start = opened.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")) and path.suffix.lower() not in WEB_PAGES:
        return "", f"{path}: is a web page, not the file; remove it and get the file itself"
    found, known = sha256_file(path), file.sha256 or recorded
    if known in (None, found):
        return found, ""
    where = "params.yaml" if file.sha256 else f"{path.with_name(SUMS)}, where it was kept the first time"
    again = "remove the file to get it again" if file.url else "bring the right file"
    accept = f"set sha256 to {found}" if file.sha256 else f"remove its line from {SUMS}"
    return found, f"{path}: has SHA-256 {found}, not {known} as in {where}; {again}, or {accept} if it is right"


def check_licence(name: str, row: DownloadRow) -> None:
    """Return when the user has accepted the terms. Raises: UserError with the terms and the line to set."""
    if not row.accept_licence:
        agree = f"if you agree, set in params.yaml: downloads.{name}.accept_licence: true"
        raise UserError(f"downloads.{name}: its licence is not accepted", [row.licence, row.licence_url, agree])


def collect(name: str, row: DownloadRow, folder: Path, *, wait_s: float = 1.0) -> list[Path]:
    """Return the files of a row in `folder`: those that lie there are taken, the others are fetched.

    Each has its published SHA-256, or else the one that folder/SHA256SUMS keeps from the first time.

    Raises: UserError when the licence is not accepted (nothing is asked for then), and naming every file that is
    missing, cannot be had or is another one.
    """
    check_licence(name, row)
    paths = [folder / file.file_name for file in row.files]
    missing = [(path, file) for path, file in zip(paths, row.files, strict=True) if not path.is_file()]
    if by_hand := [f"{path}: {file.manual}" for path, file in missing if file.url is None]:
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        now = f"{folder} holds now: {', '.join(there) or 'nothing'}"
        raise UserError(f"downloads.{name}: get these files by hand and put each where its line says", [*by_hand, now])
    problems = []
    for path, file in missing:
        try:
            fetch(file.url or "", path, wait_s=wait_s)
        except FetchError as error:
            problems.append(str(error))
    sums = read_sums(folder / SUMS)
    fresh = {}
    for path, file in zip(paths, row.files, strict=True):
        if path.is_file():
            found, problem = _problem(path, file, sums.get(path.name))
            if problem:
                problems.append(problem)
            elif not file.sha256:
                fresh[path.name] = found
    if fresh.keys() - sums.keys():
        write_text(folder / SUMS, "".join(f"{value}  {key}\n" for key, value in sorted((sums | fresh).items())))
    if problems:
        raise UserError(f"downloads.{name}: {len(problems)} problems with its files", problems)
    return paths
