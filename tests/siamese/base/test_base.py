"""Base models: pretrained here, or any folder in the diffusers layout."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file

from benchmarks.networks.sd15 import build
from data.masks.config import RealMasks
from data.masks.masks import write_masks
from data.pairs.errors import UserError
from data.pairs.files import sha256_file, sha256_tree
from data.pairs.manifest import PairSet, read_pairs
from data.pairs.prepared import LoneImage, LoneImages
from data.prepare.config import PhantomDataset
from data.prepare.prepare import prepare
from siamese.base import load as load_module
from siamese.base import reference as base_module
from siamese.base.latents import cache_latents, check_size, load_training_data
from siamese.base.load import (
    base_info,
    encode_prompts,
    load_scheduler,
    load_unet,
    load_vae,
    reduction,
)
from siamese.base.pretrain import pretrain
from siamese.base.reference import hub_patterns, write_base_reference
from siamese.base.single_file import write_base_from_file
from siamese.base.text import clip_tokenizer
from siamese.config.base import DiffusersBase, SingleFileBase
from siamese.load import load
from siamese.method.checkpoint import build_networks, load_generator, read_config
from siamese.sampling.sample import sample_images
from siamese.training.import_official import import_generator
from siamese.training.loop import Run
from siamese.training.train import train_generator
from tests.siamese.base import ldm_layout
from tests.siamese.conftest import BASE, CONTROLNET, SAMPLING, SIAMESE, TRAINING


def test_a_pretrained_base_is_a_diffusers_pipeline(base_dir):
    pipeline = StableDiffusionPipeline.from_pretrained(base_dir, safety_checker=None, feature_extractor=None)
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline("a polyp", num_inference_steps=2, height=32, width=32, output_type="np").images
    assert images.shape == (1, 32, 32, 3)


def test_pretraining_twice_gives_the_same_bytes(real, base_dir, tmp_path):
    (tmp_path / "out").mkdir(), (tmp_path / "work").mkdir()
    pretrain(real.images(), "a polyp", BASE, tmp_path / "out", tmp_path / "work")
    assert sha256_tree(tmp_path / "out") == sha256_tree(base_dir)


def test_latents_are_the_same_bytes_in_every_process(real, base_dir, tmp_path):
    """Metadata of several keys would come in an order that differs from process to process."""
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).mkdir()
        cache_latents(real, "a polyp", base_dir, tmp_path / name)
    assert len({sha256_tree(tmp_path / name) for name in ("a", "b", "c", "d")}) == 1


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
    for part in (load_vae, load_unet):
        ours, theirs = part(tmp_path / "out").state_dict(), part(base_dir).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    prompts = ["a polyp", ""]
    assert torch.equal(encode_prompts(tmp_path / "out", prompts), encode_prompts(base_dir, prompts))
    assert reduction(tmp_path / "out", "vae") == 2
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


def test_the_hub_gives_each_weight_once_in_the_variant_asked_for():
    files = [
        f"{part}/{name}{variant}.safetensors"
        for part, name in (
            ("unet", "diffusion_pytorch_model"),
            ("vae", "diffusion_pytorch_model"),
            ("text_encoder", "model"),
        )
        for variant in ("", ".fp16", ".non_ema")
        if variant != ".non_ema" or part == "unet"
    ]
    files += ["unet/diffusion_pytorch_model.bin", "v1-5-pruned.ckpt", "safety_checker/model.safetensors"]

    def fetched(variant):
        wanted, others = hub_patterns(variant)
        return set(filter_repo_objects(files, allow_patterns=wanted, ignore_patterns=others))

    plain = {"unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"}
    assert fetched(None) == {f"{name}.safetensors" for name in plain}
    assert fetched("fp16") == {f"{name}.fp16.safetensors" for name in plain}
    assert fetched("non_ema") == {f"{name}.safetensors" for name in plain if "unet" not in name} | {
        "unet/diffusion_pytorch_model.non_ema.safetensors"
    }


def test_the_base_says_which_weights_it_took(base_dir, tmp_path):
    unet = load_unet(base_dir)
    shutil.copytree(base_dir, tmp_path / "model")
    (tmp_path / "model/base.json").unlink()
    for parameter in unet.parameters():
        parameter.data += 1
    unet.save_pretrained(tmp_path / "model/unet", variant="non_ema")
    taken = {}
    for variant in (None, "non_ema"):
        out = tmp_path / str(variant)
        out.mkdir()
        write_base_reference(DiffusersBase(kind="diffusers", model=str(tmp_path / "model"), variant=variant), out)
        taken[variant] = (base_info(out)["ema"], load_unet(out).conv_out.bias)
    assert taken[None][0] is None
    assert taken["non_ema"][0] is False
    assert torch.equal(taken["non_ema"][1], taken[None][1] + 1)


@pytest.mark.parametrize("ema", [False, True])
def test_a_checkpoint_in_one_file_becomes_a_base(tmp_path, ema):
    """The real layout with every key of Stable Diffusion 1.5 at reduced width, from file to images."""
    state = ldm_layout.checkpoint()
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "base").mkdir()
    row = SingleFileBase(kind="single_file", path=str(tmp_path / "model.safetensors"), ema=ema)
    write_base_from_file(row, tmp_path / "base")
    info = base_info(tmp_path / "base")
    assert (info["ema"], info["both"], len(info["file_sha256"])) == (ema, True, 64)
    name = f"{ldm_layout.UNET}out.2.bias"
    source = state["model_ema.diffusion_modelout2bias" if ema else name]
    assert torch.equal(load_unet(tmp_path / "base").conv_out.bias, source)


@pytest.mark.heavy
def test_a_row_with_a_checkpoint_of_the_official_code_is_imported_in_place_of_training(tmp_path):
    state = ldm_layout.checkpoint(hint="dhi")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "merged.ckpt")
    (tmp_path / "base").mkdir(), (tmp_path / "out").mkdir()
    write_base_from_file(
        SingleFileBase(kind="single_file", path=str(tmp_path / "merged.ckpt"), ema=True), tmp_path / "base"
    )
    row = SIAMESE.model_copy(update={"hint_widths": ldm_layout.DENSE_WIDTHS, "weights": str(tmp_path / "merged.ckpt")})
    import_generator(row, torch.zeros(2, 77, ldm_layout.CONTEXT), tmp_path / "base", tmp_path / "out")
    trained = load_generator(tmp_path / "out", tmp_path / "base")
    assert torch.equal(trained.networks.unet.conv_out.bias, state[f"{ldm_layout.UNET}out.2.bias"])
    assert torch.equal(
        trained.networks.controlnet.controlnet_cond_embedding.out.bias, state["control_model.input_hint_block.1.bias"]
    )
    assert read_config(tmp_path / "out")["imported"]["sha256"] == sha256_file(tmp_path / "merged.ckpt")
    with pytest.raises(UserError, match="is missing"):
        import_generator(
            row.model_copy(update={"weights": "/no/such.ckpt"}), torch.zeros(1), tmp_path / "base", tmp_path
        )


def test_a_file_that_is_not_the_one_of_params_yaml_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    row = SingleFileBase(kind="single_file", path=str(tmp_path / "model.safetensors"), sha256="0" * 64)
    with pytest.raises(UserError, match="is another file") as caught:
        write_base_from_file(row, tmp_path)
    assert caught.value.problems[0].endswith(sha256_file(tmp_path / "model.safetensors"))


@pytest.fixture
def outside(base_dir, tmp_path):
    """Return a function that makes a base which refers to a model outside, after a change to one of its configs."""
    shutil.copytree(base_dir, tmp_path / "model")
    (tmp_path / "model/base.json").unlink()
    (tmp_path / "out").mkdir()

    def refer(part="unet", **changes):
        path = tmp_path / "model" / part / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        write_base_reference(DiffusersBase(kind="diffusers", model=str(tmp_path / "model")), tmp_path / "out")
        return tmp_path / "out"

    return refer


@pytest.mark.parametrize(
    ("part", "changes", "said"),
    [
        ("unet", {"in_channels": 9}, "as for inpainting"),
        ("text_encoder", {"hidden_size": 24}, "prompts of width 16"),
        ("unet", {"addition_embed_type": "text_time"}, "Diffusion XL"),
    ],
)
def test_another_family_of_models_is_refused(outside, part, changes, said):
    with pytest.raises(UserError, match="is no Stable Diffusion") as caught:
        outside(part, **changes)
    assert said in caught.value.problems[0]


def test_a_model_that_changed_after_it_was_recorded_is_noticed(outside):
    base = outside()
    load_vae(base)
    config = base.parent / "model/scheduler/scheduler_config.json"
    config.write_text(config.read_text() + "\n")
    load_module.verify.cache_clear()  # as a new process would
    with pytest.raises(UserError, match="has changed since"):
        load_unet(base)


def test_weights_that_a_folder_lacks_are_named(outside):
    weights = outside().parent / "model/unet/diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    del state["conv_out.bias"]
    save_file(state, weights)
    with pytest.raises(UserError, match="not complete") as caught:
        load_unet(outside())
    assert caught.value.problems == ("conv_out.bias",)


@pytest.mark.slow
def test_a_full_size_stable_diffusion_is_loaded_stepped_and_sampled(tmp_path):
    """Random weights of the real size in half precision, in the layout of the hub: 2.1 GB, 16 GB of memory."""
    nets = build("full")
    for part, network in (("vae", nets.vae), ("unet", nets.unet), ("text_encoder", nets.text)):
        network.half().save_pretrained(tmp_path / "model" / part, variant="fp16")
    clip_tokenizer().save_pretrained(tmp_path / "model/tokenizer")
    nets.scheduler.save_pretrained(tmp_path / "model/scheduler")
    del nets, network
    row = PhantomDataset(kind="phantom", path="x", size_px=64, prompt="a polyp", train=4, test=4, seed=0)
    real = prepare(row, tmp_path / "data")["train"]
    folders = [tmp_path / name for name in ("base", "latents", "out", "work")]
    for folder in folders:
        folder.mkdir()
    base, latents, out, work = folders
    write_base_reference(DiffusersBase(kind="diffusers", model=str(tmp_path / "model"), variant="fp16"), base)
    cache_latents(real, "a polyp", base, latents)
    siamese = SIAMESE.model_copy(update={"hint_widths": (16, 32, 64, 128, 256)})
    cfg = TRAINING.model_copy(update={"steps": 1, "batch": 1, "schedule": "constant"})
    train_generator(load_training_data(real, latents), siamese, Run(cfg, base, out, work))
    write_masks(real, "real", RealMasks(kind="real", copies=1), tmp_path / "masks")
    masks, trained = read_pairs(tmp_path / "masks/1"), load_generator(out, base)
    assert sum(p.numel() for p in trained.networks.controlnet.parameters()) == pytest.approx(363.5e6, rel=0.001)
    cfg = SAMPLING.model_copy(update={"steps": 1})
    sample_images(masks, load(out, base, cfg), cfg, tmp_path / "images", {"generator": "x"})
    assert len(list((tmp_path / "images").glob("*.png"))) == 4


def test_the_hash_of_a_model_is_read_once_and_anew_after_any_change(base_dir, tmp_path, monkeypatch):
    """A later process asks for sizes and times alone; the same size with another time or content is noticed."""
    original, hashed = base_module.sha256_tree, []

    def counted(*paths):
        hashed.append(paths)
        return original(*paths)

    monkeypatch.setenv("SIAMESE_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(base_module, "sha256_tree", counted)
    shutil.copytree(base_dir, tmp_path / "model")
    whole = base_module.model_hash(tmp_path / "model")
    assert (base_module.model_hash(tmp_path / "model"), len(hashed)) == (whole, 2)  # too new to be trusted
    monkeypatch.setattr(base_module, "SETTLED_NS", 0)
    assert [base_module.model_hash(tmp_path / "model") for _ in range(3)] == [whole] * 3
    assert len(hashed) == 3
    weights = next((tmp_path / "model/vae").glob("*.safetensors"))
    times = weights.stat()
    weights.write_bytes(bytes(len(weights.read_bytes())))
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a copy that keeps the times
    assert base_module.model_hash(tmp_path / "model") != whole
    (tmp_path / "model/vae/more").touch()
    base_module.model_hash(tmp_path / "model")
    assert len(hashed) == 5
    next((tmp_path / "work/base-hashes").iterdir()).write_text("damaged")
    base_module.model_hash(tmp_path / "model")
    assert len(hashed) == 6


def test_a_base_that_does_not_say_what_it_is_is_named(tmp_path):
    with pytest.raises(UserError, match="is missing: run dvc repro"):
        base_info(tmp_path)
    (tmp_path / "base.json").write_text("{")
    with pytest.raises(UserError, match="is damaged: run dvc repro"):
        base_info(tmp_path)


def test_images_without_masks_have_latents_of_their_own_and_stand_after_the_pairs(real, base_dir, tmp_path):
    rows = [LoneImage(pair.id, pair.image, "", "", pair.image_sha256) for pair in real.pairs[2:]]
    for name, lone in (("none", LoneImages(real.folder, ())), ("some", LoneImages(real.folder, tuple(rows)))):
        (tmp_path / name).mkdir()
        cache_latents(real, "a polyp", base_dir, tmp_path / name, lone=lone)
    none, some = (sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("none", "some"))
    assert (none, some) == (["latents.safetensors"], ["latents.safetensors", "unlabelled.safetensors"])
    assert len({(tmp_path / name / "latents.safetensors").read_bytes() for name in ("none", "some")}) == 1

    pseudo = PairSet(real.folder, real.pairs[2:])
    plain, joined = (load_training_data(real, tmp_path / "some", pseudo=part) for part in (None, pseudo))
    for before, after in zip((plain.mean, plain.std), (joined.mean, joined.std), strict=True):
        assert torch.equal(after[: len(real)], before)
        assert torch.allclose(after[len(real) :], before[2:], atol=1e-5)  # encoded in other batches
    assert np.array_equal(joined.images, np.concatenate([real.images(), pseudo.images()]))
    assert np.array_equal(joined.masks, np.concatenate([real.hints(), pseudo.hints()]))
    assert joined.ids == (*plain.ids, *plain.ids[2:])
    (tmp_path / "some/latents.safetensors").write_bytes(b"cut")
    for place in ("nowhere", "some"):
        with pytest.raises(UserError, match="holds no cached latents: run dvc repro"):
            load_training_data(real, tmp_path / place)
