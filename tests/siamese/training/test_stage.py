"""The train stage, from files to a generator."""

import json
import shutil
from types import SimpleNamespace

import pytest

from data.pairs.errors import UserError
from pipeline.params import paths
from pipeline.stages import train as train_stage
from siamese.base.latents import cache_latents
from siamese.config.sections import TrainingSection
from tests.siamese.conftest import CONTROLNET, TRAINING

ITEM = {"dataset": "d", "generator": "g", "generator_seed": 0}


@pytest.mark.heavy
def test_pseudo_pairs_are_read_where_the_row_asks_for_them(real, base_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for source, target in (
        (real.folder, paths.processed("d", "train")),
        (base_dir, paths.base("d")),
        (real.folder, paths.pseudo_pairs("d", "g")),  # left by an earlier row
    ):
        shutil.copytree(source, target)
    paths.latents("d").mkdir(parents=True)
    cache_latents(real, "a polyp", base_dir, paths.latents("d"))
    training = TrainingSection(**TRAINING.model_dump(exclude={"seed"}) | {"steps": 1})
    train_stage.run(ITEM, SimpleNamespace(generator=CONTROLNET, training=training))
    assert json.loads((paths.generator("d", "g", 0) / "config.json").read_text())["pairs"] == len(real)
    shutil.rmtree(paths.pseudo_pairs("d", "g"))
    row = CONTROLNET.model_copy(update={"pseudo_masks": True})
    with pytest.raises(UserError, match="outputs/refiners/d/g/pseudo"):
        train_stage.run(ITEM, SimpleNamespace(generator=row, training=training))
