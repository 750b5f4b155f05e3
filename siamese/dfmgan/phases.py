"""What one step of DFMGAN does, network by network: who is trained on what, and how often.

| function | trains | sees | stage |
| --- | --- | --- | --- |
| train_generator | G | D(aug(I)); in stage 2 also D_match([I, tanh 10 M]) and mode seeking | both |
| regularise_path, every 4 steps | G | how fast images change with a style code, on half a batch | both |
| train_critic | D | aug(I) made and real | both |
| regularise_critic, every 16 steps | D, D_match | its slope at real samples | both, 2 |
| train_match | D_match | [I, tanh 10 M] made, [I, M] real with M of -1 and 1 | 2 |

G is the whole generator in stage 1, and the defect's part alone in stage 2.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from data.pairs.seeds import item_seed
from siamese.dfmgan.draws import generators, real_pixels
from siamese.dfmgan.losses import (
    PATH_DECAY,
    gradient_penalty,
    looks_made,
    looks_real,
    mode_seeking,
    path_lengths,
    path_penalty,
    squashed,
)
from siamese.dfmgan.stage import Stage

PATH_EVERY, PENALTY_EVERY = 4, 16

# adds the gradients of share * sum over samples, and returns the sums of the phase's terms and of what `after` takes:
# (step, places of the pairs in the pool, places in the training, share)
Compute = Callable[[int, Sequence[int], Sequence[int], Tensor], Tensor]


class Phase(NamedTuple):
    """One optimiser step of one network."""

    trained: str  # name in the state's networks
    every: int  # steps between two of them
    terms: tuple[str, ...]  # of the log
    compute: Compute
    half: bool = False  # takes half of the batch
    lazy: bool = False  # a regularisation: in full precision, its gradient times `every`
    after: Callable[[Tensor, int], None] | None = None  # takes the last sums and the number of samples


def _add(loss: Tensor, share: Tensor) -> None:
    (share * loss).backward()


def train_generator(stage: Stage, step: int, indices: Sequence[int], positions: Sequence[int], share: Tensor) -> Tensor:
    """Add G's gradients. Sums: softplus(-D); in stage 2 also softplus(-D_match), mode seeking and the mask's area."""
    row, networks = stage.row, stage.state.networks
    rngs = generators(stage.seed, positions, "generator")
    codes, defect_codes = stage.codes(rngs)
    images, masks = stage.render(codes, defect_codes, "generator", positions[0])
    score_loss = looks_real(networks["critic"](stage.augmented(images, rngs))).sum()
    if masks is None or defect_codes is None:
        _add(score_loss, share)
        return score_loss.detach()[None]
    shown = squashed(masks)
    pairs = stage.matched(torch.cat([images, shown], 1), rngs)
    match_loss = looks_real(networks["match"](pairs)).sum()
    loss, seeking, half = score_loss + row.lambda_match * match_loss, score_loss.new_zeros(()), len(positions) // 2
    if half and row.lambda_ms:
        first, second = defect_codes[:half], defect_codes[half : 2 * half]
        _, others = stage.render(codes[:half], second, "generator, other masks", positions[0])
        assert others is not None
        compared = (shown[:half], squashed(others)) if row.ms_on == "tanh" else (masks[:half], others)
        numerator = (first.detach(), second.detach()) if row.ms_detach_codes else (first, second)
        seeking = len(positions) * mode_seeking(*numerator, *compared, row.ms_epsilon)
        loss = loss + row.lambda_ms * seeking
    _add(loss, share)
    area = (masks.detach() >= 0).float().mean((1, 2, 3)).sum()
    return torch.stack([score_loss.detach(), match_loss.detach(), seeking.detach(), area])


def regularise_path(stage: Stage, step: int, indices: Sequence[int], positions: Sequence[int], share: Tensor) -> Tensor:
    """Add the gradients of the path length's penalty. Sums: the penalty; the lengths."""
    codes, defect_codes = stage.codes(generators(stage.seed, positions, "path"))
    chosen = defect_codes if stage.path_of == "defect" else codes
    assert chosen is not None
    if not chosen.requires_grad:  # of the frozen backbone
        chosen.requires_grad_()
    images, _ = stage.render(codes, defect_codes, "path", positions[0])
    rng = torch.Generator(stage.device).manual_seed(item_seed(stage.seed, "path, direction", positions[0]))
    noise = torch.randn(images.shape, generator=rng, device=stage.device)
    lengths = path_lengths(images, chosen, noise)
    usual = stage.state.usual_path.lerp(lengths.detach().mean(), PATH_DECAY)
    penalty = path_penalty(lengths, usual).sum()
    if penalty.requires_grad:
        _add(penalty, share)
    return torch.stack([penalty.detach(), lengths.detach().sum()])


def train_critic(stage: Stage, step: int, indices: Sequence[int], positions: Sequence[int], share: Tensor) -> Tensor:
    """Add D's gradients. Sums: its loss; the signs of its scores of real images."""
    critic = stage.state.networks["critic"]
    rngs = generators(stage.seed, positions, "critic")
    made = stage.pixels(rngs, "critic", positions[0])[:, :3]
    made_loss = looks_made(critic(stage.augmented(made, rngs))).sum()
    _add(made_loss, share)
    real = real_pixels(stage.pool, indices, stage.device)[:, :3]
    scores = critic(stage.augmented(real, generators(stage.seed, positions, "critic, real")))
    real_loss = looks_real(scores).sum()
    _add(real_loss, share)
    return torch.stack([(made_loss + real_loss).detach(), scores.detach().sign().sum()])


def train_match(stage: Stage, step: int, indices: Sequence[int], positions: Sequence[int], share: Tensor) -> Tensor:
    """Add D_match's gradients. Sums: its loss."""
    match = stage.state.networks["match"]
    rngs = generators(stage.seed, positions, "match")
    made_loss = looks_made(match(stage.matched(stage.pixels(rngs, "match", positions[0]), rngs))).sum()
    _add(made_loss, share)
    real = real_pixels(stage.pool, indices, stage.device)
    real_loss = looks_real(match(stage.matched(real, generators(stage.seed, positions, "match, real")))).sum()
    _add(real_loss, share)
    return (made_loss + real_loss).detach()[None]


def regularise_critic(
    stage: Stage, step: int, indices: Sequence[int], positions: Sequence[int], share: Tensor, *, name: str
) -> Tensor:
    """Add the gradients of the penalty on a discriminator's slope at real samples. Sums: the penalty."""
    pixels = real_pixels(stage.pool, indices, stage.device)
    pixels = (pixels if name == "match" else pixels[:, :3]).detach().requires_grad_()
    rngs = generators(stage.seed, positions, f"{name}, slope")
    seen = stage.matched(pixels, rngs) if name == "match" else stage.augmented(pixels, rngs)
    penalty = gradient_penalty(stage.state.networks[name](seen), pixels, stage.r1_gamma).sum()
    _add(penalty, share)
    return penalty.detach()[None]


def phases(stage: Stage) -> list[Phase]:
    """Return the phases of a step, in their order."""
    state = stage.state

    def learn_usual_path(sums: Tensor, count: int) -> None:
        state.usual_path = state.usual_path.lerp(sums[0] / count, PATH_DECAY)

    def count_signs(sums: Tensor, count: int) -> None:
        state.signs = state.signs + torch.stack([sums[0], sums.new_tensor(count)])

    terms = ("g", "g_match", "mode_seeking", "mask_area") if stage.defect else ("g",)
    steps = [Phase("generator", 1, terms, partial(train_generator, stage))]
    if stage.path_of != "off":
        compute = partial(regularise_path, stage)
        steps += [Phase("generator", PATH_EVERY, ("path",), compute, half=True, lazy=True, after=learn_usual_path)]
    steps += [Phase("critic", 1, ("d",), partial(train_critic, stage), after=count_signs)]
    slope = partial(regularise_critic, stage)
    steps += [Phase("critic", PENALTY_EVERY, ("r1",), partial(slope, name="critic"), lazy=True)]
    if stage.defect:
        steps += [
            Phase("match", 1, ("match",), partial(train_match, stage)),
            Phase("match", PENALTY_EVERY, ("match_r1",), partial(slope, name="match"), lazy=True),
        ]
    return steps


def lazy_intervals(stage_two: bool, path_of: str) -> dict[str, int | None]:
    """Return for each trained network how many steps lie between two regularisations, None for none."""
    every: dict[str, int | None] = {"generator": None if path_of == "off" else PATH_EVERY, "critic": PENALTY_EVERY}
    return every | ({"match": PENALTY_EVERY} if stage_two else {})
