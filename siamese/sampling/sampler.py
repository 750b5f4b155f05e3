"""The one sampler of all latent methods: noise, DDIM as in the paper or named ways to be faster, the VAE's decoder."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, SchedulerMixin
from torch import Tensor

from data.pairs.training import accelerator
from siamese.base.devices import moved, place
from siamese.base.latents import image_hints, mask_hints, to_signed
from siamese.base.load import load_scheduler, load_vae
from siamese.config.rows import LatentRow, downsampling
from siamese.config.sections import NEEDS, SamplingConfig
from siamese.method.checkpoint import Trained, load_generator
from siamese.method.control import summed_residuals, time_embedding, unet_decode, unet_encode
from siamese.method.registry import METHODS
from siamese.sampling.requests import Request, Sampler

SOLVERS: dict[str, Callable[[DDIMScheduler, SamplingConfig], SchedulerMixin]] = {
    "ddim": lambda schedule, cfg: DDIMScheduler.from_config(schedule.config, timestep_spacing=cfg.spacing),
    # few steps must start from pure noise, which DDIM's spacing of the paper does not give
    "dpm++": lambda schedule, _: DPMSolverMultistepScheduler.from_config(schedule.config, timestep_spacing="trailing"),
}


def rescale_guidance(noise: Tensor, with_prompt: Tensor, share: float) -> Tensor:
    """Return guided noise (B, C, h, w) pulled back by `share` to the standard deviation of the unguided one.

    Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, Eq. 15 and 16.
    """
    axes = (1, 2, 3)
    factor = with_prompt.std(axes, keepdim=True) / noise.std(axes, keepdim=True)
    return noise * (share * factor + (1 - share))


def guided_range(cfg: SamplingConfig, scale: float) -> range:
    """Return the steps in which a guidance of this scale acts, in one piece: limited-interval guidance by their share.

    Kynkäänniemi et al., Applying Guidance in a Limited Interval, 2404.07724, who bound it by the noise; solvers and
    spacings differ in their noise at a step.
    """
    first, end = round(cfg.guided_from * cfg.steps), round(cfg.guided_share * cfg.steps)
    return range(first, end) if scale > 1 and first < end else range(0)


@torch.inference_mode()
def denoise(
    trained: Trained,
    scheduler: DDIMScheduler,
    latents: Tensor,
    hints: Tensor,
    cfg: SamplingConfig,
    *,
    images: Tensor | None = None,
    generators: Sequence[torch.Generator] = (),
    start: Tensor | None = None,
) -> Tensor:
    """Return clean latents (B, C, h, w) from noise, for mask hints (B, 3, H, W) in [0, 1].

    images: the hints of methods that see the real image, as the mask hints. start: clean latents; then `latents` is the
    noise on them where the last cfg.strength of the steps begin, and the others are left out (SDEdit, Meng et al.,
    2108.01073, section 3; named as in diffusers). `scheduler` gives the noise schedule. Where
    cfg.eta is not 0, the generator of each image gives the noise of its steps (DDIM, Eq. 12 and 16). Guidance acts on
    the prompt alone: both halves keep every hint, as in the official sampler (spec 1.4, row 16). Mask guidance is
    classifier-free guidance (Ho & Salimans, 2207.12598, Eq. 6) on the hints instead: the noise goes away from what the
    same decoder gives without them. Hints do not depend on the timestep, so they are encoded once.
    """
    unet, context, count = trained.networks.unet, trained.context.to(latents.device), len(latents)
    condition = METHODS[trained.row.method].condition(trained.networks, trained.row, hints, images, 1.0)
    doubled = condition.twice()
    prompt, empty = (embedding.expand(count, -1, -1) for embedding in context.split(1))
    both_prompts = torch.cat([empty, prompt])
    solver = SOLVERS[cfg.solver](scheduler, cfg)
    solver.set_timesteps(cfg.steps)
    guided_steps, mask_guided_steps = guided_range(cfg, cfg.guidance), guided_range(cfg, cfg.mask_guidance)
    adapted_steps = round(condition.adapter_share * cfg.steps)
    (all_times,) = moved([solver.timesteps], latents.device)
    first = 0 if start is None else cfg.steps - max(1, round(cfg.strength * cfg.steps))
    if start is not None:
        latents = scheduler.add_noise(start, latents, all_times[first].expand(count))
    for index in range(first, len(solver.timesteps)):
        timestep = solver.timesteps[index]  # on the CPU, where the solver looks up its coefficients
        guided = index in guided_steps
        inputs = torch.cat([latents, latents]) if guided else latents
        acting, text = (doubled, both_prompts) if guided else (condition, prompt)
        times = all_times[index].expand(len(inputs))
        if index % cfg.encoder_every == 0 or index in (first, guided_steps.start, guided_steps.stop, adapted_steps):
            residuals = summed_residuals(acting, inputs, times, text)
            adapter = acting.adapter if index < adapted_steps else ()
            features = unet_encode(unet, inputs, times, text, adapter)
        else:
            features = features._replace(time=time_embedding(unet, times, inputs.dtype))
        noise = unet_decode(unet, features, residuals, text).to(latents.dtype)  # guidance and solver in full precision
        if index in mask_guided_steps:
            bare = unet_encode(unet, inputs, times, text) if adapter else features
            unseen = unet_decode(unet, bare, None, text).to(latents.dtype)
            noise = unseen + cfg.mask_guidance * (noise - unseen)
        if guided:
            without, with_prompt = noise.chunk(2)
            noise = without + cfg.guidance * (with_prompt - without)
            if cfg.guidance_rescale:
                noise = rescale_guidance(noise, with_prompt, cfg.guidance_rescale)
        anew = {}
        if cfg.eta:
            anew = {"eta": cfg.eta, "variance_noise": drawn(generators, latents.shape[1:]).to(latents.device)}
        latents = solver.step(noise, timestep, latents, **anew).prev_sample
    return latents


@torch.inference_mode()
def encode_images(vae: AutoencoderKL, images: np.ndarray, device: torch.device) -> Tensor:
    """Return the scaled latents (B, C, h, w) of uint8 (B, H, W, 3): the means, since noise is added anyway.

    One at a time, as they are decoded: an encoder at full size takes more memory than the denoiser.
    """
    parts = to_signed(images).to(device).split(1)
    return torch.cat([vae.encode(part).latent_dist.mean for part in parts]) * vae.config.scaling_factor


@torch.inference_mode()
def decode_images(vae: AutoencoderKL, latents: Tensor) -> Iterator[Tensor]:
    """Yield each image as float32 (H, W, 3) in [0, 1] from scaled latents (B, C, h, w).

    One at a time: on the CPU it is faster, and the memory stays that of one image.
    """
    for latent in latents.split(1):
        image = vae.decode(latent / vae.config.scaling_factor).sample[0]
        yield (image / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu()


def generators_of(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return a generator for each image, on the CPU."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def drawn(generators: Sequence[torch.Generator], shape: Sequence[int]) -> Tensor:
    """Return the next noise of each generator, (B, *shape)."""
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])


def start_noise(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Return the noise that images start from, (B, *shape), each a function of its own seed."""
    return drawn(generators_of(seeds), shape)


def own_sampling(row: LatentRow, cfg: SamplingConfig) -> SamplingConfig:
    """Return how a generator is sampled: the mask_guidance of its own row goes before that of sampling."""
    return cfg if row.mask_guidance is None else cfg.model_copy(update={"mask_guidance": row.mask_guidance})


def latent_sampler(trained: Trained, vae: AutoencoderKL, scheduler: DDIMScheduler, cfg: SamplingConfig) -> Sampler:
    """Return the sampler of a latent generator with the VAE and the noise schedule of its base model.

    Its settings are steps and guidance, and other options as JSON where they are not the paper's; strength is none,
    since it changes the images alone that start from one, and they say it of themselves.
    """
    processes, cfg = accelerator(), own_sampling(trained.row, cfg)
    needs = NEEDS[trained.row.method]._replace(strength=cfg.strength)
    for network in trained.networks.all():
        place(network, processes.device)
    vae.to(processes.device, memory_format=torch.channels_last)
    others = cfg.model_dump(exclude={"steps", "guidance", "batch", "seed", "strength"}, exclude_defaults=True)
    options = {"options": json.dumps(others, sort_keys=True)} if others else {}
    settings = {"steps": str(cfg.steps), "guidance": str(cfg.guidance), **options}

    def sample(requests: Sequence[Request]) -> Iterator[np.ndarray]:
        device = processes.device
        hints = mask_hints(np.stack([request.mask for request in requests]), device)
        images = [request.reference for request in requests if request.reference is not None]
        shown = image_hints(np.stack(images), device) if needs.reference else None
        begun = [request.start for request in requests if request.start is not None]
        start = encode_images(vae, np.stack(begun), device) if begun else None
        side = hints.shape[-1] // downsampling(vae.config.block_out_channels)
        generators = generators_of([request.seed for request in requests])
        noise = drawn(generators, (vae.config.latent_channels, side, side)).to(device)
        with processes.autocast():
            latents = denoise(trained, scheduler, noise, hints, cfg, images=shown, generators=generators, start=start)
        for image in decode_images(vae, latents.float()):
            yield (image * 255).round().to(torch.uint8).numpy()

    return Sampler(needs, settings, sample)


def load_latent_sampler(folder: Path, base_dir: Path, cfg: SamplingConfig) -> Sampler:
    """Return the sampler of a trained latent generator. Raises: UserError as `load_generator`."""
    trained = load_generator(folder, base_dir)
    return latent_sampler(trained, load_vae(base_dir), load_scheduler(base_dir), cfg)
