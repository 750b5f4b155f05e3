"""Users, passwords and tokens of addresses are neither printed nor written: not in errors, records, notes, params."""

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from data.acquire.acquire import acquire
from data.acquire.config import Download
from data.acquire.secrets import without_secrets
from data.pairs.errors import UserError, redacted
from tests.contracts.imports import ROOT
from tests.data.acquire.test_acquire import IMAGES
from tests.data.acquire.test_fetch import PAGE, start_server

SECRET = "s3cr3t-t0ken"


@pytest.fixture
def site(monkeypatch):
    yield from start_server(monkeypatch)


def row(site, path: str = "/a.zip") -> Download:
    url = f"{site.root}{path}?token={SECRET}".replace("://", f"://user:{SECRET}@")
    archive = {"name": "a.zip", "url": url}
    return Download.model_validate({"page": PAGE, "licence": "x", "accept_licence": True, "archives": (archive,)})


def get(download: Download, root: Path) -> None:
    acquire("mine", download, root / "downloads", root / "raw", root / "checksums/mine.json")


def everything(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


def test_a_record_has_no_secret_of_the_address(site, tmp_path):
    site.files[f"/a.zip?token={SECRET}"] = IMAGES
    get(row(site), tmp_path)
    assert SECRET.encode() not in everything(tmp_path)
    assert b"/a.zip?***" in (tmp_path / "checksums/mine.json").read_bytes()


def test_neither_has_a_part_that_is_left_nor_what_is_said_of_it(site, tmp_path, capfd):
    site.files[f"/a.zip?token={SECRET}"] = IMAGES
    site.break_after = [10] * 9
    site.etag = ""
    with pytest.raises(UserError) as refused:
        get(row(site), tmp_path)
    assert SECRET not in str(refused.value)
    assert SECRET.encode() not in everything(tmp_path)
    assert SECRET not in "".join(capfd.readouterr())


@pytest.mark.parametrize("status", ["gone", "no server"])
def test_nor_does_an_error(site, tmp_path, status):
    download = row(site, "/missing.zip")
    if status == "no server":
        archive = {"name": "a.zip", "url": f"http://user:{SECRET}@127.0.0.1:9/a.zip?token={SECRET}"}
        download = Download.model_validate({**download.model_dump(), "archives": (archive,)})
    else:
        site.files[f"/missing.zip?token={SECRET}"] = b""
        site.content_type = "text/html"
    with pytest.raises(UserError) as refused:
        get(download, tmp_path)
    assert SECRET not in str(refused.value)


def test_params_are_printed_without_them_and_refused_without_them(tmp_path):
    data = YAML(typ="safe").load(ROOT / "params.yaml")
    archive = {"name": "a.zip", "url": f"https://user:{SECRET}@example.org/a.zip?sig={SECRET}"}
    data["downloads"] = {"mine": {"page": "x", "licence": "y", "archives": [archive]}}
    for url, code in ((archive["url"], 0), (f"ftp://user:{SECRET}@example.org/a?sig={SECRET}", 2)):
        archive["url"] = url
        with (tmp_path / "p.yaml").open("w") as file:
            YAML().dump(data, file)
        command = [sys.executable, "-m", "pipeline", "params", "--file", str(tmp_path / "p.yaml")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert SECRET not in done.stdout + done.stderr


def test_what_is_no_secret_stays():
    assert (
        redacted("did you mean 'a'? see https://example.org/a.zip") == "did you mean 'a'? see https://example.org/a.zip"
    )
    assert redacted("https://u:p@h.org/a?b=c#d failed") == "https://***@h.org/a?*** failed"
    text = f"url: /a?x={SECRET} (user {SECRET})"
    assert without_secrets(text, f"https://me:{SECRET}@h.org/a?x={SECRET}") == "url: /a?*** (user ***)"
