"""The loss that finds the mask in the denoised latents: closed form, its bound in t, and a segmenter that stays."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from pydantic import ValidationError
from torch.nn import functional

from data.pairs.errors import UserError
from data.pairs.training import accelerator
from siamese.base.devices import seeded
from siamese.base.latents import TrainingData
from siamese.config.rows import SiameseRow
from siamese.method import layout as layout_module
from siamese.method.layout import Layout, build_layout, build_segmenter, train_segmenter
from siamese.method.loss_weights import Additions, loss_weights
from siamese.method.step import mask_step, siamese_step
from siamese.training.loop import Run
from siamese.training.train import train_generator
from tests.siamese.conftest import SIAMESE, TRAINING
from tests.siamese.method.test_host import Traffic
from tests.siamese.method.test_step import PAPER, gradients, zero

SCHEDULER = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)


def row_of(**switches) -> SiameseRow:
    return SiameseRow.model_validate({**PAPER.model_dump(), "layout_loss": 0.05, **switches})


@pytest.fixture(scope="module")
def layout():
    network = seeded(lambda: build_segmenter(4), 0).eval().requires_grad_(False)
    return Layout(network, row_of())


def step(networks, batch, layout=None):
    """Return terms and gradients of step 40 of 60."""
    zero(*networks)
    weights = loss_weights(40, 60, batch.timesteps, PAPER)._replace(additions=Additions(layout=layout))
    return siamese_step(*networks, batch, weights, 0.5), gradients(*networks)


def test_the_true_noise_has_the_loss_of_the_clean_latents(layout, make_batch):
    batch, figures = make_batch([0, 400, 401]), {}
    clean = torch.randn((3, 4, 8, 8), generator=torch.Generator().manual_seed(5), dtype=torch.float64)  # its own draw
    total = layout.loss(batch.noise, batch, figures)
    lesion = functional.interpolate((batch.mask_hint[:, :1] > 0).float(), (8, 8))
    logits = layout.network(clean.float(), batch.timesteps).sample
    missed = functional.binary_cross_entropy_with_logits(logits, lesion, reduction="none").mean((1, 2, 3))
    expected = 0.05 * (1 - batch.sigmas.square()).sqrt() * missed * torch.tensor([1, 1, 0])
    assert torch.allclose(figures["layout"].double(), expected, rtol=1e-4)
    assert total.item() == pytest.approx(expected.sum().item(), rel=1e-4)


def test_it_moves_the_generator_at_small_t_and_never_the_segmenter(layout, make_networks, make_batch):
    networks, before = make_networks(), [p.clone() for p in layout.network.parameters()]
    for timesteps in ([401, 900], [100, 900]):
        batch = make_batch(timesteps)
        terms, plain = step(networks, batch)
        found_terms, found = step(networks, batch, layout)
        same = all(torch.equal(found[key], plain[key]) for key in plain)
        assert same == (timesteps[0] > 400)
        assert (found_terms["layout"] > 0).tolist() == [timesteps[0] <= 400, False]
        assert all(torch.equal(found_terms[key], terms[key]) for key in ("mask", "image", "consistency"))
    assert all(torch.equal(a, b) for a, b in zip(before, layout.network.parameters(), strict=True))
    assert all(p.grad is None for p in layout.network.parameters())


def test_a_plain_step_has_the_loss_too(layout, make_networks, make_batch):
    networks, batch, additions = make_networks(), make_batch([100]), Additions(layout=layout)
    found = []
    for added in (None, additions):
        zero(*networks)
        mask_step(*networks, batch, 0.5, None, added)
        found.append(gradients(*networks))
    assert not all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    assert additions.figures["layout"] > 0


def squares(count: int) -> TrainingData:
    """Return latents whose first channel has the mask in it, a square of 4 cells at another place each."""
    rng, masks = torch.Generator().manual_seed(0), np.zeros((count, 32, 32), np.uint8)
    for number in range(count):
        top, left = 8 * (number % 3), 8 * (number // 3 % 3)
        masks[number, top : top + 16, left : left + 16] = 1
    mean = 0.3 * torch.randn((count, 4, 8, 8), generator=rng)
    mean[:, 0] += torch.from_numpy(masks[:, ::4, ::4]).float() * 2 - 1
    return TrainingData(
        mean, torch.zeros_like(mean), torch.zeros(2, 5, 8), np.zeros((count, 32, 32, 3), np.uint8), masks
    )


@pytest.mark.heavy
def test_a_trained_segmenter_tells_the_mask_from_another_one(make_batch):
    data, row = squares(9), row_of(layout_steps=25)
    trained = Layout(train_segmenter(data, row, SCHEDULER, 0, "cpu"), row)
    timesteps = torch.full((9,), 200)
    noise = torch.randn((9, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    sigmas = (1 - SCHEDULER.alphas_cumprod[timesteps]).sqrt()
    noisy = SCHEDULER.add_noise(data.mean, noise, timesteps)
    hints = torch.from_numpy(data.masks).float()[:, None].repeat(1, 3, 1, 1)
    batch = make_batch([200] * 9)._replace(noisy_latents=noisy, sigmas=sigmas, noise=noise, mask_hint=hints)
    own = trained.loss(noise, batch, {})
    permuted = trained.loss(noise, batch._replace(mask_hint=hints.roll(4, 0)), {})
    assert permuted > 1.5 * own, (permuted, own)


def test_the_segmenter_is_trained_once_and_read_by_a_run_that_is_resumed(tmp_path, monkeypatch):
    data, row = squares(3), row_of(layout_steps=2)
    first = build_layout(row, data, SCHEDULER, 0, tmp_path, accelerator())
    monkeypatch.setattr(layout_module, "train_segmenter", None)
    again = build_layout(row, data, SCHEDULER, 0, tmp_path, accelerator())
    state, read = first.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(state[key], read[key]) for key in state)
    assert [path.name for path in tmp_path.iterdir()] == ["layout.safetensors"]
    assert not any(p.requires_grad for p in again.network.parameters())
    assert build_layout(PAPER, data, SCHEDULER, 0, tmp_path / "unused", accelerator()) is None


def test_latents_that_do_not_fit_are_refused(tmp_path):
    data = squares(1)
    with pytest.raises(UserError, match="multiples of 4, here 6 x 8"):
        build_layout(row_of(), data._replace(mean=data.mean[:, :, :6]), SCHEDULER, 0, tmp_path, accelerator())


def test_it_reads_nothing_from_the_device(make_batch):
    batch = make_batch([100, 500])
    there = type(batch)(*(tensor.to("meta") for tensor in batch))._replace(timesteps=batch.timesteps)
    layout = Layout(build_segmenter(4).to("meta"), row_of())
    with Traffic() as traffic:
        layout.loss(there.noise, there, {})
    assert traffic.reads == []
    assert sum(p.numel() for p in layout.network.parameters()) == 289_497  # as documented


def test_a_switch_that_does_nothing_is_refused():
    with pytest.raises(ValidationError, match="layout_t_max does nothing without layout_loss above 0"):
        row_of(layout_loss=0.0, layout_t_max=300)


@pytest.mark.heavy
def test_training_logs_it_and_keeps_no_segmenter(training_data, base_dir, tmp_path):
    row = SiameseRow.model_validate({**SIAMESE.model_dump(), "layout_loss": 0.05, "layout_steps": 2})
    (tmp_path / "out").mkdir(), (tmp_path / "work").mkdir()
    cfg = TRAINING.model_copy(update={"steps": 2})
    train_generator(training_data, row, Run(cfg, base_dir, tmp_path / "out", tmp_path / "work"))
    header, *lines = (tmp_path / "out/loss.csv").read_text().splitlines()
    assert header == "step,mask,image,consistency,online,layout"
    assert sum(float(line.split(",")[5]) for line in lines) > 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json", "generator.safetensors", "loss.csv"
    ]  # fmt: skip
