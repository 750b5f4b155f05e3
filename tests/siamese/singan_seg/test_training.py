"""SinGAN-Seg trained at toy size: whole pyramids survive a kill, samples hang on neither batch nor neighbours."""

import csv
import json
import re
import shutil

import cv2
import numpy as np
import pytest
import torch

from data.exports.verify import verify
from data.masks.config import RealMasks
from data.masks.masks import write_masks
from data.pairs.assemble import write_synthetic
from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.image_io import open_picture, png_text
from data.pairs.manifest import read_pairs
from siamese.base.latents import PixelData
from siamese.config.sections import NEEDS, SinganSegRow
from siamese.fit import FIT, fit, load_data
from siamese.load import LOAD, load
from siamese.sampling.requests import Request
from siamese.sampling.sample import provenance_of, sample_images
from siamese.singan_seg import train as train_module
from siamese.singan_seg.pyramid import load_pyramid
from siamese.singan_seg.sampler import draw_sample, drawn_pair, mask_of, without_specks
from siamese.singan_seg.style import CONTENT, STYLES, build_features, gram, load_style, style_loss, transfer
from siamese.training.loop import Run
from tests.siamese.conftest import SAMPLING, TRAINING
from tests.siamese.singan_seg.test_pyramid import TINY

ROW = TINY.model_copy(update={"iterations": 2, "d_steps": 1})


@pytest.fixture
def run(real, tmp_path):
    """Return a function that trains pyramids of five phantoms of 32 px and returns the folder."""

    def fit_in(name, data=None, **settings):
        work, out = tmp_path / f"{name}-work", tmp_path / name
        work.mkdir(exist_ok=True), out.mkdir(exist_ok=True)
        row = ROW.model_copy(update=settings)
        fit(data or load_data(row, real, tmp_path), row, Run(TRAINING, tmp_path, out, work))
        return out

    return fit_in


@pytest.fixture(scope="module")
def trained(real, tmp_path_factory):
    out = tmp_path_factory.mktemp("singan")
    fit(load_data(ROW, real, out), ROW, Run(TRAINING, out, out, tmp_path_factory.mktemp("work")))
    return out


@pytest.fixture
def masks(real, tmp_path):
    write_masks(real, "real", RealMasks(kind="real", copies=2), tmp_path / "masks")
    return [read_pairs(tmp_path / f"masks/{copy}") for copy in (1, 2)]


def with_row(trained, folder, **changes):
    """Return a copy of a trained generator whose row says something else."""
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    config["generator"] |= changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_killed_training_keeps_whole_groups_and_ends_with_the_same_bytes(trained, run, real, monkeypatch, tmp_path):
    original, groups = train_module.train_pyramids, []

    def crash(reals, row, scales, ids, seed, log):
        groups.append(len(ids))
        if groups == [2, 2]:
            raise KeyboardInterrupt
        return original(reals, row, scales, ids, seed, log)

    monkeypatch.setattr(train_module, "train_pyramids", crash)
    with pytest.raises(KeyboardInterrupt):
        run("again")
    assert len(list((tmp_path / "again-work/pyramids").iterdir())) == 2
    assert not list((tmp_path / "again").iterdir())
    assert sha256_tree(run("again")) == sha256_tree(trained)
    assert groups == [2, 2, 2, 1]
    names = {path.stem for path in (trained / "pyramids").iterdir()}
    assert names == {pair.id for pair in real.pairs}


def test_what_lies_side_by_side_does_not_matter(trained, run, tmp_path):
    alone = run("alone", parallel=1)
    ours, theirs = (load_pyramid(folder, "train-0003", ROW, (32, 32))[0].sample(None) for folder in (trained, alone))
    assert (ours - theirs).abs().mean() < 1e-3  # of 2; what is cut to 8 bits may fall to either side


def test_the_log_has_the_terms_of_every_scale(trained):
    with (trained / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(len(rows)))
    assert len(rows) % ROW.iterations == 0
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
    assert float(rows[0]["reconstruction"]) > 0


def test_a_sample_hangs_on_its_pair_and_seed_alone(trained, masks, tmp_path):
    sampler = load(trained, tmp_path, SAMPLING)
    for name, batch in (("one", 1), ("three", 3)):
        for pairs in masks:
            cfg = SAMPLING.model_copy(update={"batch": batch})
            sample_images(pairs, sampler, cfg, tmp_path / name, provenance_of(sampler))
    assert sha256_tree(tmp_path / "one") == sha256_tree(tmp_path / "three")
    made = write_synthetic(masks, [tmp_path / "one"] * 2, "singan-g0", tmp_path / "set")
    verify(made)
    assert len({pair.image_sha256 for pair in made.pairs}) == len(made.pairs) == 10  # copies differ
    assert [pair.parent for pair in made.pairs[:2]] == ["train-0000", "train-0000"]
    for pair in made.pairs:
        assert set(np.unique(np.asarray(open_picture(made.folder / pair.mask)))) <= {0, 255}
    text = png_text(made.folder / made.pairs[0].image)
    assert (text["near-copy"], text["parent"], text["start_scale"]) == ("yes", "train-0000", "0")
    with (made.folder / "provenance.csv").open() as file:
        assert {row["attempts"] for row in csv.DictReader(file)} != {""}


def request(mask, seed=1, parent="train-0000"):
    return Request("a", mask, seed, parent=parent)


LESION = np.eye(32, dtype=np.uint8)


def test_after_its_last_scale_a_sample_is_the_reconstruction(trained):
    pyramids, _ = load_pyramid(trained, "train-0000", ROW, (32, 32))
    row = ROW.model_copy(update={"start_scale": len(pyramids.scales.sides)})
    for seed in (1, 2):
        sample, _ = draw_sample(pyramids._replace(row=row), request(np.zeros_like(LESION), seed))
        assert torch.equal(sample, pyramids.sample(None))


def test_empty_masks_are_drawn_again_and_the_reconstruction_is_the_last_resort(trained):
    pyramids, _ = load_pyramid(trained, "train-0000", ROW, (32, 32))
    never = ROW.model_copy(update={"mask_cut": 0.9999, "attempts": 3})
    sample, told = draw_sample(pyramids._replace(row=never), request(LESION))
    assert told == {"attempts": "3", "fallback": "yes"}
    assert torch.equal(sample, pyramids.sample(None))
    none, told = draw_sample(pyramids._replace(row=never), request(np.zeros_like(LESION)))
    assert told == {"attempts": "1"}  # the pair has no lesion
    assert not torch.equal(none, sample)


def test_lesions_that_are_lost_are_named(trained, run, real, tmp_path, capsys):
    never = with_row(trained, tmp_path / "never", mask_cut=0.9999, attempts=2)
    (made,) = load(never, tmp_path, SAMPLING).sample([request(LESION)])
    assert not made.labels.any()
    told = capsys.readouterr().err
    assert "singan_seg: a: no lesion in 2 draws, nor in the reconstruction: its mask is empty" in told
    masks = real.hints()
    masks[1] = 0
    masks[1, 5, 5:8] = 1
    run("thin", data=PixelData(real.images(), masks, None, tuple(pair.id for pair in real.pairs)), iterations=1)
    assert "singan_seg: lesions too small for 16 px, lost: train-0001\n" in capsys.readouterr().err


def test_the_mask_is_the_channel_cut_and_enlarged_by_nearest():
    sample = torch.rand(1, 4, 16, 16) * 2 - 1
    made = drawn_pair(sample, (32, 32), ROW, None, None)
    expected = cv2.resize((sample[0, 3].numpy() > 0).astype(np.uint8), (32, 32), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(made.labels, expected)
    assert made.image.shape == (32, 32, 3)
    same = drawn_pair(sample, (16, 16), ROW, None, None)
    np.testing.assert_array_equal(same.image, ((sample[0, :3] + 1) / 2 * 255).round().permute(1, 2, 0).numpy())
    higher = mask_of(sample, ROW.model_copy(update={"mask_cut": 0.8}))
    assert higher.sum() < same.labels.sum()


def test_specks_are_removed():
    lesion = np.zeros((9, 9), np.uint8)
    lesion[0, 0] = lesion[3:6, 3:6] = 1
    assert without_specks(lesion, 0).sum() == 10
    assert without_specks(lesion, 2).sum() == 9
    assert not without_specks(lesion, 10).any()


def test_own_statistics_change_a_sample_and_no_file(trained, tmp_path):
    own = with_row(trained, tmp_path / "own", norm_at_sampling="own")
    before = sha256_tree(own)
    images = [next(iter(load(folder, tmp_path, SAMPLING).sample([request(LESION)]))).image for folder in (trained, own)]
    assert (images[0] != images[1]).any()
    assert sha256_tree(own) == before


def test_what_is_not_there_is_named(trained, tmp_path):
    with pytest.raises(UserError, match="no pyramid of the pair nobody"):
        list(load(trained, tmp_path, SAMPLING).sample([request(LESION, parent="nobody")]))
    other = with_row(trained, tmp_path / "other", width=8)
    with pytest.raises(UserError, match="no pyramid of the row"):
        list(load(other, tmp_path, SAMPLING).sample([request(LESION)]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"generator": {', "Expecting"),
        ("{}", "it lacks 'generator'"),
        ("[]", "list indices"),
        ('{"generator": {"method": "nothing"}}', "config.json has the method nothing; known are controlnet, siamese"),
        ('{"generator": {"method": "singan_seg", "unheard_of": 1}}', "unheard_of"),
        ('{"generator": {"method": "controlnet"}}', "it lacks 'base'"),
        ('{"generator": {"method": "dfmgan"}}', "it lacks 'side'"),
        ('{"generator": {"method": "anomaly_diffusion"}}', "No such file or directory"),
    ],
)
def test_a_generator_whose_config_is_damaged_never_loads(tmp_path, base_dir, text, words):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match="holds a damaged generator") as caught:
        load(tmp_path, base_dir, SAMPLING)
    assert words in caught.value.problems[0]
    assert "run dvc repro, which trains it anew" in caught.value.problems[1]


def test_small_images_and_diverging_losses_are_refused(run):
    with pytest.raises(UserError, match="32 x 32 px are too small"):
        run("small", min_size=20, max_size=40)
    with pytest.raises(UserError, match="singan_seg: the loss"):
        run("wild", alpha=float("inf"))


def test_the_registry():
    assert NEEDS["singan_seg"].emits_masks
    assert NEEDS["singan_seg"].near_copies
    assert not NEEDS["singan_seg"].unconditional
    assert NEEDS.keys() == FIT.keys() == LOAD.keys()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 3}, "steps: is not read; iterations says it"),
        ({"max_size": 30}, "must be at least twice min_size"),
        ({"min_size": 10}, "min_size must be above 10"),
        ({"style": "gatys"}, "needs vgg_file"),
    ],
)
def test_rows_that_cannot_be_made_are_refused(changes, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        SinganSegRow(method="singan_seg", **changes)


@pytest.fixture(scope="module")
def narrow():
    """Return layers that stand where those of a VGG do, of 2 channels and without pooling."""
    torch.manual_seed(0)
    layers = []
    for _ in range(15):
        layers += [torch.nn.Conv2d(2 if layers else 3, 2, 1), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers).requires_grad_(False)


def test_without_a_style_the_content_stays(narrow):
    content, style = torch.rand(3, 8, 8), torch.rand(3, 4, 4)
    assert torch.allclose(transfer(narrow, content, style, 3, 0.0), content, atol=1e-6)
    assert not torch.allclose(transfer(narrow, content, style, 3, 1e3), content, atol=1e-3)
    assert torch.allclose(transfer(narrow, content, content.clone(), 3, 1e3), content, atol=1e-6)


def test_the_products_of_channels_by_hand():
    one = torch.tensor([2.0, 3.0]).view(1, 2, 1, 1)
    assert gram(one).tolist() == [[4, 6], [6, 9]]
    zero = dict.fromkeys(STYLES, torch.zeros(1, 2, 1, 1))
    loss = style_loss(dict.fromkeys(STYLES, one), dict.fromkeys([CONTENT], one), zero, 1.0)
    assert loss.item() == pytest.approx(sum(STYLES.values()) * (16 + 36 + 36 + 81) / 4 / 2)


@pytest.mark.heavy
def test_the_layers_are_those_of_torchvision_and_its_files_are_read(tmp_path):
    with torch.device("meta"):
        for vgg, channels in ((19, (64, 128, 256, 512, 512)), (16, (64, 128, 256, 512, 512))):
            layers = build_features(vgg)
            if vgg == 19:
                assert all(isinstance(layers[place], torch.nn.Conv2d) for place in STYLES)
            assert tuple(layers[place].out_channels for place in STYLES) == channels
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "wrong.pth")
    row = ROW.model_copy(update={"style": "gatys", "vgg_file": str(tmp_path / "wrong.pth")})
    with pytest.raises(UserError, match="holds no weights of torchvision's vgg19"):
        load_style(row, torch.device("cpu"))
    torch.save({f"features.{k}": v for k, v in build_features(19).state_dict().items()}, tmp_path / "vgg.pth")
    row = row.model_copy(update={"vgg_file": str(tmp_path / "vgg.pth"), "style_steps": 1})
    content = torch.rand(3, 32, 32)
    assert not torch.allclose(load_style(row, torch.device("cpu"))(content, torch.rand(3, 20, 20)), content, atol=1e-3)


def test_the_training_image_is_kept_where_samples_get_its_style_alone(trained, run, real):
    assert load_pyramid(trained, "train-0000", ROW, (32, 32))[1] is None
    styled = run("styled", style="gatys", vgg_file="x", iterations=1)
    image = load_pyramid(styled, "train-0000", ROW, (32, 32))[1]
    assert image.shape == (3, 16, 16)
    assert abs(float(image.float().mean()) - real.image(real.pairs[0]).mean()) < 5
