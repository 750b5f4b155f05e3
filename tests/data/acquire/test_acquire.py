"""A data set's archives: terms first, then fetched, checked against their hashes and unpacked whole or not at all."""

import io
import json
import zipfile
from types import SimpleNamespace

import pytest

from data.acquire.acquire import acquire
from data.acquire.config import Download
from data.pairs.errors import UserError
from tests.data.acquire.test_fetch import PAGE, digest, names, start_server


@pytest.fixture
def site(monkeypatch):
    yield from start_server(monkeypatch)


def zipped(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return data.getvalue()


IMAGES = zipped({"images/1.png": b"1", "images/2.png": b"2"})
MASKS = zipped({"1.png": b"m1", "2.png": b"m2"})


def row(site, **changes):
    site.files |= {"/images.zip": IMAGES, "/masks.zip": MASKS}
    archives = (
        {"name": "images.zip", "url": f"{site.root}/images.zip"},
        {"name": "masks.zip", "url": f"{site.root}/masks.zip", "sha256": digest(MASKS), "into": "masks"},
    )
    base = {"page": PAGE, "licence": "research only", "accept_licence": True, "archives": archives}
    return Download.model_validate({**base, **changes})


def run(row, root):
    return acquire("polyps", row, root / "downloads", root / "raw/polyps", root / "checksums/polyps.json")


def record(root):
    return json.loads((root / "checksums/polyps.json").read_text())


def unpacked(root):
    raw = root / "raw/polyps"
    return sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file())


def test_archives_are_fetched_unpacked_and_recorded_once(site, tmp_path):
    facts = run(row(site), tmp_path)
    assert unpacked(tmp_path) == ["images/1.png", "images/2.png", "masks/1.png", "masks/2.png"]
    assert facts == {
        "archives": {
            "images.zip": {"sha256": digest(IMAGES), "bytes": len(IMAGES), "hash": "recorded now"},
            "masks.zip": {"sha256": digest(MASKS), "bytes": len(MASKS), "hash": "published"},
        },
        "files": 4,
    }
    entry = {"url": f"{site.root}/images.zip", "sha256": digest(IMAGES), "bytes": len(IMAGES)}
    assert record(tmp_path) == {"images.zip": entry}
    before = (tmp_path / "checksums/polyps.json").read_bytes()
    (tmp_path / "raw/polyps/left.png").write_bytes(b"old")
    assert run(row(site), tmp_path)["archives"]["images.zip"]["hash"] == "recorded before"
    assert len(site.requests) == 2
    assert "left.png" not in unpacked(tmp_path)
    assert (tmp_path / "checksums/polyps.json").read_bytes() == before


def test_nothing_is_asked_for_before_the_licence_is_accepted(site, tmp_path):
    with pytest.raises(UserError, match=r"downloads\.polyps\.accept_licence: true in params\.yaml") as caught:
        run(row(site, accept_licence=False), tmp_path)
    assert "research only" in str(caught.value)
    assert PAGE in str(caught.value)
    assert site.requests == []
    assert names(tmp_path) == []


def test_all_missing_files_are_named_before_anything_is_downloaded(site, tmp_path):
    archives = (row(site).archives[0].model_dump(), {"name": "one.zip"}, {"name": "two.zip"}, {"name": "three.zip"})
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/two.zip").write_bytes(zipped({"two.png": b"2"}))
    with pytest.raises(UserError, match=PAGE) as caught:
        run(row(site, archives=archives), tmp_path)
    places = [f"{name} at {tmp_path / 'downloads' / name}" for name in ("one.zip", "three.zip")]
    assert caught.value.problems == tuple(places)
    assert site.requests == []
    for name in ("one", "three"):
        (tmp_path / f"downloads/{name}.zip").write_bytes(zipped({f"{name}.png": b"x"}))
    facts = run(row(site, archives=archives), tmp_path)
    assert facts["files"] == 5
    assert {fact["hash"] for fact in facts["archives"].values()} == {"recorded now"}
    assert record(tmp_path)["two.zip"]["url"] == ""
    (tmp_path / "downloads/four.zip").write_bytes(zipped({"four.png": b"4"}))
    run(row(site, archives=({"name": "four.zip"},)), tmp_path)
    assert sorted(record(tmp_path)) == ["four.zip", "images.zip", "one.zip", "three.zip", "two.zip"]


def test_a_file_that_changed_since_it_was_first_seen_is_refused_until_its_entry_is_deleted(site, tmp_path):
    run(row(site), tmp_path)
    (tmp_path / "downloads/images.zip").unlink()
    changed = row(site)
    site.files["/images.zip"] = zipped({"images/3.png": b"3"})
    with pytest.raises(UserError, match=r"images\.zip changed since it was first seen[\s\S]*delete its entry in"):
        run(changed, tmp_path)
    assert unpacked(tmp_path)[0] == "images/1.png"
    assert names(tmp_path / "downloads") == ["images.zip.wrong", "masks.zip"]
    (tmp_path / "checksums/polyps.json").write_text("{}")
    run(changed, tmp_path)
    assert unpacked(tmp_path)[0] == "images/3.png"
    assert record(tmp_path)["images.zip"]["sha256"] == digest(site.files["/images.zip"])


def test_a_file_put_there_by_hand_must_be_the_published_one(site, tmp_path):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/masks.zip").write_bytes(IMAGES)
    with pytest.raises(UserError, match=r"masks\.zip is not the published file"):
        run(row(site), tmp_path)
    assert (tmp_path / "downloads/masks.zip").read_bytes() == IMAGES
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (zipped({"../../up.png": b"x", "fine.png": b"x"}), "leads out"),
        (zipped({"zeros": bytes(2_000_000)}), "max_gb"),
        (IMAGES[:-30], "damaged"),
        (b"<html>", "damaged"),
        (IMAGES.replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"), "encrypted"),
        (zipped({"masks/1.png": b"x"}), "there already"),
    ],
)
def test_nothing_is_left_of_a_failure_and_nothing_recorded(site, tmp_path, bad, text):
    download = row(site, max_gb=0.001, archives=tuple(a.model_dump() for a in reversed(row(site).archives)))
    site.files["/images.zip"] = bad
    with pytest.raises(UserError, match=text):
        run(download, tmp_path)
    assert names(tmp_path / "raw") == []
    assert names(tmp_path) == ["downloads", "raw"]
    (tmp_path / "raw/polyps").mkdir()
    (tmp_path / "raw/polyps/old.png").write_bytes(b"old")
    with pytest.raises(UserError, match=text):
        run(download, tmp_path)
    assert names(tmp_path / "raw") == ["polyps"]
    assert unpacked(tmp_path) == ["old.png"]


def test_the_limit_holds_for_all_archives_together(site, tmp_path):
    site.files |= {"/a.zip": zipped({"a": bytes(600_000)}), "/b.zip": zipped({"b": bytes(600_000)})}
    archives = tuple({"name": name, "url": f"{site.root}/{name}"} for name in ("a.zip", "b.zip"))
    with pytest.raises(UserError, match=r"b\.zip unpacks to more than the 0\.0004 GB that are left of max_gb"):
        run(row(site, archives=archives, max_gb=0.001), tmp_path)
    assert run(row(site, archives=archives, max_gb=0.0012), tmp_path)["files"] == 2


@pytest.mark.parametrize("text", ["<<<<<<< HEAD", '{"images.zip": "12"}', "[]"])
def test_a_garbled_record_is_a_user_error(site, tmp_path, text):
    (tmp_path / "checksums").mkdir()
    (tmp_path / "checksums/polyps.json").write_text(text)
    with pytest.raises(UserError, match="is no record of checksums"):
        run(row(site), tmp_path)
    assert site.requests == []


def test_the_stage_writes_where_its_name_says_and_tells_the_hashes(site, tmp_path, monkeypatch, capsys):
    from pipeline.stages import acquire as stage

    monkeypatch.chdir(tmp_path)
    stage.run({"download": "polyps"}, SimpleNamespace(row=row(site)))
    assert names(tmp_path / "data/raw/polyps") == ["images", "masks"]
    assert names(tmp_path / "data/downloads/polyps") == ["images.zip", "masks.zip"]
    assert names(tmp_path / "data/checksums") == ["polyps.json"]
    lines = capsys.readouterr().err.splitlines()
    assert f"images.zip: SHA-256 {digest(IMAGES)}, recorded now" in lines
    assert f"masks.zip: SHA-256 {digest(MASKS)}, published" in lines
