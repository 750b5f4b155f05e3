"""Downloads against a real server that breaks off, changes its file, refuses and lies."""

import hashlib
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from data.acquire import fetch as module
from data.acquire.config import Archive, Download
from data.acquire.fetch import Known, fetch
from data.pairs.errors import UserError

PAGE = "https://example.org/data-set"
BODY = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(250_000)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site = self.server.site
        site.requests.append({name.lower(): value for name, value in self.headers.items()})
        if site.statuses:
            return self.answer(site.statuses.pop(0), {}, b"no")
        body, start = site.files[self.path], 0
        asked = self.headers.get("Range")
        tags = {"ETag": site.etag, "Last-Modified": site.modified}
        if asked and not site.ignores_range:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if site.ignores_if_range or self.headers.get("If-Range") in tags.values():
                if start >= len(body):
                    return self.answer(416, {}, b"")
            else:
                start = 0
        headers = {"Content-Type": site.content_type, **{name: tag for name, tag in tags.items() if tag}}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return self.answer(206 if start else 200, headers, body[start:])

    def answer(self, status, headers, body):
        site = self.server.site
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if site.tells_length:
            self.send_header("Content-Length", str(site.claims_bytes or len(body)))
        self.end_headers()
        stop = site.break_after.pop(0) if status in (200, 206) and site.break_after else None
        self.wfile.write(body[:stop])
        self.close_connection = True

    def log_message(self, *args):
        pass


class Site:
    """What the server has and how it behaves; every request's headers are kept."""

    def __init__(self, port):
        self.root = f"http://127.0.0.1:{port}"
        self.files = {"/a.zip": BODY}
        self.requests, self.statuses, self.break_after = [], [], []
        self.etag, self.modified = '"one"', None
        self.content_type = "application/zip"
        self.ignores_range = self.ignores_if_range = False
        self.tells_length, self.claims_bytes = True, None

    @property
    def ranges(self):
        return [request.get("range") for request in self.requests]


def start_server(monkeypatch):
    """Yield the site of a running server; downloads are made quick and go around any proxy."""
    monkeypatch.setattr(module, "PAUSE_S", 0)
    monkeypatch.setattr(module, "CHUNK_BYTES", 10_000)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.site = Site(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def site(monkeypatch):
    yield from start_server(monkeypatch)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def get(site, folder, known=None, **changes):
    archive = Archive(**{"name": "a.zip", "url": f"{site.root}/a.zip", **changes})
    return fetch(archive, folder, known and Known(known, folder / "record.json"), PAGE)


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def assert_whole(folder, body=BODY):
    assert names(folder) == ["a.zip"]
    assert (folder / "a.zip").read_bytes() == body


def test_a_fresh_download_is_whole_and_alone(site, tmp_path):
    assert get(site, tmp_path / "new", sha256=digest(BODY).upper()) == digest(BODY)
    assert_whole(tmp_path / "new")
    assert site.ranges == [None]
    assert site.requests[0]["accept-encoding"] == "identity"


def test_what_is_on_disk_is_checked_and_not_asked_for(site, tmp_path):
    (tmp_path / "a.zip").write_bytes(OTHER)
    assert get(site, tmp_path, known=digest(OTHER)) == digest(OTHER)
    with pytest.raises(UserError, match=r"not the published file[\s\S]*left as it is") as caught:
        get(site, tmp_path, sha256=digest(BODY))
    assert digest(BODY) in str(caught.value)
    assert digest(OTHER) in str(caught.value)
    assert_whole(tmp_path, OTHER)
    assert site.requests == []


@pytest.mark.parametrize("tag", ["etag", "modified"])
def test_a_broken_connection_goes_on_with_the_rest_only(site, tmp_path, tag):
    site.etag, site.modified = ('"one"', None) if tag == "etag" else ('W/"weak"', "Wed, 21 Oct 2015 07:28:00 GMT")
    site.break_after = [120_000, 30_000]
    get(site, tmp_path)
    assert site.ranges == [None, "bytes=120000-", "bytes=150000-"]
    assert site.requests[1]["if-range"] == (site.etag if tag == "etag" else site.modified)
    assert_whole(tmp_path)


def test_giving_up_says_how_far_it_came_and_the_next_call_goes_on(site, tmp_path):
    site.break_after = [100_000] + [0] * 6
    with pytest.raises(UserError, match="100000 of 300000 bytes are there; running again goes on") as caught:
        get(site, tmp_path)
    assert f"put it at {tmp_path / 'a.zip'}" in str(caught.value)
    assert PAGE in str(caught.value)
    assert len(site.requests) == 1 + 6
    assert names(tmp_path) == ["a.zip.part", "a.zip.part.json"]
    get(site, tmp_path)
    assert site.ranges[-1] == "bytes=100000-"
    assert len(site.requests) == 8
    assert_whole(tmp_path)


def test_progress_starts_the_count_of_failures_anew(site, tmp_path):
    site.break_after = [10_000] * 20
    get(site, tmp_path)
    assert len(site.requests) == 21
    assert_whole(tmp_path)


@pytest.mark.parametrize("ignores_if_range", [False, True])
def test_a_file_that_changed_on_the_server_is_fetched_from_its_start(site, tmp_path, ignores_if_range):
    site.break_after = [100_000] + [0] * 6
    with pytest.raises(UserError):
        get(site, tmp_path)
    site.files["/a.zip"], site.etag, site.ignores_if_range = OTHER, '"two"', ignores_if_range
    get(site, tmp_path)
    assert_whole(tmp_path, OTHER)


def test_another_url_or_no_validator_starts_anew(site, tmp_path):
    site.break_after = [100_000] + [0] * 6
    with pytest.raises(UserError):
        get(site, tmp_path)
    site.files["/b.zip"] = OTHER
    asked = len(site.requests)
    get(site, tmp_path, url=f"{site.root}/b.zip")
    assert site.ranges[asked:] == [None]
    assert_whole(tmp_path, OTHER)
    site.etag, site.break_after = None, [5_000]
    get(site, tmp_path / "no-tag")
    assert site.ranges[asked + 1 :] == [None, None]
    assert_whole(tmp_path / "no-tag")


def test_a_server_that_ignores_ranges_ends_well_or_gives_up(site, tmp_path):
    site.ignores_range, site.break_after = True, [100_000]
    get(site, tmp_path)
    assert site.ranges == [None, "bytes=100000-"]
    assert_whole(tmp_path)
    site.break_after = [100_000] * 50
    with pytest.raises(UserError, match="6 times in a row"):
        get(site, tmp_path / "two")
    assert len(site.break_after) == 50 - 7


def test_a_range_that_the_server_cannot_satisfy_starts_anew(site, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(BODY + b"more")
    note = {"url": f"{site.root}/a.zip", "validator": '"one"', "bytes": len(BODY)}
    (tmp_path / "a.zip.part.json").write_text(json.dumps(note))
    get(site, tmp_path)
    assert site.ranges == [f"bytes={len(BODY) + 4}-", None]
    assert_whole(tmp_path)


def test_a_part_whose_note_is_garbage_is_not_used(site, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(OTHER[:1000])
    (tmp_path / "a.zip.part.json").write_text("[]")
    get(site, tmp_path)
    assert site.ranges == [None]
    assert_whole(tmp_path)


def test_a_download_without_a_length_ends_with_the_connection(site, tmp_path):
    site.tells_length = False
    get(site, tmp_path)
    assert_whole(tmp_path)


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_server_is_asked_again(site, tmp_path, status):
    site.statuses = [status] * 5
    get(site, tmp_path)
    assert len(site.requests) == 6
    assert_whole(tmp_path)
    site.statuses = [status] * 6
    with pytest.raises(UserError, match=f"the server answered {status}"):
        get(site, tmp_path / "two")


@pytest.mark.parametrize("status", [404, 403, 401])
def test_a_refusal_is_not_asked_again(site, tmp_path, status):
    site.statuses = [status]
    with pytest.raises(UserError, match=rf"a\.zip: the server answered {status}[\s\S]*{PAGE} and put it at"):
        get(site, tmp_path)
    assert len(site.requests) == 1
    assert names(tmp_path) == []


def test_a_web_page_is_no_archive(site, tmp_path):
    site.content_type = "text/html; charset=utf-8"
    with pytest.raises(UserError, match=rf"sent a web page[\s\S]*log-in[\s\S]*{PAGE} and put it at"):
        get(site, tmp_path)
    assert names(tmp_path) == []


def test_a_server_that_is_not_there_is_a_user_error(site, tmp_path):
    with pytest.raises(UserError, match=r"6 times in a row[\s\S]*nothing is there"):
        get(site, tmp_path, url="http://127.0.0.1:9/a.zip")
    assert names(tmp_path) == []


def test_a_full_disk_is_noticed_before_the_download(site, tmp_path):
    site.claims_bytes = 10**18
    with pytest.raises(UserError, match="1000000000000000000 bytes more than are free"):
        get(site, tmp_path)
    assert names(tmp_path) == []


def test_a_wrong_download_is_set_aside(site, tmp_path):
    for known, sha256, text in ((None, digest(OTHER), "not the published"), (digest(OTHER), None, "changed since")):
        with pytest.raises(UserError, match=text) as caught:
            get(site, tmp_path, known=known, sha256=sha256)
        assert digest(BODY) in str(caught.value)
        assert digest(OTHER) in str(caught.value)
        assert names(tmp_path) == ["a.zip.wrong"]
    assert f"delete its entry in {tmp_path / 'record.json'}" in str(caught.value)


def test_rows_are_checked():
    row = {"page": PAGE, "licence": "CC0", "archives": ({"name": "a.zip"},)}
    assert Download.model_validate(row).accept_licence is False
    bad = [{"name": "../a.zip"}, {"name": ".a"}, {"name": "a.zip", "url": "ftp://x/a"}, {"name": "a", "sha256": "12"}]
    bad += [{"name": "a.zip", "into": into} for into in ("../x", "/x", "a/../../b", "C:x", "\\x")]
    for archives in ((), *((archive,) for archive in bad), ({"name": "a"}, {"name": "a"})):
        with pytest.raises(ValidationError):
            Download.model_validate({**row, "archives": archives})
