"""T2I-Adapter: the network of diffusers inside our UNet, what it trains, its timesteps and its share of the steps."""

import pytest
import torch
from diffusers import StableDiffusionAdapterPipeline, UNet2DConditionModel
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.base.devices import seeded
from siamese.base.load import load_scheduler, load_unet, load_vae, reduction
from siamese.config.rows import SiameseRow, T2IAdapterRow
from siamese.method.checkpoint import Trained
from siamese.method.control import Condition, unet_decode, unet_encode
from siamese.method.registry import METHODS, adapter_networks, training_step
from siamese.sampling import sampler as sampler_module
from siamese.sampling.sampler import denoise, start_noise
from siamese.training.train import TIMESTEPS, draw_batch
from tests.siamese.conftest import SAMPLING, TRAINING

ROW = T2IAdapterRow(method="t2i_adapter")
METHOD = METHODS["t2i_adapter"]
STABLE_DIFFUSION = {  # attention everywhere but in the last block, as in Stable Diffusion 1.5
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
PLAIN_FIRST = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}


def build(blocks=STABLE_DIFFUSION):
    """Return float64 networks of latents half as large as the image."""
    unet = seeded(
        lambda: UNet2DConditionModel(
            sample_size=8, block_out_channels=(8, 16), layers_per_block=2, cross_attention_dim=8,
            attention_head_dim=2, norm_num_groups=2, **blocks,
        ),
        1,
    )  # fmt: skip
    networks = seeded(lambda: adapter_networks(ROW, unet.double().eval().requires_grad_(False), 2), 2)
    networks.added["adapter"].double()
    return networks


def prediction(networks, batch, features):
    encoded = unet_encode(networks.unet, batch.noisy_latents, batch.timesteps, batch.context, features)
    return unet_decode(networks.unet, encoded, None, batch.context)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_loss_and_gradients_are_those_of_the_stock_unet(make_batch, checkpointing):
    networks, batch = build(), make_batch([100, 500, 900])
    if checkpointing:
        networks.unet.enable_gradient_checkpointing()
        networks.unet.train()
    loss = training_step(networks, ROW, batch, 0, 10, 1 / 3)["mask"]
    adapter = networks.added["adapter"]
    weights = list(adapter.parameters())
    ours = [p.grad.clone() for p in weights]
    adapter.zero_grad()
    predicted = networks.unet(
        batch.noisy_latents, batch.timesteps, batch.context,
        down_intrablock_additional_residuals=list(adapter(batch.mask_hint)),
    ).sample  # fmt: skip
    expected = (predicted - batch.noise).square().flatten(1).mean(1)
    expected.mean().backward()
    assert torch.allclose(loss, expected.detach(), rtol=1e-10)
    assert all(
        torch.allclose(a, p.grad, rtol=1e-8, atol=1e-14) for a, p in zip(ours, adapter.parameters(), strict=True)
    )
    assert any(gradient.any() for gradient in ours)
    assert not any(p.grad is not None for p in networks.unet.parameters())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_plain_block_adds_the_map_before_its_downsampler(make_batch, checkpointing):
    """Where diffusers adds it behind, in the wrong size; by hand through hooks on the last residual block."""
    networks, batch = build(PLAIN_FIRST), make_batch([100, 500])
    if checkpointing:
        networks.unet.enable_gradient_checkpointing()
        networks.unet.train()
    features = [level.detach().requires_grad_() for level in networks.added["adapter"](batch.mask_hint)]
    found = prediction(networks, batch, features)
    gradients = torch.autograd.grad(found.square().sum(), features)
    networks.unet.disable_gradient_checkpointing()
    first, second = networks.unet.down_blocks
    hooks = [
        first.resnets[-1].register_forward_hook(lambda module, inputs, output: output + features[0]),
        second.attentions[-1].register_forward_hook(lambda module, inputs, output: (output[0] + features[1],)),
    ]
    expected = networks.unet(batch.noisy_latents, batch.timesteps, batch.context).sample
    for hook in hooks:
        hook.remove()
    assert torch.allclose(found, expected, rtol=1e-10)
    theirs = torch.autograd.grad(expected.square().sum(), features)
    assert all(torch.allclose(a, b, rtol=1e-8) for a, b in zip(gradients, theirs, strict=True))


def test_zero_maps_are_the_base_model(make_batch):
    networks, batch = build(PLAIN_FIRST), make_batch([100, 500])
    zeros = [torch.zeros_like(level) for level in networks.added["adapter"](batch.mask_hint)]
    stock = networks.unet(batch.noisy_latents, batch.timesteps, batch.context).sample
    assert torch.equal(prediction(networks, batch, zeros), stock)
    assert torch.equal(prediction(networks, batch, ()), stock)


def test_the_full_adapter_of_stable_diffusion_has_the_published_size():
    """Spec: 77.4 M parameters, features 320 x 48 to 1280 x 6 for 384 px, sides a multiple of 64 px."""
    with torch.device("meta"):
        unet = torch.nn.Module()
        unet.config = type("Config", (), {"block_out_channels": (320, 640, 1280, 1280)})
        adapter = adapter_networks(ROW, unet, 8).added["adapter"]
        shapes = [tuple(level.shape[1:]) for level in adapter(torch.zeros(1, 3, 384, 384))]
    assert sum(p.numel() for p in adapter.parameters()) / 1e6 == pytest.approx(77.4, abs=0.05)
    assert shapes == [(320, 48, 48), (640, 24, 24), (1280, 12, 12), (1280, 6, 6)]
    assert adapter.total_downscale_factor == 64


def test_the_sizes_that_fit_are_those_of_the_latents(base_dir):
    """`siamese.base.latents.check_size` has refused every other size before an adapter is trained."""
    unet = load_unet(base_dir)
    factor = reduction(base_dir, "vae")
    adapter = adapter_networks(ROW, unet, factor).added["adapter"]
    assert adapter.total_downscale_factor == factor * 2 ** (len(unet.config.block_out_channels) - 1)


def test_the_cubic_law_has_the_documented_shape():
    rng = torch.Generator().manual_seed(0)
    t = torch.stack([TIMESTEPS["cubic"](1000, rng) for _ in range(20000)])
    assert t.dtype == torch.int64
    assert t.min() >= 0
    assert t.max() <= 999
    assert t.double().mean().item() == pytest.approx(749.5, abs=6)
    assert (t >= 800).double().mean().item() == pytest.approx(0.2 ** (1 / 3), abs=0.01)
    assert (t <= 200).double().mean().item() == pytest.approx(1 - 0.799 ** (1 / 3), abs=0.006)


def test_the_largest_timestep_is_clamped(monkeypatch):
    """u = 0 gives 1000, which the noise schedule does not have."""
    monkeypatch.setattr(torch, "rand", lambda *a, **k: torch.zeros((), dtype=torch.float64))
    assert TIMESTEPS["cubic"](1000, torch.Generator()).item() == 999


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 1000))
def test_every_law_stays_within_the_schedule(seed, count):
    rng = torch.Generator().manual_seed(seed)
    assert all(0 <= law(count, rng) < count for law in TIMESTEPS.values())


def test_the_row_chooses_the_law(training_data, base_dir):
    assert (ROW.t_sampling, SiameseRow(method="siamese", hint="hi", hint_widths=(4, 8)).t_sampling) == (
        "cubic", "uniform",
    )  # fmt: skip
    scheduler, many = load_scheduler(base_dir), list(range(300))
    drawn = {
        law: draw_batch(training_data, [0] * 300, many, scheduler, TRAINING, "cpu", law).timesteps.double().mean()
        for law in TIMESTEPS
    }
    assert drawn["cubic"] > drawn["uniform"] + 150


@pytest.fixture
def trained(make_batch):
    networks = build()
    for net in networks.all():
        net.float()
    return Trained(networks, torch.randn((2, 5, 8), generator=torch.Generator().manual_seed(3)), ROW)


NOISE = start_noise([1, 2], (4, 8, 8))
HINTS = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(1))
CFG = SAMPLING.model_copy(update={"steps": 8, "guidance": 5.0})


def test_images_are_those_of_diffusers_pipeline(trained, base_dir):
    pipeline = StableDiffusionAdapterPipeline(
        vae=load_vae(base_dir), text_encoder=None, tokenizer=None, unet=trained.networks.unet,
        adapter=trained.networks.added["adapter"], scheduler=load_scheduler(base_dir), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    prompts = {
        "prompt_embeds": trained.context[:1].repeat(2, 1, 1),
        "negative_prompt_embeds": trained.context[1:].repeat(2, 1, 1),
    }
    theirs = pipeline(
        **prompts, image=HINTS, latents=NOISE, num_inference_steps=8, guidance_scale=5.0, output_type="latent",
        height=16, width=16,
    ).images  # fmt: skip
    assert torch.allclose(denoise(trained, load_scheduler(base_dir), NOISE, HINTS, CFG), theirs, atol=1e-4)


def test_the_adapter_runs_once_an_image(trained, base_dir):
    calls = []
    trained.networks.added["adapter"].register_forward_hook(lambda *a: calls.append(1))
    denoise(trained, load_scheduler(base_dir), NOISE, HINTS, CFG)
    assert calls == [1]


@pytest.mark.parametrize(("tau", "every", "expected"), [(1.0, 1, 8), (0.5, 1, 4), (0.0, 1, 0), (0.5, 3, 2)])
def test_cond_tau_is_the_share_of_steps_with_the_adapter(trained, base_dir, monkeypatch, tau, every, expected):
    original, adapted = sampler_module.unet_encode, []

    def counted(*arguments):
        adapted.append(bool(arguments[4]))
        return original(*arguments)

    monkeypatch.setattr(sampler_module, "unet_encode", counted)
    row = ROW.model_copy(update={"cond_tau": tau})
    cfg = CFG.model_copy(update={"encoder_every": every})
    denoise(trained._replace(row=row), load_scheduler(base_dir), NOISE, HINTS, cfg)
    assert sum(adapted) == expected
    assert adapted == sorted(adapted, reverse=True)


def test_guidance_keeps_the_maps_in_both_halves():
    level = torch.rand(2, 3, 4, 4)
    doubled = Condition(adapter=(level,), adapter_share=0.5).twice()
    assert torch.equal(doubled.adapter[0], torch.cat([level, level]))
    assert doubled.adapter_share == 0.5
