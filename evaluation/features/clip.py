"""CLIP embeddings of the full profile: CLIP-I and CMMD."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

CLIP_I_MODEL = "ViT-B-32-quickgelu"
CMMD_MODEL = "ViT-L-14-336-quickgelu"
LIBRARIES = ("torch", "open_clip_torch")


class Clip(NamedTuple):
    """An image encoder in evaluation mode and the preprocessing that it was trained with."""

    model: nn.Module
    preprocess: Callable[[Image.Image], torch.Tensor]


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
    return clip.model.encode_image(x.to(next(clip.model.parameters()).device), normalize=True).cpu().numpy()
