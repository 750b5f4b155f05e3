"""A small base model, trained on the training images of one data set and saved in the diffusers layout.

It stands in for Stable Diffusion where none can be downloaded: the same classes, a VAE, a UNet, a CLIP text encoder
(with random frozen weights, since there is one prompt) and a byte-level CLIP tokenizer, so that the code after it is
the same.
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from data.pairs.files import sha256_tree, write_json
from data.pairs.seeds import item_seed
from data.pairs.training import accelerator, check_losses, check_weights
from siamese.base.devices import LateReader, seeded
from siamese.base.load import encode_prompts, stable_diffusion_scheduler
from siamese.base.text import write_small_text_encoder
from siamese.config.sections import PretrainedHere, UnetShape, VaeShape

LAPLACE_LEVELS = 3
KL_WEIGHT = 1e-6
START_LOG_VARIANCE = -10.0
LEAST_DEVIATION = 1e-6  # of a channel that says nothing
MODEL_INDEX = {  # how diffusers finds the parts
    "_class_name": "StableDiffusionPipeline",
    "vae": ["diffusers", "AutoencoderKL"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
}


def _norm_groups(channels: tuple[int, ...]) -> int:
    """Return groups of sixteen channels or more: smaller ones would normalise the colour of a patch away."""
    return max(1, math.gcd(*channels) // 16)


def _start_linear(vae: AutoencoderKL) -> AutoencoderKL:
    """Let the autoencoder start as a nearly linear map that keeps the size of its signal, with narrow posteriors.

    From PyTorch's own start the signal shrinks at every layer, and colour is still not learned after 1000 steps.
    """
    for module in vae.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            torch.nn.init.zeros_(module.bias)
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            torch.nn.init.zeros_(module.conv2.weight)
    torch.nn.init.constant_(vae.quant_conv.bias[vae.config.latent_channels :], START_LOG_VARIANCE)
    return vae


def _laplacian_l1(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean absolute difference summed over the levels of a Laplacian pyramid.

    Every level counts alike, so that fine texture is not drowned by the smooth parts, as it is in plain L1.
    """
    difference, loss = a - b, torch.zeros(())
    for _ in range(LAPLACE_LEVELS):
        coarse = functional.avg_pool2d(difference, 2)
        loss = loss + (difference - functional.interpolate(coarse, scale_factor=2, mode="nearest")).abs().mean()
        difference = coarse
    return loss + difference.abs().mean()


def _train(
    network: torch.nn.Module, name: str, shape: VaeShape | UnetShape, loss_of_batch: Callable[[], Tensor]
) -> None:
    """Take every step of AdamW and its one-cycle schedule on the loss of one batch after the other.

    Raises: UserError when the loss or a weight is not finite.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=shape.lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, shape.lr, shape.steps, pct_start=0.1, cycle_momentum=False
    )
    training, advice = f"base {name}", [f"lower base.{name}.lr (now {shape.lr:g})", "remove the outlier images"]
    with tqdm(total=shape.steps, desc=name, unit="step", mininterval=5) as bar:

        def log(step: int, losses: list[float]) -> None:
            check_losses(training, step, shape.steps, {"loss": losses[0]}, advice)
            bar.set_postfix(loss=f"{losses[0]:.3f}", refresh=False)

        reader = LateReader(log)
        for step in range(shape.steps):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of_batch()
            loss.backward()
            reader.put(step, loss.detach().reshape(1))
            optimizer.step()
            schedule.step()
            bar.update()
        reader.flush()
    check_weights(training, shape.steps, network.parameters(), advice)


def _train_vae(images: Tensor, shape: VaeShape, seed: int) -> AutoencoderKL:
    """Return an autoencoder trained on random crops and mirrored copies of images (N, 3, H, W) in [-1, 1]."""
    levels = len(shape.channels)

    vae = seeded(
        lambda: _start_linear(
            AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * levels,
                up_block_types=("UpDecoderBlock2D",) * levels,
                block_out_channels=shape.channels,
                layers_per_block=1,
                latent_channels=shape.latent_channels,
                norm_num_groups=_norm_groups(shape.channels),
                mid_block_add_attention=False,
                sample_size=images.shape[-1],
                scaling_factor=1.0,
            )
        ),
        item_seed(seed, "vae"),
    ).to(images.device, memory_format=torch.channels_last)
    rng = torch.Generator().manual_seed(item_seed(seed, "vae batches"))
    crop = min(shape.crop_px, images.shape[-1])

    def loss_of_batch() -> Tensor:
        tops = torch.randint(0, images.shape[-1] - crop + 1, (shape.batch, 2), generator=rng).tolist()
        chosen = torch.randint(0, len(images), (shape.batch,), generator=rng).tolist()
        batch = torch.stack([images[i, :, y : y + crop, x : x + crop] for i, (y, x) in zip(chosen, tops, strict=True)])
        mirrored = torch.randint(0, 2, (shape.batch, 1, 1, 1), generator=rng).bool().to(images.device)
        batch = torch.where(mirrored, batch.flip(-1), batch).contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(batch).latent_dist
        return _laplacian_l1(vae.decode(posterior.sample(rng)).sample, batch) + KL_WEIGHT * posterior.kl().mean()

    _train(vae, "vae", shape, loss_of_batch)
    return vae.eval().requires_grad_(False)


@torch.inference_mode()
def symmetric_latents(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Return the latents of the images and of their mirrored and turned copies, (4 N, C, h, w)."""
    copies = torch.cat([images, images.flip(-1), images.flip(-2), images.flip(-1, -2)])
    return torch.cat([vae.encode(part).latent_dist.mean for part in copies.split(16)])


def normalise_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Return latents (N, C, h, w) with mean 0 and deviation 1 in every channel, and let the autoencoder give these.

    Means and deviations are folded into the 1x1 convolutions on either side of the latents, so that reconstructions
    stay as they were and the posteriors are those of the new latents.
    """
    channels = [latents[:, channel].double().cpu() for channel in range(latents.shape[1])]
    mean = torch.stack([values.mean() for values in channels])
    deviation = torch.stack([values.std() for values in channels]).clamp_min(LEAST_DEVIATION)
    count, inner, outer = len(channels), vae.quant_conv, vae.post_quant_conv
    with torch.no_grad():
        weight, bias = (value.double().cpu() for value in (inner.weight, inner.bias))
        weight[:count] /= deviation.view(-1, 1, 1, 1)
        bias[:count] = (bias[:count] - mean) / deviation
        bias[count:] -= 2 * deviation.log()  # log-variances
        inner.weight.copy_(weight), inner.bias.copy_(bias)
        weight, bias = (value.double().cpu() for value in (outer.weight, outer.bias))
        outer.bias.copy_(bias + weight[:, :, 0, 0] @ mean)
        outer.weight.copy_(weight * deviation.view(1, -1, 1, 1))
    mean, deviation = (values.float().view(1, -1, 1, 1).to(latents.device) for values in (mean, deviation))
    return (latents - mean) / deviation


def _train_unet(latents: Tensor, context: Tensor, shape: UnetShape, scheduler: DDIMScheduler, seed: int):
    """Return a UNet that predicts the noise of latents (N, C, h, w); context (2, 77, D): prompt and empty prompt."""
    levels = len(shape.channels)
    kinds = ["CrossAttn" if levels - level <= shape.attention_levels else "" for level in range(levels)]
    unet = seeded(
        lambda: UNet2DConditionModel(
            sample_size=latents.shape[-1],
            in_channels=latents.shape[1],
            out_channels=latents.shape[1],
            block_out_channels=shape.channels,
            layers_per_block=shape.layers,
            down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
            up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
            mid_block_type="UNetMidBlock2DCrossAttn",
            cross_attention_dim=shape.context_dim,
            attention_head_dim=math.gcd(4, *shape.channels),
            norm_num_groups=_norm_groups(shape.channels),
        ),
        item_seed(seed, "unet"),
    ).to(latents.device, memory_format=torch.channels_last)
    context = context.to(latents.device)
    rng = torch.Generator().manual_seed(item_seed(seed, "unet batches"))

    def loss_of_batch() -> Tensor:
        batch = latents[torch.randint(0, len(latents), (shape.batch,), generator=rng)]
        timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (shape.batch,), generator=rng)
        dropped = (torch.rand(shape.batch, generator=rng) < 0.1).long()
        noise = torch.randn(batch.shape, generator=rng).to(latents.device)
        timesteps = timesteps.to(latents.device)
        noisy = scheduler.add_noise(batch, noise, timesteps).contiguous(memory_format=torch.channels_last)
        return functional.mse_loss(unet(noisy, timesteps, context[dropped]).sample, noise)

    _train(unet, "unet", shape, loss_of_batch)
    return unet


def pretrain(images: Tensor, prompt: str, cfg: PretrainedHere, out_dir: Path, work: Path) -> None:
    """Write a base model for images (N, 3, H, W) in [-1, 1] to out_dir; the VAE in `work` is reused after a crash.

    Raises: UserError when a loss or a weight is not finite.
    """
    images = images.to(accelerator().device)
    if not (work / "vae" / "config.json").is_file():
        _train_vae(images, cfg.vae, cfg.seed).save_pretrained(work / "vae.part")
        (work / "vae.part").rename(work / "vae")
    vae = AutoencoderKL.from_pretrained(work / "vae").eval().requires_grad_(False).to(images.device)
    latents = normalise_latents(vae, symmetric_latents(vae, images))
    vae.register_to_config(_name_or_path="")
    vae.save_pretrained(out_dir / "vae")

    write_small_text_encoder(cfg.unet.context_dim, item_seed(cfg.seed, "text"), out_dir)
    scheduler = stable_diffusion_scheduler()
    scheduler.save_pretrained(out_dir / "scheduler")
    write_json(out_dir / "base.json", {"kind": "pretrain"})
    context = encode_prompts(out_dir, [prompt, ""])
    unet = _train_unet(latents, context, cfg.unet, scheduler, cfg.seed)
    unet.save_pretrained(out_dir / "unet")
    write_json(out_dir / "model_index.json", MODEL_INDEX)
    digest = sha256_tree(out_dir / "unet", out_dir / "vae", out_dir / "text_encoder")
    write_json(out_dir / "base.json", {"kind": "pretrain", "sha256": digest})
