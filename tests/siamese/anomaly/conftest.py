"""A row at toy width, what it trains on, and requests with an image without lesion."""

import numpy as np
import pytest
import torch

from siamese.anomaly.networks import build
from siamese.anomaly.train import train_anomaly
from siamese.config.anomaly import AnomalyRow
from siamese.config.sections import TrainingConfig
from siamese.training.loop import Run
from tests.siamese.conftest import TRAINING

TOY = AnomalyRow(
    method="anomaly_diffusion", encoder="small", encoder_px=32, words=2, spatial_words=2, augment="none", batch=3,
    lr=1e-2, loss_mean="mask", sample_steps=4, templates=("a photo of a *", "the *"),
)  # fmt: skip


def with_row(row: AnomalyRow, **settings) -> AnomalyRow:
    """Return a row with other settings, validated anew."""
    return AnomalyRow(**(row.model_dump() | settings))


def cfg_of(row: AnomalyRow, **settings) -> TrainingConfig:
    """Return the training that `fit` makes of a row."""
    return TRAINING.model_copy(update=row.own_training() | settings)


@pytest.fixture(scope="session")
def networks(base_dir):
    """Return untrained networks, frozen, whose words are no longer alike."""
    found = build(TOY, base_dir, 1)
    torch.nn.init.normal_(found.learned.words.vectors, generator=torch.Generator().manual_seed(1))
    for network in (*found.learned, found.prompts, found.unet):
        network.eval().requires_grad_(False)
    return found


@pytest.fixture(scope="session")
def anomaly_dir(tmp_path_factory, training_data, base_dir):
    out = tmp_path_factory.mktemp("anomaly")
    train_anomaly(training_data, TOY, Run(cfg_of(TOY), base_dir, out, tmp_path_factory.mktemp("work")))
    return out


@pytest.fixture(scope="session")
def normals(real):
    """Return images, uint8 (N, H, W, 3), that stand for those without lesion."""
    return np.flip(real.images(), 1).copy()
