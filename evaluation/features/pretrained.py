"""The pretrained networks of the full profile: Inception (FID, KID), CLIP (CLIP-I, CMMD) and LPIPS over pairs."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from evaluation.features.images import Images, Pairs

INCEPTION = "Inception of the TensorFlow graph of 2015-12-05, pool3, 2048-d, TF1 bilinear 299 px (torch-fidelity)"
CLIP_I_MODEL = "ViT-B-32-quickgelu"
CMMD_MODEL = "ViT-L-14-336-quickgelu"
LPIPS = "AlexNet trunk, LPIPS v0.1 heads of the lpips wheel"


class Clip(NamedTuple):
    """An image encoder in evaluation mode and the preprocessing that it was trained with."""

    model: nn.Module
    preprocess: Callable[[Image.Image], torch.Tensor]


def _tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def load_inception(path: Path, device: str = "cpu") -> nn.Module:
    """Return torch-fidelity's extractor with the weights of a file whose hash has been checked."""
    from torch_fidelity.utils import create_feature_extractor

    extractor = create_feature_extractor(
        "inception-v3-compat", ["2048"], cuda=False, verbose=False, feature_extractor_weights_path=str(path)
    )
    return extractor.to(device)


@torch.inference_mode()
def inception_features(extractor: nn.Module, images: np.ndarray) -> np.ndarray:
    """Return float32 (N, 2048) for uint8 (N, H, W, 3)."""
    return extractor(_tensor(images).contiguous().to(_device(extractor)))[0].cpu().numpy()


def load_clip(name: str, path: Path | None, device: str = "cpu") -> Clip:
    """Return OpenAI's CLIP from a local file; `name` is an open_clip model, or `local-dir:...` without a path.

    OpenAI's weights need QuickGELU. open_clip from version 3 on builds plain GELU under the plain model names and loads
    them without a word, and the scores are wrong: hence the check.
    """
    import open_clip

    model, preprocess = open_clip.create_model_from_pretrained(
        name, pretrained=str(path) if path else None, device=device
    )
    activation = type(model.visual.transformer.resblocks[0].mlp.gelu).__name__
    if activation != "QuickGELU":
        raise RuntimeError(
            f"{name} is built with {activation}; OpenAI's weights need QuickGELU: use a -quickgelu model"
        )
    return Clip(model.eval(), preprocess)


@torch.inference_mode()
def clip_features(clip: Clip, images: np.ndarray) -> np.ndarray:
    """Return float32 unit vectors (N, d) for uint8 (N, H, W, 3)."""
    x = torch.stack([clip.preprocess(Image.fromarray(image)) for image in images])
    return clip.model.encode_image(x.to(_device(clip.model)), normalize=True).cpu().numpy()


def load_lpips(path: Path, device: str = "cpu") -> nn.Module:
    """Return LPIPS (version 0.1) with the trunk of a torchvision AlexNet file, whose classifier is ignored.

    The library would take whatever lies under the official name in TORCH_HOME, unchecked, or download it.
    """
    import lpips

    # The trunk is first drawn at random: the caller's generator is left as it was, and a deprecation is not news.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    state = torch.load(path, map_location="cpu", weights_only=True)
    # The trunk keeps torchvision's layer numbers, cut into slices: slice2.3.weight is features.3.weight.
    network.net.load_state_dict({key: state[f"features.{key.split('.', 1)[1]}"] for key in network.net.state_dict()})
    return network.eval().to(device)


@torch.inference_mode()
def lpips_distances(network: nn.Module, first: Images, second: Images, pairs: Pairs, *, batch: int) -> np.ndarray:
    """Return float64 (P,): the distance between first[i] and second[j] for each pair (i, j)."""

    def side(images: Images, places: tuple[int, ...]) -> torch.Tensor:
        return _tensor(images.take(places)).float().to(_device(network)) / 127.5 - 1

    parts = []
    for start in tqdm(range(0, len(pairs), batch), desc="lpips", unit="batch", mininterval=5):
        i, j = zip(*pairs[start : start + batch], strict=True)
        parts.append(network(side(first, i), side(second, j)).flatten().double().cpu())
    return torch.cat(parts).numpy() if parts else np.empty(0)
