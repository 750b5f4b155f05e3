"""Sampling: the same bytes in any batch, order and number of processes; each option does what its name says."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionControlNetPipeline
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from PIL import Image

from data.masks.config import RealMasks
from data.masks.masks import write_masks
from data.pairs.files import sha256_tree
from data.pairs.image_io import write_image
from data.pairs.manifest import PairSet, read_pairs
from siamese.base.devices import FAST_HEAD, NarrowHeads, head_size, place
from siamese.base.load import load_scheduler, load_unet, load_vae
from siamese.config.rows import T2IAdapterRow
from siamese.config.sections import SamplingConfig
from siamese.load import load
from siamese.method.checkpoint import load_generator
from siamese.sampling import sampler as sampler_module
from siamese.sampling.sample import WAITING, image_writer, sample_images
from siamese.sampling.sampler import denoise, generators_of, guided_range, latent_sampler, rescale_guidance, start_noise
from siamese.training.loop import Run
from siamese.training.train import train_generator
from tests.contracts.imports import ROOT
from tests.siamese.conftest import SAMPLING, TRAINING
from tests.siamese.method.test_host import Traffic


def test_ddim_visits_the_documented_timesteps(base_dir):
    scheduler = load_scheduler(base_dir)
    scheduler.set_timesteps(50)
    assert scheduler.timesteps[:2].tolist() == [981, 961]
    assert scheduler.timesteps[-1] == 1
    assert scheduler.final_alpha_cumprod == scheduler.alphas_cumprod[0]


def test_trailing_steps_begin_at_pure_noise_and_end_at_the_last_image(base_dir):
    """Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, Table 2."""
    cfg = SAMPLING.model_copy(update={"spacing": "trailing"})
    solver = sampler_module.SOLVERS["ddim"](load_scheduler(base_dir), cfg)
    solver.set_timesteps(10)
    assert solver.timesteps.tolist() == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]
    assert sampler_module.SOLVERS["ddim"](load_scheduler(base_dir), SAMPLING).config.timestep_spacing == "leading"


@pytest.fixture
def masks(real, tmp_path):
    write_masks(real, "real", RealMasks(kind="real", copies=1), tmp_path / "masks")
    return read_pairs(tmp_path / "masks/1")


def draw(masks, folder, base_dir, images, cfg=SAMPLING):
    sample_images(masks, load(folder, base_dir, cfg), cfg, images, {"generator": "x"})
    return {path.name: np.asarray(Image.open(path)).astype(int) for path in sorted(images.iterdir())}


@pytest.mark.heavy
def test_samples_depend_on_neither_batch_nor_order(masks, generators, base_dir, tmp_path):
    two = draw(masks, generators["siamese"], base_dir, tmp_path / "two")
    one = draw(masks, generators["siamese"], base_dir, tmp_path / "one", SAMPLING.model_copy(update={"batch": 1}))
    assert two.keys() == one.keys()
    assert max(np.abs(two[name] - one[name]).max() for name in two) <= 1
    assert len({image.tobytes() for image in one.values()}) == len(masks)


def test_an_interrupted_run_ends_with_the_bytes_of_an_unbroken_one(masks, generators, base_dir, tmp_path):
    draw(masks, generators["siamese"], base_dir, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    names = sorted(path.name for path in (tmp_path / "broken").iterdir())
    (tmp_path / "broken" / names[3]).unlink()
    kept = (tmp_path / "broken" / names[0]).stat().st_mtime_ns
    draw(masks, generators["siamese"], base_dir, tmp_path / "broken")
    assert sha256_tree(tmp_path / "broken") == sha256_tree(tmp_path / "whole")
    assert (tmp_path / "broken" / names[0]).stat().st_mtime_ns == kept


def test_guidance_one_needs_no_second_half_and_more_changes_the_image(masks, generators, base_dir):
    trained, scheduler = load_generator(generators["siamese"], base_dir), load_scheduler(base_dir)
    noise = start_noise([1], (4, 16, 16))
    hints = torch.rand(1, 3, 32, 32)
    same = trained._replace(context=trained.context[:1].repeat(2, 1, 1))
    plain = denoise(trained, scheduler, noise, hints, SAMPLING.model_copy(update={"guidance": 1.0}))
    assert torch.allclose(denoise(same, scheduler, noise, hints, SAMPLING), plain, atol=1e-4)
    strong = SAMPLING.model_copy(update={"guidance": 9.0})
    assert not torch.allclose(denoise(trained, scheduler, noise, hints, strong), plain, atol=1e-3)


def test_images_say_what_made_them(masks, generators, base_dir, tmp_path):
    draw(masks, generators["siamese"], base_dir, tmp_path / "images")
    text = Image.open(tmp_path / "images" / f"{masks.pairs[0].id}.png").text
    assert text["mask"] == masks.pairs[0].id
    assert text["generator"] == "x"
    assert int(text["seed"]) > 0


def test_the_order_of_the_masks_changes_no_image(masks, generators, base_dir, tmp_path):
    turned = PairSet(masks.folder, tuple(reversed(masks.pairs)))
    ours, theirs = (draw(m, generators["siamese"], base_dir, tmp_path / n) for m, n in ((masks, "a"), (turned, "b")))
    assert max(np.abs(ours[name] - theirs[name]).max() for name in ours) <= 1


IMAGE = np.zeros((8, 8, 3), np.uint8)


def test_an_error_in_the_writing_thread_reaches_the_caller(tmp_path):
    (tmp_path / "file").touch()

    def write(count: int) -> None:
        with image_writer() as write_later:
            for _ in range(count):
                write_later(tmp_path / "file" / "a.png", IMAGE, {})
                written.append(1)

    written: list[int] = []
    with pytest.raises(OSError, match="file"):
        write(1)  # at the end at the latest
    with pytest.raises(OSError, match="file"):
        write(5000)
    assert 1 < len(written) < 5000


def test_an_error_in_the_block_is_the_one_that_is_seen(tmp_path):
    def stop() -> None:
        with image_writer() as write_later:
            write_later(tmp_path / "a.png", IMAGE, {})
            raise KeyError

    with pytest.raises(KeyError):
        stop()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_images_of_the_thread_are_those_of_a_plain_call_and_all_there(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(3 * WAITING)]
    with image_writer() as write_later:
        for number, image in enumerate(images):
            write_later(tmp_path / f"thread/{number}.png", image, {"seed": str(number)})
            assert len(list(tmp_path.glob("thread/[0-9]*.png"))) >= number + 1 - WAITING
    for number, image in enumerate(images):
        write_image(tmp_path / f"plain/{number}.png", image, {"seed": str(number)})
    assert sha256_tree(tmp_path / "thread") == sha256_tree(tmp_path / "plain")


ENDLESS = """
import sys
from pathlib import Path
import numpy as np
from siamese.sampling.sample import image_writer
image = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
with image_writer() as write_later:
    for number in range(10**6):
        write_later(Path(sys.argv[1]) / f"{number}.png", image, {})
"""


@pytest.mark.heavy
def test_a_kill_leaves_no_half_image(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], env=env) as process:
        while process.poll() is None and len(list(tmp_path.glob("*.png"))) < 5:
            time.sleep(0.01)
        process.kill()
    images = sorted(path for path in tmp_path.glob("*.png") if not path.name.startswith("."))
    assert len(images) >= 5
    for path in images:
        assert np.asarray(Image.open(path)).shape == (512, 512, 3)


@pytest.fixture
def trained(generators, base_dir):
    return load_generator(generators["siamese"], base_dir)


HINTS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
NOISE = start_noise([1, 2], (4, 16, 16))


def clean(trained, base_dir, **settings):
    cfg = SAMPLING.model_copy(update={"steps": 8, "guidance": 5.0, **settings})
    return denoise(trained, load_scheduler(base_dir), NOISE, HINTS, cfg)


def diffusers_pipeline(kind, trained, base_dir, solver):
    """Return diffusers' pipeline of a kind with the weights of a generator, and the prompts of two images."""
    scheduler = load_scheduler(base_dir)
    if solver == "dpm++":
        scheduler = DPMSolverMultistepScheduler.from_config(scheduler.config, timestep_spacing="trailing")
    pipeline = kind(
        vae=load_vae(base_dir), text_encoder=None, tokenizer=None, unet=trained.networks.unet,
        controlnet=trained.networks.controlnet, scheduler=scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    prompts = {
        "prompt_embeds": trained.context[:1].repeat(2, 1, 1),
        "negative_prompt_embeds": trained.context[1:].repeat(2, 1, 1),
    }
    return pipeline, prompts


@pytest.mark.parametrize("solver", ["ddim", "dpm++"])
def test_images_are_those_of_diffusers_pipeline(trained, base_dir, solver):
    """An independent sampler with the same weights, noise, schedule and guidance."""
    pipeline, prompts = diffusers_pipeline(StableDiffusionControlNetPipeline, trained, base_dir, solver)
    theirs = pipeline(
        **prompts, image=HINTS, latents=NOISE, num_inference_steps=8, guidance_scale=5.0, output_type="latent"
    ).images
    assert torch.allclose(clean(trained, base_dir, solver=solver), theirs, atol=1e-4)


def test_noise_of_the_steps_is_each_images_own(trained, base_dir):
    """With eta 1 an image alone is what it is beside another; with 0 no generator is asked."""
    cfg, scheduler = SAMPLING.model_copy(update={"steps": 4, "eta": 1.0}), load_scheduler(base_dir)
    both = denoise(trained, scheduler, NOISE, HINTS, cfg, generators=generators_of([3, 4]))
    alone = denoise(trained, scheduler, NOISE[1:], HINTS[1:], cfg, generators=generators_of([4]))
    assert torch.allclose(both[1:], alone, atol=1e-4)
    assert not torch.allclose(both, clean(trained, base_dir, steps=4, guidance=SAMPLING.guidance), atol=1e-2)


def test_eta_is_of_ddim_alone():
    with pytest.raises(ValueError, match="eta 1 is of solver ddim; dpm\\+\\+ adds no noise"):
        SamplingConfig.model_validate({**SAMPLING.model_dump(), "solver": "dpm++", "eta": 1.0})


def test_rescaled_guidance_is_that_of_diffusers(trained, base_dir):
    noise, text = NOISE * 3, NOISE.flip(0)
    for share in (0.0, 0.4, 1.0):
        assert torch.allclose(rescale_guidance(noise, text, share), rescale_noise_cfg(noise, text, share), atol=1e-6)
    plain, rescaled = clean(trained, base_dir), clean(trained, base_dir, guidance_rescale=0.7)
    assert not torch.allclose(plain, rescaled, atol=1e-3)


@pytest.mark.parametrize("solver", ["ddim", "dpm++"])
def test_denoising_reads_nothing_from_the_device(generators, base_dir, solver):
    """On tensors without numbers; the timesteps go there at once, and the solver looks them up on the CPU."""
    trained = load_generator(generators["siamese"], base_dir)
    for network in trained.networks.all():
        network.to("meta")
    cfg = SAMPLING.model_copy(update={"steps": 3, "guidance": 5.0, "solver": solver, "guidance_rescale": 0.5})
    with Traffic() as traffic:
        found = denoise(trained, load_scheduler(base_dir), NOISE.to("meta"), HINTS.to("meta"), cfg)
    assert traffic.reads == []
    assert traffic.to_device == 4  # noise, hints, prompts, timesteps
    assert found.shape == NOISE.shape


@pytest.mark.parametrize("solver", ["ddim", "dpm++"])
def test_guidance_and_solver_compute_in_float32_under_bf16(trained, base_dir, monkeypatch, solver):
    """The networks may be in half precision; what is done with their predictions is not."""
    original, predicted = sampler_module.unet_decode, []

    def watched(*arguments):
        predicted.append(original(*arguments))
        return predicted[-1]

    monkeypatch.setattr(sampler_module, "unet_decode", watched)
    with torch.autocast("cpu", torch.bfloat16):
        found = clean(trained, base_dir, solver=solver, guidance=9.0, steps=4)
    assert {noise.dtype for noise in predicted} == {torch.bfloat16}
    steps = sampler_module.SOLVERS[solver](load_scheduler(base_dir), SAMPLING)
    steps.set_timesteps(4)
    latents = NOISE
    for timestep, noise in zip(steps.timesteps, predicted, strict=True):
        without, with_prompt = noise.float().chunk(2)
        latents = steps.step(without + 9.0 * (with_prompt - without), timestep, latents).prev_sample
    assert found.dtype == torch.float32
    assert torch.equal(found, latents)


def test_guidance_on_part_of_the_steps(trained, base_dir):
    everywhere, nowhere = clean(trained, base_dir), clean(trained, base_dir, guidance=1.0)
    assert torch.equal(clean(trained, base_dir, guided_share=0.0), nowhere)
    half = clean(trained, base_dir, guided_share=0.5)
    assert not torch.allclose(half, everywhere, atol=1e-4)
    assert not torch.allclose(half, nowhere, atol=1e-4)


def test_the_guided_steps_are_those_of_the_interval():
    def steps(**settings):
        cfg = SAMPLING.model_copy(update={"steps": 50, "guidance": 9.0, **settings})
        return list(guided_range(cfg, cfg.guidance))

    assert steps() == list(range(50))  # as without these keys
    assert steps(guided_share=0.5) == list(range(25))
    assert steps(guided_from=0.2, guided_share=0.8) == list(range(10, 40))
    assert steps(guided_from=0.5, guided_share=0.5) == steps(guidance=1.0) == steps(guided_share=0.0) == []


@pytest.mark.parametrize(("solver", "every"), [("ddim", 1), ("ddim", 3), ("dpm++", 3)])
def test_guidance_in_an_interval(trained, base_dir, solver, every):
    """An empty interval is no guidance to the bit, and both ends of an interval count."""

    def images(**settings):
        return clean(trained, base_dir, steps=4, solver=solver, encoder_every=every, **settings)

    nowhere, inner = images(guidance=1.0), images(guided_from=0.25, guided_share=0.5)
    assert torch.equal(images(guided_from=0.5, guided_share=0.5), nowhere)
    others = (nowhere, images(guided_share=0.5), images(guided_from=0.25))
    assert not any(torch.allclose(inner, other, atol=1e-4) for other in others)


@pytest.mark.parametrize("every", [1, 3])
def test_both_ends_of_the_interval_compute_the_features_anew(trained, base_dir, monkeypatch, every):
    original, sizes = sampler_module.unet_encode, {}

    def sized(unet, inputs, times, *rest):
        sizes[int(times[0])] = len(inputs)
        return original(unet, inputs, times, *rest)

    monkeypatch.setattr(sampler_module, "unet_encode", sized)
    clean(trained, base_dir, encoder_every=every, guided_from=0.5, guided_share=0.88)  # 4 of 8 steps, up to the 7th
    count = len(NOISE)
    steps = dict(zip(range(8), [count] * 4 + [2 * count] * 3 + [count], strict=True))
    anew = range(8) if every == 1 else (0, 3, 4, 6, 7)
    assert list(sizes.values()) == [steps[step] for step in anew]


def test_mask_guidance_goes_away_from_the_noise_without_the_mask(trained, base_dir, monkeypatch):
    original, predicted = sampler_module.unet_decode, []

    def watched(unet, features, residuals, text):
        predicted.append((residuals is None, original(unet, features, residuals, text)))
        return predicted[-1][1]

    plain = clean(trained, base_dir, guidance=1.0, steps=1)
    monkeypatch.setattr(sampler_module, "unet_decode", watched)
    found = clean(trained, base_dir, guidance=1.0, steps=1, mask_guidance=3.0)
    (_, seen), (is_bare, unseen) = predicted
    assert is_bare
    solver = sampler_module.SOLVERS["ddim"](load_scheduler(base_dir), SAMPLING)
    solver.set_timesteps(1)
    assert torch.equal(found, solver.step(unseen + 3.0 * (seen - unseen), solver.timesteps[0], NOISE).prev_sample)
    assert not torch.equal(found, plain)


def test_mask_guidance_keeps_to_the_interval_and_off_is_what_it_was(trained, base_dir):
    nowhere = clean(trained, base_dir, guidance=1.0)
    assert torch.equal(clean(trained, base_dir, guidance=1.0, mask_guidance=1.0), nowhere)
    assert torch.equal(clean(trained, base_dir, guidance=1.0, mask_guidance=2.0, guided_share=0.0), nowhere)
    late = clean(trained, base_dir, guidance=1.0, mask_guidance=2.0, guided_from=0.5)
    everywhere = clean(trained, base_dir, guidance=1.0, mask_guidance=2.0)
    assert not torch.equal(late, everywhere)
    assert not torch.equal(late, nowhere)


def test_mask_guidance_of_an_adapter_encodes_without_it(training_data, base_dir, tmp_path, monkeypatch):
    run = Run(TRAINING.model_copy(update={"steps": 1}), base_dir, tmp_path / "out", tmp_path / "work")
    run.out.mkdir()
    train_generator(training_data, T2IAdapterRow(method="t2i_adapter"), run)
    trained, original, adapters = load_generator(run.out, base_dir), sampler_module.unet_encode, []

    def watched(unet, inputs, times, text, adapter=()):
        adapters.append(len(adapter))
        return original(unet, inputs, times, text, adapter)

    monkeypatch.setattr(sampler_module, "unet_encode", watched)
    clean(trained, base_dir, guidance=1.0, steps=1, mask_guidance=2.0)
    assert adapters[0] > 0
    assert adapters[1:] == [0]


@pytest.mark.parametrize(("own", "used"), [(None, "1.5"), (1.0, None), (3.0, "3.0")])
def test_a_rows_own_mask_guidance_counts_and_is_written_down(trained, base_dir, own, used):
    row = trained.row.model_copy(update={"mask_guidance": own})
    cfg, parts = SAMPLING.model_copy(update={"mask_guidance": 1.5}), (load_vae(base_dir), load_scheduler(base_dir))
    settings = latent_sampler(trained._replace(row=row), *parts, cfg).settings
    assert settings.get("options") == (used and f'{{"mask_guidance": {used}}}')


def test_an_interval_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match=r"guided_from 0\.7 lies behind guided_share 0\.5"):
        SamplingConfig.model_validate({**SAMPLING.model_dump(), "guided_from": 0.7, "guided_share": 0.5})


@pytest.mark.parametrize(("every", "share", "passes"), [(1, 1.0, 8), (3, 1.0, 3), (3, 0.5, 4), (8, 1.0, 1)])
def test_encoder_passes_are_shared_between_steps(trained, base_dir, monkeypatch, every, share, passes):
    original, calls = sampler_module.unet_encode, []

    def counted(*arguments):
        calls.append(len(arguments[1]))
        return original(*arguments)

    monkeypatch.setattr(sampler_module, "unet_encode", counted)
    clean(trained, base_dir, encoder_every=every, guided_share=share)
    assert len(calls) == passes


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_narrow_heads_give_the_numbers_and_gradients_of_attention(precision):
    torch.manual_seed(0)
    attention = Attention(query_dim=20, cross_attention_dim=6, heads=4, dim_head=5).to(precision)
    assert head_size(attention) == 5
    tokens = torch.randn(2, 9, 20, dtype=precision, requires_grad=True)
    prompt = torch.randn(2, 7, 6, dtype=precision)
    results = []
    for processor in (AttnProcessor2_0(), NarrowHeads()):
        attention.zero_grad()
        output = processor(attention, tokens, prompt)
        gradients = torch.autograd.grad(output.square().sum(), [tokens, *attention.parameters()])
        results.append([output, *gradients])
    tolerance = 1e-5 if precision == torch.float32 else 1e-13
    assert all(torch.allclose(a, b, atol=tolerance, rtol=tolerance) for a, b in zip(*results, strict=True))
    with pytest.raises(NotImplementedError):
        NarrowHeads()(attention, tokens, prompt, torch.zeros(2, 1, 7))


def test_only_narrow_heads_are_filled_up(base_dir):
    unet = load_unet(base_dir)
    place(unet, torch.device("cpu"))
    sizes = {head_size(m): type(m.processor) for m in unet.modules() if isinstance(m, Attention)}
    assert sizes
    assert all((kind is NarrowHeads) == (size < FAST_HEAD) for size, kind in sizes.items())
