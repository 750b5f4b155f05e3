"""Every network of the paper learns 8 phantoms by heart within a bounded number of steps, with its own loss."""

import pytest

from data.pairs.manifest import PairSet
from data.prepare.config import PhantomDataset
from data.prepare.prepare import prepare
from segmentation.config.architectures import ArchitectureRow
from segmentation.inference.predict import load_segmenter
from segmentation.measures.evaluate import evaluate
from segmentation.training.train import train

MIT = {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4), "drop_path_rate": 0.0}
ROWS = {
    "sanet": {
        "encoder_args": {"layers": (1, 1, 1, 1), "channels": (8, 16, 32, 64), "stem_width": 8},
        "decoder_channels": (16,), "loss": "bce_dice", "probability_correction": True,
    },
    "polyp_pvt": {
        "encoder_args": MIT, "decoder_channels": (16,), "loss": "structure", "gradient_clamp": 0.5,
    },
    "ctnet": {
        "encoder_args": MIT, "decoder_channels": (16,), "loss": "structure_contrast", "gradient_clamp": 0.5,
    },
    "plain_unet": {"decoder_channels": (8, 16, 32, 64), "loss": "ce_dice", "normalize": "min_max"},
    "segformer": {"encoder_args": MIT, "decoder_channels": (32,), "loss": "bce"},
}  # fmt: skip
MOST_STEPS = {"sanet": 240, "polyp_pvt": 140, "ctnet": 140, "plain_unet": 480, "segformer": 160}

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("network", ROWS)
def test_eight_phantoms_are_learned_by_heart(network, tmp_path):
    phantom = PhantomDataset(kind="phantom", path="x", size_px=64, prompt="", train=8, test=4, seed=0)
    real = prepare(phantom, tmp_path / "phantom")["train"]
    common = {
        "network": network, "input_px": 64, "batch": 4, "lr": 4.0e-3, "weight_decay": 0.0, "schedule": "one_cycle",
        "budget": "equal_epochs",
    }  # fmt: skip
    row = ArchitectureRow(**common, **ROWS[network], epochs=MOST_STEPS[network] // 2)
    (tmp_path / "out").mkdir()
    run = train(real, PairSet(tmp_path / "none", ()), row, tmp_path / "out", seed=0)
    assert run["steps"] <= MOST_STEPS[network]
    assert evaluate(load_segmenter(tmp_path / "out"), {"train": real})["metrics"]["mDice"] >= 0.95
