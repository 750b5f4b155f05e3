"""The whole DVC graph at toy size: run, run again, edited, killed. Every command is the real one."""

import functools
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from dvc.repo import Repo

from data.pairs.files import sha256_tree
from data.pairs.manifest import read_pairs, verify
from tests.data import trees
from tests.pipeline.projects import edit, stand_in_project

pytestmark = pytest.mark.graph

NETWORK = {
    "network": "unet", "encoder": "tu-test_resnet", "decoder_channels": [8, 8, 8], "input_px": 32,
    "epochs": 1, "batch": 8, "lr": 3.0e-3, "weight_decay": 1.0e-2, "schedule": "one_cycle", "loss": "bce_dice",
    "budget": "equal_epochs",
}  # fmt: skip
TOY = {
    "comparison": {
        "datasets": ["phantom"], "references": ["real", "duplicate"],
        "baselines": ["flipped"], "generators": ["controlnet", "siamese"],
        "masks": ["random"], "architectures": ["unet"], "seeds": [0],
    },
    "volume": {
        "datasets": ["phantom"], "generators": ["siamese"], "masks": ["random"], "architectures": ["unet"],
        "seeds": [0], "multiples": [2],
    },
    "filtered": {
        "datasets": ["phantom"], "generators": ["siamese"], "masks": ["random"], "filters": ["loose"],
        "architectures": ["unet"], "seeds": [0],
    },
    "baselines": {
        "real": {"kind": "real"}, "duplicate": {"kind": "duplicate"},
        "flipped": {"kind": "augment", "transforms": [{"name": "flip", "probability": 0.5}]},
    },
    "filters": {"loose": {"max_colour_drift": 1.0e+6}},
    "base": {
        "kind": "pretrain", "seed": 0,
        "vae": {"channels": [16, 32], "latent_channels": 4, "crop_px": 16, "steps": 3, "batch": 2, "lr": 1.0e-3},
        "unet": {
            "channels": [16, 32], "layers": 1, "attention_levels": 1, "context_dim": 16,
            "steps": 3, "batch": 2, "lr": 1.0e-3,
        },
    },
    "architectures": {"unet": NETWORK},
    "judge": NETWORK,
    "sampling": {"steps": 8, "guidance": 2.0, "batch": 2, "seed": 0},
}  # fmt: skip
SIAMESE_CHAIN = {
    "refiner@phantom-siamese", "train@phantom-siamese", "sample@phantom-siamese-random",
    "sample_volume@phantom-siamese-random-2", "features@phantom-siamese-random-demo", "inspect@phantom-siamese-random",
    "score@phantom-siamese-random", "pictures@phantom", "filter@phantom-siamese-random-loose",
    "segment_filtered@phantom-siamese-loose-random-unet-0", "segment@phantom-siamese-random-unet-1-0",
}  # fmt: skip


def repro(*targets: str) -> set[str]:
    with Repo() as repo:
        return {stage.addressing for stage in repo.reproduce(targets=list(targets) or None)} - {"check"}  # of any edit


def shrink(data) -> None:
    data.update(json.loads(json.dumps(TOY)))  # a copy: callers edit what they get
    data["datasets"]["phantom"].update(size_px=32, train=12, test=4)
    data["generators"]["controlnet"]["hint_widths"] = [4, 8]
    data["generators"]["siamese"]["hint_widths"] = [4, 8, 16]
    data["training"].update(steps=40, batch=2, checkpoint_steps=2)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Copy what git tracks into a fresh repository, shrink params.yaml and stand in it."""
    path = tmp_path_factory.mktemp("graph") / "project"
    patch = pytest.MonkeyPatch()
    stand_in_project(path, shrink, patch)
    yield path
    patch.undo()


def test_the_first_run_builds_everything(project):
    ran = repro()
    with Repo() as repo:
        assert ran == {stage.addressing for stage in repo.index.stages} - {"check"}
    assert {"report", "judge@phantom", "segment_volume@phantom-siamese-random-unet-2-0"} | SIAMESE_CHAIN <= ran
    assert Path("results/report.html").stat().st_size > 10_000
    assert "siamese" in Path("results/tables/phantom.md").read_text()
    once, twice = (
        read_pairs(Path(p))
        for p in ("outputs/samples/x1/phantom/siamese-random", "outputs/samples/x2/phantom/siamese-random")
    )
    assert (len(once), len(twice)) == (12, 24)
    assert set(once.pairs) < set(twice.pairs)
    verify(twice)


def drawn() -> dict[Path, int]:
    """Return when each image of siamese for random masks was drawn."""
    work = Path(".work/sample/phantom/siamese/random")
    return {path: path.stat().st_mtime_ns for path in work.glob("*/*/train-*.png")}


def test_what_1x_drew_is_not_drawn_again_for_2x(project):
    """Both stages have one scratch folder, and the masks of 2x, which it draws itself, are those of the first stage."""
    assert len(drawn()) == 24
    for copy, count in (("1", 12), ("2", 12)):
        written = sorted(Path("outputs/masks/phantom/random", copy, "masks").iterdir())
        assert len(written) == count
        twice = Path("outputs/samples/x2/phantom/siamese-random/masks")
        assert all(path.read_bytes() == (twice / path.name).read_bytes() for path in written)


def test_the_mask_written_is_the_mask_given(project):
    made = read_pairs(Path("outputs/samples/x1/phantom/siamese-random"))
    for pair in made.pairs:
        asked = Path("outputs/masks/phantom/random/1") / pair.mask
        assert (made.folder / pair.mask).read_bytes() == asked.read_bytes()


def test_the_second_run_does_nothing(project):
    assert repro() == set()


def test_another_multiple_runs_only_its_segmenters(project):
    before = drawn()
    edit(lambda p: p["volume"].update(multiples=[2, 3]))
    assert repro() == {
        "sample_volume@phantom-siamese-random-3", "segment_volume@phantom-siamese-random-unet-3-0", "report",
    }  # fmt: skip
    assert len(read_pairs(Path("outputs/samples/x3/phantom/siamese-random"))) == 36
    assert len(before) == 24
    assert before.items() <= drawn().items()


def test_a_row_that_nothing_uses_runs_nothing(project):
    edit(lambda p: p["architectures"].update(other={**NETWORK, "epochs": 2}))
    assert repro() == set()


def kill_when(target: str, ready) -> None:
    """Start `dvc repro target`, kill it and its stage as soon as ready() says so."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", target],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while not ready():
        assert process.poll() is None, "the stage ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def unbroken(verb: str, options: list[str], tmp_path: Path) -> None:
    """Run a stage's command again with nothing to resume from."""
    env = {**os.environ, "SIAMESE_WORK": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "pipeline", verb, *options], env=env, check=True, capture_output=True)


def test_training_that_was_killed_goes_on_and_ends_with_the_same_bytes(project, tmp_path):
    edit(lambda p: p["generators"]["siamese"].update(w_c=0.5))
    out, work = Path("outputs/generators/phantom/siamese"), Path(".work/train/phantom/siamese")
    kill_when("train@phantom-siamese", lambda: list(work.glob("*/step-[0-9]*")))
    assert not out.exists()
    assert list(work.glob("*/step-[0-9]*"))
    assert repro("train@phantom-siamese") == {"train@phantom-siamese"}
    resumed = sha256_tree(out)
    unbroken("train", ["--dataset", "phantom", "--generator", "siamese"], tmp_path)
    assert sha256_tree(out) == resumed


def test_sampling_that_was_killed_goes_on_and_ends_with_the_same_bytes(project, tmp_path):
    out, work = Path("outputs/samples/x1/phantom/siamese-random"), Path(".work/sample/phantom/siamese/random")
    before = {path: path.stat().st_mtime_ns for path in work.glob("*/*/*.png")}

    def new_images() -> list[Path]:
        return [p for p in work.glob("*/*/train-*.png") if p not in before]

    kill_when("sample@phantom-siamese-random", lambda: len(new_images()) >= 2)
    drawn = {path: path.stat().st_mtime_ns for path in new_images()}
    assert 2 <= len(drawn) < 12
    assert not out.exists()
    assert repro("sample@phantom-siamese-random") == {"sample@phantom-siamese-random"}
    whole = sorted(drawn)[: len(drawn) // 2 * 2]  # a last batch of one image is drawn again
    assert [path.stat().st_mtime_ns for path in whole] == [drawn[path] for path in whole]
    resumed = sha256_tree(out)
    unbroken("sample", ["--dataset", "phantom", "--generator", "siamese", "--masks", "random"], tmp_path)
    assert sha256_tree(out) == resumed


def test_two_processes_leave_the_same_bytes_and_no_stage_to_run(project, monkeypatch):
    """Sampling to the byte; the outputs of a stage do not say how many processes made them."""
    target = Path("outputs/samples/x1/phantom/siamese-random")
    options = ["--dataset", "phantom", "--generator", "siamese", "--masks", "random"]
    found = []
    for processes in ("1", "2"):
        monkeypatch.setenv("SIAMESE_PROCESSES", processes)
        shutil.rmtree(".work/sample", ignore_errors=True)
        subprocess.run([sys.executable, "-m", "pipeline", "sample", *options], check=True)
        found.append(sha256_tree(target))
    assert found[0] == found[1]


def test_a_mistake_of_the_user_is_told_once_by_two_processes(project, monkeypatch):
    monkeypatch.setenv("SIAMESE_PROCESSES", "2")
    before = Path("params.yaml").read_text()
    edit(lambda data: data["training"].update(batch=1))
    command = [sys.executable, "-m", "pipeline", "train", "--dataset", "phantom", "--generator", "siamese"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    Path("params.yaml").write_text(before)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("training.batch 1 is less than the 2 processes") == 1
    assert "Traceback" not in done.stderr
    monkeypatch.setenv("SIAMESE_PROCESSES", "many")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "SIAMESE_PROCESSES is 'many'" in done.stderr


def test_a_generators_switch_leaves_the_other_generator_alone(project):
    """Training and sampling at w_c = 0.5 ran in the two tests above; what hangs on them runs now."""
    volume = {f"segment_volume@phantom-siamese-random-unet-{multiple}-0" for multiple in (2, 3)}
    volume |= {"sample_volume@phantom-siamese-random-3"}
    done = {"refiner@phantom-siamese", "train@phantom-siamese", "sample@phantom-siamese-random"}
    assert repro() == (SIAMESE_CHAIN - done) | volume | {"report"}


def several(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipeline", "repro", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_several_stages_at_a_time_leave_what_one_at_a_time_leaves(project, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    edit(lambda p: p["comparison"].update(seeds=[0, 1]))
    done = several("--jobs", "3")
    assert done.returncode == 0, done.stderr
    names = {line.split()[1] for line in done.stderr.splitlines() if line.startswith("done ")}
    assert names == {
        "segment@phantom-controlnet-random-unet-1-1", "segment@phantom-siamese-random-unet-1-1",
        "segment_reference@phantom-real-real-unet-1-1", "segment_reference@phantom-duplicate-real-unet-1-1",
        "segment_baseline@phantom-flipped-real-unet-1-1", "report", "check",
    }  # fmt: skip
    assert repro() == set()
    assert "0stage" in several().stderr
    made = sha256_tree(Path("outputs/segmenters"))
    with Repo() as repo:
        repo.reproduce("segment@phantom-siamese-random-unet-1-1", single_item=True, force=True)
    assert sha256_tree(Path("outputs/segmenters")) == made


def test_a_stage_that_fails_among_several_is_named_with_its_reason_and_the_others_go_on(project):
    before = Path("params.yaml").read_text()
    edit(lambda p: p.update(judge={**p["judge"], "encoder": "tu-nonesuch"}))  # a copy: YAML has one dict for both
    edit(lambda p: p["architectures"]["unet"].update(epochs=2))
    done = several("--jobs", "2", "score", "segment_reference@phantom-real-real-unet-1-0")
    Path("params.yaml").write_text(before)
    assert done.returncode == 2
    assert re.search(r"1 stages failed, \d+ that need them did not run", done.stderr)
    assert "encoder 'tu-nonesuch' is unknown" in done.stderr
    assert "done  segment_reference@phantom-real-real-unet-1-0" in done.stderr
    assert several("nonesuch").returncode == 2
    repro()


def dvc(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_metrics_and_plots_can_be_read(project):
    shown = dvc("metrics", "show", "results/segmentation")
    assert "mDice" in shown
    assert "siamese-random-x3-s0.json" in shown
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t", "commit", "-qm", "results"], check=True)
    edit(lambda p: p["architectures"]["unet"].update(lr=1.0e-2))
    repro("segment_reference@phantom-real-real-unet-1-0")
    changed = dvc("metrics", "diff", "--targets", "results/segmentation")
    assert "real-real-x1-s0.json" in changed
    assert "siamese-random-x3-s0.json" not in changed
    dvc("plots", "show", "results/plots", "--out", "plots")
    assert "multiple" in Path("plots/index.html").read_text()


def test_a_download_is_fetched_unpacked_and_prepared_by_two_rows(project, tmp_path):
    tree = tmp_path / "made"
    trees.folders(tree)
    shutil.make_archive(str(tmp_path / "served/set"), "zip", tree)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/set.zip"
        download = {"page": "here", "licence": "none", "archives": [{"name": "set.zip", "url": url}]}
        row = {"kind": "folder", "path": "data/raw/mine", "size_px": 32, "prompt": "p"}
        edit(lambda p: p.update(downloads={"mine": download}))
        edit(lambda p: p["datasets"].update(mine={**row, "splits": {"train": "train", "test": "test"}}))
        edit(lambda p: p["datasets"].update(fold={**row, "folds": {"count": 3, "test": 0}}))
        refused = several("prepare@mine")
        assert (refused.returncode, Path("data/downloads/mine").exists()) == (2, False)
        assert "set downloads.mine.accept_licence: true in params.yaml" in refused.stderr
        edit(lambda p: p["downloads"]["mine"].update(accept_licence=True))
        assert repro("prepare@mine", "prepare@fold") == {"acquire@mine", "prepare@mine", "prepare@fold"}
        server.shutdown()
    assert len(read_pairs(Path("data/processed/mine/train"))) == 4
    assert len(read_pairs(Path("data/processed/fold/test"))) == 3
    assert "set.zip" in json.loads(Path("data/checksums/mine.json").read_text())
    shutil.rmtree("data/raw/mine")
    assert repro("prepare@mine") == {"acquire@mine"}  # from the archive on disk: the server is gone


def test_bad_params_stop_before_anything_runs(project):
    edit(lambda p: p["training"].update(stepz=3))
    done = subprocess.run([sys.executable, "-m", "pipeline", "report"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "training.stepz: unknown key (did you mean 'steps'?)" in done.stderr
    assert "Traceback" not in done.stderr
