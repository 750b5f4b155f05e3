"""Learned weights of the cells: their bounds, their optimum in closed form, whose gradients go where, and resuming."""

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from siamese.config.rows import SiameseRow
from siamese.method.control import (
    Condition,
    decoder_features,
    encoded_hint,
    predicted_noise,
    summed_residuals,
    unet_encode,
)
from siamese.method.law import LAW_FIGURES, Law, LawNetwork, bounded, objective, prior_of, region_means
from siamese.method.loss_weights import Additions, loss_weights
from siamese.method.registry import training_step
from siamese.method.reweight import adaptive_weights
from siamese.method.step import siamese_step
from siamese.training import train as train_module
from siamese.training.loop import Run
from siamese.training.train import train_generator
from tests.siamese.conftest import CONTROLNET, TRAINING
from tests.siamese.method.test_host import Traffic
from tests.siamese.method.test_step import PAPER, gradients, worst_difference, zero

STEPS = 250


def row_of(**switches) -> SiameseRow:
    return SiameseRow.model_validate({**PAPER.model_dump(), "loss_reweight": "law", **switches})


def law_of(seed: int | None = None, **switches) -> Law:
    """Return a law for the networks of make_networks; with a seed its output is no longer 0."""
    torch.manual_seed(seed or 0)
    network = LawNetwork(8).double()
    if seed is not None:
        network.out.weight.data.normal_()
    return Law(network, row_of(**switches))


def lesions(*cells: int) -> torch.Tensor:
    """Return masks of 8 x 8 with so many cells of lesion."""
    return (torch.arange(64).expand(len(cells), 64) < torch.tensor(cells)[:, None]).double().view(-1, 1, 8, 8)


def masked(batch, lesion):
    """Return a batch with these masks; its hints are twice as large as its latents."""
    return batch._replace(mask_hint=lesion.repeat(1, 3, 1, 1).repeat_interleave(2, 2).repeat_interleave(2, 3))


def step(networks, batch, law=None, **weights):
    """Return terms and gradients of step 40 of 60."""
    zero(*networks)
    asked = loss_weights(40, 60, batch.timesteps, PAPER)._replace(additions=Additions(law=law), **weights)
    return siamese_step(*networks, batch, asked, 0.5), gradients(*networks)


@pytest.mark.parametrize("prior", ["uniform", "ratio"])
@pytest.mark.parametrize("ratio", [1.5, 16.0])
def test_weights_have_mean_one_and_are_bounded(prior, ratio):
    row, lesion = row_of(law_prior=prior, law_ratio=ratio), lesions(0, 1, 4, 32, 63, 64)
    output = 100 * torch.randn(6, 1, 8, 8, dtype=torch.float64)
    start = prior_of(row, lesion)
    weights = bounded(row, output, start)
    assert weights.mean((1, 2, 3)).tolist() == pytest.approx([1] * 6, abs=1e-6)
    assert (weights.amax((1, 2, 3)) / weights.amin((1, 2, 3))).max() <= ratio * (1 + 1e-9)
    assert torch.allclose(bounded(row, torch.zeros_like(output), start), start, rtol=1e-12)
    assert torch.equal(start[[0, 5]], torch.ones(2, 1, 8, 8).double())  # empty and full


def test_the_first_step_of_a_uniform_prior_is_the_plain_one_to_the_bit(make_networks, make_batch):
    networks, batch = make_networks(), make_batch([100, 500])
    terms, plain = step(networks, batch)
    learned, found = step(networks, batch, law_of(law_prior="uniform"))
    assert all(torch.equal(found[key], plain[key]) for key in plain)
    assert all(torch.equal(learned[key], terms[key]) for key in terms)
    assert learned.keys() - terms.keys() == set(LAW_FIGURES)
    assert all(torch.equal(learned[key], torch.ones(2).double()) for key in LAW_FIGURES)


def test_all_pull_to_the_prior_is_arsdm_normalised(make_networks, make_batch):
    networks, batch = make_networks(), masked(make_batch([100, 950]), lesions(3, 20))
    arsdm = adaptive_weights(lesions(3, 20), normalize=True)
    _, expected = step(networks, batch, lesion=arsdm)
    _, found = step(networks, batch, law_of(law_tau=1e6, law_ratio=1e4))
    assert worst_difference(found, expected) < 1e-4


@pytest.mark.heavy
@pytest.mark.parametrize(("how", "tau", "expected"), [("max", 1.0, 5.77), ("min", 1.0, 0.173), ("max", 0.0, 16.0)])
def test_the_trained_weights_are_those_of_the_closed_form(how, tau, expected):
    """Lesion 7 %, mean loss .30 in it and .10 outside: w_lesion / w_background; no pull lets it run to the bound."""
    torch.manual_seed(0)
    row = row_of(law_objective=how, law_tau=tau, law_prior="uniform")
    lesion = torch.zeros(2, 1, 10, 10)
    lesion[:, :, 3:6, 3:5], lesion[:, :, 3, 5] = 1, 1
    network, features, level = LawNetwork(4), torch.zeros(2, 4, 10, 10), torch.zeros(2)
    prior, means = prior_of(row, lesion), torch.where(lesion > 0, 0.3, 0.1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, STEPS)
    for _ in range(STEPS):
        errors = means * (0.5 + torch.rand_like(means))
        optimizer.zero_grad()
        objective(row, bounded(row, network(features, lesion, level), prior), prior, errors).sum().backward()
        optimizer.step()
        schedule.step()
    weights = bounded(row, network(features, lesion, level), prior).detach()
    found = weights[lesion > 0].mean() / weights[lesion == 0].mean()
    assert found.item() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("prior", ["uniform", "ratio"])
def test_an_even_loss_leaves_the_prior(prior):
    """J has its minimum there: no gradient at the start."""
    row, lesion = row_of(law_prior=prior), lesions(4, 0)
    output = torch.zeros_like(lesion).requires_grad_()
    start = prior_of(row, lesion)
    objective(row, bounded(row, output, start), start, torch.full_like(lesion, 0.3)).sum().backward()
    assert output.grad.abs().max() < 1e-12


def test_neither_network_learns_from_the_loss_of_the_other(make_batch):
    law, batch = law_of(3), make_batch([100, 500])
    features = torch.randn(2, 8, 8, 8, dtype=torch.float64, requires_grad=True)
    pred = torch.randn(2, 4, 8, 8, dtype=torch.float64, requires_grad=True)
    weights = law.learn(features, pred, batch, 0.5, {})
    assert not weights.requires_grad
    assert features.grad is None
    assert pred.grad is None
    before = [p.grad.clone() for p in law.network.parameters()]
    assert all(gradient.any() for gradient in before)
    (weights * pred).sum().backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(before, law.network.parameters(), strict=True))


def test_weights_of_the_mask_branch_count_in_all_three_losses(make_networks, make_batch):
    networks, batch, law = make_networks(), masked(make_batch([100, 500]), lesions(3, 20)), law_of(3)
    controlnet, unet = networks
    with torch.no_grad():
        features = unet_encode(unet, batch.noisy_latents, batch.timesteps, batch.context)
        condition = Condition((encoded_hint(controlnet, batch.mask_hint),))
        residuals = summed_residuals(condition, batch.noisy_latents, batch.timesteps, batch.context)
        decoded = decoder_features(unet, features, residuals, batch.context)
    weights = law.learn(decoded, predicted_noise(unet, decoded), batch, 0.5, {})
    expected, by_hand = step(networks, batch, lesion=weights)
    terms, found = step(networks, batch, law)
    assert worst_difference(found, by_hand) < 1e-10
    assert all(torch.allclose(terms[key], expected[key], rtol=1e-10) for key in expected)
    assert terms["online"][0] > 0


def test_a_step_needs_the_network(make_batch):
    with pytest.raises(ValueError, match="needs its segmenter"):
        training_step(None, row_of(loss_reweight="none", layout_loss=0.05), make_batch([1]), 0, 1, 1.0)
    with pytest.raises(ValueError, match="needs its network"):
        training_step(None, row_of(), make_batch([1]), 0, 1, 1.0)


def test_timesteps_without_trust_have_the_prior_and_order_changes_nothing(make_batch):
    batch = masked(make_batch([49, 50, 900, 901]), lesions(4, 4, 4, 4))
    features = torch.randn(4, 8, 8, 8, dtype=torch.float64)
    law, turned = law_of(3), type(batch)(*(tensor.flip(0) for tensor in batch))
    weights = law.learn(features, batch.noise.flip(0), batch, 0.5, {})
    prior = prior_of(law.row, lesions(4, 4, 4, 4))
    assert [torch.equal(w, p) for w, p in zip(weights, prior, strict=True)] == [True, False, False, True]
    again = law.learn(features.flip(0), batch.noise, turned, 0.5, {})
    assert torch.allclose(again.flip(0), weights, rtol=1e-12)


def test_regions_have_their_own_means_and_empty_ones_count_as_one():
    weights = torch.full((2, 1, 16, 16), 2.0)
    lesion = torch.zeros(2, 1, 16, 16)
    lesion[0, 0, 8, 8] = 1
    weights[0, 0, 8, 8], weights[0, 0, 5, 5], weights[0, 0, 0, 0] = 5.0, 51.0, 9.0
    means = region_means(weights, lesion)
    assert means["w_lesion"].tolist() == [5.0, 1.0]
    assert means["w_band"].tolist() == pytest.approx([2 + 49 / 48, 1.0])  # 7 x 7 cells about the lesion
    assert means["w_outside"].tolist() == pytest.approx([2 + 7 / 207, 2.0])


def test_weights_are_learned_without_reading_from_the_device(make_batch):
    law = law_of(3)
    law.network.to("meta")
    batch = make_batch([100, 500])
    there = type(batch)(*(tensor.to("meta") for tensor in batch))._replace(timesteps=batch.timesteps)
    with Traffic() as traffic:
        law.learn(torch.empty(2, 8, 8, 8, device="meta"), there.noise, there, 0.5, {})
    assert traffic.reads == []
    assert traffic.to_device == 1


def test_the_network_has_the_documented_size():
    assert sum(p.numel() for p in LawNetwork(320).parameters()) == 20_033


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        ({"loss_reweight": "none", "law_tau": 2.0}, "law_tau does nothing without loss_reweight: law"),
        ({"reweight_normalize": True}, "reweight_normalize does nothing with loss_reweight: law"),
        ({"law_t": (900, 50)}, "the first timestep 900 is behind the last one 50"),
    ],
)
def test_switches_that_do_nothing_are_refused(switches, said):
    with pytest.raises(ValidationError, match=said):
        row_of(**switches)


@pytest.mark.heavy
def test_a_resumed_run_ends_with_the_bytes_of_an_unbroken_one_and_keeps_no_law(
    training_data, base_dir, tmp_path, monkeypatch
):
    row = CONTROLNET.model_copy(update={"loss_reweight": "law", "law_t": (0, 999)})
    cfg, original = TRAINING.model_copy(update={"steps": 3}), train_module.training_step

    def train(name: str) -> dict[str, torch.Tensor]:
        work, out = tmp_path / f"{name}-work", tmp_path / name
        work.mkdir(exist_ok=True), out.mkdir(exist_ok=True)
        train_generator(training_data, row, Run(cfg, base_dir, out, work))
        return load_file(out / "generator.safetensors")

    def crash(*arguments):
        if arguments[3] == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    whole = train("whole")
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "training_step", crash)
        with pytest.raises(KeyboardInterrupt):
            train("broken")
    resumed = train("broken")
    assert {name.split(".")[0] for name in whole} == {"controlnet", "unet", "context"}
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    log = (tmp_path / "whole/loss.csv").read_text()
    assert log == (tmp_path / "broken/loss.csv").read_text()
    header, first, *_, last = log.splitlines()
    assert header == "step,mask,image,consistency,online,w_lesion,w_band,w_outside"
    assert first.split(",")[5:] != last.split(",")[5:]
