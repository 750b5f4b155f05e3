"""From noise to clean latents: DDIM as in the paper, and named ways to be faster or less saturated."""

from collections.abc import Callable

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, SchedulerMixin
from torch import Tensor

from siamese.base.devices import moved
from siamese.config.sections import SamplingConfig
from siamese.method.checkpoint import Trained
from siamese.method.condition import summed_residuals
from siamese.method.control import time_embedding, unet_decode, unet_encode
from siamese.method.registry import METHODS

SOLVERS: dict[str, Callable[[DDIMScheduler], SchedulerMixin]] = {
    "ddim": lambda schedule: DDIMScheduler.from_config(schedule.config),
    # few steps must start from pure noise, which DDIM's spacing of the paper does not give
    "dpm++": lambda schedule: DPMSolverMultistepScheduler.from_config(schedule.config, timestep_spacing="trailing"),
}


def rescale_guidance(noise: Tensor, with_prompt: Tensor, share: float) -> Tensor:
    """Return guided noise (B, C, h, w) pulled back by `share` to the standard deviation of the unguided one.

    Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, Eq. 15 and 16.
    """
    axes = (1, 2, 3)
    factor = with_prompt.std(axes, keepdim=True) / noise.std(axes, keepdim=True)
    return noise * (share * factor + (1 - share))


@torch.inference_mode()
def denoise(
    trained: Trained,
    scheduler: DDIMScheduler,
    latents: Tensor,
    hints: Tensor,
    cfg: SamplingConfig,
    *,
    images: Tensor | None = None,
) -> Tensor:
    """Return clean latents (B, C, h, w) from noise, for mask hints (B, 3, H, W) in [0, 1].

    images: the hints of methods that see the real image, as the mask hints. `scheduler` gives the noise schedule. DDIM
    has eta 0. Guidance acts on the prompt alone: both halves keep every hint, as in the official sampler (spec 1.4, row
    16). Hints do not depend on the timestep, so they are encoded once.
    """
    unet, context, count = trained.networks.unet, trained.context.to(latents.device), len(latents)
    condition = METHODS[trained.row.method].condition(trained.networks, trained.row, hints, images)
    doubled = condition.twice()
    prompt, empty = (embedding.expand(count, -1, -1) for embedding in context.split(1))
    both_prompts = torch.cat([empty, prompt])
    solver = SOLVERS[cfg.solver](scheduler)
    solver.set_timesteps(cfg.steps)
    guided_steps = round(cfg.guided_share * cfg.steps) if cfg.guidance > 1 else 0
    adapted_steps = round(condition.adapter_share * cfg.steps)
    (all_times,) = moved([solver.timesteps], latents.device)
    for index, timestep in enumerate(solver.timesteps):  # on the CPU, where the solver looks up its coefficients
        guided = index < guided_steps
        inputs = torch.cat([latents, latents]) if guided else latents
        acting, text = (doubled, both_prompts) if guided else (condition, prompt)
        times = all_times[index].expand(len(inputs))
        if index % cfg.encoder_every == 0 or index in (guided_steps, adapted_steps):
            residuals = summed_residuals(acting, inputs, times, text)
            adapter = acting.adapter if index < adapted_steps else ()
            features = unet_encode(unet, inputs, times, text, adapter)
        else:
            features = features._replace(time=time_embedding(unet, times, inputs.dtype))
        noise = unet_decode(unet, features, residuals, text).to(latents.dtype)  # guidance and solver in full precision
        if guided:
            without, with_prompt = noise.chunk(2)
            noise = without + cfg.guidance * (with_prompt - without)
            if cfg.guidance_rescale:
                noise = rescale_guidance(noise, with_prompt, cfg.guidance_rescale)
        latents = solver.step(noise, timestep, latents).prev_sample
    return latents
