"""Training: the same bytes after a crash, the same numbers in micro-batches, and what happens when memory runs out."""

import csv
import shutil
import sys

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.training import accelerator
from siamese.base.latents import check_size
from siamese.base.load import load_scheduler, load_unet
from siamese.base.training_state import TrainingState
from siamese.config.sections import SiameseRow
from siamese.method import registry as registry_module
from siamese.method.checkpoint import build_networks, load_generator
from siamese.training import train as train_module
from siamese.training.loop import Run
from siamese.training.train import draw_batch, train_generator, training_networks
from tests.contracts.imports import ROOT
from tests.siamese.conftest import CONTROLNET, ROWS, SIAMESE, TRAINING


@pytest.fixture
def train(training_data, base_dir, tmp_path):
    """Return a function that trains and returns the weights; settings are changes to TRAINING."""

    def run(name="out", row=SIAMESE, **settings) -> dict[str, torch.Tensor]:
        work, out = tmp_path / f"{name}-work", tmp_path / name
        work.mkdir(exist_ok=True), out.mkdir(exist_ok=True)
        train_generator(training_data, row, Run(TRAINING.model_copy(update=settings), base_dir, out, work))
        return load_file(out / "generator.safetensors")

    return run


def close(a, b, atol=2e-5) -> bool:
    assert a.keys() == b.keys()
    return all(torch.allclose(a[name], b[name], atol=atol) for name in a)


@pytest.mark.parametrize("name", ROWS)
def test_resuming_ends_with_the_bytes_of_an_unbroken_run(
    name, generators, training_data, base_dir, tmp_path, monkeypatch
):
    original, calls = train_module.training_step, []

    def crash(*arguments):
        calls.append(arguments[3])
        if calls == [0, 1, 2, 3]:
            raise KeyboardInterrupt
        return original(*arguments)

    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir(), out.mkdir()
    monkeypatch.setattr(train_module, "training_step", crash)
    with pytest.raises(KeyboardInterrupt):
        train_generator(training_data, ROWS[name], Run(TRAINING, base_dir, out, work))
    assert [path.name for path in work.iterdir()] == ["step-2"]
    assert list(out.iterdir()) == []
    train_generator(training_data, ROWS[name], Run(TRAINING, base_dir, out, work))
    assert calls == [0, 1, 2, 3, 2, 3, 4, 5]
    assert sha256_tree(out) == sha256_tree(generators[name])


def test_training_changes_what_is_trained_and_nothing_else(generators, base_dir):
    trained = load_generator(generators["siamese"], base_dir)
    before = load_unet(base_dir).state_dict()
    after = trained.networks.unet.state_dict()
    for name in before:
        frozen = not name.startswith(("up_blocks", "conv_norm_out", "conv_out"))
        assert torch.equal(before[name], after[name]) == frozen, name
    assert trained.networks.controlnet.controlnet_mid_block.weight.abs().sum() > 0


def test_loss_terms_are_logged(generators):
    for name, folder in generators.items():
        with (folder / "loss.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["step"]) for row in rows] == list(range(TRAINING.steps))
        assert all(float(row["mask"]) > 0 for row in rows)
        assert (float(rows[-1]["image"]) > 0) == (name == "siamese")


def test_the_gain_is_logged_where_a_gate_reads_it_and_nowhere_else(train, generators, tmp_path):
    train("gated", SIAMESE.model_copy(update={"consistency_gate": "gain", "image_weight": "constant"}), steps=2)
    header, *lines = (tmp_path / "gated/loss.csv").read_text().splitlines()
    assert header == "step,mask,image,consistency,online,gain"
    assert all(len(line.split(",")) == 6 for line in lines)
    assert (generators["siamese"] / "loss.csv").read_text().splitlines()[0] == "step,mask,image,consistency,online"


def test_losses_are_those_of_the_golden_file(generators):
    """A change that is meant to keep the numbers keeps these; others replace the file and say why in the commit."""
    golden = np.loadtxt(ROOT / "tests/golden/siamese_losses.csv", delimiter=",", skiprows=1)
    found = np.loadtxt(generators["siamese"] / "loss.csv", delimiter=",", skiprows=1)
    assert np.allclose(found, golden, rtol=1e-3, atol=1e-6)


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_term(training_data, base_dir, tmp_path):
    broken = training_data._replace(mean=training_data.mean * float("nan"))
    with pytest.raises(UserError, match="not finite at step 0") as caught:
        train_generator(broken, CONTROLNET, Run(TRAINING, base_dir, tmp_path, tmp_path))
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


@pytest.mark.heavy
def test_with_every_switch_off_siamese_is_controlnet_to_the_bit(train):
    off = {"noise_consistency": False, "online_augmentation": False}
    row = SiameseRow(method="siamese", hint="hi", hint_widths=CONTROLNET.hint_widths, **off)
    ours, theirs = train("siamese", row), train("controlnet", CONTROLNET)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_frozen_decoder_stays_as_it_was(train, base_dir):
    weights, before = (
        train(row=CONTROLNET.model_copy(update={"train_decoder": False})),
        load_unet(base_dir).state_dict(),
    )
    decoder = {k.removeprefix("unet."): v for k, v in weights.items() if k.startswith("unet.")}
    assert len(decoder) > 10
    assert all(torch.equal(before[name], value) for name, value in decoder.items())


@pytest.mark.heavy
@pytest.mark.parametrize("settings", [{"micro_batch": 1}, {"micro_batch": 2}, {"gradient_checkpointing": True}])
def test_what_saves_memory_changes_no_number(train, generators, settings):
    assert close(train(**settings), load_file(generators["siamese"] / "generator.safetensors"))


@pytest.mark.heavy
def test_too_little_memory_halves_the_micro_batch_and_keeps_the_batch(train, monkeypatch, capsys):
    expected = train("one", micro_batch=1)
    original = registry_module.siamese_step

    def small_machine(controlnet, unet, batch, weights, share):
        terms = original(controlnet, unet, batch, weights, share)  # leaves gradients behind, as a late failure would
        if len(batch.timesteps) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return terms

    monkeypatch.setattr(registry_module, "siamese_step", small_machine)
    found = train("halved")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert "now 1 pairs at a time on each, still 3 a step" in capsys.readouterr().err


def test_too_little_memory_for_one_pair_says_what_helps(train, monkeypatch):
    def tiny_machine(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(registry_module, "siamese_step", tiny_machine)
    with pytest.raises(UserError, match="one pair at a time") as caught:
        train(optimizer="adamw", ema=None)
    assert caught.value.problems[0] == "training.gradient_checkpointing: true"
    assert not any("ema" in problem for problem in caught.value.problems)


def test_averaged_weights_are_saved_in_place_of_the_last(train):
    """diffusers' EMAModel: the decay of its second update is 2 / 11, whatever the limit."""
    one, two = (train(f"plain{n}", CONTROLNET, steps=n, schedule="constant") for n in (1, 2))
    average = train("average", CONTROLNET, steps=2, schedule="constant", ema=0.999)
    expected = {k: one[k] * (2 / 11) + two[k] * (9 / 11) for k in one if k != "context"}
    assert close({k: v for k, v in average.items() if k != "context"}, expected, atol=1e-6)


def test_averages_survive_a_crash(train, monkeypatch):
    whole = train("whole", CONTROLNET, ema=0.9)
    original = train_module.training_step

    def crash(*arguments):
        if arguments[3] == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "training_step", crash)
        with pytest.raises(KeyboardInterrupt):
            train("broken", CONTROLNET, ema=0.9)
    resumed = train("broken", CONTROLNET, ema=0.9)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_the_8_bit_optimiser_says_what_it_needs(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(UserError, match="needs bitsandbytes") as caught:
        train(optimizer="adamw_8bit")
    assert "pip install bitsandbytes" in caught.value.problems


@pytest.fixture
def precision(monkeypatch):
    """Return a function that sets accelerate's precision for this process."""

    def choose(name: str) -> None:
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", name)
        AcceleratorState._reset_state(reset_partial_state=True)

    yield choose
    AcceleratorState._reset_state(reset_partial_state=True)


def test_bf16_comes_from_the_environment_and_keeps_float32_weights(train, precision, generators):
    precision("bf16")
    weights, plain = train(), load_file(generators["siamese"] / "generator.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert not close(weights, plain, atol=1e-7)
    assert close(weights, plain, atol=1.2e-2)


@pytest.mark.parametrize("kind", ["fp12", *(() if torch.cuda.is_available() else ("fp16",))])
def test_a_precision_that_cannot_be_had_is_named(train, precision, kind):
    precision(kind)
    with pytest.raises(UserError, match=f"ACCELERATE_MIXED_PRECISION is {kind}") as caught:
        train()
    assert "no, bf16, fp16" in caught.value.problems[0]


def test_a_loss_scale_survives_in_the_checkpoint_and_overflow_skips_the_step(base_dir, tmp_path):
    """What fp16 adds, with a scaler that works on the CPU."""
    networks = training_networks(CONTROLNET, TRAINING, base_dir, torch.device("cpu"))

    def begin() -> TrainingState:
        return TrainingState(networks.all(), networks.saved(), TRAINING, accelerator(), None)

    state = begin()
    state.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    before = [parameter.detach().clone() for parameter in state.parameters]

    def fill(value: float) -> None:
        state.scaler.scale(torch.ones(()))
        for parameter in state.parameters:
            parameter.grad = torch.full_like(parameter, value)

    fill(float("inf"))
    state.update()
    assert all(torch.equal(a, b) for a, b in zip(before, state.parameters, strict=True))
    assert state.scaler.get_scale() == 32.0
    fill(32.0)
    state.update()
    assert not any(torch.equal(a, b) for a, b in zip(before, state.parameters, strict=True))
    state.save(tmp_path, 2)
    again = begin()
    again.scaler = torch.amp.GradScaler("cpu")
    assert again.resume(tmp_path) == 2
    assert again.scaler.get_scale() == 32.0


@pytest.mark.slow
def test_compiled_blocks_train_to_the_same_numbers(train, generators):
    assert close(train(compile=True), load_file(generators["siamese"] / "generator.safetensors"), atol=1e-4)


def test_every_block_and_the_hint_encoder_are_compiled(base_dir):
    networks = training_networks(SIAMESE, TRAINING.model_copy(update={"compile": True}), base_dir, torch.device("cpu"))
    controlnet, unet = networks.controlnet, networks.unet
    parts = [controlnet.controlnet_cond_embedding, controlnet.mid_block, unet.mid_block]
    parts += [*controlnet.down_blocks, *unet.down_blocks, *unet.up_blocks]
    assert all(part._compiled_call_impl is not None for part in parts)


def test_averages_are_taken_by_one_call_on_a_gpu_alone(base_dir):
    """On the CPU one call rounds otherwise, and the numbers there stay what they were."""
    networks = training_networks(SIAMESE, TRAINING, base_dir, torch.device("cpu"))
    assert not TrainingState(networks.all(), networks.saved(), TRAINING, accelerator(), 0.9).average.foreach
    there = torch.nn.Linear(1, 1, device="meta")
    assert TrainingState([there], {"there": there}, TRAINING, accelerator(), 0.9).average.foreach


def test_networks_are_built_without_the_weights_of_the_vae(base_dir, tmp_path):
    shutil.copytree(base_dir, tmp_path / "base")
    for weights in (tmp_path / "base/vae").glob("*.safetensors"):
        weights.unlink()
    build_networks(SIAMESE, tmp_path / "base")
    for weights in (tmp_path / "base/unet").glob("*.safetensors"):
        weights.unlink()
    check_size(tmp_path / "base", 32)
    with pytest.raises(UserError, match="multiple of 4 px"):
        check_size(tmp_path / "base", 33)
