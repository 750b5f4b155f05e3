"""Base models: pretrained here, or any folder in the diffusers layout."""

import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline

from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from siamese.base import (
    base_info,
    encode_prompts,
    load_scheduler,
    load_unet,
    load_vae,
    vae_factor,
    write_base_reference,
)
from siamese.checkpoint import build_networks
from siamese.config import DiffusersBase
from siamese.latents import check_size, to_signed
from siamese.pretrain import pretrain
from tests.siamese.conftest import BASE, CONTROLNET, SIAMESE


def test_a_pretrained_base_is_a_diffusers_pipeline(base_dir):
    pipeline = StableDiffusionPipeline.from_pretrained(base_dir, safety_checker=None, feature_extractor=None)
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline("a polyp", num_inference_steps=2, height=32, width=32, output_type="np").images
    assert images.shape == (1, 32, 32, 3)


def test_pretraining_twice_gives_the_same_bytes(real, base_dir, tmp_path):
    (tmp_path / "out").mkdir(), (tmp_path / "work").mkdir()
    pretrain(to_signed(real.images()), "a polyp", BASE, tmp_path / "out", tmp_path / "work")
    assert sha256_tree(tmp_path / "out") == sha256_tree(base_dir)


def test_latents_have_unit_size_and_keep_the_image(training_data, base_dir):
    assert training_data.mean.std() == pytest.approx(1, abs=0.3)
    assert training_data.mean.shape == (5, 4, 16, 16)
    assert training_data.context.shape == (2, 77, 16)
    assert not torch.allclose(training_data.context[0], training_data.context[1])


def test_a_folder_in_the_diffusers_layout_is_used_where_it_lies(base_dir, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(base_dir, model)
    (model / "base.json").unlink()
    (tmp_path / "out").mkdir()
    write_base_reference(DiffusersBase(kind="diffusers", model=str(model)), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["base.json"]
    for load in (load_vae, load_unet):
        ours, theirs = load(tmp_path / "out").state_dict(), load(base_dir).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    prompts = ["a polyp", ""]
    assert torch.equal(encode_prompts(tmp_path / "out", prompts), encode_prompts(base_dir, prompts))
    assert vae_factor(load_vae(tmp_path / "out")) == 2
    assert load_scheduler(tmp_path / "out").config.beta_schedule == "scaled_linear"
    assert len(base_info(tmp_path / "out")["sha256"]) == 64


def test_what_a_folder_lacks_is_listed_at_once(base_dir, tmp_path):
    shutil.copytree(base_dir / "vae", tmp_path / "model/vae")
    with pytest.raises(UserError) as caught:
        write_base_reference(DiffusersBase(kind="diffusers", model=str(tmp_path / "model")), tmp_path)
    assert caught.value.problems == ("unet/", "text_encoder/", "tokenizer/", "scheduler/")


def test_a_model_that_cannot_be_had_says_what_to_do(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="is no folder here") as caught:
        write_base_reference(DiffusersBase(kind="diffusers", model="nobody/no-such-model"), tmp_path)
    assert "base.kind: pretrain" in str(caught.value)


@pytest.mark.parametrize(("row", "widths"), [(CONTROLNET, (4, 8, 16)), (SIAMESE, (4, 8, 16, 32))])
def test_hint_widths_must_fit_the_autoencoder(base_dir, row, widths):
    with pytest.raises(UserError, match="times smaller"):
        build_networks(row.model_copy(update={"hint_widths": widths}), base_dir)


def test_image_sizes_must_fit_the_base_model(base_dir):
    check_size(base_dir, 36)
    with pytest.raises(UserError, match="multiple of 4 px"):
        check_size(base_dir, 34)
