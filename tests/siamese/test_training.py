"""Training and sampling: the same bytes after a crash, in any batch, on any number of processes."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.pairs.config import RealMasks
from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.manifest import read_pairs
from data.pairs.masks import write_masks
from siamese import train as train_module
from siamese.base import load_scheduler, load_unet, load_vae
from siamese.checkpoint import load_generator
from siamese.sample import denoise, sample_images, start_noise
from siamese.train import draw_batch, train_generator
from tests.contracts.imports import ROOT
from tests.siamese.conftest import CONTROLNET, SAMPLING, SIAMESE, TRAINING

ROWS = {"controlnet": CONTROLNET, "siamese": SIAMESE}


@pytest.fixture(scope="session")
def generators(tmp_path_factory, training_data, base_dir):
    folders = {}
    for name, row in ROWS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        train_generator(training_data, row, TRAINING, base_dir, folders[name], tmp_path_factory.mktemp("work"))
    return folders


@pytest.mark.parametrize("name", ROWS)
def test_resuming_ends_with_the_bytes_of_an_unbroken_run(
    name, generators, training_data, base_dir, tmp_path, monkeypatch
):
    original, calls = train_module.loss_weights, []

    def crash(*arguments):
        calls.append(arguments[0])
        if calls == [0, 1, 2, 3]:
            raise KeyboardInterrupt
        return original(*arguments)

    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir(), out.mkdir()
    monkeypatch.setattr(train_module, "loss_weights", crash)
    with pytest.raises(KeyboardInterrupt):
        train_generator(training_data, ROWS[name], TRAINING, base_dir, out, work)
    assert [path.name for path in work.iterdir()] == ["step-2"]
    assert list(out.iterdir()) == []
    train_generator(training_data, ROWS[name], TRAINING, base_dir, out, work)
    assert calls == [0, 1, 2, 3, 2, 3, 4, 5]
    assert sha256_tree(out) == sha256_tree(generators[name])


def test_training_changes_what_is_trained_and_nothing_else(generators, base_dir):
    trained = load_generator(generators["siamese"], base_dir)
    before = load_unet(base_dir).state_dict()
    after = trained.unet.state_dict()
    for name in before:
        frozen = not name.startswith(("up_blocks", "conv_norm_out", "conv_out"))
        assert torch.equal(before[name], after[name]) == frozen, name
    assert trained.controlnet.controlnet_mid_block.weight.abs().sum() > 0


def test_loss_terms_are_logged(generators):
    for name, folder in generators.items():
        with (folder / "loss.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["step"]) for row in rows] == list(range(TRAINING.steps))
        assert all(float(row["mask"]) > 0 for row in rows)
        assert (float(rows[-1]["image"]) > 0) == (name == "siamese")


def test_losses_are_those_of_the_golden_file(generators):
    """A change that is meant to keep the numbers keeps these; others replace the file and say why in the commit."""
    golden = np.loadtxt(ROOT / "tests/golden/siamese_losses.csv", delimiter=",", skiprows=1)
    found = np.loadtxt(generators["siamese"] / "loss.csv", delimiter=",", skiprows=1)
    assert np.allclose(found, golden, rtol=1e-3, atol=1e-6)


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_term(training_data, base_dir, tmp_path):
    broken = training_data._replace(mean=training_data.mean * float("nan"))
    with pytest.raises(UserError, match="not finite at step 0") as caught:
        train_generator(broken, CONTROLNET, TRAINING, base_dir, tmp_path, tmp_path)
    assert caught.value.problems[0].startswith("mask: nan")


def test_a_checkpoint_never_loads_as_another_kind(generators, base_dir, tmp_path):
    for name, other in (("siamese", "controlnet"), ("controlnet", "siamese")):
        folder = tmp_path / name
        shutil.copytree(generators[name], folder)
        shutil.copy(generators[other] / "config.json", folder)
        with pytest.raises(UserError, match="of another generator"):
            load_generator(folder, base_dir)


def test_a_generator_of_another_base_model_is_refused(generators, base_dir, tmp_path):
    shutil.copytree(base_dir, tmp_path / "base")
    info = (tmp_path / "base/base.json").read_text()
    (tmp_path / "base/base.json").write_text(info.replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(UserError, match="was trained on the base model"):
        load_generator(generators["siamese"], tmp_path / "base")


def test_draws_depend_on_the_position_alone(training_data, base_dir):
    scheduler = load_scheduler(base_dir)
    whole = draw_batch(training_data, [0, 1, 2], [7, 8, 9], scheduler, TRAINING)
    part = draw_batch(training_data, [2], [9], scheduler, TRAINING)
    assert all(torch.equal(a[2:], b) for a, b in zip(whole, part, strict=True))


def test_ddim_visits_the_documented_timesteps(base_dir):
    scheduler = load_scheduler(base_dir)
    scheduler.set_timesteps(50)
    assert scheduler.timesteps[:2].tolist() == [981, 961]
    assert scheduler.timesteps[-1] == 1
    assert scheduler.final_alpha_cumprod == scheduler.alphas_cumprod[0]


@pytest.fixture
def masks(real, tmp_path):
    write_masks(real, "real", RealMasks(kind="real", copies=1), tmp_path / "masks")
    return read_pairs(tmp_path / "masks/1")


def draw(masks, folder, base_dir, images, cfg=SAMPLING):
    trained = load_generator(folder, base_dir)
    sample_images(masks, trained, load_vae(base_dir), load_scheduler(base_dir), cfg, images, {"generator": "x"})
    return {path.name: np.asarray(Image.open(path)).astype(int) for path in sorted(images.iterdir())}


def test_samples_depend_on_neither_batch_nor_order(masks, generators, base_dir, tmp_path):
    two = draw(masks, generators["siamese"], base_dir, tmp_path / "two")
    one = draw(masks, generators["siamese"], base_dir, tmp_path / "one", SAMPLING.model_copy(update={"batch": 1}))
    assert two.keys() == one.keys()
    assert max(np.abs(two[name] - one[name]).max() for name in two) <= 1
    assert len({image.tobytes() for image in one.values()}) == len(masks)


def test_an_interrupted_run_ends_with_the_bytes_of_an_unbroken_one(masks, generators, base_dir, tmp_path):
    draw(masks, generators["siamese"], base_dir, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    names = sorted(path.name for path in (tmp_path / "broken").iterdir())
    (tmp_path / "broken" / names[3]).unlink()
    kept = (tmp_path / "broken" / names[0]).stat().st_mtime_ns
    draw(masks, generators["siamese"], base_dir, tmp_path / "broken")
    assert sha256_tree(tmp_path / "broken") == sha256_tree(tmp_path / "whole")
    assert (tmp_path / "broken" / names[0]).stat().st_mtime_ns == kept


def test_guidance_one_needs_no_second_half_and_more_changes_the_image(masks, generators, base_dir):
    trained, scheduler = load_generator(generators["siamese"], base_dir), load_scheduler(base_dir)
    noise = start_noise(0, ["a"], (4, 16, 16))
    hints = torch.rand(1, 3, 32, 32)
    same = trained._replace(context=trained.context[:1].repeat(2, 1, 1))
    plain = denoise(trained, scheduler, noise, hints, SAMPLING.model_copy(update={"guidance": 1.0}))
    assert torch.allclose(denoise(same, scheduler, noise, hints, SAMPLING), plain, atol=1e-4)
    strong = SAMPLING.model_copy(update={"guidance": 9.0})
    assert not torch.allclose(denoise(trained, scheduler, noise, hints, strong), plain, atol=1e-3)


def test_images_say_what_made_them(masks, generators, base_dir, tmp_path):
    draw(masks, generators["siamese"], base_dir, tmp_path / "images")
    text = Image.open(tmp_path / "images" / f"{masks.pairs[0].id}.png").text
    assert text["mask"] == masks.pairs[0].id
    assert text["generator"] == "x"
    assert int(text["seed"]) > 0


PARALLEL = """
import sys
from pathlib import Path
from data.pairs.manifest import read_pairs
from siamese.latents import load_training_data
from siamese.train import train_generator
from tests.siamese.conftest import SIAMESE, TRAINING
real, latents, base, out = map(Path, sys.argv[1:])
work = out.with_name("work"); work.mkdir(exist_ok=True); out.mkdir(exist_ok=True)
train_generator(load_training_data(read_pairs(real), latents), SIAMESE, TRAINING, base, out, work)
"""


def test_two_processes_train_the_same_generator(real, base_dir, generators, tmp_path):
    from safetensors.torch import load_file

    from siamese.latents import cache_latents

    (tmp_path / "latents").mkdir()
    cache_latents(real, "a polyp", base_dir, tmp_path / "latents")
    (tmp_path / "run.py").write_text(PARALLEL)
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", str(tmp_path / "run.py")]
    command += [str(path) for path in (real.folder, tmp_path / "latents", base_dir, tmp_path / "out")]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ours = load_file(Path(tmp_path / "out/generator.safetensors"))
    theirs = load_file(generators["siamese"] / "generator.safetensors")
    assert all(torch.allclose(ours[name], theirs[name], atol=2e-5) for name in theirs)
