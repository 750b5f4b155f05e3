"""ArSDM's network, weights and schedule: closed forms, and diffusers' own blocks as the oracle."""

from functools import partial

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from data.pairs.devices import accelerator
from siamese.arsdm.denoise import denoise, noise_schedule
from siamese.arsdm.network import BlindNorm, ResBlock, Spade, SpadeUNet, double, halve
from siamese.arsdm.step import clean_images, denoising_loss
from siamese.arsdm.train import begin
from siamese.config.arsdm import ArsdmRow
from siamese.config.sections import TrainingConfig
from siamese.method.reweight import adaptive_weights

TINY = ArsdmRow(
    method="arsdm", width=8, multipliers=(1, 2), blocks=1, attention_factors=(2,), head_width=8, norm_groups=2,
    spade_width=4, ema=0.9, sample_steps=3,
)  # fmt: skip


@pytest.fixture
def network():
    """Return a float64 network whose zero layers are no longer zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SpadeUNet(TINY).double()
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return network


@pytest.fixture
def batch():
    """Return images, timesteps and two different masks, for two samples of 8 px."""
    rng = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 8, 8, generator=rng, dtype=torch.float64)
    masks = (torch.rand(2, 2, 1, 8, 8, generator=rng) > 0.5).double()
    return images, torch.tensor([3, 700]), masks[0], masks[1]


def test_the_default_row_has_the_published_size_and_cost():
    """652.0 M weights and 3860 GMAC at 384 px were counted on the official network (spec/generators.md)."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), counter, torch.no_grad():
        network = SpadeUNet(ArsdmRow(method="arsdm"))
        network(torch.zeros(1, 3, 384, 384), torch.zeros(1), torch.zeros(1, 1, 384, 384))
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 652.0
    assert round(counter.get_total_flops() / 2e9) == 3860


@pytest.mark.parametrize(("resample", "flags"), [(None, {}), (halve, {"down": True}), (double, {"up": True})])
def test_a_blind_block_is_that_of_diffusers(resample, flags):
    ours = ResBlock(4, 6, 5, partial(BlindNorm, 2, eps=1e-5), resample)
    oracle = ResnetBlock2D(
        in_channels=4, out_channels=6, temb_channels=5, groups=2, eps=1e-5, time_embedding_norm="scale_shift", **flags
    )
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    names = {"time_emb_proj": "time", "conv_shortcut": "skip"}
    state = ours.state_dict()
    oracle.load_state_dict(
        {key: state[key.replace(k := key.split(".")[0], names.get(k, k))] for key in oracle.state_dict()}
    )
    features, time = torch.randn(2, 4, 8, 8), torch.randn(2, 5)
    assert torch.allclose(ours(features, time, torch.zeros(2, 2, 8, 8)), oracle(features, time), atol=1e-5)


def test_spade_scales_and_shifts_the_normalised_features():
    spade, features = Spade(2, 4, 3), torch.randn(2, 4, 6, 6)
    torch.nn.init.zeros_(spade.modulation.weight)
    spade.modulation.bias.data = torch.arange(8.0)
    expected = torch.nn.functional.group_norm(features, 2) * torch.arange(1.0, 5).view(-1, 1, 1)
    expected = expected + torch.arange(4.0, 8).view(-1, 1, 1)
    assert torch.allclose(spade(features, torch.zeros(2, 2, 6, 6)), expected, atol=1e-5)


def test_spade_acts_where_the_mask_is():
    spade, features, classes = Spade(2, 4, 3), torch.randn(1, 4, 16, 16), torch.zeros(1, 2, 32, 32)
    moved = classes.clone()
    moved[..., 16, 16] = 1  # falls on pixel 8 of the features
    changed = (spade(features, classes) != spade(features, moved)).any(1)[0].nonzero()
    assert len(changed)
    assert ((changed >= 6) & (changed <= 10)).all()  # two convolutions see two pixels around


def test_the_encoder_is_blind_to_the_mask_and_the_decoder_is_not(network, batch):
    images, times, first, second = batch
    seen = []
    network.middle.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network.decoder[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    outputs = [network(images, times, masks) for masks in (first, second)]
    assert torch.equal(seen[0], seen[2])
    assert not torch.allclose(seen[1], seen[3])
    assert not torch.allclose(*outputs)


def test_spade_is_given_background_and_lesion(network, batch):
    images, times, masks, _ = batch
    seen = []
    network.middle.layers[0].norm1.shared.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(images, times, masks)
    small = masks[:, :, ::2, ::2]  # nearest
    assert torch.equal(seen[0], torch.cat([1 - small, small], dim=1))


def test_the_network_sees_the_timestep_and_starts_by_predicting_nothing(network, batch):
    images, times, masks, _ = batch
    assert not torch.allclose(network(images, times, masks), network(images, times.flip(0), masks))
    assert not SpadeUNet(TINY)(images.float(), times, masks.float()).any()


def test_checkpointing_activations_keeps_the_gradients(network, batch):
    images, times, masks, _ = batch
    gradients = []
    for network.gradient_checkpointing in (False, True):
        network.zero_grad()
        network(images, times, masks).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    assert all(torch.allclose(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"attention_factors": (2, 4)}, r"\[4\] are no levels"),
        ({"norm_groups": 3}, "norm_groups 3 does not divide width 8"),
        ({"head_width": 5}, r"\[16\]"),
        ({"attention_factors": (), "head_width": 32}, r"\[16\]"),  # the middle attends too
    ],
)
def test_a_network_that_cannot_be_built_is_refused(settings, named):
    with pytest.raises(ValidationError, match=named):
        ArsdmRow(**(TINY.model_dump() | settings))


def test_adaptive_weights_of_a_quarter():
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 0, 0] = 1
    assert adaptive_weights(mask, normalize=False).flatten().tolist() == [0.75, 0.25, 0.25, 0.25]
    assert adaptive_weights(mask, normalize=True).flatten().tolist() == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3])


@given(st.integers(0, 64), st.integers(0, 64))
def test_the_mean_weight_is_two_r_times_one_minus_r(first, second):
    masks = torch.stack([torch.arange(64.0) < count for count in (first, second)]).double().view(2, 1, 8, 8)
    share = torch.tensor([first, second], dtype=torch.float64) / 64
    assert torch.allclose(adaptive_weights(masks, normalize=False).mean((1, 2, 3)), 2 * share * (1 - share))
    assert torch.allclose(adaptive_weights(masks, normalize=True).mean((1, 2, 3)), torch.ones(2, dtype=torch.float64))


def test_an_empty_mask_gives_no_loss_unless_weights_are_normalised(batch):
    images, empty = batch[0], torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    losses = [denoising_loss(images, images * 0, adaptive_weights(empty, normalize=n)) for n in (False, True)]
    assert losses[0] == 0
    assert losses[1] == pytest.approx(images.abs().mean((1, 2, 3)).sum().item())


def test_the_clean_image_of_the_true_noise_is_the_image(batch):
    images, times, schedule = batch[0], batch[1], noise_schedule()
    noise = torch.randn_like(images)
    noisy = schedule.add_noise(images, noise, times)
    assert torch.allclose(clean_images(noisy, noise, times, schedule), images, atol=1e-5)


def test_the_schedule_is_the_official_one():
    schedule = noise_schedule()
    roots = torch.linspace(0.0015**0.5, 0.0205**0.5, 1000, dtype=torch.float64)
    assert torch.allclose(schedule.alphas_cumprod.double(), (1 - roots.square()).cumprod(0), rtol=1e-4)
    schedule.set_timesteps(200)
    assert schedule.timesteps.tolist() == [step + 1 for step in range(0, 1000, 5)][::-1]


def _knows(image):
    """Return a network that finds exactly the noise which was added to one known image."""
    alphas = noise_schedule().alphas_cumprod.double()

    def predict(noisy, timesteps, masks):
        alpha = alphas[timesteps].view(-1, 1, 1, 1)
        return (noisy - alpha.sqrt() * image) / (1 - alpha).sqrt()

    return predict


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_sampling_ends_at_the_image_that_the_network_knows(eta):
    image, masks = torch.full((3, 32, 32), 1.7, dtype=torch.float64), torch.zeros(2, 1, 32, 32, dtype=torch.float64)
    found = denoise(_knows(image), masks, [0, 1], steps=20, eta=eta)
    last = noise_schedule().alphas_cumprod[0].double()  # DDIM stops at the first timestep, not at no noise
    rest = (found - last.sqrt() * image) / (1 - last).sqrt()
    assert abs(rest.mean()) < 0.1
    assert rest.std() == pytest.approx(1, abs=0.05)
    starts = torch.stack([torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(s)) for s in (0, 1)])
    kept = torch.corrcoef(torch.stack([rest.flatten(), starts.double().flatten()]))[0, 1]
    assert kept == pytest.approx(1 - eta, abs=0.05)  # eta 0 keeps the first noise, eta 1 has drawn all of it anew


@pytest.mark.parametrize(("clip", "level"), [(False, 1.7), (True, 1.0)])
def test_clipping_keeps_clean_images_in_range(clip, level):
    image, masks = torch.full((3, 32, 32), 1.7, dtype=torch.float64), torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    found = denoise(_knows(image), masks, [0], steps=20, eta=1.0, clip=clip)
    assert found.mean() == pytest.approx(level, abs=0.01)


def test_averaged_weights_warm_up_as_published():
    """Update n of the average has the decay min(0.9, (1 + n) / (10 + n)), n from 1, and starts from the weights."""
    cfg = TrainingConfig(
        steps=200,
        batch=1,
        lr=0.1,
        weight_decay=0.0,
        schedule="constant",
        prompt_dropout=0.0,
        checkpoint_steps=9,
        seed=0,
    )
    network = torch.nn.Linear(1, 1, bias=False).double()
    state = begin(network, TINY, cfg, accelerator())
    expected = network.weight.item()
    for n in range(1, 121):
        network.weight.grad = torch.ones_like(network.weight)
        state.update()
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * network.weight.item()
        assert state.average.shadow_params[0].item() == pytest.approx(expected)
