"""ControlNet on mask and image: where gradients go in each mode, and that no mask meets another image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from data.masks.config import RealMasks, TransformedMasks
from data.masks.masks import write_masks
from data.pairs.errors import UserError
from data.pairs.manifest import PairSet, read_pairs
from siamese.base.devices import seeded
from siamese.base.load import load_scheduler, load_vae
from siamese.config.rows import ControlNetImageRow, SiameseRow
from siamese.fit import fit
from siamese.load import load
from siamese.method.checkpoint import Trained, load_generator
from siamese.method.control import control_residuals, decoder_modules, summed_residuals, unet_decode, unet_encode
from siamese.method.registry import METHODS, Networks, control_networks, training_step
from siamese.sampling import sampler as sampler_module
from siamese.sampling.requests import Request, own_parents
from siamese.sampling.sample import sample_images
from siamese.sampling.sampler import denoise, latent_sampler, start_noise
from siamese.training.loop import Run
from tests.siamese.conftest import SAMPLING, TRAINING

METHOD = METHODS["controlnet_image"]
MODES = ("shared_sum", "siamese_image_branch", "concat6", "two_nets")


def row_of(mode="shared_sum", hint="hi", **settings):
    widths = (4, 8) if hint == "hi" else (4, 8, 16)
    return ControlNetImageRow(method="controlnet_image", mode=mode, hint=hint, hint_widths=widths, **settings)


@pytest.fixture
def networks_of(make_networks):
    """Return a function that builds a mode's float64 networks with zero convolutions that are not zero."""

    def build(row) -> Networks:
        _, unet = make_networks()
        networks = seeded(lambda: METHOD.build(row, unet, 2), 3)
        rng = torch.Generator().manual_seed(4)
        for net in networks.added.values():
            net.double()
            for name, parameter in net.named_parameters():
                if "controlnet_" in name:
                    parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
        return networks

    return build


def step(networks, row, batch, k=40):
    for net in networks.all():
        net.zero_grad(set_to_none=True)
    return training_step(networks, row, batch, k, 60, 1 / 2)


def gradients(networks):
    named = {f"{n}.{k}": p for n, net in networks.added.items() for k, p in net.named_parameters()}
    named |= {f"unet.{k}": p for k, p in networks.unet.named_parameters()}
    return {name: p.grad.clone() for name, p in named.items() if p.grad is not None}


@pytest.mark.parametrize("w_i", [1.0, 0.5])
def test_shared_sum_is_the_loss_of_two_stock_passes_with_gradients_through_both(networks_of, make_batch, w_i):
    row, batch = row_of(w_i=w_i), make_batch([100, 500])
    networks = networks_of(row)
    loss = step(networks, row, batch)["image"]
    ours = gradients(networks)
    for net in networks.all():
        net.zero_grad(set_to_none=True)
    passes = [
        networks.controlnet(batch.noisy_latents, batch.timesteps, batch.context, hint, return_dict=False)
        for hint in (batch.mask_hint, batch.image_hint)
    ]
    down = [m + w_i * i for m, i in zip(passes[0][0], passes[1][0], strict=True)]
    predicted = networks.unet(
        batch.noisy_latents, batch.timesteps, batch.context,
        down_block_additional_residuals=down, mid_block_additional_residual=passes[0][1] + w_i * passes[1][1],
    ).sample  # fmt: skip
    expected = (predicted - batch.noise).square().flatten(1).mean(1)
    (expected.sum() / 2).backward()
    assert torch.allclose(loss, expected.detach(), rtol=1e-10)
    theirs = gradients(networks)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[key], theirs[key], rtol=1e-8, atol=1e-14) for key in theirs)


@pytest.mark.parametrize("hint", ["mask_hint", "image_hint"])
@pytest.mark.parametrize("mode", ["shared_sum", "concat6", "two_nets"])
def test_gradients_reach_both_hints(networks_of, make_batch, mode, hint):
    row, batch = row_of(mode), make_batch([100, 500])
    seen = getattr(batch, hint).requires_grad_()
    networks = networks_of(row)
    for net in networks.added.values():  # the hint encoder's last layer starts at zero and would block the way
        torch.nn.init.normal_(net.controlnet_cond_embedding.conv_out.weight, std=0.1)
    step(networks, row, batch)
    assert seen.grad.abs().sum() > 0


@pytest.mark.parametrize("mode", MODES)
def test_the_decoder_is_trained_and_the_encoder_is_not(networks_of, make_batch, mode):
    row = row_of(mode)
    networks = networks_of(row)
    step(networks, row, make_batch([100, 500]))
    decoder = {id(p) for module in decoder_modules(networks.unet).values() for p in module.parameters()}
    for parameter in networks.unet.parameters():
        assert (parameter.grad is not None) == (id(parameter) in decoder)
    assert all(p.grad is not None for net in networks.added.values() for p in net.parameters())


@pytest.mark.parametrize("mode", ["shared_sum", "two_nets"])
def test_a_ramp_starts_without_the_image_and_ends_with_it(networks_of, make_batch, mode):
    batch = make_batch([100, 500])
    row = row_of(mode, image_weight="linear_ramp")
    networks = networks_of(row)
    without = step(networks, row_of(mode, w_i=0.0), batch, k=30)["image"]
    full = step(networks, row_of(mode), batch, k=30)["image"]
    assert torch.allclose(step(networks, row, batch, k=0)["image"], without)
    assert torch.allclose(step(networks, row, batch, k=60)["image"], full)
    assert not torch.allclose(without, full)


def test_two_nets_weigh_the_image_by_a_quarter(networks_of, make_batch):
    batch, row = make_batch([100, 500]), row_of("two_nets")
    networks = networks_of(row)
    condition = METHOD.condition(networks, row, batch.mask_hint, batch.image_hint, 1.0)
    found = summed_residuals(condition, batch.noisy_latents, batch.timesteps, batch.context)
    parts = []
    for net, hint in zip(networks.added.values(), (batch.mask_hint, batch.image_hint), strict=True):
        features = net.controlnet_cond_embedding(hint)
        parts.append(control_residuals(net, batch.noisy_latents, batch.timesteps, batch.context, features))
    assert torch.allclose(found[-1], parts[0][-1] + 0.25 * parts[1][-1])
    assert len(networks.added) == 2


@pytest.mark.parametrize("hint", ["hi", "dhi"])
def test_concat6_sees_six_channels(networks_of, make_batch, hint):
    row, batch = row_of("concat6", hint), make_batch([100, 500])
    networks = networks_of(row)
    both = torch.cat([batch.mask_hint, batch.image_hint], 1)
    condition = METHOD.condition(networks, row, batch.mask_hint, batch.image_hint, 1.0)
    assert torch.equal(condition.control[0].features, networks.controlnet.controlnet_cond_embedding(both))


@pytest.mark.heavy
def test_siamese_image_branch_trains_the_weights_of_siamese(training_data, base_dir, tmp_path):
    """To the bit: the mode differs from the method in sampling alone."""
    rows = {"ours": row_of("siamese_image_branch", "dhi"), "theirs": None}
    rows["theirs"] = SiameseRow(method="siamese", hint="dhi", hint_widths=(4, 8, 16))
    for name, row in rows.items():
        (tmp_path / name).mkdir(), (tmp_path / f"{name}-work").mkdir()
        fit(training_data, row, Run(TRAINING, base_dir, tmp_path / name, tmp_path / f"{name}-work"))
    ours, theirs = (load_file(tmp_path / name / "generator.safetensors") for name in rows)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert (tmp_path / "ours/loss.csv").read_bytes() == (tmp_path / "theirs/loss.csv").read_bytes()

    trained = load_generator(tmp_path / "ours", base_dir)
    hints, images = torch.rand((2, 1, 3, 32, 32), generator=torch.Generator().manual_seed(1)).unbind()
    noise, scheduler = start_noise([1], (4, 16, 16)), load_scheduler(base_dir)
    found = denoise(trained, scheduler, noise, hints, SAMPLING, images=images)
    mask_only = denoise(load_generator(tmp_path / "theirs", base_dir), scheduler, noise, hints, SAMPLING)
    assert not torch.allclose(found, mask_only, atol=1e-4)


def test_both_halves_of_guidance_keep_both_hints(networks_of, make_batch, base_dir, monkeypatch):
    """By hand: one guided step from the residuals of both hints, for the prompt and for the empty one."""
    row, batch = row_of(), make_batch([100, 500])
    networks = networks_of(row)
    context = batch.context[:2]
    cfg = SAMPLING.model_copy(update={"steps": 1, "guidance": 3.0})
    scheduler, seen = load_scheduler(base_dir), []
    original = sampler_module.unet_decode
    monkeypatch.setattr(sampler_module, "unet_decode", lambda *a: seen.append(original(*a)) or seen[-1])
    trained = Trained(networks, context, row)
    denoise(trained, scheduler, batch.noisy_latents, batch.mask_hint, cfg, images=batch.image_hint)
    scheduler.set_timesteps(1)
    times = scheduler.timesteps.expand(2)
    for prompt, found in zip((context[1:], context[:1]), seen[0].chunk(2), strict=True):
        text = prompt.expand(2, -1, -1)
        passes = [
            control_residuals(
                networks.controlnet, batch.noisy_latents, times, text,
                networks.controlnet.controlnet_cond_embedding(hint),
            )
            for hint in (batch.mask_hint, batch.image_hint)
        ]  # fmt: skip
        both = tuple(a + b for a, b in zip(*passes, strict=True))
        features = unet_encode(networks.unet, batch.noisy_latents, times, text)
        assert torch.allclose(found, unet_decode(networks.unet, features, both, text), rtol=1e-8)


@pytest.fixture
def image_generator(training_data, base_dir, tmp_path):
    (tmp_path / "out").mkdir(), (tmp_path / "work").mkdir()
    cfg = TRAINING.model_copy(update={"steps": 2})
    fit(training_data, row_of("concat6"), Run(cfg, base_dir, tmp_path / "out", tmp_path / "work"))
    return load(tmp_path / "out", base_dir, SAMPLING)


def masks_of(real, row, folder) -> PairSet:
    write_masks(real, "m", row, folder)
    return read_pairs(folder / "1")


def test_moved_masks_are_refused_before_any_image_is_drawn(image_generator, real, tmp_path):
    moves = ({"name": "shift", "most": 0.4},)
    row = TransformedMasks.model_validate(
        {"kind": "transformed", "copies": 1, "seed": 0, "transforms": moves,
         "constraints": {"area": [0.001, 1.0], "lost": 1.0}, "attempts": 5}, strict=False
    )  # fmt: skip
    masks = masks_of(real, row, tmp_path / "moved")
    with pytest.raises(UserError, match="never with another one") as caught:
        sample_images(masks, image_generator, SAMPLING, tmp_path / "images", {}, real)
    assert caught.value.problems[0].startswith("5 masks are not those of their images, such as ")
    assert "kind: real" in caught.value.problems[-1]
    assert not (tmp_path / "images").exists()


def test_each_mask_of_kind_real_gets_its_own_image(image_generator, real, tmp_path):
    masks = masks_of(real, RealMasks(kind="real", copies=1), tmp_path / "masks")
    parents = own_parents(masks, real)
    assert {mask_id: pair.id for mask_id, pair in parents.items()} == {pair.id: pair.parent for pair in masks.pairs}
    sample_images(masks, image_generator, SAMPLING, tmp_path / "images", {}, real)
    assert len(list((tmp_path / "images").iterdir())) == len(real)


def test_masks_without_a_parent_and_missing_pairs_are_refused(image_generator, real, tmp_path):
    masks = masks_of(real, RealMasks(kind="real", copies=1), tmp_path / "masks")
    lost = PairSet(masks.folder, (replace(masks.pairs[0], parent="nobody"), *masks.pairs[1:]))
    with pytest.raises(UserError, match="never with another one") as caught:
        own_parents(lost, real)
    assert caught.value.problems[0] == f"1 masks have no image in training, such as {masks.pairs[0].id}"
    with pytest.raises(UserError, match="training pairs are needed"):
        sample_images(masks, image_generator, SAMPLING, tmp_path / "images", {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "concat6", "w_i": 0.5}, "w_i: concat6"),
        ({"mode": "concat6", "image_weight": "linear_ramp"}, "image_weight: concat6"),
        ({"mode": "siamese_image_branch", "image_weight": "linear_ramp"}, "image_weight: siamese_image_branch"),
        ({"mode": "shared_sum", "weights": "x.ckpt"}, "siamese_image_branch"),
        ({"mode": "sum"}, "shared_sum"),
    ],
)
def test_keys_that_a_mode_does_not_read_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        row_of(**settings)


def test_too_few_widths_are_named(base_dir, make_networks):
    _, unet = make_networks()
    with pytest.raises(UserError, match="must be 3 widths for hint hi"):
        control_networks(row_of("two_nets"), unet, 4)


def test_the_image_changes_the_sample(image_generator, base_dir, real, tmp_path):
    """Another reference under the same noise and mask is another image, once the zero convolutions have opened."""
    trained = load_generator(tmp_path / "out", base_dir)
    controlnet = trained.networks.controlnet
    for layer in (controlnet.controlnet_cond_embedding.conv_out, *controlnet.controlnet_down_blocks):
        torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    mask, images = real.hint(real.pairs[0]), [real.image(pair) for pair in real.pairs[:2]]
    sampler = latent_sampler(trained, load_vae(base_dir), load_scheduler(base_dir), SAMPLING)
    first, second = sampler.sample([Request("a", mask, 1, reference=image) for image in images])
    assert not np.array_equal(first, second)
