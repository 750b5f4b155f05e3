"""The small base model that is pretrained here: its latents, its losses, its scheduler, and how it is resumed."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from data.pairs.files import sha256_tree
from siamese.base.autoencoder import normalise_latents, symmetric_latents
from siamese.base.latents import to_signed
from siamese.base.load import load_unet, load_vae
from siamese.base.pretrain import pretrain
from siamese.base.sharpness import band_energy, laplacian_bands, laplacian_l1, perceptual_loss
from siamese.config.base import PretrainedHere
from tests.contracts.imports import ROOT
from tests.siamese.conftest import BASE


def double(vae: AutoencoderKL) -> AutoencoderKL:
    """Return a fresh copy of an autoencoder whose posteriors are wide and whose channels are far from normal."""
    copied = AutoencoderKL.from_config(vae.config)
    copied.load_state_dict(vae.state_dict())
    with torch.no_grad():
        copied.quant_conv.weight[0] *= 5
        copied.quant_conv.bias[:4] += torch.tensor([3.0, -2.0, 0.0, 1.0])
        copied.quant_conv.bias[4:] = torch.tensor([-2.0, -1.0, 0.5, 0.0])
    return copied.eval().requires_grad_(False)


def test_latents_are_normal_in_every_channel_and_reconstructions_stay(real, base_dir):
    pixels, images = real.images(), to_signed(real.images())
    vae, folded = double(load_vae(base_dir)), double(load_vae(base_dir))
    found = normalise_latents(folded, symmetric_latents(folded, pixels))
    before, after = vae.encode(images).latent_dist, folded.encode(images).latent_dist
    before_mean, before_std = (
        symmetric_latents(vae, pixels).mean((0, 2, 3)),
        symmetric_latents(vae, pixels).std((0, 2, 3)),
    )
    assert before_mean.abs().max() > 1
    assert torch.allclose(found.mean((0, 2, 3)), torch.zeros(4), atol=1e-5)
    assert torch.allclose(found.std((0, 2, 3)), torch.ones(4), atol=1e-5)
    assert torch.allclose(symmetric_latents(folded, pixels), found, atol=1e-5)
    assert torch.allclose(after.std, before.std / before_std.view(1, -1, 1, 1), rtol=1e-5)
    for draw in (lambda posterior, _: posterior.mode(), lambda posterior, seed: posterior.sample(seed)):
        ours, theirs = (
            net.decode(draw(posterior, torch.Generator().manual_seed(3))).sample
            for net, posterior in ((folded, after), (vae, before))
        )
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_saved_autoencoder_is_a_plain_one(base_dir, training_data):
    vae = AutoencoderKL.from_pretrained(base_dir, subfolder="vae")
    assert vae.config.scaling_factor == 1
    assert not vae.config.shift_factor
    assert training_data.mean.std((0, 2, 3)).sub(1).abs().max() < 0.2
    assert training_data.mean.mean((0, 2, 3)).abs().max() < 0.2


def test_the_copies_are_mirrored_and_turned(real, base_dir):
    """In a stream, so that many images need the memory of their latents and no more."""
    vae, images = load_vae(base_dir), real.images()[:3]
    turned = np.concatenate([images, images[:, :, ::-1], images[:, ::-1], images[:, ::-1, ::-1]])
    with torch.no_grad():
        expected = vae.encode(to_signed(turned)).latent_dist.mean
    assert torch.allclose(symmetric_latents(vae, images), expected, atol=1e-5)


def base_of(**changes) -> PretrainedHere:
    """Return the toy base with changes: vae={...}, unet={...}."""
    settings = BASE.model_dump()
    return PretrainedHere.model_validate(
        {
            **settings,
            **{part: {**settings[part], **new} if part in ("vae", "unet") else new for part, new in changes.items()},
        }
    )


def test_bands_add_up_and_hold_the_details_of_their_size():
    rng = torch.Generator().manual_seed(0)
    fine, coarse, rest = laplacian_bands(torch.randn(2, 3, 16, 16, generator=rng), 2)
    up = functional.interpolate(rest, scale_factor=2) + coarse
    assert torch.allclose(
        functional.interpolate(up, scale_factor=2) + fine, torch.randn(2, 3, 16, 16, generator=rng.manual_seed(0))
    )
    checks = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(1, 3, 8, 8)
    energies = [float(band.square().mean()) for band in laplacian_bands(checks, 2)]
    assert energies == [1, 0, 0]


def test_energy_asks_for_texture_where_differences_ask_for_none():
    rng = torch.Generator().manual_seed(0)
    texture, shifted = torch.randn((2, 1, 3, 32, 32), generator=rng) / 4
    flat = torch.zeros_like(texture)
    assert laplacian_l1(flat, texture) < laplacian_l1(shifted, texture)
    assert band_energy(flat, texture) > 3 * band_energy(shifted, texture)
    assert band_energy(texture, texture) == 0


def test_features_of_lite0_see_blur_and_pass_gradients(real):
    loss, images = perceptual_loss(torch.device("cpu")), to_signed(real.images()[:2])
    blurred = functional.interpolate(functional.avg_pool2d(images, 4), scale_factor=4).requires_grad_(True)
    loss(blurred, images).backward()
    assert blurred.grad.abs().max() > 0
    assert loss(images, images) == 0
    assert (
        loss(blurred, images)
        > 2 * loss(functional.interpolate(functional.avg_pool2d(images, 2), scale_factor=2), images)
        > 0
    )


@pytest.mark.heavy
def test_each_term_changes_the_autoencoder_and_off_is_off(real, base_dir, tmp_path):
    weights = {}
    for name, changes in {
        "off": {"perceptual": 0, "band_energy": 0},
        "p": {"perceptual": 1},
        "b": {"band_energy": 1},
    }.items():
        for folder in (tmp_path / name, tmp_path / f"{name}-work"):
            folder.mkdir()
        pretrain(real.images(), "a polyp", base_of(vae=changes), tmp_path / name, tmp_path / f"{name}-work")
        weights[name] = load_vae(tmp_path / name).decoder.conv_out.weight
    assert sha256_tree(tmp_path / "off") == sha256_tree(base_dir)
    assert not torch.equal(weights["p"], weights["off"])
    assert not torch.equal(weights["b"], weights["off"])


def test_the_average_of_the_unet_is_saved_in_its_place(real, base_dir, tmp_path):
    """With an average of none the files are those of a row without the key."""
    saved = {}
    for name, ema in (("last", 0.0), ("average", 0.999)):
        for folder in (tmp_path / name, tmp_path / f"{name}-work"):
            folder.mkdir()
        pretrain(real.images(), "a polyp", base_of(unet={"ema": ema}), tmp_path / name, tmp_path / f"{name}-work")
        saved[name] = load_unet(tmp_path / name).conv_out.weight
    assert sha256_tree(tmp_path / "last") == sha256_tree(base_dir)
    assert not torch.equal(saved["average"], saved["last"])
    assert torch.allclose(saved["average"], saved["last"], atol=1e-3)  # of two steps with a rate of 1e-3


CHILD = """
import sys
from pathlib import Path
import numpy as np
from siamese.base.pretrain import pretrain
from siamese.config.base import PretrainedHere
folder, settings = Path(sys.argv[1]), Path(sys.argv[2])
pretrain(np.load(settings / "images.npy"), "a polyp",
         PretrainedHere.model_validate_json((settings / "base.json").read_text()), folder / "out", folder / "work")
"""


@pytest.mark.heavy
def test_a_killed_pretraining_goes_on_and_ends_with_the_same_bytes(real, tmp_path):
    """Killed while the VAE is trained, killed again while the UNet is, then left alone."""
    cfg = base_of(vae={"steps": 12, "band_energy": 0.02}, unet={"steps": 12, "ema": 0.9}, checkpoint_steps=2)
    for name in ("whole", "broken"):
        (tmp_path / name / "out").mkdir(parents=True), (tmp_path / name / "work").mkdir()
    pretrain(real.images(), "a polyp", cfg, tmp_path / "whole/out", tmp_path / "whole/work")
    np.save(tmp_path / "images.npy", real.images())
    (tmp_path / "base.json").write_text(cfg.model_dump_json())
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    for part in ("vae", "unet"):
        checkpoints = tmp_path / "broken/work" / f"{part}-steps"
        with subprocess.Popen([sys.executable, "-c", CHILD, tmp_path / "broken", tmp_path], env=env) as child:
            while child.poll() is None and not list(checkpoints.glob("step-*")):
                time.sleep(0.01)
            child.kill()
        assert child.returncode == -9
        assert list(checkpoints.glob("step-*"))
        assert not (tmp_path / "broken/out/model_index.json").exists()
    assert (tmp_path / "broken/work/vae/config.json").exists()
    pretrain(real.images(), "a polyp", cfg, tmp_path / "broken/out", tmp_path / "broken/work")
    assert sha256_tree(tmp_path / "broken/out") == sha256_tree(tmp_path / "whole/out")
