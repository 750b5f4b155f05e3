"""Pair sets, phantoms and files: exact bytes, whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.exports.verify import verify
from data.pairs.assemble import write_duplicate, write_synthetic
from data.pairs.errors import UserError
from data.pairs.files import TEMPORARY, sha256_tree, sweep, whole_folder, work_folder, write_json, write_text
from data.pairs.image_io import read_image, size_of, write_image, write_mask
from data.pairs.manifest import read_pairs, write_manifest
from data.pairs.resize import resize_image
from data.pairs.seeds import item_seed
from data.prepare.config import PhantomDataset
from data.prepare.phantom import draw_phantom
from data.prepare.prepare import prepare
from tests.contracts.imports import ROOT

ROW = PhantomDataset(kind="phantom", path="x", size_px=32, prompt="a polyp", train=4, test=4, seed=0)


@pytest.fixture
def real(tmp_path):
    return prepare(ROW, tmp_path / "phantom")["train"]


def test_prepared_pair_sets_read_back_as_written(real):
    assert read_pairs(real.folder) == real
    verify(real)
    assert real.images().shape == (4, 32, 32, 3)
    assert set(np.unique(real.masks())) == {0, 1}
    assert all(pair.foreground == pytest.approx(real.mask(pair).mean(), abs=1e-6) for pair in real.pairs)
    assert set(np.unique(np.asarray(Image.open(real.folder / real.pairs[0].mask)))) == {0, 255}


def test_preparing_twice_gives_the_same_bytes(real, tmp_path):
    prepare(ROW, tmp_path / "again")
    assert sha256_tree(tmp_path / "again") == sha256_tree(tmp_path / "phantom")


def test_verify_names_every_file_at_fault(real):
    write_image(real.folder / real.pairs[0].image, np.zeros((32, 32, 3), np.uint8))
    (real.folder / real.pairs[1].mask).unlink()
    with pytest.raises(UserError) as caught:
        verify(real)
    assert len(caught.value.problems) == 2
    assert "bytes are not those of the manifest" in caught.value.problems[0]
    assert "missing" in caught.value.problems[1]


def test_reading_a_folder_that_is_no_pair_set_says_so(tmp_path):
    with pytest.raises(UserError, match=r"holds no manifest\.csv"):
        read_pairs(tmp_path)
    (tmp_path / "manifest.csv").write_text("id,image\n")
    with pytest.raises(UserError, match="lacks the columns"):
        read_pairs(tmp_path)


def test_duplicates_and_empty_sets_are_pair_sets(real, tmp_path):
    twin = write_duplicate(real, tmp_path / "twin")
    verify(twin)
    assert [pair.parent for pair in twin.pairs] == [pair.id for pair in real.pairs]
    assert [pair.image_sha256 for pair in twin.pairs] == [pair.image_sha256 for pair in real.pairs]
    assert not {pair.id for pair in twin.pairs} & {pair.id for pair in real.pairs}
    assert len(read_pairs(write_manifest(tmp_path / "empty", []).folder)) == 0


def test_synthetic_pairs_keep_the_mask_bytes(real, tmp_path):
    for pair in real.pairs:
        write_image(tmp_path / f"drawn/{pair.id}.png", real.image(pair)[::-1].copy())
    made = write_synthetic([real], [tmp_path / "drawn"], "siamese", tmp_path / "made")
    verify(made)
    for before, after in zip(real.pairs, made.pairs, strict=True):
        assert (made.folder / after.mask).read_bytes() == (real.folder / before.mask).read_bytes()
        assert after.source == "siamese"


def test_phantoms_are_functions_of_seed_and_id():
    image, mask = draw_phantom(0, "a", 64)
    assert np.array_equal(image, draw_phantom(0, "a", 64)[0])
    assert not np.array_equal(image, draw_phantom(1, "a", 64)[0])
    assert not np.array_equal(image, draw_phantom(0, "b", 64)[0])
    assert mask.any()
    assert mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum() == 0


def test_the_lesion_of_a_phantom_differs_from_what_surrounds_it():
    for number in range(8):
        image, mask = draw_phantom(0, f"p{number}", 64)
        redness = image[..., 0].astype(float) - image[..., 1:].mean(-1)
        assert redness[mask == 1].mean() > redness[mask == 0].mean()


def test_images_keep_their_provenance_and_carry_no_time(tmp_path):
    image = np.zeros((8, 8, 3), np.uint8)
    write_image(tmp_path / "a.png", image, {"seed": "3", "base": "x"})
    write_image(tmp_path / "b.png", image, {"base": "x", "seed": "3"})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").text == {"base": "x", "seed": "3"}


def test_writers_refuse_what_is_not_an_image_or_a_mask(tmp_path):
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.float32))
    with pytest.raises(ValueError, match="max 255"):
        write_mask(tmp_path / "a.png", np.full((8, 8), 255, np.uint8))


def test_antialias_averages_and_the_default_does_not():
    image = np.zeros((256, 256, 3), np.uint8)
    image[::8] = 255  # one bright row in eight: a reduction by eight should be grey
    assert resize_image(image, 32, antialias=True).std() < 5
    assert len(np.unique(resize_image(image, 32, antialias=False))) == 1
    assert abs(float(resize_image(image, 32, antialias=True).mean()) - image.mean()) < 3


def test_exif_turned_photographs_are_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (20, 10, 3)


@pytest.mark.parametrize("ending", [".tif", ".jpg", ".png"])
@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_the_size_of_a_turned_picture_is_that_of_the_image_as_read(turn, ending, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.new("RGB", (96, 64)).save(tmp_path / f"a{ending}", exif=exif)
    height, width = read_image(tmp_path / f"a{ending}").shape[:2]
    assert size_of(tmp_path / f"a{ending}") == (width, height) == ((64, 96) if turn > 4 else (96, 64))


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "out") as folder:
        (folder / "no/such/folder").touch()
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
    with whole_folder(tmp_path / "out") as folder:
        (folder / "b").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b"]


def half_of(target: Path, kind: str, process: int) -> Path:
    """Write what a process of this machine leaves when it is killed while it writes `target`."""
    host = os.uname().nodename.replace(".", "_")
    path = target.with_name(f".{target.name}.{host}-{process}.{kind}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("half")
    return path


def test_a_write_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_text(tmp_path / "a.json", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_killed_processes_leave_changes_no_hash_and_is_removed(tmp_path):
    """By the next to write the same file, or by a sweep; what another process still writes stays."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    write_text(tmp_path / "a.json", "x")
    before = sha256_tree(tmp_path)
    same, other, folder = (
        half_of(tmp_path / "a.json", "tmp", gone.pid),
        half_of(tmp_path / "sub/b.csv", "tmp", gone.pid),
        half_of(tmp_path / "c", "partial", gone.pid),
    )
    running = half_of(tmp_path / "sub/b.csv", "tmp", os.getppid())
    elsewhere = tmp_path / ".a.json.another_machine-1.partial"
    elsewhere.mkdir()
    assert sha256_tree(tmp_path) == before
    write_text(tmp_path / "a.json", "x")
    assert (same.exists(), other.exists()) == (False, True)
    assert sweep(tmp_path) == sorted([other, folder])
    assert (other.exists(), folder.exists(), running.exists(), elsewhere.exists()) == (False, False, True, True)
    for name in (".gitignore", ".dvcignore"):
        assert {".*-[0-9]*.tmp", ".*-[0-9]*.partial"} <= set((ROOT / name).read_text().splitlines())
    assert not TEMPORARY.fullmatch(".hidden.tmp")


def test_a_work_folder_survives_and_goes_when_its_inputs_change(tmp_path, monkeypatch):
    monkeypatch.setenv("SIAMESE_WORK", str(tmp_path))
    with work_folder("train/x", {"a": 1}, keep=True) as first:
        (first / "kept").touch()
    with pytest.raises(FileNotFoundError), work_folder("train/x", {"a": 1}) as again:
        (again / "no/such/folder").touch()
    assert (first / "kept").exists()
    with work_folder("train/x", {"a": 2}) as other:
        assert not first.exists()
        assert list(other.iterdir()) == []
    assert not other.exists()


def test_a_second_process_is_kept_out_of_a_work_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SIAMESE_WORK", str(tmp_path))
    code = "from data.pairs.files import work_folder\nwith work_folder('x', {}): pass"
    with work_folder("x", {}):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "another process is already working on x" in done.stderr
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_runs_that_go_on_from_each_other_wait_for_each_other(tmp_path, monkeypatch):
    """Two multiples of one set may be sampled at a time: the second takes over what the first has drawn."""
    monkeypatch.setenv("SIAMESE_WORK", str(tmp_path))
    code = (
        "from data.pairs.files import work_folder\n"
        "with work_folder('x', {}, keep=True) as work: print((work / 'drawn').read_text())"
    )
    with work_folder("x", {}, keep=True) as work:
        second = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert second.stderr is not None
        assert "another process is already working on x: waiting for it" in second.stderr.readline()
        (work / "drawn").write_text("by the first")
    assert second.communicate(timeout=60)[0] == "by the first\n"


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_seeds_tell_parts_apart_and_do_not_change():
    assert item_seed("a", 1) != item_seed("a1")
    assert item_seed(0, "sample", "p-1") == 6688817252510973702
    assert 0 <= item_seed("x") < 2**63
