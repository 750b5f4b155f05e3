"""New masks by textual inversion: words learned on the training masks, and the base model that draws with them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from data.masks.config import InvertedMasks
from data.masks.constraints import Made
from data.masks.masks import NewKey, flipped_mask
from data.pairs.errors import UserError
from data.pairs.files import whole_file
from data.pairs.manifest import PairSet, check_one_class, content
from data.pairs.seeds import item_seed
from data.pairs.training import accelerator
from siamese.anomaly.augment import used_pairs
from siamese.anomaly.latents import drawn, posterior
from siamese.anomaly.words import Prompts, Words
from siamese.base.devices import place
from siamese.base.latents import to_signed
from siamese.base.load import load_scheduler, load_text, load_unet, load_vae
from siamese.base.steps import train_steps
from siamese.config.anomaly import AnomalyRow
from siamese.config.rows import downsampling

AT_ONCE = 16
TEMPLATES = AnomalyRow.model_fields["templates"].default
SAVED = "words.safetensors"


class Inversion:
    """The frozen base model, and words that stand for the masks of one data set."""

    def __init__(self, row: InvertedMasks, base_dir: Path) -> None:
        self.row, self.device = row, accelerator().device
        tokenizer, encoder = load_text(base_dir)
        self.prompts = Prompts(tokenizer, encoder, TEMPLATES, row.vectors, "embedding")
        self.words = Words(1, row.vectors, self.prompts.start(row.init_word))
        self.unet, self.vae = load_unet(base_dir), load_vae(base_dir)
        self.schedule = load_scheduler(base_dir)
        for network in (self.prompts, self.words, self.unet, self.vae):
            place(network, self.device)
        empty = tokenizer([""], padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.no_grad():
            self.empty = encoder(empty.to(self.device))[0]

    def learn(self, name: str, masks: np.ndarray, work: Path) -> None:
        """Learn the words on masks (N, H, W) of 0 and 1, as images, going on from what a crash left in `work`.

        Raises: UserError when the loss is not finite.
        """
        if (work / SAVED).is_file():
            self.words.load_state_dict(load_file(work / SAVED))
            return
        row, count = self.row, self.schedule.config.num_train_timesteps
        images = np.repeat(masks[: used_pairs(len(masks), row.share), ..., None] * np.uint8(255), 3, axis=-1)
        mean, std = posterior(self.vae, to_signed(images))

        def loss_of_batch(rng: torch.Generator) -> Tensor:
            chosen = torch.randint(0, len(mean), (row.batch,), generator=rng)
            latents = mean[chosen] + std[chosen] * torch.randn(mean[chosen].shape, generator=rng)
            t = torch.randint(0, count, (row.batch,), generator=rng)
            noise = torch.randn(latents.shape, generator=rng)
            noisy = self.schedule.add_noise(latents, noise, t).to(self.device)
            templates = torch.randint(0, len(TEMPLATES), (row.batch,), generator=rng).to(self.device)
            context = self.prompts(templates, self.words(torch.zeros_like(templates)))
            predicted = self.unet(noisy, t.to(self.device), context).sample.float()
            return functional.mse_loss(predicted, noise.to(self.device))

        seed = item_seed(row.seed, "inversion")
        steps = work / "steps"
        train_steps(self.words, name, row, loss_of_batch, seed, row.checkpoint_steps, steps, what="masks",
                    schedule="constant")  # fmt: skip
        with whole_file(work / SAVED) as saved:
            save_file(self.words.state_dict(), saved)

    @torch.inference_mode()
    def draw(self, seeds: Sequence[int], side: int) -> np.ndarray:
        """Return masks uint8 (B, H, W) of 0 and 1 from latents of a side; each is a function of its seed alone."""
        row = self.row
        templates = torch.zeros(len(seeds), dtype=torch.long, device=self.device)
        both = torch.cat([self.empty.expand(len(seeds), -1, -1), self.prompts(templates, self.words(templates))])
        shape = (len(seeds), self.vae.config.latent_channels, side, side)
        like = torch.empty(shape, device=self.device)
        rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        solver = DDIMScheduler.from_config(self.schedule.config, timestep_spacing="leading")
        solver.set_timesteps(row.sample_steps)
        latents = drawn(rngs, like)
        for timestep in solver.timesteps:
            without, with_words = self.unet(torch.cat([latents, latents]), timestep, both).sample.float().chunk(2)
            noise = without + row.guidance * (with_words - without)
            latents = solver.step(noise, timestep, latents, eta=row.eta, variance_noise=drawn(rngs, like)).prev_sample
        one_by_one = (latents / self.vae.config.scaling_factor).split(1)
        images = torch.cat([self.vae.decode(latent).sample for latent in one_by_one])
        return (images.clamp(-1, 1).mean(1) > row.threshold).to(torch.uint8).cpu().numpy()


def fault_of(mask: np.ndarray, border: float) -> str:
    """Return why a drawn mask (H, W) is rejected, or an empty text: it is empty, or a border line is full of lesion."""
    if not mask.any():
        return "empty"
    lines = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    return "border" if max(float(line.mean()) for line in lines) > border else ""


def inverted_masks(real: PairSet, name: str, row: InvertedMasks, base_dir: Path, work: Path) -> dict[NewKey, Made]:
    """Return a new mask for every copy and training mask with a lesion, as `data.masks.masks.write_masks` takes them.

    A mask is a function of the words, (seed, parent id, copy) and the number of draws before it. What is learned stays
    in `work`, where a crash or a larger number of copies finds it.

    Raises: UserError for several classes of lesion, and when every draw of every mask was rejected.
    """
    check_one_class(real.pairs, "inversion")
    parents = {pair.id: pair for pair in real.pairs if pair.foreground}
    if not parents:
        raise UserError(f"masks.{name}: no training mask has a lesion, so there is nothing to learn")
    masks = {pair_id: real.mask(pair) for pair_id, pair in parents.items()}
    side = len(next(iter(masks.values())))
    inversion = Inversion(row, base_dir)
    inversion.learn(name, np.stack(list(masks.values())), work)
    latent_side = side // downsampling(inversion.vae.config.block_out_channels)
    waiting = [(copy, parent) for copy in range(1, row.copies + 1) for parent in parents]
    rejected = {key: Counter[str]() for key in waiting}
    new: dict[NewKey, Made] = {}
    for attempt in range(1, row.attempts + 1):
        for start in range(0, len(waiting), AT_ONCE):
            keys = waiting[start : start + AT_ONCE]
            seeds = [item_seed(row.seed, parent, copy, attempt) for copy, parent in keys]
            for key, mask in zip(keys, inversion.draw(seeds, latent_side), strict=True):
                labels = content(parents[key[1]], mask)
                if fault := fault_of(labels, row.border):
                    rejected[key][fault] += 1
                else:
                    how = {"attempts": attempt, "moves": "[]", "donor": "", "lost": 0.0}
                    new[key] = Made(labels.copy(), how, rejected[key])
        waiting = [key for key in waiting if key not in new]
    if not new:
        counts = ", ".join(f"{reason}: {count}" for reason, count in sorted(sum(rejected.values(), Counter()).items()))
        raise UserError(
            f"masks.{name}: the words draw no masks; all {row.attempts} draws of all masks were rejected ({counts})",
            ["more steps, another lr or threshold, a larger base model, or masks of kind transformed"],
        )
    for copy, parent in waiting:
        own = content(parents[parent], masks[parent])
        new[copy, parent] = flipped_mask(own, row.attempts, rejected[copy, parent])
    return new
