"""What the system refuses, and names that are no text, end in one sentence with the file and exit code 2."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from data.layouts.layouts import find
from data.pairs.errors import MEANINGS, UserError, as_user_error, one_line
from evaluation.features.store import Features, read_features, write_features
from tests.campaigns import damage
from tests.contracts.imports import ROOT

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def pipeline(*arguments: str, prefix: tuple[str, ...] = (), **how) -> subprocess.CompletedProcess:
    command = [*prefix, sys.executable, "-m", "pipeline", *arguments]
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.run(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, check=False, **how)


def refusal(run: Callable) -> str | None:
    """Return what the user is told when it fails, or None when it does not; other errors are faults of ours."""
    try:
        run()
    except UserError as error:
        return str(error)
    except OSError as error:
        return str(as_user_error(error))
    return None


@pytest.fixture
def pairs(tmp_path):
    for number in range(3):
        damage.draw(tmp_path / "pairs", ".png", number)
    return tmp_path / "pairs"


@pytest.mark.parametrize("code", MEANINGS)
def test_an_error_of_the_system_names_the_file_in_one_line(code):
    told = str(as_user_error(OSError(code, os.strerror(code), "/some/place")))
    assert told.startswith("/some/place: ")
    assert MEANINGS[code] in told
    assert "\n" not in told


def test_others_are_told_too_and_faults_of_ours_are_not():
    assert "error 71" in str(as_user_error(OSError(errno.EPROTO, "Protocol error", "x")))
    assert "not UTF-8" in str(as_user_error(UnicodeEncodeError("utf-8", "caf\udce9", 3, 4, "surrogates")))
    assert "damaged" in str(as_user_error(zipfile.BadZipFile("Bad CRC-32")))
    assert as_user_error(KeyError("x")) is None
    assert as_user_error(ValueError("x")) is None
    assert one_line("a\n b\udce9") == "a b\\xe9"


def test_a_full_disk_under_the_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = pipeline("params", stdout=full)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [f"the output: {MEANINGS[errno.ENOSPC]}"]


def test_without_an_output_nothing_breaks():
    done = pipeline("params", prefix=("sh", "-c", '"$@" >&-', "sh"))
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_picture_is_not_written_over_a_folder(pairs):
    done = pipeline("doctor", str(pairs), "--out", str(pairs.parent), stdout=subprocess.PIPE)
    assert done.returncode == 2
    assert b"is a folder: name the picture" in done.stderr
    assert sorted(path.name for path in pairs.parent.iterdir()) == ["pairs"]


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"x" * 247 + b".png"])
def test_a_name_that_no_file_can_be_named_after_is_named(pairs, name):
    for kind in ("images", "masks"):
        os.rename(pairs / kind / "p1.png", os.path.join(os.fsencode(pairs / kind), name))
    done = pipeline("doctor", str(pairs), stdout=subprocess.PIPE)
    assert done.returncode == 2  # preparing would stop
    assert b"bad_name" in done.stdout
    assert b"Traceback" not in done.stderr


def test_what_another_user_may_not_read_is_named(pairs):
    if not shutil.which("setpriv") or os.getuid() != 0 or subprocess.run([*NOBODY, "true"], check=False).returncode:
        pytest.skip("no other user can be played here")
    for folder in (pairs, *pairs.parents):
        if folder.stat().st_uid == 0 and str(folder).startswith(("/tmp", str(pairs.parents[2]))):
            folder.chmod(0o755)
    (pairs / "images/p1.png").chmod(0)
    readable = subprocess.run([*NOBODY, sys.executable, "-c", "import numpy"], check=False, capture_output=True)
    if readable.returncode:
        pytest.skip("the other user cannot run this Python")
    done = pipeline("doctor", str(pairs), prefix=tuple(NOBODY), stdout=subprocess.PIPE)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 2, done.stderr
    assert b"unreadable" in done.stdout
    assert b"p1.png" in done.stdout
    (pairs / "images").chmod(0)
    done = pipeline("doctor", str(pairs), prefix=tuple(NOBODY), stdout=subprocess.PIPE)
    assert done.returncode == 2
    assert b"there is no permission" in done.stderr
    (pairs / "images").chmod(0o755)


def test_an_npz_with_a_flipped_byte_is_named(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"train_{kind}": rng.integers(0, 2, (4, 16, 16), np.uint8) for kind in ("images", "label")}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    content = (tmp_path / "a.npz").read_bytes()
    for place in range(0, len(content), 7):
        path = tmp_path / f"{place}.npz"
        path.write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
        told = refusal(lambda path=path: find(path))
        assert told is None or path.name in told
        path.unlink()


def test_features_with_a_flipped_byte_are_named(tmp_path):
    write_features(tmp_path / "a.npz", Features(["a", "b"], {"features": np.ones((2, 8), np.float32)}, {"n": 2}))
    content = (tmp_path / "a.npz").read_bytes()
    refused = 0
    for place in range(0, len(content), 5):
        (tmp_path / "b.npz").write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        told = refusal(lambda: read_features(tmp_path / "b.npz"))
        refused += told is not None
        assert told is None or "b.npz" in told
    assert refused > 20


def test_a_damaged_prepared_image_is_named_by_a_stage(tmp_path):
    from data.pairs.manifest import Pair, write_manifest

    out = io.BytesIO()
    Image.new("RGB", (32, 32)).save(out, "PNG")
    (tmp_path / "a.png").write_bytes(out.getvalue()[:-5])
    pair_set = write_manifest(tmp_path, [Pair("a", "a.png", "a.png", "train", "real")])
    with pytest.raises(ValueError, match=r"a.png: is damaged") as refused:
        pair_set.image(pair_set.pairs[0])
    assert json.dumps(str(as_user_error(refused.value))).startswith(f'"{tmp_path}')
