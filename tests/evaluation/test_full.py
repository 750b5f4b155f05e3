"""The full profile with random weights in the real formats: values mean nothing here, the paths to them do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.pairs.errors import UserError
from data.pairs.files import write_json
from data.pairs.manifest import Pair, PairSet
from evaluation import clip, full, inception, perceptual
from evaluation.config import ScoresConfig
from evaluation.loading import Loaded
from evaluation.score import score
from evaluation.statistics import frechet
from evaluation.weights import VARIABLE

CONFIG = ScoresConfig(profile="full", batch=4, kid_subsets=3, max_unpaired_pairs=5)


def test_missing_weights_stop_everything_before_an_image_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, judge
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    unreadable = PairSet(tmp_path, (Pair("a", "images/none.png", "masks/none.png", "train", "real"),))
    with pytest.raises(UserError, match="lacks 4 weight files"):
        score(unreadable, unreadable, unreadable, CONFIG, judge)


def test_subsets_larger_than_the_set_are_refused() -> None:
    full.check_counts(CONFIG, 3, 400)
    with pytest.raises(UserError, match="at most 20"):
        full.check_counts(ScoresConfig(profile="full", kid_subset_size=21), 400, 20)
    with pytest.raises(UserError, match="needs 3 images"):
        full.check_counts(CONFIG, 2, 400)


def test_gelu_is_refused(clip_folder) -> None:
    with pytest.raises(RuntimeError, match="QuickGELU"):
        clip.load_clip(f"local-dir:{clip_folder(False)}", None)


@pytest.mark.parametrize("name", [clip.CLIP_I_MODEL, clip.CMMD_MODEL])
def test_the_models_in_use_are_those_with_quickgelu(name: str) -> None:
    import open_clip

    assert open_clip.get_model_config(name)["quick_gelu"] is True


def test_clip_features_are_unit_vectors_of_the_encoder(clip_folder, draw) -> None:
    loaded = clip.load_clip(f"local-dir:{clip_folder(True)}", None)
    assert not loaded.model.training
    images = draw(5, 0)[0]
    found = clip.clip_features(loaded, images, batch=2)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found, clip.clip_features(loaded, images, batch=5), atol=1e-5)
    # 64 px to 32 px, written out: antialiased bicubic, then the statistics of OpenAI's training images.
    from PIL import Image

    small = np.asarray(Image.fromarray(images[0]).resize((32, 32), Image.Resampling.BICUBIC)) / 255
    small = (small - [0.48145466, 0.4578275, 0.40821073]) / [0.26862954, 0.26130258, 0.27577711]
    x = torch.from_numpy(small).permute(2, 0, 1)[None].float()
    embedding = loaded.model.visual(x)[0].detach().numpy()
    np.testing.assert_allclose(found[0], embedding / np.linalg.norm(embedding), atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*weights:UserWarning")
def test_lpips_trunk_comes_from_the_file(alexnet_file: Path, draw) -> None:
    import lpips

    torch.manual_seed(0)
    network = perceptual.load_lpips(alexnet_file)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), drawn), "the caller's generator was advanced"
    images = draw(3, 0)[0]
    pairs = [(0, 1), (1, 2), (2, 2)]
    found = perceptual.lpips_distances(network, images, images, pairs, batch=2)

    state = torch.load(alexnet_file, weights_only=True)
    other = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    convolutions = [module for module in other.net.modules() if isinstance(module, torch.nn.Conv2d)]
    for module, number in zip(convolutions, (0, 3, 6, 8, 10), strict=True):
        module.weight.data, module.bias.data = state[f"features.{number}.weight"], state[f"features.{number}.bias"]
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        expected = [float(other(x[i : i + 1], x[j : j + 1], normalize=True)) for i, j in pairs]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert found[0] > 0
    assert found[2] == 0


def test_pairs_of_images() -> None:
    assert perceptual.paired(["a", "b"], ["b", "", "a", "b", "gone"]) == [(1, 0), (0, 2), (1, 3)]
    rng = np.random.default_rng(0)
    assert perceptual.unpaired(["a", "b"], ["b", "a", ""], 99, rng) == [(0, 0), (0, 2), (1, 1), (1, 2)]
    assert perceptual.within(3, 99, rng) == [(0, 1), (0, 2), (1, 2)]
    assert perceptual.within(1, 99, rng) == []
    some = perceptual.within(40, 50, rng)
    assert len(set(some)) == 50
    assert all(0 <= i < j < 40 for i, j in some)


def test_all_scores_on_toy_networks(inception_file: Path, clip_folder, alexnet_file: Path, draw, tmp_path) -> None:
    toy_clip = clip.load_clip(f"local-dir:{clip_folder(True)}", None)
    networks = full.Networks(
        inception.load_inception(inception_file),
        toy_clip,
        toy_clip,
        perceptual.load_lpips(alexnet_file),
        dict.fromkeys(full.NAMES, "0" * 64),
    )
    real, holdout, synthetic = (
        Loaded([f"{name}{i}" for i in range(3)], [f"r{i}" for i in range(3)], *draw(3, seed), [None] * 3)
        for seed, name in enumerate("rhs")
    )
    entries = full.full_metrics(real, holdout, synthetic, networks, CONFIG)
    names = "fid kid clip_i cmmd cmmd_unbiased lpips_paired lpips_unpaired lpips_diversity"
    assert set(entries) == set(names.split())
    write_json(tmp_path / "details.json", entries)
    assert all(isinstance(row["value"], float) for row in entries.values())
    assert [name for name, row in entries.items() if row["floor"] is None] == ["lpips_paired"]
    assert entries["kid"]["subsets"]["size"] == 3
    assert entries["lpips_paired"]["n_pairs"] == 3
    assert entries["lpips_unpaired"]["n_pairs"] == 5

    x, y = (inception.inception_features(networks.inception, data.images, batch=3) for data in (real, synthetic))
    assert x.shape == (3, 2048)
    assert entries["fid"]["value"] == pytest.approx(frechet(x, y), rel=1e-3)
    assert entries["fid"]["value"] > 1e-3

    copies = full.full_metrics(real, holdout, replace(real, parents=real.ids), networks, CONFIG)
    assert abs(copies["fid"]["value"]) < 1e-6 * entries["fid"]["value"]
    assert copies["lpips_paired"]["value"] == 0
    assert copies["cmmd"]["value"] == pytest.approx(0, abs=1e-9)

    orphans = full.full_metrics(real, holdout, replace(synthetic, parents=[""] * 3), networks, CONFIG)
    assert orphans["lpips_paired"]["value"] is None
    assert "parent" in orphans["lpips_paired"]["reason"]
