"""LPIPS (AlexNet, version 0.1) of the full profile, over pairs of images."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from evaluation.features.images import Images
from evaluation.features.pairing import Pairs

BACKBONE = "AlexNet trunk, LPIPS v0.1 heads of the lpips wheel"


def load_lpips(path: Path, device: str = "cpu") -> nn.Module:
    """Return LPIPS with the trunk of a torchvision AlexNet file, whose classifier is ignored.

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
    device = next(network.parameters()).device

    def side(images: Images, indices: list[int]) -> torch.Tensor:
        return torch.from_numpy(images.take(indices)).permute(0, 3, 1, 2).float().to(device) / 127.5 - 1

    parts = []
    for start in tqdm(range(0, len(pairs), batch), desc="lpips", unit="batch", mininterval=5):
        i, j = (list(column) for column in zip(*pairs[start : start + batch], strict=True))
        parts.append(network(side(first, i), side(second, j)).flatten().double().cpu())
    return torch.cat(parts).numpy() if parts else np.empty(0)
