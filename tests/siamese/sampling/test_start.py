"""Images that start from another one: the first steps are left out, and everything else stays what it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionControlNetImg2ImgPipeline
from PIL import Image

from data.masks.dealt import write_given
from data.masks.given import pseudo_masks
from data.masks.given_config import PseudoMasks
from data.pairs.manifest import PairSet, read_pairs
from siamese.base.load import load_scheduler, load_vae
from siamese.load import load
from siamese.method.checkpoint import load_generator
from siamese.sampling.sample import sample_images
from siamese.sampling.sampler import decode_images, denoise, encode_images, start_noise
from tests.siamese.conftest import SAMPLING
from tests.siamese.sampling.test_sampling import diffusers_pipeline

HINTS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
NOISE, CLEAN = start_noise([1, 2], (4, 16, 16)), start_noise([3, 4], (4, 16, 16))


@pytest.fixture
def trained(generators, base_dir):
    return load_generator(generators["siamese"], base_dir)


@pytest.mark.parametrize("solver", ["ddim", "dpm++"])
@pytest.mark.parametrize("strength", [0.25, 0.75])
def test_images_are_those_of_diffusers_image_to_image(trained, base_dir, solver, strength):
    """An independent sampler with the same weights, start, noise, schedule and guidance."""
    pipeline, prompts = diffusers_pipeline(StableDiffusionControlNetImg2ImgPipeline, trained, base_dir, solver)
    theirs = pipeline(
        **prompts, image=CLEAN, control_image=HINTS, strength=strength, num_inference_steps=8, guidance_scale=5.0,
        controlnet_conditioning_scale=1.0, output_type="latent",
        generator=[torch.Generator().manual_seed(seed) for seed in (1, 2)],
    ).images  # fmt: skip
    cfg = SAMPLING.model_copy(update={"steps": 8, "guidance": 5.0, "strength": strength, "solver": solver})
    assert torch.allclose(denoise(trained, load_scheduler(base_dir), NOISE, HINTS, cfg, start=CLEAN), theirs, atol=1e-4)


def test_less_strength_keeps_more_and_at_least_one_step_is_taken(trained, base_dir):
    cfg, scheduler = SAMPLING.model_copy(update={"steps": 8, "guidance": 1.0}), load_scheduler(base_dir)

    def away(strength):
        ours = cfg.model_copy(update={"strength": strength})
        return (denoise(trained, scheduler, NOISE, HINTS, ours, start=CLEAN) - CLEAN).square().mean()

    assert 0 < away(0.01) == away(0.125) < away(0.5) < away(1.0)


@pytest.fixture
def masks(real, tmp_path):
    """Return masks that came with their images."""
    row = PseudoMasks(kind="pseudo", copies=1)
    write_given(pseudo_masks(real, "found"), len(real), "found", row, tmp_path / "masks")
    return read_pairs(tmp_path / "masks/1")


def drawn(masks, generators, base_dir, images, **settings):
    cfg = SAMPLING.model_copy(update=settings)
    sample_images(masks, load(generators["siamese"], base_dir, cfg), cfg, images, {"generator": "x"})
    return {pair.id: Image.open(images / f"{pair.id}.png") for pair in masks.pairs}


def test_masks_with_images_start_from_them_and_say_so(masks, generators, base_dir, tmp_path):
    near = drawn(masks, generators, base_dir, tmp_path / "near", steps=20, guidance=1.0, strength=0.05)
    vae = load_vae(base_dir)
    for pair in masks.pairs:
        [kept] = decode_images(vae, encode_images(vae, np.stack([masks.image(pair)]), vae.device))
        others = [np.abs(np.asarray(near[other.id]) / 255 - kept.numpy()).mean() for other in masks.pairs]
        assert np.argmin(others) == masks.pairs.index(pair)
        assert near[pair.id].text["near-copy"] == "yes"
        assert near[pair.id].text["strength"] == "0.05"


def test_from_noise_alone_the_images_change_nothing(masks, generators, base_dir, tmp_path):
    """At strength 1, and where masks come without images, images are what they were."""
    bare = PairSet(masks.folder, tuple(replace(pair, image="") for pair in masks.pairs))
    whole = drawn(masks, generators, base_dir, tmp_path / "whole")
    for name, images in {
        "bare": drawn(bare, generators, base_dir, tmp_path / "bare"),
        "none to start from": drawn(bare, generators, base_dir, tmp_path / "none", strength=0.3),
    }.items():
        for pair in masks.pairs:
            assert images[pair.id].tobytes() == whole[pair.id].tobytes(), name
            assert not {"near-copy", "strength"} & images[pair.id].text.keys()
            assert "strength" not in images[pair.id].text.get("options", "")
