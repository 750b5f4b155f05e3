"""Trained segmenters as functions of images."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from data.pairs.errors import UserError
from data.pairs.training import accelerator
from segmentation.config.architectures import CONFIG, WEIGHTS, ArchitectureRow
from segmentation.inference.inputs import fit_images, normalize
from segmentation.networks.build import build_network


def probability_correction(logit: np.ndarray) -> np.ndarray:
    """Return the logit (H, W) divided by the share of positive pixels where positive, of negative ones where negative.

    Signs stay, so that nothing changes at z > 0 or a probability above 0.5; measures over many thresholds do. Source:
    spec/segmenters.md 1.4.
    """
    positive, negative = logit > 0, logit < 0
    share = np.where(positive, positive.mean(), np.where(negative, negative.mean(), 1.0))
    return (logit / share).astype(logit.dtype)


@dataclass(frozen=True)
class Segmenter:
    """A trained network in evaluation mode, in full precision."""

    network: nn.Module
    row: ArchitectureRow
    device: torch.device

    @torch.inference_mode()
    def __call__(self, images: np.ndarray, batch: int = 32) -> np.ndarray:
        """Return float32 (N, H, W), the probability of lesion in [0, 1], for uint8 (N, H, W, 3).

        Images are stretched to the network's input, and the network brings its logits back to their size before the
        sigmoid and, where the row says so, before SANet's probability correction. `batch` is a matter of memory and
        does not change the result.
        """
        probabilities = np.zeros(images.shape[:3], np.float32)
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            inputs = normalize(fit_images(list(part), self.row), self.row, self.device)
            native = self.network(inputs, size=part.shape[1:3]).lesion_logit().float()[:, 0]
            if self.row.probability_correction:
                native = torch.from_numpy(np.stack([probability_correction(logit) for logit in native.cpu().numpy()]))
            probabilities[start : start + batch] = torch.sigmoid(native).cpu().numpy()
        return probabilities


def load_segmenter(folder: Path) -> Segmenter:
    """Return the segmenter that `train` wrote into a folder, on accelerate's device.

    Raises: UserError when a file is missing or damaged, or when the weights are not those of the configuration.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    again = "train it again, or name the folder of a trained segmenter"
    try:
        row = ArchitectureRow.model_validate_json(json.dumps(json.loads((folder / CONFIG).read_text())["row"]))
        state = load_file(folder / WEIGHTS)
    except OSError as error:
        raise UserError(f"{folder} is not a trained segmenter", [str(error), again]) from error
    except (ValidationError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise UserError(f"{folder} holds a damaged segmenter", [str(error), again]) from error
    with torch.random.fork_rng():  # the weights drawn here are all replaced, so they must not move the caller's stream
        network = build_network(row, pretrained=False)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{folder}: {WEIGHTS} is not of the network in {CONFIG}", [str(error), again]) from error
    device = accelerator().device
    network.to(device).to(memory_format=torch.channels_last).eval()
    return Segmenter(network, row, device)
