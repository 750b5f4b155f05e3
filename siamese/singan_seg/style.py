"""Style transfer (Gatys et al. 2016) from the training image onto a sample, as SinGAN-Seg's code has it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from data.pairs.errors import UserError
from siamese.config.singan_seg import SinganSegRow

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RATE = 0.01
CONTENT = 28
STYLES = {0: 0.75, 5: 0.5, 10: 0.25, 19: 0.25, 28: 0.25}  # layer of torchvision's `features` -> weight
Features = Mapping[int, Tensor]
# (content, style) images (3, h, w) in [0, 1] -> the content in that style
Style = Callable[[Tensor, Tensor], Tensor]


def gram(features: Tensor) -> Tensor:
    """Return the products of all channels (c, c), not normalised, of features (1, c, h, w)."""
    flat = features.flatten(0, 1).flatten(1)
    return flat @ flat.T


def style_loss(features: Features, content: Features, style: Features, weight: float) -> Tensor:
    """Return the loss: features of the content, and correlations of those of the style."""
    loss = nn.functional.mse_loss(features[CONTENT], content[CONTENT])
    for layer, share in STYLES.items():
        own, other = gram(features[layer]), gram(style[layer])
        loss = loss + weight * share * nn.functional.mse_loss(own, other) / features[layer].numel()
    return loss


def features_of(network: nn.Sequential, image: Tensor) -> dict[int, Tensor]:
    """Return what the layers that count give for an image (1, 3, h, w).

    They are taken behind their rectifier: that one works in place in the released code, on what was put aside.
    """
    kept = {}
    for number, layer in enumerate(network):
        image = layer(image)
        if number - 1 in STYLES:
            kept[number - 1] = image
    return kept


def transfer(network: nn.Sequential, content: Tensor, style: Tensor, steps: int, weight: float) -> Tensor:
    """Return the content, (3, h, w) in [0, 1], with the style of another image, which is stretched to its size."""
    mean, deviation = (torch.tensor(values).to(content).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    content, style = content[None], style[None]
    if style.shape != content.shape:
        style = nn.functional.interpolate(style, content.shape[2:], mode="bilinear", antialias=True)
    content, style = ((image - mean) / deviation for image in (content, style))
    with torch.no_grad():
        of_content, of_style = (features_of(network, image) for image in (content, style))
    image = content.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        style_loss(features_of(network, image), of_content, of_style, weight).backward(inputs=[image])
        optimizer.step()
    return (image.detach() * deviation + mean)[0].clamp(0, 1)


def build_features(vgg: int) -> nn.Sequential:
    """Return the layers of a VGG up to the last that counts and its rectifier, with drawn weights."""
    from torchvision.models.vgg import cfgs, make_layers

    layers = make_layers(cfgs[{16: "D", 19: "E"}[vgg]])[: CONTENT + 2]
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return layers


def load_style(row: SinganSegRow, device: torch.device) -> Style:
    """Return the transfer by the row's VGG. Raises: UserError when its file cannot be read or is of another network."""
    path = Path(row.vgg_file or "")
    network = build_features(row.vgg)
    names = set(network.state_dict())
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
        own = {name.removeprefix("features."): value for name, value in state.items()}
        network.load_state_dict({name: value for name, value in own.items() if name in names})
    except (OSError, RuntimeError, ValueError, AttributeError, SafetensorError) as error:
        what = f"vgg_file {path} holds no weights of torchvision's vgg{row.vgg}"
        raise UserError(what, [str(error).splitlines()[0], "give the file that torchvision has for it"]) from error
    network.to(device).eval().requires_grad_(False)

    def style(content: Tensor, like: Tensor) -> Tensor:
        return transfer(network, content, like, row.style_steps, row.style_weight)

    return style
