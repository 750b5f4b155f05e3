"""Real diffusers classes at toy width, and a base model that the project's own code has written."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from data.prepare.config import PhantomDataset
from data.prepare.prepare import prepare
from siamese.base.devices import seeded
from siamese.base.latents import cache_latents, load_training_data
from siamese.base.pretrain import pretrain
from siamese.config.base import PretrainedHere
from siamese.config.sections import ControlNetRow, SamplingConfig, SiameseRow, TrainingConfig
from siamese.method.batch import Batch
from siamese.method.control import decoder_modules
from siamese.method.hint import DenseHintEncoder
from siamese.training.loop import Run
from siamese.training.train import train_generator

BASE = PretrainedHere.model_validate_json(
    '{"kind": "pretrain", "seed": 0,'
    '"vae": {"channels": [16, 32], "latent_channels": 4, "crop_px": 16, "steps": 2, "batch": 2, "lr": 1e-3},'
    '"unet": {"channels": [16, 32], "layers": 1, "attention_levels": 1, "context_dim": 16,'
    '"steps": 2, "batch": 2, "lr": 1e-3}}'
)
CONTROLNET = ControlNetRow(method="controlnet", hint="hi", hint_widths=(4, 8))
SIAMESE = SiameseRow(method="siamese", hint="dhi", hint_widths=(4, 8, 16))
TRAINING = TrainingConfig(
    steps=6, batch=3, lr=1e-3, weight_decay=1e-2, schedule="one_cycle", prompt_dropout=0.3, checkpoint_steps=2, seed=0
)
ROWS = {"controlnet": CONTROLNET, "siamese": SIAMESE}
SAMPLING = SamplingConfig(steps=3, guidance=2.0, batch=2, seed=0)


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    row = PhantomDataset(kind="phantom", path="x", size_px=32, prompt="a polyp", train=5, test=4, seed=0)
    return prepare(row, tmp_path_factory.mktemp("data") / "phantom")["train"]


@pytest.fixture(scope="session")
def base_dir(tmp_path_factory, real):
    out, work = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("work")
    pretrain(real.images(), "a polyp", BASE, out, work)
    return out


@pytest.fixture(scope="session")
def training_data(tmp_path_factory, real, base_dir):
    out = tmp_path_factory.mktemp("latents")
    cache_latents(real, "a polyp", base_dir, out)
    return load_training_data(real, out)


@pytest.fixture(scope="session")
def generators(tmp_path_factory, training_data, base_dir):
    folders = {}
    for name, row in ROWS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        run = Run(TRAINING, base_dir, folders[name], tmp_path_factory.mktemp("work"))
        train_generator(training_data, row, run)
    return folders


@pytest.fixture(scope="session")
def make_networks():
    """Return a function that builds float64 networks whose zero convolutions are no longer zero."""

    def build(*, perturb: bool = True, hint: str = "dhi"):
        def unet_of():
            return UNet2DConditionModel(
                sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                cross_attention_dim=8, attention_head_dim=2, norm_num_groups=2,
            )  # fmt: skip

        def control_of():
            controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8))
            if hint == "dhi":
                controlnet.controlnet_cond_embedding = DenseHintEncoder((4, 8, 16), 8)
            if perturb:
                zero = [p for name, p in controlnet.named_parameters() if "controlnet_" in name]
                for parameter in zero:
                    parameter.data += 0.1 * torch.randn_like(parameter)
            return controlnet

        unet = seeded(unet_of, 1).double().eval().requires_grad_(False)
        controlnet = seeded(control_of, 2).double()
        for module in decoder_modules(unet).values():
            module.requires_grad_(True)
        return controlnet, unet

    return build


@pytest.fixture(scope="session")
def make_batch():
    """Return a function that draws a float64 batch with the given timesteps."""

    def build(timesteps: list[int]) -> Batch:
        rng, count = torch.Generator().manual_seed(5), len(timesteps)

        def draw(*shape):
            return torch.randn(shape, generator=rng, dtype=torch.float64)

        alphas = torch.linspace(0.999, 0.005, 1000, dtype=torch.float64)[timesteps]
        latents, noise = draw(count, 4, 8, 8), draw(count, 4, 8, 8)
        sigmas = (1 - alphas).sqrt()
        noisy = alphas.sqrt().view(-1, 1, 1, 1) * latents + sigmas.view(-1, 1, 1, 1) * noise
        hints = torch.rand((2, count, 3, 16, 16), generator=rng, dtype=torch.float64)
        return Batch(noisy, torch.tensor(timesteps), sigmas, noise, draw(count, 5, 8), hints[0], hints[1])

    return build


def killed_and_resumed(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, place: int, batch: int, train: Callable[[], Path]
) -> tuple[Path, list[int]]:
    """Return the folder of a training that was stopped at step 3 and started again, and each step that drew a batch.

    module.draw_batch takes the positions of the pairs as its argument number `place`.
    """
    original, drawn = module.draw_batch, []

    def crash(*arguments):
        drawn.append(arguments[place][0] // batch)
        if drawn == [0, 1, 2, 3]:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module, "draw_batch", crash)
    with pytest.raises(KeyboardInterrupt):
        train()
    return train(), drawn
