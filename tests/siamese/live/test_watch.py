"""Trackers and samples show a training and change nothing of it, also where it was killed and went on."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from data.drawing import GAP_PX
from data.pairs.errors import UserError
from data.pairs.files import sha256_file
from siamese.live import trackers
from siamese.live.samples import Samples, asked_steps
from siamese.live.trackers import asked_trackers
from siamese.live.watch import Watch
from siamese.training import train as train_module
from siamese.training.loop import Run, watching
from siamese.training.train import train_generator
from tests.siamese.conftest import SIAMESE, TRAINING, killed_and_resumed

CFG = TRAINING.model_copy(update={"ema": 0.9})  # averaged weights are put in place for samples, and taken out again
CELL = 96 + GAP_PX


@pytest.mark.heavy
def test_a_watched_training_ends_with_the_bytes_of_an_unwatched_one(training_data, base_dir, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    pytest.importorskip("dvclive")
    monkeypatch.chdir(tmp_path)

    def train(name="watched"):
        out, work = tmp_path / name, tmp_path / f"{name}-work"
        out.mkdir(exist_ok=True), work.mkdir(exist_ok=True)
        train_generator(training_data, SIAMESE, Run(CFG, base_dir, out, work, live=tmp_path / "live/phantom/toy-g0"))
        return out

    plain = train("plain")
    assert not (tmp_path / "live").exists()
    monkeypatch.setenv("SIAMESE_TRACKERS", "tensorboard, dvclive")
    monkeypatch.setenv("SIAMESE_SAMPLES_EVERY", "2")
    watched, drawn = killed_and_resumed(monkeypatch, train_module, 2, CFG.batch, train)
    assert drawn == [0, 1, 2, 3, 2, 3, 4, 5]
    for file in plain.iterdir():
        assert sha256_file(watched / file.name) == sha256_file(file), file.name
    assert {path.name for path in watched.iterdir()} - {path.name for path in plain.iterdir()} == {"samples.png"}

    live = tmp_path / "live/phantom/toy-g0"
    assert list((live / "tensorboard").glob("events.*"))
    metrics = json.loads((live / "dvclive/metrics.json").read_text())
    last = (plain / "loss.csv").read_text().splitlines()[-1].split(",")
    assert metrics["step"] == CFG.steps
    assert metrics["mask"] == pytest.approx(float(last[1]), rel=1e-4)
    assert (live / "dvc.yaml").read_text().count("dvclive/plots/metrics") == 1
    assert not (tmp_path / "dvc.yaml").exists()  # it leaves the project's own alone

    assert (live / "samples.png").read_bytes() == (watched / "samples.png").read_bytes()
    sheet = np.asarray(Image.open(watched / "samples.png")).astype(int)
    assert sheet.shape == (GAP_PX + 4 * CELL, GAP_PX + 5 * CELL, 3)  # masks, and steps 2, 4, 6
    rows = [sheet[GAP_PX + row * CELL :, GAP_PX + CELL :][:96, :96] for row in range(4)]
    assert rows[0].max() == 255
    assert np.abs(rows[1] - rows[3]).max() > 0


def test_curves_are_means_of_the_steps_between_and_leave_out_terms_that_a_method_lacks():
    logged = []
    accelerator = SimpleNamespace(trackers=[], log=lambda values, step: logged.append((step, values)))
    run = SimpleNamespace(cfg=TRAINING.model_copy(update={"steps": 600}), live=None)
    state = SimpleNamespace(rows=[])
    watch = Watch(SIAMESE, run, ("mask", "image"), state, accelerator, 0, ())
    for step in range(600):
        state.rows.append([step, float(step), 0.0])
        watch.logged(step)
    assert len(logged) == 200
    assert logged[0] == (3, {"mask": 1.0})
    assert logged[-1] == (600, {"mask": 598.0})


def test_a_tracker_that_is_not_here_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setattr(trackers, "get_available_trackers", lambda: ["tensorboard"])
    monkeypatch.setenv("SIAMESE_TRACKERS", "tensorboard,comet_ml,tensorbord")
    with pytest.raises(UserError) as error:
        asked_trackers()
    assert error.value.problems[0] == "comet_ml: is not installed: pip install comet-ml"
    assert error.value.problems[1].startswith("tensorbord: is not known; known are ")
    with pytest.raises(UserError):
        watching()
    monkeypatch.setenv("SIAMESE_TRACKERS", " tensorboard,tensorboard,")
    assert asked_trackers() == ["tensorboard"]


def test_steps_between_samples_are_a_number(monkeypatch):
    assert asked_steps() == 0
    monkeypatch.setenv("SIAMESE_SAMPLES_EVERY", "-5")
    with pytest.raises(UserError, match=r"'-5'.*number of steps"):
        asked_steps()


def test_nothing_is_imported_where_nothing_is_asked_for(monkeypatch):
    monkeypatch.setenv("SIAMESE_TRACKERS", "")
    assert watching() is None


def test_samples_that_do_not_fit_the_memory_are_left_out(capsys, tmp_path):
    def full(requests):
        raise RuntimeError("CUDA error: out of memory")

    samples = Samples.__new__(Samples)
    networks = SimpleNamespace(all=tuple)
    samples.shown = SimpleNamespace(networks=networks, masks=np.zeros((1, 8, 8)), images=np.zeros((1, 8, 8, 3)))
    samples.state, samples.compiled, samples.places = SimpleNamespace(average=None), False, [0]
    samples.sampler, samples.work = SimpleNamespace(sample=full), tmp_path / "samples"
    assert samples.draw(5) is None
    assert "step 5: no samples" in capsys.readouterr().err
