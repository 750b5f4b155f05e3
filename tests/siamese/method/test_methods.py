"""What every method in the registry has to keep: resume, batches, strict checkpoints, and what it trains."""

import json
import shutil
from itertools import permutations
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from data.masks.config import RealMasks
from data.masks.masks import write_masks
from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.manifest import read_pairs
from data.pairs.seeds import item_seed
from siamese.base.checkpoint_files import flat_state
from siamese.base.load import load_unet
from siamese.config.adc import AdcRow
from siamese.config.rows import ControlNetImageRow, ControlNetRow, SiameseRow, T2IAdapterRow
from siamese.config.sections import NEEDS, Generator
from siamese.fit import FIT, fit, load_data
from siamese.load import LOAD, load
from siamese.method.checkpoint import build_networks, load_generator
from siamese.method.registry import METHODS
from siamese.sampling.sample import provenance_of, sample_images
from siamese.training import train as train_module
from siamese.training.loop import Run
from tests.siamese.conftest import SAMPLING, TRAINING

CFG = TRAINING.model_copy(update={"steps": 4})
HI = {"hint": "hi", "hint_widths": (4, 8)}
IMAGE_MODES = ("shared_sum", "siamese_image_branch", "concat6", "two_nets")
ALL_ROWS = {
    "controlnet": ControlNetRow(method="controlnet", **HI),
    "siamese": SiameseRow(method="siamese", **HI),
    **{mode: ControlNetImageRow(method="controlnet_image", mode=mode, **HI) for mode in IMAGE_MODES},
    "t2i_adapter": T2IAdapterRow(method="t2i_adapter"),
    "adc": AdcRow(method="adc", **HI),
}
ADDED = [name for name in ALL_ROWS if name not in ("controlnet", "siamese")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, training_data, base_dir):
    """Return the folder of a generator of every kind, by name."""
    folders = {}
    for name, row in ALL_ROWS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        fit(training_data, row, Run(CFG, base_dir, folders[name], tmp_path_factory.mktemp("work")))
    return folders


@pytest.fixture(scope="module")
def masks(tmp_path_factory, real):
    folder = tmp_path_factory.mktemp("masks")
    write_masks(real, "real", RealMasks(kind="real", copies=1), folder / "all")
    return read_pairs(folder / "all/1")


def images_of(folder):
    return {path.name: np.asarray(Image.open(path)).astype(int) for path in sorted(folder.iterdir())}


def test_every_method_is_in_every_list():
    methods = {get_args(row.model_fields["method"].annotation)[0] for row in get_args(get_args(Generator)[0])}
    assert methods == set(NEEDS) == set(FIT) == set(LOAD)
    assert set(METHODS) == {name for name, fit_method in FIT.items() if fit_method is train_module.train_generator}
    assert all(NEEDS[name].latents for name in METHODS)


def test_a_method_without_latents_gets_pairs_alone(real, tmp_path, monkeypatch):
    monkeypatch.setitem(NEEDS, "siamese", NEEDS["siamese"]._replace(latents=False))
    found = load_data(ALL_ROWS["siamese"], real, tmp_path / "there are no latents")
    assert all(np.array_equal(a, b) for a, b in zip(found[:2], (real.images(), real.hints()), strict=True))
    assert found[2:] == (None, tuple(pair.id for pair in real.pairs))


@pytest.mark.heavy
@pytest.mark.parametrize("name", ADDED)
def test_resuming_ends_with_the_bytes_of_an_unbroken_run(name, trained, training_data, base_dir, tmp_path, monkeypatch):
    original, work, out = train_module.draw_batch, tmp_path / "work", tmp_path / "out"
    work.mkdir(), out.mkdir()

    def crash(data, indices, positions, *rest):
        if positions[0] >= 3 * CFG.batch:
            raise KeyboardInterrupt
        return original(data, indices, positions, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "draw_batch", crash)
        with pytest.raises(KeyboardInterrupt):
            fit(training_data, ALL_ROWS[name], Run(CFG, base_dir, out, work))
    assert [path.name for path in work.iterdir()] == ["step-2"]
    fit(training_data, ALL_ROWS[name], Run(CFG, base_dir, out, work))
    assert sha256_tree(out) == sha256_tree(trained[name])


@pytest.mark.parametrize("name", ADDED)
def test_what_is_frozen_stays_and_what_is_trained_moves(name, trained, base_dir):
    """The UNet's encoder never changes; its decoder does, but for the adapter; every tensor of what is added does."""
    networks = load_generator(trained[name], base_dir).networks
    before = load_unet(base_dir).state_dict()
    for key, value in networks.unet.state_dict().items():
        decoder = key.startswith(("up_blocks", "conv_norm_out", "conv_out")) and name != "t2i_adapter"
        assert torch.equal(before[key], value) != decoder, key
    start = build_networks(ALL_ROWS[name], base_dir, item_seed(CFG.seed, "weights"))
    for part, module in networks.added.items():
        for key, value in module.named_parameters():
            assert not torch.equal(start.added[part].get_parameter(key), value), f"{part} {key}"


def test_the_adapter_saves_nothing_of_the_base_model(trained):
    names = load_file(trained["t2i_adapter"] / "generator.safetensors").keys()
    assert {name.split(".")[0] for name in names} == {"adapter", "context"}


@pytest.mark.parametrize("name", ADDED)
def test_samples_depend_on_neither_batch_nor_order(name, trained, masks, real, base_dir, tmp_path):
    found = []
    for batch in (2, 1):
        cfg = SAMPLING.model_copy(update={"batch": batch})
        sample_images(masks, load(trained[name], base_dir, cfg), cfg, tmp_path / str(batch), {}, real)
        found.append(images_of(tmp_path / str(batch)))
    assert found[0].keys() == found[1].keys()
    assert max(np.abs(found[0][key] - found[1][key]).max() for key in found[0]) <= 1
    assert len({image.tobytes() for image in found[0].values()}) == len(masks)


@pytest.mark.parametrize("name", ALL_ROWS)
def test_a_generator_that_is_loaded_again_is_the_same(name, trained, base_dir, tmp_path):
    state = flat_state(load_generator(trained[name], base_dir).networks.saved())
    saved = load_file(trained[name] / "generator.safetensors")
    saved.pop("context")
    assert state.keys() == saved.keys()
    assert all(torch.equal(state[key], saved[key]) for key in saved)


@pytest.mark.parametrize(("weights", "config"), permutations(ALL_ROWS, 2))
def test_a_checkpoint_never_loads_as_another_method_or_mode(weights, config, trained, base_dir, tmp_path):
    """Also where names and shapes agree: controlnet, siamese, shared_sum and siamese_image_branch."""
    shutil.copytree(trained[weights], tmp_path / "mixed")
    shutil.copy(trained[config] / "config.json", tmp_path / "mixed")
    with pytest.raises(UserError, match="of another generator"):
        load_generator(tmp_path / "mixed", base_dir)


def test_weights_that_name_no_method_are_refused(trained, base_dir, tmp_path):
    shutil.copytree(trained["siamese"], tmp_path / "old")
    file = tmp_path / "old/generator.safetensors"
    save_file(load_file(file), file)
    with pytest.raises(UserError, match="names no method"):
        load_generator(tmp_path / "old", base_dir)


def test_a_changed_header_does_not_help_where_the_weights_differ(trained, base_dir, tmp_path):
    shutil.copytree(trained["concat6"], tmp_path / "forged")
    file = tmp_path / "forged/generator.safetensors"
    save_file(load_file(file), file, metadata={"generator": "controlnet_image shared_sum"})
    config = json.loads((tmp_path / "forged/config.json").read_text())
    config["generator"]["mode"] = "shared_sum"
    (tmp_path / "forged/config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="1 weights do not fit"):
        load_generator(tmp_path / "forged", base_dir)


def test_images_name_their_settings_and_near_copies(trained, base_dir):
    cfg = SAMPLING.model_copy(update={"solver": "dpm++"})
    text = provenance_of(load(trained["siamese"], base_dir, cfg))
    assert text == {
        "steps": "3", "guidance": "2.0", "options": '{"solver": "dpm++"}', "precision": "no", "synthetic": "yes",
    }  # fmt: skip
    assert provenance_of(load(trained["concat6"], base_dir, cfg)) == {**text, "near-copy": "yes"}
