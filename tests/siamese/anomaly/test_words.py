"""The spatial encoder's size, the vectors in the prompt, masks on the latents' grid, and the row."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from data.pairs.errors import UserError
from siamese.anomaly.latent_masks import dilated, dilation_radius, latent_masks, lesion_names, lesion_values
from siamese.anomaly.spatial import SmallEncoder, SpatialEncoder, encoder_masks
from siamese.anomaly.words import Prompts
from siamese.base.load import encode_prompts, load_text
from siamese.config.anomaly import AnomalyRow

ROW = AnomalyRow(method="anomaly_diffusion")


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_spatial_encoder_has_the_published_size():
    with torch.device("meta"):
        network = SpatialEncoder(4, 1280, 256)
        assert size(network) == 356_019_392
        assert size(network.stem) + size(network.stages) == 30_727_360
        assert size(network.lateral) == 197_632
        assert [size(head) for head in network.heads] == [81_273_600] * 4
        assert size(SpatialEncoder(4, 768, 256)) == 153_629_888


@pytest.mark.heavy
def test_the_spatial_encoder_sees_the_mask_in_three_sizes():
    with torch.device("meta"):
        network = SpatialEncoder(4, 1280, 256)
        maps = network.eval().maps(torch.zeros(1, 1, 256, 256))
        assert [tuple(features.shape[1:]) for features in maps] == [(128, 64, 64), (256, 32, 32), (512, 16, 16)]
        assert network(torch.zeros(2, 1, 256, 256)).shape == (2, 4, 1280)
        assert SpatialEncoder(2, 16, 64).eval()(torch.zeros(3, 1, 64, 64)).shape == (3, 2, 16)  # four halvings a head


def test_a_trained_encoder_sees_each_mask_alone():
    masks = (torch.rand(3, 1, 64, 64) > 0.5).float()
    network = SmallEncoder(2, 8)
    assert network(masks).shape == (3, 2, 8)
    assert torch.allclose(network(masks)[1:2], network(masks[1:2]), atol=1e-6)
    assert not torch.allclose(network(masks)[0], network(masks)[1])
    assert encoder_masks(masks, 32).shape == (3, 1, 32, 32)
    assert torch.equal(encoder_masks(masks, 64), masks)


@pytest.fixture(scope="module")
def text(base_dir):
    return load_text(base_dir)


@pytest.mark.parametrize("inject", ["embedding", "context"])
def test_vectors_that_are_tokens_read_as_the_plain_prompt(text, base_dir, inject):
    tokenizer, encoder = text
    prompts = Prompts(tokenizer, encoder, ["a photo of a *", "the * here"], 8, inject)
    letters = tokenizer("c r a c k e d s").input_ids[1:9]
    plain = encode_prompts(base_dir, ["a photo of a c r a c k e d s", "the c r a c k e d s here"])
    templates = torch.tensor([0, 1])
    if inject == "context":  # the vectors stand for what the encoder gives
        vectors = plain[prompts.taken].view(2, 8, -1)
        found = prompts(templates, vectors)
        assert torch.equal(found[prompts.taken], plain[prompts.taken])
        start = int(prompts.taken[0].int().argmax())
        assert torch.allclose(found[0, :start], plain[0, :start], atol=1e-6)  # CLIP reads from left to right
        return
    vectors = encoder.get_input_embeddings().weight[letters].expand(2, 8, -1)
    assert torch.allclose(prompts(templates, vectors), plain, atol=1e-6)
    assert torch.equal(prompts.encode_ids(prompts.ids), encoder(prompts.ids)[0])  # no hook stays behind


def test_vectors_start_as_a_word_and_too_long_sentences_are_refused(text):
    tokenizer, encoder = text
    weight = encoder.get_input_embeddings().weight
    prompts = Prompts(tokenizer, encoder, ["a *"], 3, "embedding")
    assert torch.equal(prompts.start("a"), weight[tokenizer("a").input_ids[1]])
    assert prompts.ordinary_norm() == pytest.approx(float(weight.norm(dim=-1).mean()))
    behind = Prompts(tokenizer, encoder, ["a *"], 3, "context")
    assert behind.start("a").norm() == pytest.approx(float(behind.ordinary_norm()), rel=0.3)
    long = " ".join("a" * 70) + " *"
    assert Prompts(tokenizer, encoder, [long], 5, "embedding").taken.sum() == 5
    with pytest.raises(UserError, match="too long"):
        Prompts(tokenizer, encoder, [long], 6, "embedding")


def disc(side, radius):
    ys, xs = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    middle = (side - 1) / 2
    return ((ys - middle) ** 2 + (xs - middle) ** 2 <= radius**2).float()[None, None]


def test_a_tiny_lesion_keeps_a_cell():
    tiny, large, empty = disc(256, 5), disc(256, 40), torch.zeros(1, 1, 256, 256)
    plain = torch.nn.functional.interpolate(tiny, size=(32, 32), mode="bilinear", antialias=True)
    assert not (plain >= 0.5).any()  # as the specification says of a radius of 5 px
    cells, kept = latent_masks(torch.cat([tiny, large, empty]), (32, 32), "bilinear")
    assert kept.tolist() == [True, False, False]
    assert cells.flatten(1).sum(1).tolist() == [4, cells[1].sum(), 0]  # it lies between four
    assert cells[1].mean() == pytest.approx(float(large.mean()), rel=0.1)
    all_touched, kept = latent_masks(large, (32, 32), "any")
    assert not kept.any()
    assert all_touched.sum() > cells[1].sum()
    one = torch.zeros(1, 1, 64, 64)
    one[..., 9, 9] = 1
    assert latent_masks(one, (16, 16), "bilinear")[0].nonzero().tolist() == [[0, 0, 2, 2]]
    between = one.roll((-1, -1), (2, 3))  # no pixel of half the side is nearest to it
    assert torch.nn.functional.interpolate(between, size=(32, 32), mode="nearest-exact").sum() == 0
    assert encoder_masks(between, 32).nonzero().tolist() == [[0, 0, 4, 4]]
    assert not encoder_masks(between * 0, 32).any()


def test_the_mask_grows_with_the_noise():
    times = (996, 901, 501, 101, 24)
    assert [dilation_radius(t, 32, 0.25) for t in times] == [8, 8, 4, 1, 0]
    assert [dilation_radius(t, 16, 0.25) for t in times] == [4, 4, 2, 0, 0]
    assert [dilation_radius(t, 32, 0.5) for t in times] == [17, 16, 9, 3, 1]
    assert [dilation_radius(t, 32, 0.0) for t in times] == [0] * 5
    cells = torch.zeros(1, 1, 9, 9)
    cells[..., 4, 3] = 1
    assert dilated(cells, 2).nonzero()[:, 2:].tolist() == [[y, x] for y in range(2, 7) for x in range(1, 6)]
    assert dilated(cells, 0) is cells


def test_each_kind_of_lesion_has_a_name_and_no_mask_has_two():
    masks = np.zeros((3, 4, 4), np.float32)
    masks[0, 0], masks[1, 1] = 1, np.float32(1 / 3)
    values = lesion_values(masks)
    assert values == [float(np.float32(1 / 3)), 1.0]
    ids = ("a", "b", "c")
    assert lesion_names(masks, values, ids) == [1, 0, 0]
    assert lesion_values(masks[2:]) == [1.0]
    with pytest.raises(UserError, match="trained on lesions of"):
        lesion_names(masks, [1.0], ids)
    masks[0, 1] = np.float32(1 / 3)
    with pytest.raises(UserError, match="1 masks hold more than one class\n  a\n"):
        lesion_names(masks, values, ids)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"encoder_norm": "batch"}, "depends on the masks beside it"),
        ({"distance": "clean"}, "distance does nothing without adaptive: true"),
        ({"dilation": 0.5}, "dilation does nothing without adaptive"),
        ({"feather_px": 2, "paste": "latent"}, "feather_px does nothing without paste: pixel"),
        ({"templates": ("a photo",)}, "must hold"),
        ({"templates": ("a *-like thing",)}, "with spaces around it"),
        ({"encoder_px": 384}, "power of two"),
        ({"adaptive": True, "weight_clip": (2.0, 1.0)}, "low"),
    ],
)
def test_rows_that_mean_nothing_are_refused(settings, named):
    with pytest.raises(ValidationError, match=named):
        AnomalyRow(method="anomaly_diffusion", **settings)


def test_the_defaults_are_those_of_the_code():
    assert ROW.own_training() == {"batch": 4, "lr": 0.02, "weight_decay": 0.0, "schedule": "constant", "ema": None}
    assert (ROW.places, ROW.encoder, ROW.sample_steps, ROW.eta, ROW.adaptive) == (8, "ir50", 200, 1.0, False)
    assert (ROW.loss_mean, ROW.paste, ROW.weight_clip, ROW.reweight_at) == ("all", "none", (1.0, 1.5), "logits")
