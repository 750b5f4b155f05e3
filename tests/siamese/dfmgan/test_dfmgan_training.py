"""DFMGAN trained at toy size: what is frozen, shared, resumed, sampled, refused."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data.masks.config import RealMasks
from data.masks.masks import write_masks
from data.pairs.assemble import write_synthetic
from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.image_io import png_text
from data.pairs.manifest import PairSet, read_pairs
from data.pairs.seeds import item_seed
from siamese.base.latents import PixelData
from siamese.config.sections import NEEDS
from siamese.dfmgan import loop as loop_module
from siamese.dfmgan import phases as phases_module
from siamese.dfmgan import train as train_module
from siamese.dfmgan.checkpoint import load_generator
from siamese.dfmgan.generator import Defect
from siamese.dfmgan.sampler import as_pair, draw
from siamese.dfmgan.train import STAGE_ONE
from siamese.fit import load_data
from siamese.load import load
from siamese.sampling.requests import Request
from siamese.sampling.sample import provenance_of, sample_images
from tests.siamese.conftest import SAMPLING
from tests.siamese.dfmgan.conftest import CFG, ROW, WORK, fitted


def log(folder, name, file="loss.csv"):
    with (folder / file).open() as lines:
        return [float(row[name]) for row in csv.DictReader(lines)]


def stage_one(folder):
    """Return the weights that stage 1 left beside a generator."""
    (path,) = (folder.parent / "work/dfmgan").rglob(STAGE_ONE)
    return load_file(path)


def part(state, name):
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[key], other[key]) for key in state)


@pytest.fixture
def refit(data, trained, tmp_path, monkeypatch):
    """Return a function that fits a changed row in tmp_path, on the stage 1 of `trained` where it may."""
    shutil.copytree(trained.parent / "work", tmp_path / "work")
    monkeypatch.setenv(WORK, str(tmp_path / "work"))

    def fit_changed(name="out", data=data, **values):
        return fitted(data, ROW.model_copy(update=values), tmp_path, name)

    return fit_changed


def requests(*seeds):
    return [Request(str(seed), np.zeros((16, 16), np.uint8), seed) for seed in seeds]


def test_the_backbone_of_samples_is_stage_ones_to_the_byte(trained, refit):
    first = stage_one(trained)
    assert not same(part(first, "normal"), part(first, "average"))
    assert same(part(load_file(trained / "generator.safetensors"), "normal"), part(first, "normal"))
    averaged = load_file(refit(stage2_backbone="ema", images2=4) / "generator.safetensors")
    assert same(part(averaged, "normal"), part(first, "average"))


def test_rows_that_differ_in_stage_two_share_stage_one(trained, refit, monkeypatch):
    stages = []
    original = loop_module.phases
    monkeypatch.setattr(loop_module, "phases", lambda stage: stages.append(stage.defect is None) or original(stage))
    refit(
        "other", images2=4, lambda_match=0.2, gate="soft", match_augment=True, augment=ROW.augment, path_length="defect"
    )
    assert stages == [False]
    refit("further", images1=4, images2=4, augment="flips", path_length="off", mirror=True, ms_on="raw")
    assert stages == [False, True, False]


def test_the_log_has_every_term(trained):
    assert log(trained, "step") == [0, 1, 2]
    terms = ("g", "g_match", "d", "match", "r1", "match_r1", "path", "mode_seeking", "ada_p", "mask_area", "zeroed")
    for term in terms:
        assert all(map(np.isfinite, log(trained, term)))
    assert min(log(trained, "d")) > 0
    assert 0 < max(log(trained, "mask_area")) < 1
    assert log(trained, "g", "stage1_loss.csv")
    with pytest.raises(KeyError):
        log(trained, "mask_area", "stage1_loss.csv")


@pytest.mark.heavy
def test_resuming_ends_with_the_bytes_of_an_unbroken_run(data, trained, tmp_path, monkeypatch):
    monkeypatch.setenv(WORK, str(tmp_path / "work"))
    original, updates = loop_module.mend_gradients, []

    def crash(network):
        updates.append(network)
        if len(updates) in (7, 19):  # in the third step of stage 1, then of stage 2
            raise KeyboardInterrupt
        return original(network)

    monkeypatch.setattr(loop_module, "mend_gradients", crash)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fitted(data, ROW, tmp_path)
    assert sha256_tree(fitted(data, ROW, tmp_path)) == sha256_tree(trained)


def test_a_pair_depends_on_its_seed_alone(trained):
    sampler = load(trained, trained, SAMPLING)
    whole = list(sampler.sample(requests(1, 2, 3)))
    (alone,) = sampler.sample(requests(3))
    np.testing.assert_array_equal(alone.image, whole[2].image)
    np.testing.assert_array_equal(alone.labels, whole[2].labels)
    assert alone.image.shape == (16, 16, 3)
    assert {alone.image.dtype, alone.labels.dtype} == {np.dtype(np.uint8)}
    assert (whole[0].image != whole[1].image).mean() > 0.5


def test_masks_are_cut_behind_the_resize():
    raw = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    image = torch.linspace(-2, 2, 16).expand(1, 3, 16, 16)
    pixels, labels = as_pair(image, raw, 24)
    smooth = torch.nn.functional.interpolate(raw, (24, 24), mode="bilinear", align_corners=False)[0, 0]
    np.testing.assert_array_equal(labels, (smooth >= 0).numpy())
    assert (pixels.min(), pixels.max()) == (0, 255)
    coarse = np.kron((raw[0, 0, ::2, ::2] >= 0).numpy(), np.ones((3, 3)))
    assert (labels != coarse).any()
    same_size = as_pair(image, raw, 16)[1]
    assert same_size.mean() == pytest.approx(float((raw >= 0).float().mean()))  # the area as the log has it


def test_written_pairs_have_their_own_masks_and_no_parent(trained, real, tmp_path):
    write_masks(real, "real", RealMasks(kind="real", copies=1), tmp_path / "masks")
    masks = read_pairs(tmp_path / "masks/1")
    sampler = load(trained, trained, SAMPLING)
    assert sampler.needs == NEEDS["dfmgan"]._replace(normal=False)
    sample_images(masks, sampler, SAMPLING, tmp_path / "drawn", provenance_of(sampler))
    pairs = write_synthetic([masks], [tmp_path / "drawn"], "dfmgan-g0", tmp_path / "set")
    text = png_text(pairs.folder / pairs.pairs[0].image)
    assert (text["side"], text["parent"], "normal" in text) == ("16", "", False)
    trained_generator = load_generator(trained)
    for pair in pairs.pairs:
        image, mask = draw(trained_generator, int(png_text(pairs.folder / pair.image)["seed"]))
        np.testing.assert_array_equal(pairs.labels(pair), (mask[0, 0] >= 0).numpy())
        np.testing.assert_array_equal(pairs.image(pair), as_pair(image, mask, 16)[0])
        assert (pair.parent, pair.foreground) == ("", pytest.approx(pairs.labels(pair).mean(), abs=1e-6))


@pytest.mark.parametrize("bias", [-1e4, 1e4])
def test_masks_that_are_all_equal_do_not_stop_a_training_and_are_told(refit, monkeypatch, capsys, bias):
    class Saturated(Defect):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            torch.nn.init.constant_(self.residuals.to_mask.bias, bias)

    monkeypatch.setattr(train_module, "Defect", Saturated)
    folder = refit(images1=4, images2=8, path_length="off")  # which would train beside the losses
    told = capsys.readouterr().err
    assert log(folder, "zeroed") == [1, 1]
    assert log(folder, "mode_seeking") == [0, 0]
    assert log(folder, "mask_area") == [bias > 0] * 2
    assert "2 optimiser steps had gradients that were not finite" in told
    assert ("masks are all but empty at the end, 0 of the image: try lambda_match 0.2" in told) == (bias < 0)
    start = train_module.seeded(lambda: Defect(ROW, 16), item_seed(CFG.seed, "weights", "defect")).state_dict()
    left = part(load_file(folder / "generator.safetensors"), "defect")
    before_the_mask = [name for name in start if "convs.1." not in name and name != "residuals.to_mask.bias"]
    assert all(torch.equal(left[name], start[name]) for name in before_the_mask)


def test_what_cannot_be_trained_is_refused(refit, data, real, tmp_path):
    for pool in (None, PairSet(tmp_path, ())):
        with pytest.raises(UserError, match="dfmgan needs images without a lesion") as caught:
            load_data(ROW, real, tmp_path, pool)
        assert "`normal`" in caught.value.problems[0]
    with pytest.raises(UserError, match="16 x 15 px are no squares"):
        refit(data=data._replace(images=data.images[:, :, :15]))
    with pytest.raises(UserError, match="no pair has a lesion"):
        refit(data=data._replace(masks=data.masks * 0))
    with pytest.raises(UserError, match="is not finite at step"):
        refit(lr=1e30, images1=20)


def test_less_at_a_time_is_told_and_what_it_switches_off(refit, monkeypatch, capsys):
    original = phases_module.train_match

    def full(stage, step, indices, positions, share):
        if len(indices) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return original(stage, step, indices, positions, share)

    monkeypatch.setattr(phases_module, "train_match", full)
    refit(images2=8)
    told = "dfmgan, stage 2: out of memory: now 1 at a time, and without mode seeking, which compares two\n"
    assert told in capsys.readouterr().err


def test_lesions_that_are_lost_are_named(refit, data, capsys):
    images, masks, normals = (np.repeat(np.repeat(x, 2, 1), 2, 2) for x in data[:3])
    masks[1] = 0
    masks[1, 9, 9] = 1
    refit(data=PixelData(images, masks, normals, tuple("abcde")), side=16, images1=4, images2=4, path_length="off")
    assert "dfmgan: lesions too small for the networks' images of 16 px, lost: b\n" in capsys.readouterr().err


def test_another_method_or_network_never_loads(trained, tmp_path):
    config = json.loads((trained / "config.json").read_text())
    assert (config["side"], config["size_px"], config["pairs"], config["normals"]) == (16, 16, 5, 5)

    def folder_with(name, **generator):
        shutil.copytree(trained, tmp_path / name)
        changed = config | {"generator": config["generator"] | generator}
        (tmp_path / name / "config.json").write_text(json.dumps(changed))
        return tmp_path / name

    assert load_generator(folder_with("same")).row == ROW
    for name, generator in (("method", {"method": "arsdm"}), ("unknown", {"unheard_of": 1})):
        with pytest.raises(UserError, match="damaged"):
            load_generator(folder_with(name, **generator))
    with pytest.raises(UserError, match="of another generator"):
        load_generator(folder_with("width", channel_most=4))
    with pytest.raises(UserError, match="no trained generator"):
        load_generator(tmp_path / "nowhere")


@pytest.mark.heavy
def test_one_pair_is_learned(data, refit):
    mask, flat = data.masks[:1], np.full((1, 16, 16, 3), 90, np.uint8)
    one = PixelData(np.where(mask[..., None], np.uint8(200), flat), mask, flat)
    fast = {"lr": 0.01, "ema_images": 80.0, "r1_gamma": 10.0, "lambda_ms": 0.0, "path_length": "off", "augment": "none"}
    folder = refit(data=one, images1=120, images2=480, **fast)
    trained = load_generator(folder)
    pairs = [as_pair(*draw(trained, seed), 16) for seed in range(8)]
    overlaps = [(labels & mask[0]).sum() / (labels | mask[0]).sum() for _, labels in pairs]
    assert np.mean(overlaps) > 0.5
    assert np.mean([image[labels > 0].mean() - image[labels == 0].mean() for image, labels in pairs]) > 60
    losses = log(folder, "match")
    assert np.mean(losses[-30:]) < 0.7 * np.mean(losses[:5])
