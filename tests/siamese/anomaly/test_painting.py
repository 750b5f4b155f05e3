"""Weights of attention, blending, pasting, and samples that depend on their own request alone."""

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor

from data.pairs.errors import UserError
from siamese.anomaly.attention import WeightedColumns, weigh_columns
from siamese.anomaly.latents import encoded
from siamese.anomaly.paint import paint, pasted, word_columns
from siamese.anomaly.sampler import latent_sampler, load_anomaly_sampler
from siamese.anomaly.weights import cell_weights, row_weights
from siamese.base.latents import to_signed
from siamese.base.load import load_scheduler, load_vae
from siamese.sampling.requests import Request
from siamese.sampling.sampler import decode_images, generators_of
from tests.siamese.anomaly.conftest import TOY, with_row
from tests.siamese.conftest import SAMPLING


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def attention_and_inputs():
    attn = Attention(16, cross_attention_dim=8, heads=2, dim_head=8)
    return attn, draw(2, 16, 16), draw(2, 7, 8, seed=1)


@torch.no_grad()
def test_without_weights_it_is_the_attention_of_diffusers():
    attn, queries, context = attention_and_inputs()
    attn.set_processor(AttnProcessor())
    plain = attn(queries, context)
    for at in ("logits", "probabilities"):
        attn.set_processor(WeightedColumns(torch.arange(7) > 3, at))
        assert torch.allclose(attn(queries, context), plain, atol=1e-6)
        attn.processor.weights = torch.ones(2, 1, 4, 4)
        assert torch.allclose(attn(queries, context), plain, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("at", ["logits", "probabilities"])
def test_weights_act_on_the_columns_of_the_words_alone(at):
    attn = Attention(7, cross_attention_dim=7, heads=1, dim_head=7)
    for layer in (attn.to_v, attn.to_out[0]):  # so that the output is the attention itself
        layer.weight.copy_(torch.eye(7))
    attn.to_out[0].bias.zero_()
    context = torch.eye(7).expand(2, 7, 7)
    queries, columns = draw(2, 16, 7), torch.tensor([1, 0, 0, 1, 1, 0, 0]).bool()
    attn.set_processor(AttnProcessor())
    before = attn(queries, context)
    processor = WeightedColumns(columns, at)
    attn.set_processor(processor)
    processor.weights = 1 + torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    factors = torch.nn.functional.interpolate(processor.weights, size=(4, 4), mode="bilinear").flatten(2)[0, 0]
    found = attn(queries, context)[0]
    if at == "probabilities":
        assert torch.allclose(found, torch.where(columns, factors[:, None] * before[0], before[0]), atol=1e-5)
        return
    raised, logits = found.log(), before[0].log()
    shift = (raised - logits)[:, ~columns]
    assert torch.allclose(shift, shift[:, :1].expand_as(shift), atol=1e-4)  # the softmax's sum alone
    scores = attn.to_q(queries)[0] @ attn.to_k(context)[0].T * attn.scale
    changed = (raised - logits - shift[:, :1])[:, columns]
    assert torch.allclose(changed, ((factors[:, None] - 1) * scores)[:, columns], atol=1e-4)


def test_weights_sum_to_the_number_of_cells_and_keep_their_limits():
    latents, normal = draw(2, 4, 8, 8), draw(2, 4, 8, 8, seed=1)
    cells = (draw(2, 1, 8, 8, seed=2) > 0).float()
    latents[0, :, 3, 3] = normal[0, :, 3, 3]  # d = 0 there
    cells[0, :, 3, 3] = 1
    for kind in ("ratio", "softmax"):
        weights = cell_weights(latents, normal, cells, kind, None)
        assert weights[0, 0, 3, 3] == 1
        assert (weights[cells == 0] == 1).all()
        sums = (weights * cells).flatten(1).sum(1)
        assert sums[1] == pytest.approx(float(cells[1].sum()), rel=1e-5)
        assert sums[0] - 1 == pytest.approx(float(cells[0].sum()), rel=1e-5)  # its one cell without a distance has 1
    ratio = cell_weights(latents, normal, cells, "ratio", None)
    distance = (latents - normal)[1].square().mean(0)[cells[1, 0] > 0]
    assert torch.allclose(ratio[1, 0][cells[1, 0] > 0], len(distance) / distance / (1 / distance).sum(), atol=1e-5)
    clipped = cell_weights(latents, normal, cells, "ratio", (1.0, 1.5))
    assert (clipped.min(), clipped.max()) == (1, 1.5)


def test_equal_distances_and_empty_masks_weigh_nothing():
    normal, cells = draw(1, 4, 8, 8), (draw(1, 1, 8, 8) > 0).float()
    assert torch.allclose(cell_weights(normal + 0.3, normal, cells, "ratio", (1.0, 1.5)), cells.new_ones(()))
    for kind in ("ratio", "softmax"):
        for there in (normal, normal + 1):
            empty = cell_weights(there, normal, cells * 0, kind, None)
            assert torch.equal(empty, torch.ones_like(cells))
    tiny = cell_weights(normal + 1e-7 * draw(1, 4, 8, 8), normal, cells, "ratio", None)
    assert tiny.isfinite().all()


def test_the_clean_latents_of_the_last_step_can_be_compared():
    latents, clean, normal, cells = draw(1, 4, 4, 4), draw(1, 4, 4, 4, seed=1), torch.zeros(1, 4, 4, 4), 1
    cells = torch.ones(1, 1, 4, 4)
    assert row_weights(TOY, latents, clean, normal, cells) is None
    noisy, later = (with_row(TOY, adaptive=True, distance=kind) for kind in ("noisy", "clean"))
    first = cell_weights(latents, normal, cells, "ratio", (1.0, 1.5))
    assert torch.equal(row_weights(noisy, latents, clean, normal, cells), first)
    assert row_weights(later, latents, None, normal, cells) is None
    assert not torch.equal(row_weights(later, latents, clean, normal, cells), first)


@pytest.fixture(scope="module")
def painted(networks, base_dir):
    """Return a function that paints for latents (B, 4, 16, 16), cells and seeds with a row's settings."""
    schedule = load_scheduler(base_dir)

    @torch.no_grad()
    def run(normal, cells, seeds, scale=1.0, **settings):
        row = with_row(TOY, **settings)
        vectors = scale * networks.learned.words(torch.zeros(len(normal), dtype=torch.long))
        context = networks.prompts(torch.zeros(len(normal), dtype=torch.long), torch.cat([vectors, vectors], 1))
        return paint(networks, row, schedule, context, normal, cells, generators_of(seeds))

    return run


def test_outside_the_mask_is_the_normal_image_and_a_full_mask_forgets_it(painted):
    normal, other = draw(2, 1, 4, 16, 16)
    empty, full = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    assert torch.equal(painted(normal, empty, [3], paste="latent"), normal)
    near = painted(normal, empty, [3]) - normal  # one step from t = 1, with which any number of steps ends
    assert near.square().mean() ** 0.5 < 0.1
    assert torch.equal(painted(normal, full, [3]), painted(other, full, [3]))
    half = full.clone()
    half[..., 8:] = 0
    kept = painted(normal, half, [3], paste="latent")
    assert torch.equal(kept[..., 8:], normal[..., 8:])
    assert not torch.allclose(kept[..., :8], normal[..., :8], atol=0.1)


def test_other_words_change_what_is_inside_alone(painted):
    """On latents; test_anomaly_training has it on pixels of trained words."""
    normal, cells = draw(1, 4, 16, 16), torch.zeros(1, 1, 16, 16)
    cells[..., 4:12, 4:12] = 1
    change = (painted(normal, cells, [3]) - painted(normal, cells, [3], scale=-1.0)).abs()
    inside, outside = (change[..., where[0, 0] > 0].mean() for where in (cells, 1 - cells))
    assert inside > 3 * outside


def test_re_weighting_changes_what_is_painted(painted, networks):
    normal, cells = draw(1, 4, 16, 16), torch.zeros(1, 1, 16, 16)
    cells[..., 4:12, 4:12] = 1
    options = {"weight_clip": (1.0, 50.0), "dilation": 0.0}
    plain = painted(normal, cells, [3])
    changed = [
        painted(normal, cells, [3], adaptive=True, **(options | more))
        for more in (
            {}, {"distance": "clean"}, {"weight_map": "softmax"}, {"reweight_at": "probabilities"},
            {"reweight_start_token": False}, {"dilation": 0.25}, {"weight_clip": (1.0, 1.5)},
        )
    ]  # fmt: skip
    for i, one in enumerate(changed):
        assert all(not torch.equal(one, other) for other in (plain, *changed[:i]))
    off = painted(normal, cells, [3], adaptive=True, weight_clip=(1.0, 1.0), dilation=0.0)
    assert torch.allclose(off, plain, atol=1e-4)
    columns = word_columns(networks, TOY)
    assert columns.nonzero().flatten().tolist() == [0, *networks.prompts.taken[0].nonzero().flatten().tolist()]
    assert not word_columns(networks, TOY.model_copy(update={"reweight_start_token": False}))[0]


def test_only_cross_attention_is_replaced(networks):
    processor = weigh_columns(networks.unet, torch.ones(77).bool(), "logits")
    kinds = {name: found is processor for name, found in networks.unet.attn_processors.items()}
    assert any(kinds.values())
    assert all(there == ("attn2" in name) for name, there in kinds.items())


def test_the_normal_image_is_encoded_as_a_mean_or_a_draw(base_dir, normals):
    vae, images = load_vae(base_dir), to_signed(normals[:2])
    with torch.no_grad():
        mean = encoded(vae, images, "mean", generators_of([1, 2]))
        drawn = [encoded(vae, images, "sample", generators_of(seeds)) for seeds in ([1, 2], [1, 3])]
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert not torch.equal(drawn[0][1], drawn[1][1])
    assert torch.allclose(mean, drawn[0], atol=1.0)
    assert not torch.equal(mean, drawn[0])


def test_pixels_outside_are_those_of_the_normal_image(normals):
    normal, mask = normals[0], np.zeros((32, 32), np.uint8)
    painted = 255 - normal
    mask[10:20, 10:20] = 1
    found = pasted(painted, normal, mask, 3)
    assert np.array_equal(found[mask > 0], painted[mask > 0])
    far = np.ones((32, 32), bool)
    far[6:24, 6:24] = False
    assert np.array_equal(found[far], normal[far])
    assert not np.array_equal(found[9, 10:20], normal[9, 10:20])  # one px outside it fades
    assert np.array_equal(pasted(painted, normal, mask, 0)[mask == 0], normal[mask == 0])
    assert np.array_equal(pasted(painted, normal, mask * 0, 3), normal)


@pytest.fixture(scope="module")
def sampled(networks, base_dir):
    """Return a function that samples requests with a row's settings, in batches of a size: uint8 (N, H, W, 3)."""

    vae, schedule = load_vae(base_dir), load_scheduler(base_dir)

    def run(requests, batch, **settings):
        row = with_row(TOY, sample_steps=2, **settings)
        sampler = latent_sampler(networks, row, [1.0], vae, schedule)
        starts = range(0, len(requests), batch)
        return np.stack([image for i in starts for image in sampler.sample(requests[i : i + batch])])

    return run


@pytest.fixture(scope="module")
def asked(real, normals):
    return [Request(str(i), mask, 10 + i, normal=normals[i]) for i, mask in enumerate(real.hints()[:2])]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"normal_latent": "sample", "paste": "latent"},
        {"paste": "pixel", "latent_mask": "any", "eta": 0.3},
        {"adaptive": True, "reweight_at": "probabilities", "weight_map": "softmax", "distance": "clean"},
    ],
)
def test_an_image_does_not_depend_on_its_batch(sampled, asked, settings):
    together, alone = sampled(asked, 2, **settings), sampled(asked, 1, **settings)
    assert np.abs(together.astype(int) - alone).max() <= 1  # rounding of the last digit
    assert np.array_equal(sampled(asked[::-1], 1, **settings)[::-1], alone)
    assert not np.array_equal(sampled([asked[0]._replace(seed=99)], 1, **settings)[0], alone[0])
    other = sampled([asked[0]._replace(normal=asked[1].normal)], 1, **settings)[0]
    assert not np.array_equal(other, alone[0])


def test_pasted_samples_keep_the_normal_image_far_from_the_mask(sampled, asked):
    image = sampled(asked[:1], 1, paste="pixel", feather_px=2)[0]
    far = torch.nn.functional.max_pool2d(torch.from_numpy(asked[0].mask)[None].float(), 7, 1, 3)[0].numpy() == 0
    assert far.any()
    assert np.array_equal(image[far], asked[0].normal[far])


def test_an_empty_mask_gives_the_normal_image_as_the_autoencoder_has_it(sampled, asked, base_dir):
    vae, empty = load_vae(base_dir), asked[0]._replace(mask=np.zeros((32, 32), np.uint8))
    with torch.no_grad():
        (rebuilt,) = decode_images(vae, encoded(vae, to_signed(empty.normal[None]), "mean", []))
    found = sampled([empty], 1, paste="latent")[0]
    assert np.abs(found - 255 * rebuilt.numpy()).max() < 1


def test_tiny_lesions_are_named_and_normal_images_are_asked_for(sampled, asked, capsys):
    mask = np.zeros((32, 32), np.uint8)
    mask[5, 5] = 1
    sampled([asked[0]._replace(mask=mask, id="small one")], 1)
    assert "small one" in capsys.readouterr().err
    sampled(asked[:1], 1)
    assert "smaller than a cell" not in capsys.readouterr().err
    with pytest.raises(UserError, match="key normal"):
        sampled([asked[0]._replace(normal=None)], 1)


def test_a_trained_folder_samples(anomaly_dir, base_dir, asked):
    sampler = load_anomaly_sampler(anomaly_dir, base_dir, SAMPLING)
    assert sampler.settings == {"steps": "4", "eta": "1.0", "paste": "none", "adaptive": "false"}
    images = list(sampler.sample(asked))
    assert [image.shape for image in images] == [(32, 32, 3)] * 2
    with pytest.raises(UserError, match="trained on lesions of"):
        list(sampler.sample([asked[0]._replace(mask=np.full((32, 32), 0.5, np.float32))]))
