"""A project with an untrained generator of toy width where the stages would put it, and masks drawn by hand."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from data.masks.config import RealMasks
from data.masks.masks import write_masks
from siamese.base.load import base_info
from siamese.config.rows import ControlNetImageRow
from siamese.method.checkpoint import build_networks, note_pairs, save_generator
from tests.siamese.conftest import CONTROLNET

GENERATOR = Path("outputs/generators/phantom/controlnet-g3")
SAMPLING = "sampling: {steps: 2, guidance: 1.0, spacing: trailing, batch: 2, seed: 0}\n"


def save(row, base_dir: Path, folder: Path, seed: int = 3) -> Path:
    """Write a generator that was never trained, but for its first weights, which would leave no trace of a mask."""
    networks, rng = build_networks(row, base_dir), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in networks.controlnet.named_parameters():
            if name.startswith(("controlnet_down", "controlnet_mid", "controlnet_cond_embedding.conv_out")):
                weight += 0.1 * torch.randn(weight.shape, generator=rng)
    context = torch.randn((2, 77, networks.unet.config.cross_attention_dim), generator=rng)
    folder.mkdir(parents=True)
    config = {"generator": row.model_dump(mode="json"), "training": {"seed": seed}}
    save_generator(networks, context, config | {"base": base_info(base_dir)["sha256"]}, folder)
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory, real, base_dir) -> Path:
    """Return the folder of a project; tests read it and change nothing."""
    path = tmp_path_factory.mktemp("generate") / "project"
    shutil.copytree(base_dir, path / "outputs/base/phantom")
    shutil.copytree(real.folder, path / "data/processed/phantom/train")
    note_pairs(save(CONTROLNET, base_dir, path / GENERATOR), real)
    parents = ControlNetImageRow(method="controlnet_image", hint="hi", hint_widths=(4, 8))
    save(parents, base_dir, path / GENERATOR.with_name("parents-g0"))
    write_masks(real, "real", RealMasks(kind="real", copies=1), path / "outputs/masks/phantom/real")
    (path / "params.yaml").write_text(SAMPLING)
    return path


@pytest.fixture
def drawn(project, tmp_path) -> Path:
    """Return a folder with the masks of the project as plain pictures, as somebody would keep them."""
    folder = tmp_path / "drawn"
    shutil.copytree(project / "outputs/masks/phantom/real/1/masks", folder)
    return folder


def config_without(folder: Path, *keys: str) -> None:
    """Take keys out of the configuration of a generator."""
    path = folder / "config.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key not in keys}))
