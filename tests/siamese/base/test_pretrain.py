"""The small base model that is pretrained here: its latents, its losses, its scheduler, and how it is resumed."""

import torch
from diffusers import AutoencoderKL

from siamese.base.latents import to_signed
from siamese.base.load import load_vae
from siamese.base.pretrain import normalise_latents, symmetric_latents


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
    images, vae, folded = to_signed(real.images()), double(load_vae(base_dir)), double(load_vae(base_dir))
    found = normalise_latents(folded, symmetric_latents(folded, images))
    before, after = vae.encode(images).latent_dist, folded.encode(images).latent_dist
    before_mean, before_std = (
        symmetric_latents(vae, images).mean((0, 2, 3)),
        symmetric_latents(vae, images).std((0, 2, 3)),
    )
    assert before_mean.abs().max() > 1
    assert torch.allclose(found.mean((0, 2, 3)), torch.zeros(4), atol=1e-5)
    assert torch.allclose(found.std((0, 2, 3)), torch.ones(4), atol=1e-5)
    assert torch.allclose(symmetric_latents(folded, images), found, atol=1e-5)
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
