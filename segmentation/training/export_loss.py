"""A trained segmenter's loss on given images as a file that needs none of this code: what generators are refined by."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from segmentation.inference.inputs import mean_std
from segmentation.inference.predict import Segmenter
from segmentation.training.losses import structure


class _Loss(nn.Module):
    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.network = segmenter.network.cpu().eval().requires_grad_(False)
        self.side, self.min_max = segmenter.row.input_px, segmenter.row.normalize == "min_max"
        for name, values in zip(("mean", "std"), mean_std(segmenter.row), strict=True):
            self.register_buffer(name, values)

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        inputs = functional.interpolate(images, size=(self.side, self.side), mode="bilinear", align_corners=False)
        if self.min_max:
            low, high = (of((1, 2, 3), keepdim=True) for of in (inputs.amin, inputs.amax))
            inputs = (inputs - low) / (high - low).clamp(min=1 / 255)
        else:
            inputs = (inputs - self.mean) / self.std
        outputs = self.network(inputs, size=masks.shape[2:])
        return structure(outputs._replace(maps=outputs.lesion_maps()), masks, weighted_bce=True)


def export_loss(segmenter: Segmenter, size: tuple[int, int], path: Path) -> None:
    """Write a program of torch.export: images (B, 3, *size) in [0, 1], masks (B, 1, *size) of 0 and 1 -> scalar.

    It is the structure loss of PraNet (weighted cross-entropy and IoU), differentiable in the images; the segmenter is
    frozen in evaluation mode, and images are stretched to its input size and normalised as in its training.
    """
    images, masks = torch.zeros(2, 3, *size), torch.zeros(2, 1, *size)  # they are kept in the file
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = {"images": {0: batch}, "masks": {0: batch}}
    torch.export.save(torch.export.export(_Loss(segmenter), (images, masks), dynamic_shapes=shapes), path)
