"""Drawn pairs of a size that tests can afford, and weight files that the tests write themselves."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import Pair, PairSet, complete, write_manifest
from evaluation.audit.per_image import inspect_images
from evaluation.features.config import FeaturesConfig, ScoresConfig
from evaluation.features.extractors import extract_features
from evaluation.features.images import Images
from evaluation.features.store import Features
from evaluation.scores.score import Scored, score

SIZE = 64


def _draw_pair(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a pinkish ground with shading and grain, and one redder, finely textured ellipse."""
    y, x = np.mgrid[:size, :size] / size
    centre, radii = rng.uniform(0.3, 0.7, 2), rng.uniform(0.12, 0.22, 2)
    mask = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1
    shade = 1 - 0.4 * np.hypot(y - rng.uniform(0.3, 0.7), x - rng.uniform(0.3, 0.7))
    image = np.array([190.0, 120.0, 100.0]) * shade[..., None] + rng.normal(0, 8, (size, size, 1))
    texture = np.array([30.0, -70.0, -50.0]) + rng.normal(0, 15, (size, size, 1))
    image[mask] += texture[mask]
    return image.clip(0, 255).round().astype(np.uint8), mask.astype(np.uint8)


@pytest.fixture(scope="session")
def draw() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return images uint8 (n, 64, 64, 3) and masks uint8 (n, 64, 64) of a seed."""

    def drawn(n: int, seed: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        images, masks = zip(*(_draw_pair(rng, size) for _ in range(n)), strict=True)
        return np.stack(images), np.stack(masks)

    return drawn


@pytest.fixture(scope="session")
def blur() -> Callable[[np.ndarray, float], np.ndarray]:
    """Blur every image with a Gaussian of the given sigma in px; 0 leaves them."""

    def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
        return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images]) if sigma else images

    return blurred


@pytest.fixture(scope="session")
def save() -> Callable[..., PairSet]:
    """Write arrays as a pair set."""

    def saved(
        folder: Path, images: np.ndarray, masks: np.ndarray, prefix: str, parents: list[str] | None = None
    ) -> PairSet:
        pairs = []
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            name = f"{prefix}{number:03}"
            write_image(folder / f"images/{name}.png", image)
            write_mask(folder / f"masks/{name}.png", mask)
            parent = parents[number] if parents else ""
            pair = Pair(name, f"images/{name}.png", f"masks/{name}.png", "train", prefix, parent=parent)
            pairs.append(complete(folder, pair))
        return write_manifest(folder, pairs)

    return saved


@pytest.fixture
def images_of(save, tmp_path: Path) -> Callable[..., Images]:
    """Return drawn arrays as the stream that scores read, by way of a pair set on disk."""

    def made(images: np.ndarray, masks: np.ndarray, prefix: str = "p") -> Images:
        return Images(save(tmp_path / f"set-{prefix}", images, masks, prefix))

    return made


@pytest.fixture(scope="session")
def measure(judge) -> Callable[..., Scored]:
    """Return the scores of three pair sets by the way that the stages take: features, inspection, score."""

    def measured(
        real: PairSet,
        holdout: PairSet,
        synthetic: PairSet,
        cfg: ScoresConfig = ScoresConfig(extractors=("lite0",)),  # noqa: B008 (it is frozen)
        how: FeaturesConfig = FeaturesConfig(),  # noqa: B008
        weights: Mapping[str, Path] = {},
        further: Mapping[str, Features] = {},
    ) -> Scored:
        parts = {"train": Images(real), "holdout": Images(holdout)}
        inspected = inspect_images({**parts, "synthetic": Images(synthetic)}, judge, batch=how.batch)
        parts |= {"codec": Images(real, codec=True), "synthetic": Images(synthetic)}
        features = {name: extract_features(name, real, parts, how, weights) for name in cfg.extractors}
        return score(features, {**inspected, **further}, cfg)

    return measured


@pytest.fixture(scope="session")
def judge() -> Callable[[np.ndarray], np.ndarray]:
    """Return the segmenter that these drawings deserve: the lesion is where red is far above green, smoothed."""

    def probabilities(images: np.ndarray) -> np.ndarray:
        red = images[..., 0].astype(np.float32) - images[..., 1]
        smooth = np.stack([cv2.GaussianBlur(one, (0, 0), 1.5) for one in red])
        return 1 / (1 + np.exp(-(smooth - 110) / 10))

    return probabilities


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of the real format with random weights, drawn for ReLUs so that activations stay alive."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Blank(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: object, **__: object) -> None:
            """Keep the initial weights."""

    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save({}, path)
    network = Blank("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """Return a local-dir CLIP of toy width with random weights, with or without QuickGELU."""

    def made(quick_gelu: bool) -> Path:
        import open_clip
        from safetensors.torch import save_file

        config = {
            "embed_dim": 16,
            "quick_gelu": quick_gelu,
            "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
            "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
        }
        folder = tmp_path_factory.mktemp("clip")
        document = {"model_cfg": config, "preprocess_cfg": {"size": 32}}
        (folder / "open_clip_config.json").write_text(json.dumps(document), encoding="utf-8")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            state = open_clip.CLIP(**config).state_dict()
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "open_clip_model.safetensors")
        return folder

    return made


@pytest.fixture(scope="session")
def alexnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the convolutional half of a torchvision AlexNet file with random weights."""
    layers = {0: (3, 64, 11), 3: (64, 192, 5), 6: (192, 384, 3), 8: (384, 256, 3), 10: (256, 256, 3)}
    generator = torch.Generator().manual_seed(0)
    state = {}
    for number, (narrow, wide, side) in layers.items():
        weight = torch.empty(wide, narrow, side, side)
        state[f"features.{number}.weight"] = torch.nn.init.kaiming_normal_(weight, generator=generator)
        state[f"features.{number}.bias"] = torch.zeros(wide)
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(state, path)
    return path
