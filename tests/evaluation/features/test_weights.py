"""Weight files: all that is missing or altered is named at once, and downloads are whole or not at all."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from data.pairs.errors import UserError
from evaluation.features.weights import VARIABLE, WEIGHTS, WeightFile, require, weights_folder
from pipeline.commands.weights import fetch_weights
from tests.contracts.imports import ROOT
from tests.data.acquire.test_fetch import BODY, OTHER, digest, names, start_server

RIGHT = digest(BODY)


@pytest.fixture
def site(monkeypatch):
    yield from start_server(monkeypatch)


@pytest.fixture
def add(monkeypatch):
    """Put a row of the given name into the manifest, of toy/<name>.bin at a URL."""

    def added(name, url="https://example.org/a.bin", sha256=RIGHT):
        row = {"path": f"toy/{name}.bin", "url": url, "page": "https://example.org", "size_bytes": len(BODY)}
        row |= {"sha256": sha256, "extractor": "toy", "used_for": "tests", "licence": "CC0"}
        monkeypatch.setitem(WEIGHTS, name, WeightFile(**row))

    return added


def put(folder: Path, name: str, content: bytes = BODY) -> Path:
    path = folder / WEIGHTS[name].path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_manifest_has_the_files_of_the_paper_and_hashes_that_fit_their_names():
    assert {name: file.extractor for name, file in WEIGHTS.items()} == {
        "inception": "inception",
        "clip_b32": "clip_b32",
        "clip_l336": "clip_l336",
        "alexnet": "lpips",
    }
    for file in WEIGHTS.values():
        assert len(file.sha256) == 64
        if file.path.endswith(".pth"):  # the convention of torch.hub
            assert file.path.endswith(f"-{file.sha256[:8]}.pth")
            assert file.url.endswith(file.name)


@pytest.mark.parametrize("wrong", [{"path": "../a"}, {"path": "/a/b"}, {"path": "x/../../a"}, {"sha256": "6726825"}])
def test_rows_are_checked(wrong):
    good = WEIGHTS["inception"].model_dump()
    assert WeightFile(**good) == WEIGHTS["inception"]
    with pytest.raises(ValidationError):
        WeightFile(**{**good, **wrong})


def test_every_missing_file_is_named_with_all_that_is_needed(tmp_path):
    with pytest.raises(UserError) as error:
        require(WEIGHTS, tmp_path)
    text = str(error.value)
    for name, file in WEIGHTS.items():
        assert f"{name} is missing: {tmp_path / file.path}, {file.size_bytes / 1e6:.0f} MB, for {file.used_for}" in text
        assert f"python -m pipeline weights {name} --fetch" in text
        assert f"--output {file.name} {file.url}" in text
    assert f"all of them: python -m pipeline weights {' '.join(WEIGHTS)} --fetch" in text
    assert VARIABLE in text
    assert "scores.extractors: [lite0]" in text


def test_others_that_are_missing_are_told_but_alone_stop_nothing(add, tmp_path):
    for name in ("needed", "there", "absent"):
        add(name)
    put(tmp_path, "there")
    with pytest.raises(UserError, match=r"altered in .*: needed\n") as error:
        require(["needed"], tmp_path, also=["needed", "there", "absent"])
    text = str(error.value)
    assert text.index("needed is missing") < text.index("missing too") < text.index("absent is missing")
    assert text.count("needed is missing") == 1
    assert "there is" not in text
    assert "python -m pipeline weights needed absent --fetch" in text
    path = put(tmp_path, "needed")
    assert require(["needed"], tmp_path, also=["absent"]) == {"needed": path}


def test_altered_and_missing_files_are_named_together(tmp_path):
    path = put(tmp_path, "alexnet")
    with pytest.raises(UserError) as error:
        require(["alexnet", "inception"], tmp_path)
    text = str(error.value)
    assert f"alexnet is altered (SHA-256 {digest(BODY)}, expected {WEIGHTS['alexnet'].sha256}): {path}" in text
    assert f"inception is missing: {tmp_path / WEIGHTS['inception'].path}" in text


def test_the_variable_wins(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert weights_folder("weights") == Path("weights")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert weights_folder("weights") == tmp_path


def test_without_a_network_everything_is_told_at_once(tmp_path):
    """No connection is even tried before all is named; what is fetched gives up within seconds."""
    code = (
        "import socket, sys; from pathlib import Path\n"
        "def refuse(*_, **__): raise OSError('blocked')\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "from data.pairs.errors import UserError; from evaluation.features.weights import WEIGHTS, require\n"
        "from pipeline.commands.weights import fetch_weights\n"
        "for act in (require, fetch_weights):\n"
        "    try: act(WEIGHTS, Path(sys.argv[1]))\n"
        "    except UserError as error: print(error)\n"
        "assert 'torch' not in sys.modules\n"
    )
    start = time.monotonic()
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert time.monotonic() - start < 5
    told, failed = done.stdout.split("weight files that could not be had")
    for name, file in WEIGHTS.items():
        assert f"{name} is missing" in told
        assert f"{name}: the server cannot be reached" in failed
        assert file.url in failed
    assert names(tmp_path) == []


def test_a_broken_download_goes_on(add, site, tmp_path):
    add("toy", f"{site.root}/a.zip")
    site.break_after = [120_000]
    fetch_weights(["toy"], tmp_path)
    assert site.ranges == [None, "bytes=120000-"]
    assert (tmp_path / "toy/toy.bin").read_bytes() == BODY
    assert names(tmp_path / "toy") == ["toy.bin"]
    fetch_weights(["toy"], tmp_path)
    assert len(site.requests) == 2


def test_a_wrong_download_is_set_aside_and_the_others_are_fetched(add, site, tmp_path):
    site.files["/b.zip"] = OTHER
    add("wrong", f"{site.root}/a.zip", digest(OTHER))
    add("right", f"{site.root}/b.zip", digest(OTHER))
    with pytest.raises(UserError, match=r"wrong: wrong\.bin is not the published file") as error:
        fetch_weights(["wrong", "right"], tmp_path)
    assert f"SHA-256 expected {digest(OTHER)}" in str(error.value)
    assert f"or on another machine, to be copied to {tmp_path / 'toy'}" in str(error.value)
    assert "right" not in str(error.value)
    assert names(tmp_path / "toy") == ["right.bin", "wrong.bin.wrong"]


def test_a_web_page_is_no_weight_file(add, site, tmp_path):
    add("toy", f"{site.root}/a.zip")
    site.content_type = "text/html"
    with pytest.raises(UserError, match=r"sent a web page[\s\S]*example\.org \(there it is called a\.zip\)"):
        fetch_weights(["toy"], tmp_path)
    assert names(tmp_path / "toy") == []


def test_an_altered_file_is_kept_and_replaced(add, site, tmp_path):
    add("toy", f"{site.root}/a.zip", digest(BODY))
    path = put(tmp_path, "toy", OTHER)
    fetch_weights(["toy"], tmp_path)
    assert path.read_bytes() == BODY
    assert path.with_name("toy.bin.wrong").read_bytes() == OTHER
    assert require(["toy"], tmp_path) == {"toy": path}


def test_a_folder_that_cannot_be_written_is_a_user_error(add, site, tmp_path):
    add("toy", f"{site.root}/a.zip")
    (tmp_path / "toy").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"toy: .* could not be written"):
        fetch_weights(["toy"], tmp_path)
