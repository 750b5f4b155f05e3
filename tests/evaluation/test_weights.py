"""Weight files: all that is missing or altered is named at once, with the way out."""

import hashlib
from pathlib import Path

import pytest

from data.pairs.errors import UserError
from evaluation.weights import VARIABLE, WEIGHTS, require, weights_folder


def _put(folder: Path, name: str, content: bytes = b"random weights") -> Path:
    path = folder / WEIGHTS[name].path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_every_missing_file_is_named_with_all_that_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        require(WEIGHTS, tmp_path)
    text = str(error.value)
    for file in WEIGHTS.values():
        assert f"{tmp_path / file.path} is missing ({file.size})" in text
        assert f"--output '{tmp_path / file.path}' {file.url}" in text
    assert VARIABLE in text
    assert "scores.profile: demo" in text


def test_altered_and_missing_files_are_named_together(tmp_path: Path) -> None:
    path = _put(tmp_path, "alexnet")
    with pytest.raises(UserError) as error:
        require(["alexnet", "inception"], tmp_path)
    text = str(error.value)
    assert f"{path} is altered" in text
    assert hashlib.sha256(b"random weights").hexdigest()[:16] in text
    assert WEIGHTS["alexnet"].sha256 in text
    assert f"{tmp_path / WEIGHTS['inception'].path} is missing" in text


def test_a_file_of_unknown_hash_is_recorded_and_held_to_it(tmp_path: Path) -> None:
    path = _put(tmp_path, "clip_b32")
    assert require(["clip_b32"], tmp_path) == {"clip_b32": path}
    record = path.with_name(f"{path.name}.sha256").read_text(encoding="utf-8")
    assert record == f"{hashlib.sha256(b'random weights').hexdigest()}  {path.name}\n"
    assert require(["clip_b32"], tmp_path) == {"clip_b32": path}
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match="is altered"):
        require(["clip_b32"], tmp_path)


def test_published_hashes_are_in_the_names_of_the_files() -> None:
    for file in WEIGHTS.values():
        assert file.sha256 is None or file.path.endswith(f"-{file.sha256}.pth")


def test_the_variable_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert weights_folder("weights") == Path("weights")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert weights_folder("weights") == tmp_path
