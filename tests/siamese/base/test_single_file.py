"""Checkpoints in one file, written in the diffusers layout weight by weight."""

import json
import math

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from data.pairs.errors import UserError
from siamese.base.checkpoint_files import read_checkpoint
from siamese.base.single_file import write_stable_diffusion
from siamese.base.text import clip_tokenizer
from tests.siamese.base import ldm_layout
from tests.siamese.base.ldm_layout import TEXT, UNET, VAE, attend, conv, group_norm, layer_norm, linear, part


@pytest.fixture(scope="module")
def state():
    return ldm_layout.checkpoint(hint="hi")


@pytest.fixture(scope="module")
def folder(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "sd.ckpt"
    torch.save({"state_dict": state, "epoch": 3}, path)
    out = path.with_name("model")
    assert write_stable_diffusion(read_checkpoint(path), out, ema=False) == {"ema": False, "both": True}
    return out


def double(state):
    return {name: value.double() if value.is_floating_point() else value for name, value in state.items()}


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# ---- the layout of the tests


def test_the_layout_is_as_large_as_stable_diffusion_1_5(state):
    counts = {prefix: len(part(state, prefix)) for prefix in (UNET, VAE, TEXT, "control_model.", "model_ema.")}
    assert list(counts.values()) == [686, 248, 196 + 1, 340, 686 + 2]
    assert len(part(ldm_layout.checkpoint(hint="dhi"), "control_model.")) == 340 - 16 + 44


def test_the_layout_has_the_parameters_of_stable_diffusion_1_5(monkeypatch):
    def millions(shapes):
        return sum(math.prod(shape) for shape in shapes.values()) / 1e6

    monkeypatch.setattr(ldm_layout, "CONTEXT", 768)
    monkeypatch.setattr(ldm_layout, "WIDTHS", (320, 640, 1280, 1280))
    assert millions(ldm_layout.unet_shapes()) == 859.520964
    assert millions(ldm_layout.clip_shapes()) == 123.06048
    assert millions(ldm_layout.control_shapes("hi")) == 361.27912
    assert millions(ldm_layout.control_shapes("dhi")) == pytest.approx(360.2 + 3.26, abs=0.05)
    monkeypatch.setattr(ldm_layout, "WIDTHS", (128, 256, 512, 512))
    assert millions(ldm_layout.vae_shapes()) == 83.653863


# ---- the tokenizer


def test_the_tokenizer_is_clips(folder):
    import open_clip

    prompts = [
        "a polyp", "", "An endoscopic IMAGE of a Polyp, with a bright-red spot!", "it's 3.5 mm (approx.) -- #1; naive",
        "naïve café 日本 😀 don't we'll", "  spaces \n and\ttabs ", "semicolon;colon:'quotes'\"...", "x" * 200,
        " ".join(["dermoscopy"] * 90),
    ]  # fmt: skip
    expected = open_clip.tokenizer.SimpleTokenizer()(prompts)
    for tokenizer in (clip_tokenizer(), CLIPTokenizer.from_pretrained(folder / "tokenizer")):
        found = tokenizer(prompts, padding="max_length", max_length=77, truncation=True)["input_ids"]
        for ours, theirs in zip(found, expected.tolist(), strict=True):
            end = theirs.index(49407)
            assert ours == theirs[: end + 1] + [49407] * (76 - end)
        assert (len(tokenizer), tokenizer.model_max_length) == (49408, 77)


# ---- the weights, used literally under their old names


def test_the_unet_computes_what_the_file_says(state, folder):
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=torch.float64)
    x, t, context = draw(2, 4, 16, 16), torch.tensor([3, 800]), draw(2, 5, ldm_layout.CONTEXT)
    expected = ldm_layout.unet(double(state), x, t, context)
    with torch.inference_mode():
        torch.testing.assert_close(unet(x, t, context).sample, expected, rtol=1e-5, atol=1e-5)


def _vae_res(w, x):
    h = conv(w, "conv1", F.silu(group_norm(w, "norm1", x, 1e-6)), padding=1)
    h = conv(w, "conv2", F.silu(group_norm(w, "norm2", h, 1e-6)), padding=1)
    return h + (conv(w, "nin_shortcut", x) if "nin_shortcut.weight" in w else x)


def _vae_mid(w, x):
    x, a = _vae_res(part(w, "mid.block_1."), x), part(w, "mid.attn_1.")
    h = group_norm(a, "norm", x, 1e-6)
    h = attend(*(conv(a, name, h).flatten(2).mT for name in "qkv"), heads=1).mT.unflatten(2, x.shape[2:])
    return _vae_res(part(w, "mid.block_2."), x + conv(a, "proj_out", h))


def _vae_end(w, x):
    return conv(w, "conv_out", F.silu(group_norm(w, "norm_out", x, 1e-6)), padding=1)


def test_the_autoencoder_computes_what_the_file_says(state, folder):
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float64)
    w, image = part(double(state), VAE), draw(1, 3, 32, 32)
    e, d = part(w, "encoder."), part(w, "decoder.")
    x = conv(e, "conv_in", image, padding=1)
    for level in range(4):
        for block in range(2):
            x = _vae_res(part(e, f"down.{level}.block.{block}."), x)
        if level < 3:
            x = conv(e, f"down.{level}.downsample.conv", F.pad(x, (0, 1, 0, 1)), stride=2)
    moments = conv(w, "quant_conv", _vae_end(e, _vae_mid(e, x)))
    x = _vae_mid(d, conv(d, "conv_in", conv(w, "post_quant_conv", moments[:, :4]), padding=1))
    for level in (3, 2, 1, 0):
        for block in range(3):
            x = _vae_res(part(d, f"up.{level}.block.{block}."), x)
        if level > 0:
            x = conv(d, f"up.{level}.upsample.conv", F.interpolate(x, scale_factor=2), padding=1)
    with torch.inference_mode():
        torch.testing.assert_close(vae.encode(image).latent_dist.parameters, moments)
        torch.testing.assert_close(vae.decode(moments[:, :4]).sample, _vae_end(d, x))
    assert vae.config.scaling_factor == 0.18215


def test_the_text_encoder_computes_what_the_file_says(state, folder):
    encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", dtype=torch.float64)
    w = part(double(state), TEXT)
    tokens = torch.tensor([[49406, 320, 2000, 49407, 49407], [49406, 17, 4, 900, 49407]])
    x = w["embeddings.token_embedding.weight"][tokens] + w["embeddings.position_embedding.weight"][:5]
    mask = torch.full((5, 5), -torch.inf, dtype=torch.float64).triu(1)
    for number in range(12):
        b = part(w, f"encoder.layers.{number}.")
        h = layer_norm(b, "layer_norm1", x)
        q, k, v = (linear(b, f"self_attn.{name}_proj", h) for name in "qkv")
        x = x + linear(b, "self_attn.out_proj", attend(q, k, v, 1, mask))
        h = linear(b, "mlp.fc1", layer_norm(b, "layer_norm2", x))
        x = x + linear(b, "mlp.fc2", h * (1.702 * h).sigmoid())
    with torch.inference_mode():
        torch.testing.assert_close(encoder(tokens)[0], layer_norm(w, "final_layer_norm", x))


# ---- the folder


def tags(values):
    """Return what tells tensors apart, whatever their names and their trailing axes of size 1 are."""
    return sorted((str(value.dtype), value.numel(), tuple(value.flatten()[:3].tolist())) for value in values)


def written(folder, name):
    (path,) = (folder / name).glob("*.safetensors")
    return load_file(path).values()


def weights_below(state, prefix):
    no_weights = ("position_ids", "model_ema.decay", "model_ema.num_updates")
    return [value for name, value in state.items() if name.startswith(prefix) and not name.endswith(no_weights)]


@pytest.mark.parametrize(("prefix", "name"), [(UNET, "unet"), (VAE, "vae"), (TEXT, "text_encoder")])
def test_every_weight_is_in_the_folder_once(state, folder, prefix, name):
    expected = tags(weights_below(state, prefix))
    assert tags(written(folder, name)) == expected
    assert len(set(expected)) == len(expected)


def test_the_folder_is_a_diffusers_pipeline(folder):
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, feature_extractor=None)
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline("a polyp", num_inference_steps=2, height=64, width=64, output_type="np").images
    assert images.shape == (1, 64, 64, 3)
    assert images.std() > 0
    config = pipeline.scheduler.config
    assert isinstance(pipeline.scheduler, DDIMScheduler)
    assert (config.beta_start, config.beta_end, config.beta_schedule) == (0.00085, 0.012, "scaled_linear")
    assert (config.num_train_timesteps, config.steps_offset, config.prediction_type) == (1000, 1, "epsilon")
    assert (config.set_alpha_to_one, config.clip_sample) == (False, False)
    assert json.loads((folder / "model_index.json").read_text())["safety_checker"] == [None, None]


def test_averaged_weights_in_half_precision_from_safetensors(state, tmp_path):
    half = {f"module.{k}": v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_file(half, tmp_path / "sd.safetensors")
    report = write_stable_diffusion(read_checkpoint(tmp_path / "sd.safetensors"), tmp_path / "model", ema=True)
    assert report == {"ema": True, "both": True}
    assert tags(written(tmp_path / "model", "unet")) == tags(weights_below(half, "module.model_ema."))
    assert tags(written(tmp_path / "model", "vae")) == tags(weights_below(half, f"module.{VAE}"))


def test_a_file_with_one_kind_of_weights(state, folder, tmp_path):
    one = {name: value for name, value in state.items() if not name.startswith(("model_ema.", "control_model."))}
    with pytest.raises(UserError, match="no averaged weights"):
        write_stable_diffusion(one, tmp_path, ema=True)
    assert write_stable_diffusion(one, tmp_path, ema=False) == {"ema": None, "both": False}
    assert tags(written(tmp_path, "unet")) == tags(written(folder, "unet"))


ATTENTION = "output_blocks.11.1.transformer_blocks.0.attn2.to_out.0.bias"
EMA_ATTENTION = f"model_ema.diffusion_model{ATTENTION.replace('.', '')}"


@pytest.mark.parametrize(
    ("lost", "named", "ema"),
    [
        (UNET + ATTENTION, "missing: up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_out.0.bias", False),
        (EMA_ATTENTION, "missing: up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_out.0.bias", True),
        (UNET + "output_blocks.2.1.conv.bias", "output_blocks.2.1.conv.bias", False),
        (VAE + "decoder.mid.attn_1.k.bias", "missing: decoder.mid_block.attentions.0.to_k.bias", False),
        (TEXT + "final_layer_norm.bias", "missing: final_layer_norm.bias", False),
        (UNET + "input_blocks.0.0.weight", "input_blocks.0.0.weight", False),
    ],
)
def test_what_a_file_lacks_is_named(state, tmp_path, lost, named, ema):
    with pytest.raises(UserError) as caught:
        write_stable_diffusion({k: v for k, v in state.items() if k != lost}, tmp_path, ema=ema)
    assert named in str(caught.value)
    assert list(tmp_path.iterdir()) == []


EXTRA = (UNET + "time_embed.0.lora", UNET + "output_blocks.0.2.conv2.bias", VAE + "decoder.mid.attn_2.q.bias",
         TEXT + "text_projection.weight", "safety.weight", "cond_stage_model.logit.scale")  # fmt: skip


def test_what_a_file_has_too_much_is_named_at_once(state, tmp_path):
    odd = state | {name: torch.rand(4) for name in EXTRA} | {f"{VAE}quant_conv.bias": torch.ones(9)}
    with pytest.raises(UserError, match="7 weights do not fit") as caught:
        write_stable_diffusion(odd, tmp_path, ema=False)
    assert all(f"unexpected: {name}" in caught.value.problems for name in EXTRA)
    assert f"{VAE}quant_conv.bias has the shape (9,), not (8,)" in caught.value.problems


def test_many_problems_are_counted(state, tmp_path):
    odd = {name: value for name, value in state.items() if ".norm2." not in name}
    with pytest.raises(UserError, match=": 80 weights") as caught:
        write_stable_diffusion(odd, tmp_path, ema=False)
    assert len(caught.value.problems) == 8


def test_other_families_are_refused(state, tmp_path):
    for odd, message in [
        (state | {"cond_stage_model.model.ln_final.weight": torch.ones(1)}, "2.x or XL"),
        (state | {f"{UNET}input_blocks.0.0.weight": torch.ones(32, 9, 3, 3)}, "9 channels, as for inpainting"),
        (part(state, UNET), "no whole Stable Diffusion"),
    ]:
        with pytest.raises(UserError, match=message):
            write_stable_diffusion(odd, tmp_path, ema=False)
