"""The loss inside the mask, who gets gradients, augmentation by position, and a training that resumes to the byte."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch

from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from siamese.anomaly import train as train_module
from siamese.anomaly.augment import (
    common_box,
    cropped,
    index_at,
    is_augmented,
    mirror_at,
    moved_pair,
    turned,
    used_pairs,
)
from siamese.anomaly.latent_masks import latent_masks
from siamese.anomaly.latents import encoded
from siamese.anomaly.networks import build, load, vectors_of
from siamese.anomaly.paint import paint
from siamese.anomaly.step import add_step_gradients, draw_batch, masked_losses
from siamese.anomaly.train import Source, train_anomaly
from siamese.base.latents import to_signed
from siamese.base.load import load_scheduler, load_vae
from siamese.sampling.sampler import decode_images, generators_of
from siamese.training.loop import Run, pair_order
from tests.siamese.anomaly.conftest import TOY, cfg_of, with_row
from tests.siamese.conftest import killed_and_resumed


def test_the_masked_loss_by_hand():
    noise_pred, noise = torch.tensor([[[[3.0, 5.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    first, both, none = torch.tensor([[[[1.0, 0.0]]]]), torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 1, 2)
    assert masked_losses(noise_pred, noise, first, "all").tolist() == [2]
    assert masked_losses(noise_pred, noise, first, "mask").tolist() == [4]
    assert masked_losses(noise_pred, noise, both, "all").tolist() == [10]
    assert masked_losses(noise_pred, noise, both, "mask").tolist() == [10]
    channels = noise_pred.expand(1, 2, 1, 2), noise.expand(1, 2, 1, 2)
    assert masked_losses(*channels, first, "mask").tolist() == [4]
    assert masked_losses(*channels, first, "all").tolist() == [2]
    for mean in ("all", "mask"):
        found = noise_pred.clone().requires_grad_()
        masked_losses(found, noise, none, mean).sum().backward()
        assert not found.grad.any()


@pytest.fixture
def source(training_data, base_dir):
    def of(how, count=5, **settings):
        row = with_row(TOY, augment=how)
        return Source(training_data, count, row, cfg_of(row, **settings), base_dir, torch.device("cpu"))

    return of


@pytest.mark.parametrize("inject", ["embedding", "context"])
def test_gradients_reach_words_and_spatial_encoder_alone(base_dir, source, inject):
    row = with_row(TOY, inject=inject)
    networks, schedule = build(row, base_dir, 1), load_scheduler(base_dir)
    pairs = source("none")
    pairs.begin(0)
    batch = draw_batch(pairs, [0] * 5, 2, [0, 1, 2], [0, 1, 2], schedule, 0)
    sums = add_step_gradients(networks, batch, row, torch.tensor(1 / 3), networks.prompts.ordinary_norm())
    assert sums.shape == (3,)
    assert sums[2] == 0
    assert all(p.grad is not None and p.grad.any() for p in networks.learned.words.parameters())
    reached = [p.grad is not None for p in networks.learned.spatial.parameters()]
    assert all(reached)
    assert all(p.grad is None for frozen in networks[1:] for p in frozen.parameters())


def test_draws_depend_on_the_position_alone(base_dir, source):
    schedule = load_scheduler(base_dir)
    for how in ("none", "flips"):
        pairs = source(how)
        pairs.begin(0)
        whole = draw_batch(pairs, [0] * 5, 2, [0, 1, 2], [7, 8, 9], schedule, 0)
        last = draw_batch(pairs, [0] * 5, 2, [2], [9], schedule, 0)
        for one, other in zip(whole, last, strict=True):
            assert torch.equal(one[2:], other)


def test_mirrored_copies_mirror_image_and_mask(source, training_data):
    pairs = source("flips")
    pairs.begin(0)
    position = next(i for i in range(99) if mirror_at(i, 0) == 1)
    lesion = pairs([3], [position])[2][0, 0].numpy()
    assert np.array_equal(lesion, training_data.masks[3][:, ::-1] != 0)
    assert len(pairs.cached) == 4
    assert not torch.equal(pairs.cached[0][0], pairs.cached[1][0])
    drawn = [mirror_at(i, 0) for i in range(400)]
    assert all(70 < drawn.count(copy) < 130 for copy in range(4))


def test_the_published_mixture_crops_around_every_lesion(source, training_data):
    steps = [step for step in range(40) if is_augmented(step, 0)]
    assert 10 < len(steps) < 30
    pairs, plain = source("official"), source("none")
    untouched = next(step for step in range(40) if step not in steps)
    for found in (pairs, plain):
        found.begin(untouched)
    assert all(torch.equal(a, b) for a, b in zip(pairs([0, 1], [0, 1]), plain([0, 1], [0, 1]), strict=True))
    pairs.begin(steps[0])
    positions = [3 * steps[0] + i for i in range(3)]
    places = [index_at(position, 5, 0) for position in positions]
    mean, _, lesion = pairs(places, positions)
    assert mean.shape == training_data.mean[:3].shape
    alone = pairs(places[2:], positions[2:])  # the box is that of the step, whoever computes the pair
    assert torch.equal(alone[2], lesion[2:])
    assert torch.allclose(alone[0], mean[2:], atol=1e-5)
    top, bottom, left, right = pairs.box
    for place, position in zip(places, positions, strict=True):
        mask = moved_pair(training_data.images[place], training_data.masks[place], position, 0)[1]
        assert mask.sum() == mask[top:bottom, left:right].sum()


def test_moves_of_the_published_mixture():
    image = np.zeros((9, 9), np.uint8)
    image[1, 4] = 1
    assert turned(image, 0)[1, 4] == 1
    assert turned(image, 90)[4, 1] == 1  # against the clock
    masks = [np.zeros((16, 12), np.uint8) for _ in range(2)]
    masks[0][4, 5] = masks[1][8, 9] = 1
    boxes = {common_box(masks, step, 0) for step in range(60)}
    assert all(t <= 4 and b >= 9 and left <= 5 and r >= 10 for t, b, left, r in boxes)
    assert {b[0] for b in boxes} == set(range(5))
    assert {b[3] for b in boxes} == {10, 11, 12}
    assert common_box([masks[0] * 0], 0, 0) == (0, 16, 0, 12)
    views = cropped(np.full((1, 16, 12, 3), 255, np.uint8), masks[0][None], (4, 5, 5, 6))
    assert views.images.shape == (1, 3, 16, 12)
    assert views.lesion.all()
    order = pair_order(5, 3)
    assert [next(order) for _ in range(12)] == [index_at(position, 5, 3) for position in range(12)]


def test_the_share_of_pairs_is_the_published_one():
    assert [used_pairs(n, 1 / 3) for n in (1, 9, 10, 300)] == [1, 4, 4, 101]
    assert used_pairs(7, 1.0) == 7


@pytest.fixture
def run(training_data, base_dir, tmp_path):
    """Return a function that trains with a row's settings and returns the folder."""

    def train(name, data=training_data, **settings):
        work, out = tmp_path / f"{name}-work", tmp_path / name
        work.mkdir(exist_ok=True), out.mkdir(exist_ok=True)
        of_training = {k: settings.pop(k) for k in ("steps", "micro_batch", "seed") if k in settings}
        row = with_row(TOY, **settings)
        train_anomaly(data, row, Run(cfg_of(row, **of_training), base_dir, out, work))
        return out

    return train


def test_resuming_ends_with_the_bytes_of_an_unbroken_run(anomaly_dir, run, monkeypatch):
    folder, drawn = killed_and_resumed(monkeypatch, train_module, 4, TOY.batch, lambda: run("again"))
    assert sha256_tree(folder) == sha256_tree(anomaly_dir)
    assert drawn == [0, 1, 2, 3, 2, 3, 4, 5]


def test_words_of_another_training_change_pixels_inside_the_mask(anomaly_dir, run, base_dir, normals):
    networks, row, _ = load(anomaly_dir, base_dir)
    other = load(run("other", seed=1), base_dir)[0].learned
    vae, schedule, first = load_vae(base_dir), load_scheduler(base_dir), torch.tensor([0])
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:24, 8:24] = 1
    cells, _ = latent_masks(mask, (16, 16), row.latent_mask)
    with torch.no_grad():
        normal = encoded(vae, to_signed(normals[:1]), "mean", [])
        images = []
        for learned in (networks.learned, other):
            context = networks.prompts(first, vectors_of(learned, first, mask))
            latents = paint(networks, row, schedule, context, normal, cells, generators_of([3]))
            images += decode_images(vae, latents)
    change, inside = (images[0] - images[1]).abs().mean(-1), mask[0, 0] > 0
    assert change[inside].mean() > 3 * change[~inside].mean() > 0


@pytest.mark.heavy
def test_micro_batches_do_not_change_what_is_learned(anomaly_dir, base_dir, run):
    whole, parts = (load(folder, base_dir)[0].learned for folder in (anomaly_dir, run("parts", micro_batch=1)))
    for one, other in zip(whole.parts().values(), parts.parts().values(), strict=True):
        state = other.state_dict()
        assert all(torch.allclose(value, state[name], atol=2e-4) for name, value in one.state_dict().items())


def test_the_log_has_the_loss_and_its_figures(anomaly_dir):
    with (anomaly_dir / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "noise", "words_norm", "tiny_masks"]
    assert len(rows) == 6
    assert all(0 < float(row["noise"]) < 10 and float(row["words_norm"]) > 0 for row in rows)


@pytest.mark.heavy
def test_every_way_to_train_ends(run, base_dir):
    settings = [
        {"augment": "official", "loss_mean": "all", "share": 0.5, "latent_mask": "any"},
        {"augment": "flips", "inject": "context"},
        {"encoder": "ir50", "steps": 1},
    ]
    for place, chosen in enumerate(settings):
        folder = run(f"run{place}", **{"steps": 3, **chosen})
        networks, row, lesions = load(folder, base_dir)
        assert lesions == [1.0]
        assert all(getattr(row, name) == value for name, value in chosen.items() if name != "steps")
        assert not any(p.requires_grad for p in networks.learned.spatial.parameters())


def test_another_method_base_or_network_never_loads(anomaly_dir, base_dir, tmp_path):
    config = json.loads((anomaly_dir / "config.json").read_text())
    assert config["pairs"] == 5

    def folder_with(**changes):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(anomaly_dir, folder)
        (folder / "config.json").write_text(json.dumps(config | changes))
        return folder

    assert load(folder_with(), base_dir)[1] == TOY
    with pytest.raises(UserError, match="damaged"):
        load(folder_with(generator=config["generator"] | {"method": "arsdm"}), base_dir)
    with pytest.raises(UserError, match="trained on the base model"):
        load(folder_with(base="f" * 64), base_dir)
    with pytest.raises(UserError, match="weights do not fit"):
        load(folder_with(generator=config["generator"] | {"words": 3}), base_dir)
    (lacks := folder_with()).joinpath("config.json").write_text(json.dumps({"generator": config["generator"]}))
    with pytest.raises(UserError, match="damaged") as caught:
        load(lacks, base_dir)
    assert caught.value.problems[0] == "it lacks 'lesions'"
    damaged = folder_with()
    (damaged / "generator.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match="damaged"):
        load(damaged, base_dir)
    with pytest.raises(UserError, match="no trained generator"):
        load(tmp_path / "nowhere", base_dir)


def test_masks_of_two_classes_are_refused(run, training_data):
    masks = training_data.masks.astype(np.float32)
    masks[0, 0, :2] = 0.5, 1.0
    with pytest.raises(UserError, match="more than one class"):
        run("classes", training_data._replace(masks=masks))
