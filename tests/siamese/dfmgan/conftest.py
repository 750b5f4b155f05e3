"""DFMGAN at its smallest: 16 px, 8 channels, the mask at 8 px."""

from pathlib import Path

import numpy as np
import pytest

from siamese.base.latents import PixelData
from siamese.config.dfmgan import DfmganRow
from siamese.config.sections import TrainingConfig
from siamese.dfmgan.train import train_dfmgan
from siamese.training.loop import Run

ROW = DfmganRow(
    method="dfmgan", code=8, channel_base=64, channel_most=8, residual_from=8, match_base=64, match_most=8, images1=12,
    images2=12, batch=4,
)  # fmt: skip
CFG = TrainingConfig(
    steps=1, batch=4, lr=0.0025, weight_decay=0.0, schedule="constant", prompt_dropout=0.0, checkpoint_steps=2, seed=0
)
WORK = "SIAMESE_WORK"


@pytest.fixture(scope="session")
def data():
    """Return five pairs with a bright rectangle on noise, and five images without it."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 120, (10, 16, 16, 3), dtype=np.uint8)
    masks = np.zeros((5, 16, 16), np.uint8)
    masks[:, 4:10, 5:13] = 1
    images[:5][masks > 0] += 120
    return PixelData(images[:5], masks, images[5:])


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory):
    """Return the folder of a generator and the one of its stage 1 in .work."""
    root = tmp_path_factory.mktemp("dfmgan")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WORK, str(root / "work"))
        return fitted(data, ROW, root)


def fitted(data: PixelData, row: DfmganRow, root: Path, name: str = "out") -> Path:
    """Train in folders below `root` and return the one of the generator."""
    for folder in (root / name, root / f"{name}-run"):
        folder.mkdir(exist_ok=True)
    cfg = CFG.model_copy(update=row.own_training())
    train_dfmgan(data, row, Run(cfg, root, root / name, root / f"{name}-run"))
    return root / name
