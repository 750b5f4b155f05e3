"""ArSDM trained at toy size: it learns, resumes to the byte, refines as its row says, and loads strictly."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch

from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.prepare.config import PhantomDataset
from data.prepare.prepare import prepare
from siamese.arsdm import train as train_module
from siamese.arsdm.denoise import noise_schedule
from siamese.arsdm.network import build_network, load_network
from siamese.arsdm.sampler import load_pixel_sampler
from siamese.arsdm.step import add_step_gradients, draw_batch
from siamese.arsdm.train import train_arsdm
from siamese.base.latents import PixelData
from siamese.config.sections import TrainingConfig
from siamese.sampling.requests import Request
from siamese.training.loop import Run
from tests.siamese.arsdm.test_arsdm import TINY
from tests.siamese.conftest import SAMPLING, killed_and_resumed

CFG = TrainingConfig(
    steps=6, batch=3, lr=1e-3, weight_decay=1e-2, schedule="one_cycle", prompt_dropout=0.0, checkpoint_steps=2, seed=0
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Return images and masks of eight phantoms of 32 px."""
    row = PhantomDataset(kind="phantom", path="x", size_px=32, prompt="", train=8, test=4, seed=0)
    real = prepare(row, tmp_path_factory.mktemp("data") / "phantom")["train"]
    return real.images(), real.masks()


def segmenter_loss(images, masks):
    """Return a loss that each sample has on its own, lowest where red is high inside the mask and low outside."""
    return torch.nn.functional.binary_cross_entropy_with_logits(images[:, :1] * 4 - 2, masks)


@pytest.fixture
def run(pairs, tmp_path):
    """Return a function that fits and returns the folder; settings are changes to TINY or to CFG."""

    def fit_in(name, *, refinement=None, images=pairs[0], masks=pairs[1], **settings):
        work, out = tmp_path / f"{name}-work", tmp_path / name
        work.mkdir(exist_ok=True), out.mkdir(exist_ok=True)
        of_training = ("steps", "batch", "lr", "micro_batch", *(k for k in settings if not hasattr(TINY, k)))
        row = TINY.model_copy(update={k: v for k, v in settings.items() if k not in of_training})
        cfg = CFG.model_copy(update={k: v for k, v in settings.items() if k in of_training})
        train_arsdm(PixelData(images, masks), row, Run(cfg, tmp_path, out, work), refinement)
        return out

    return fit_in


@pytest.fixture(scope="module")
def trained(pairs, tmp_path_factory):
    out = tmp_path_factory.mktemp("arsdm")
    train_arsdm(PixelData(*pairs), TINY, Run(CFG, out, out, tmp_path_factory.mktemp("work")))
    return out


def load(folder):
    """Return the sampler of a folder; ArSDM reads neither a base model nor the sampling section."""
    return load_pixel_sampler(folder, folder, SAMPLING)


def sampled(sampler, masks, seeds):
    """Return images uint8 (B, H, W, 3)."""
    requests = [Request(str(seed), mask, seed) for mask, seed in zip(masks, seeds, strict=True)]
    return np.stack(list(sampler.sample(requests)))


def losses(folder, name="noise"):
    with (folder / "loss.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def weights(folder):
    return load_network(folder)[0].state_dict()


@pytest.mark.heavy
def test_the_loss_falls_on_eight_phantoms(run):
    found = losses(run("long", steps=60, batch=4, lr=5e-3, norm_groups=1, reweight_normalize=True))
    assert found[0] == pytest.approx(np.sqrt(2 / np.pi), abs=0.1)  # |eps| of a normal: nothing is predicted yet
    assert np.mean(found[-15:]) < 0.75 * np.mean(found[:5])


def test_resuming_ends_with_the_bytes_of_an_unbroken_run(trained, run, monkeypatch):
    folder, drawn = killed_and_resumed(monkeypatch, train_module, 3, CFG.batch, lambda: run("again"))
    assert sha256_tree(folder) == sha256_tree(trained)
    assert drawn == [0, 1, 2, 3, 2, 3, 4, 5]


def test_micro_batches_do_not_change_the_weights(trained, run):
    whole, parts = weights(trained), weights(run("parts", micro_batch=1))
    assert all(torch.allclose(whole[name], parts[name], atol=2e-5) for name in whole)


def test_draws_depend_on_the_position_alone(pairs):
    whole = draw_batch(*pairs, [0, 1, 2], [7, 8, 9], noise_schedule(), 0)
    last = draw_batch(*pairs, [2], [9], noise_schedule(), 0)
    assert torch.equal(whole.noisy[2:], last.noisy)
    assert whole.timesteps[2] == last.timesteps[0]
    assert whole.seeds[2:] == last.seeds


def test_masks_of_255_are_masks_of_1(pairs):
    first, second = (draw_batch(pairs[0], masks, [0], [0], noise_schedule(), 0) for masks in (pairs[1], pairs[1] * 255))
    assert torch.equal(first.masks, second.masks)
    assert set(first.masks.unique().tolist()) == {0.0, 1.0}


@pytest.fixture
def gradients(pairs):
    """Return a function that gives the gradients of one step on three pairs, and its terms, for a row's settings."""

    def compute(refinement=None, masks=pairs[1], **settings):
        row = TINY.model_copy(update=settings)
        network = build_network(row)
        torch.nn.init.normal_(network.conv_out.weight, generator=torch.Generator().manual_seed(0), std=0.1)
        batch = draw_batch(pairs[0], masks, [0, 1, 2], [0, 1, 2], noise_schedule(), 0)
        terms = add_step_gradients(network, batch, noise_schedule(), row, torch.tensor(1 / 3), refinement)
        return torch.cat([p.grad.flatten() for p in network.parameters()]), terms, batch

    return compute


def test_one_step_refinement_reaches_the_network(gradients):
    plain, terms, _ = gradients()
    refined, with_loss, _ = gradients(segmenter_loss, refine="one_step", refine_t_max=999)
    assert terms[0] == with_loss[0]
    assert with_loss[1] > 0
    assert (refined - plain).norm() > 1e-3 * plain.norm()


def test_one_step_refinement_takes_samples_of_little_noise_alone(gradients):
    seen = []

    def watch(images, masks):
        seen.append(len(images))
        return segmenter_loss(images, masks)

    limit = int(gradients()[2].timesteps.sort().values[1])
    gradients(watch, refine="one_step", refine_t_max=limit)
    assert seen.pop() == 2  # of three
    plain, _, batch = gradients()
    refined, terms, _ = gradients(watch, refine="one_step", refine_t_max=int(batch.timesteps.min()) - 1)
    assert torch.equal(plain, refined)
    assert terms[1] == 0
    assert not seen


def test_the_refiners_gradient_is_in_full_precision_as_its_loss(pairs):
    """Under bf16: what reaches the images is the gradient that the loss has by itself, to the bit."""
    row = TINY.model_copy(update={"refine": "one_step", "refine_t_max": 999})
    weight = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    seen = []

    def program(images, masks):
        return (images.flatten(2).transpose(1, 2) @ weight).square().mean()

    def loss(images, masks):  # as siamese.arsdm.train.load_refinement
        images.retain_grad()
        seen.append(images)
        with torch.autocast("cpu", enabled=False):
            return program(images.float(), masks.float())

    batch = draw_batch(*pairs, [0, 1, 2], [0, 1, 2], noise_schedule(), 0)
    with torch.autocast("cpu", torch.bfloat16):
        add_step_gradients(build_network(row), batch, noise_schedule(), row, torch.tensor(1.0), loss)
    alone = seen[0].detach().requires_grad_()
    (expected,) = torch.autograd.grad(program(alone, batch.masks) * 3 * row.refine_weight, alone)
    assert torch.equal(seen[0].grad, expected)


def test_the_official_refinement_is_a_constant(gradients, run):
    plain = gradients()[0]
    refined, terms, _ = gradients(segmenter_loss, refine="official_noop", refine_sample_steps=2)
    assert torch.equal(plain, refined)
    assert terms[1] > 0


def test_refinement_starts_with_its_share_of_the_steps(trained, run):
    settings = {"refine_share": 0.3, "refine_sample_steps": 2, "refine_t_max": 999}
    constant = run("noop", refinement=segmenter_loss, refine="official_noop", **settings)
    assert [loss > 0 for loss in losses(constant, "refinement")] == [False] * 4 + [True] * 2
    assert sha256_tree(constant / "generator.safetensors") == sha256_tree(trained / "generator.safetensors")
    active = run("active", refinement=segmenter_loss, refine="one_step", **settings)
    assert losses(active)[:5] == losses(trained)[:5]
    assert sha256_tree(active / "generator.safetensors") != sha256_tree(trained / "generator.safetensors")


def test_an_empty_mask_teaches_nothing_unless_weights_are_normalised(gradients, pairs):
    empty = np.zeros_like(pairs[1])
    assert not gradients(masks=empty)[0].any()
    assert gradients(masks=empty, reweight_normalize=True)[0].any()


def test_what_cannot_be_trained_is_refused(run, pairs):
    with pytest.raises(UserError, match="one_step needs a trained segmenter"):
        run("alone", refine="one_step")
    with pytest.raises(UserError, match="31 x 32 px do not fit 2 levels"):
        run("odd", images=pairs[0][:, :31], masks=pairs[1][:, :31])
    with pytest.raises(UserError, match="not finite at step 4") as caught:
        run("nan", refinement=lambda images, masks: images.mean() * np.nan, refine="one_step", refine_share=0.3,
            refine_t_max=999)  # fmt: skip
    assert caught.value.problems == ("refinement: nan",)


def test_an_image_depends_on_its_seed_and_mask_alone(run, pairs):
    sampler = load(run("sampler", steps=20, lr=1e-2, ema=None))
    masks = pairs[1][:3]
    whole = sampled(sampler, masks, [1, 2, 3])
    assert whole.shape == (3, 32, 32, 3)
    assert whole.dtype == np.uint8
    for index in range(3):
        alone = sampled(sampler, masks[index : index + 1], [index + 1])
        assert np.abs(whole[index].astype(int) - alone[0]).max() <= 1  # rounding of the last digit
    assert (sampled(sampler, masks[:1], [9]) != whole[:1]).mean() > 0.5
    assert (sampled(sampler, masks[1:2], [1]) != whole[:1]).any()
    with pytest.raises(UserError, match="32 x 33 px do not fit"):
        sampled(sampler, np.zeros((1, 32, 33), np.uint8), [0])


def test_what_is_sampled_are_the_averaged_weights(trained, run):
    plain = weights(run("plain", ema=None))
    averaged = weights(trained)
    start = build_network(TINY, train_module.item_seed(CFG.seed, "weights")).state_dict()
    distance = [sum((w[name] - start[name]).square().sum() for name in start) for w in (averaged, plain)]
    assert 0 < distance[0] < distance[1]


def test_another_method_or_network_never_loads(trained, tmp_path):
    config = json.loads((trained / "config.json").read_text())

    def folder_with(**generator):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(trained, folder)
        (folder / "config.json").write_text(json.dumps(config | {"generator": config["generator"] | generator}))
        return folder

    assert load_network(folder_with())[1] == TINY
    with pytest.raises(UserError, match="damaged") as caught:
        load(folder_with(method="siamese"))
    assert "Input should be 'arsdm'" in caught.value.problems[0]
    with pytest.raises(UserError, match="is not of the network"):
        load(folder_with(width=16))
    with pytest.raises(UserError, match="damaged"):
        load(folder_with(unheard_of=1))
    damaged = folder_with()
    (damaged / "generator.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match="damaged"):
        load(damaged)
    with pytest.raises(UserError, match="no trained generator"):
        load(tmp_path / "nowhere")
