"""Plain diffusers, from files alone, draws our images: only the dense hint encoder is code of this project."""

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionControlNetPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file

from data.masks.config import RealMasks
from data.masks.masks import write_masks
from data.pairs.manifest import read_pairs
from siamese.base.load import load_scheduler
from siamese.load import load
from siamese.method.hint import DenseHintEncoder
from siamese.sampling.sample import sample_images
from tests.siamese.conftest import ROWS, SAMPLING


def plain_pipeline(folder, base_dir, row, **scheduler):
    """Return diffusers' pipeline of a base model and a trained generator on disk."""
    state = load_file(folder / "generator.safetensors")
    unet = UNet2DConditionModel.from_pretrained(base_dir, subfolder="unet")
    # a ControlNet of diffusers has no other hint encoder than its own: the dense one is put in its place
    widths = row.hint_widths if row.hint == "hi" else (16, 32)
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=widths)
    if row.hint == "dhi":
        controlnet.controlnet_cond_embedding = DenseHintEncoder(row.hint_widths, unet.config.block_out_channels[0])
    for network, prefix in ((controlnet, "controlnet."), (unet, "unet.")):
        weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        assert network.load_state_dict(weights, strict=network is controlnet).unexpected_keys == []
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        base_dir, unet=unet, controlnet=controlnet, safety_checker=None, feature_extractor=None,
        scheduler=DDIMScheduler.from_pretrained(base_dir, subfolder="scheduler", **scheduler),
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.heavy
@pytest.mark.parametrize(("spacing", "eta"), [("leading", 0.0), ("trailing", 1.0)])
@pytest.mark.parametrize("method", sorted(ROWS))
def test_it_draws_our_images(real, generators, base_dir, tmp_path, method, spacing, eta):
    """The scheduler is the one of the base model, trailing is one key of it, and noise comes from one generator."""
    write_masks(real, "real", RealMasks(kind="real", copies=1), tmp_path / "masks")
    masks, folder = read_pairs(tmp_path / "masks/1"), generators[method]
    cfg = SAMPLING.model_copy(update={"spacing": spacing, "steps": 8, "eta": eta})
    sample_images(masks, load(folder, base_dir, cfg), cfg, tmp_path / "images", {})
    trailing = {"timestep_spacing": "trailing"} if spacing == "trailing" else {}
    ours, theirs, others = [], [], []
    for pair in masks.pairs[:2]:
        image = Image.open(tmp_path / f"images/{pair.id}.png")
        hint = Image.open(masks.folder / pair.mask).convert("RGB")
        ours.append(np.asarray(image).astype(int))
        for images, settings in ((theirs, trailing), (others, {**trailing, "clip_sample": True})):
            generator = torch.Generator().manual_seed(int(image.text["seed"]))
            drawn = plain_pipeline(folder, base_dir, ROWS[method], **settings)(
                "a polyp", image=hint, generator=generator, eta=eta, height=32, width=32, num_inference_steps=8,
                guidance_scale=2.0, latents=torch.randn((1, 4, 16, 16), generator=generator),
            )  # fmt: skip
            images.append(np.asarray(drawn.images[0]).astype(int))
    assert np.abs(np.stack(ours) - np.stack(theirs)).max() <= 1
    assert np.abs(np.stack(ours) - np.stack(others)).max() > 1  # as the scheduler was saved until now


def test_the_scheduler_that_is_saved_is_the_one_that_is_used(base_dir):
    saved = DDIMScheduler.from_pretrained(base_dir, subfolder="scheduler")
    assert dict(saved.config) == dict(load_scheduler(base_dir).config)
    assert (saved.config.clip_sample, saved.config.set_alpha_to_one) == (False, False)
    assert (saved.config.steps_offset, saved.config.timestep_spacing) == (1, "leading")
