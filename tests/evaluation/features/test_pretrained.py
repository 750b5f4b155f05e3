"""The full profile with random weights in the real formats: values mean nothing here, the paths to them do."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.pairs.errors import UserError
from data.pairs.files import sha256_file, write_json
from evaluation.features import images as streams
from evaluation.features import pretrained
from evaluation.features.config import FeaturesConfig, ScoresConfig
from evaluation.scores.distances import frechet

FULL = ("inception", "clip_b32", "clip_l336", "lpips")
FULL_CONFIG = ScoresConfig(extractors=FULL, kid_subsets=3)
HOW = FeaturesConfig(batch=4, max_unpaired_pairs=5)


def test_subsets_larger_than_the_set_are_refused(draw, save, tmp_path, measure) -> None:
    pairs = save(tmp_path / "set", *draw(4, 0), "p")
    with pytest.raises(UserError, match="at most 4"):
        measure(pairs, pairs, pairs, ScoresConfig(extractors=("lite0",), kid_subset_size=5))


def test_gelu_is_refused(clip_folder) -> None:
    with pytest.raises(RuntimeError, match="QuickGELU"):
        pretrained.load_clip(f"local-dir:{clip_folder(False)}", None)


@pytest.mark.parametrize("name", [pretrained.CLIP_I_MODEL, pretrained.CMMD_MODEL])
def test_the_models_in_use_are_those_with_quickgelu(name: str) -> None:
    import open_clip

    assert open_clip.get_model_config(name)["quick_gelu"] is True


def test_clip_features_are_unit_vectors_of_the_encoder(clip_folder, draw) -> None:
    loaded = pretrained.load_clip(f"local-dir:{clip_folder(True)}", None)
    assert not loaded.model.training
    images = draw(5, 0)[0]
    found = pretrained.clip_features(loaded, images)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found[3:], pretrained.clip_features(loaded, images[3:]), atol=1e-5)
    # 64 px to 32 px, written out: antialiased bicubic, then the statistics of OpenAI's training images.
    from PIL import Image

    small = np.asarray(Image.fromarray(images[0]).resize((32, 32), Image.Resampling.BICUBIC)) / 255
    small = (small - [0.48145466, 0.4578275, 0.40821073]) / [0.26862954, 0.26130258, 0.27577711]
    x = torch.from_numpy(small).permute(2, 0, 1)[None].float()
    embedding = loaded.model.visual(x)[0].detach().numpy()
    np.testing.assert_allclose(found[0], embedding / np.linalg.norm(embedding), atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*weights:UserWarning")
def test_lpips_trunk_comes_from_the_file(alexnet_file: Path, draw, images_of) -> None:
    import lpips

    torch.manual_seed(0)
    network = pretrained.load_lpips(alexnet_file)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), drawn), "the caller's generator was advanced"
    images = draw(3, 0)[0]
    pairs = [(0, 1), (1, 2), (2, 2)]
    stream = images_of(*draw(3, 0))
    found = pretrained.lpips_distances(network, stream, stream, pairs, batch=2)

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
    assert streams.paired(["a", "b"], ["b", "", "a", "b", "gone"]) == [(1, 0), (0, 2), (1, 3)]
    rng = np.random.default_rng(0)
    assert streams.unpaired(["a", "b"], ["b", "a", ""], 99, rng) == [(0, 0), (0, 2), (1, 1), (1, 2)]
    assert streams.within(3, 99, rng) == [(0, 1), (0, 2), (1, 2)]
    assert streams.within(1, 99, rng) == []
    some = streams.within(40, 50, rng)
    assert len(set(some)) == 50
    assert all(0 <= i < j < 40 for i, j in some)


@pytest.fixture
def toy_clip(monkeypatch: pytest.MonkeyPatch, clip_folder) -> None:
    """Register a CLIP of toy width under the names of the real ones; everything else is the real way."""
    import open_clip

    folder = clip_folder(True)
    document = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    for name in (pretrained.CLIP_I_MODEL, pretrained.CMMD_MODEL):
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, document["model_cfg"])
    return folder / "open_clip_model.safetensors"


@pytest.mark.heavy
def test_all_scores_on_toy_networks(inception_file, toy_clip, alexnet_file, draw, save, measure, tmp_path) -> None:
    weights = {
        "inception": inception_file, "clip_b32": toy_clip, "clip_l336": toy_clip, "alexnet": alexnet_file,
    }  # fmt: skip
    parents = [f"r{i:03}" for i in range(6)]
    real, holdout, synthetic = (
        save(tmp_path / name, *draw(6, seed), name, parents if name == "s" else None) for seed, name in enumerate("rhs")
    )
    scored = measure(real, holdout, synthetic, FULL_CONFIG, HOW, weights)
    entries = scored.details
    write_json(tmp_path / "details.json", entries)
    names = [
        *("fid", "kid", "precision", "recall", "density", "coverage", "clip_i", "clip_i_paired", "cmmd"),
        *("cmmd_unbiased", "lpips_paired", "lpips_unpaired", "lpips_diversity"),
    ]
    assert all(isinstance(entries[name]["value"], float) for name in names)
    assert {row["value"] for name, row in entries.items() if name.startswith("lite0_")} == {None}
    assert {"torch-fidelity", "open_clip_torch", "lpips"} <= set(entries["versions"])
    assert entries["fid"]["weights"] == f"inception {sha256_file(inception_file)}"
    assert entries["kid"]["subsets"]["size"] == 3
    assert entries["lpips_paired"]["n_pairs"] == 6
    assert entries["lpips_unpaired"]["n_pairs"] == 5
    assert entries["clip_i"]["real_real"] < 1
    assert entries["cmmd"]["halves"] > 0
    assert entries["fid"]["value"] > 1e-3

    network = pretrained.load_inception(inception_file)
    x, y = (pretrained.inception_features(network, one.images()) for one in (real, synthetic))
    assert x.shape == (6, 2048)
    assert entries["fid"]["value"] == pytest.approx(frechet(x, y), rel=1e-3)

    copies = measure(real, holdout, save(tmp_path / "c", *draw(6, 0), "c", parents), FULL_CONFIG, HOW, weights).details
    assert abs(copies["fid"]["value"]) < 1e-6 * entries["fid"]["value"]
    assert copies["lpips_paired"]["value"] == 0
    assert copies["cmmd"]["value"] == pytest.approx(0, abs=1e-9)
    assert copies["clip_i_paired"]["value"] == pytest.approx(1, abs=1e-6)

    orphans = measure(real, holdout, holdout, ScoresConfig(extractors=("lpips",)), HOW, weights).details
    assert orphans["lpips_paired"]["value"] is None
    assert "parent" in orphans["lpips_paired"]["reason"]


@pytest.mark.slow
def test_all_scores_on_networks_of_the_real_size(inception_file, alexnet_file, draw, save, measure, tmp_path) -> None:
    """Files as published, 2.7 GB of random weights: ViT-B/32 and ViT-L/14@336 are built as for the paper's scores."""
    import open_clip
    from safetensors.torch import save_file

    weights = {"inception": inception_file, "alexnet": alexnet_file}
    for file, name in (("clip_b32", pretrained.CLIP_I_MODEL), ("clip_l336", pretrained.CMMD_MODEL)):
        state = open_clip.create_model(name, pretrained=None).state_dict()
        weights[file] = tmp_path / f"{file}.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, weights[file])
        del state
    real, holdout, synthetic = (save(tmp_path / name, *draw(4, seed), name) for seed, name in enumerate("rhs"))
    entries = measure(real, holdout, synthetic, FULL_CONFIG, HOW, weights).details
    for name in ("fid", "kid", "clip_i", "cmmd", "cmmd_unbiased", "lpips_unpaired", "copy_rate_clip"):
        assert name in entries
    assert entries["clip_i"]["value"] <= 1
    assert entries["cmmd"]["value"] >= 0
