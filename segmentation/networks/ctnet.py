"""CTNet (Xiao et al. 2024, Contrastive Transformer Network); spec/segmenters.md, sections 3.1 and 3.2."""

from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from segmentation.config.networks import NetworkConfig
from segmentation.networks.blocks import ConvNorm, Network, Outputs, enlarge, resize
from segmentation.networks.encoders import build_encoder


def _doubling(width: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)


def _up_block(width: int) -> nn.Sequential:
    """Return U of the source: (B, C, H, W) to (B, C, 2H, 2W)."""
    return nn.Sequential(_doubling(width), ConvNorm(width, width, 3))


class Smim(nn.Module):
    """Exchange between a map and itself at half the size, twice, then back to one map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        names = ("h0", "l0", "h0_to_h1", "l0_to_h1", "l0_to_l1", "h0_to_l1", "h1_to_h2", "l1_to_h2")
        self.convs = nn.ModuleDict({name: nn.Conv2d(width, width, 3, padding=1) for name in names})
        self.norms = nn.ModuleDict({name: nn.BatchNorm2d(width) for name in ("h0", "l0", "h1", "l1", "h2")})

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the shape of x (B, C, H, W)."""

        half, full = partial(functional.avg_pool2d, kernel_size=2), partial(resize, size=x.shape[-2:])

        def step(name: str, total: Tensor) -> Tensor:
            return functional.relu(self.norms[name](total))

        convs = self.convs
        h0, l0 = step("h0", convs["h0"](x)), step("l0", convs["l0"](half(x)))
        h1 = step("h1", convs["h0_to_h1"](h0) + convs["l0_to_h1"](full(l0)))
        l1 = step("l1", convs["l0_to_l1"](l0) + convs["h0_to_l1"](half(h0)))
        h2 = step("h2", convs["h1_to_h2"](h1) + convs["l1_to_h2"](full(l1)))
        return h2 + x


class CTNet(Network):
    """Four stages of a mix transformer, with one SMIM and one U for all the deeper ones; MiT-B3 is its own encoder."""

    def __init__(self, row: NetworkConfig, *, pretrained: bool) -> None:
        super().__init__()
        self.encoder, (width,) = build_encoder(row, pretrained=pretrained), row.widths()
        self.reducers = nn.ModuleList(ConvNorm(channels, width, 1) for channels in self.encoder.out_channels[-4:])
        doublings = [layer for _ in range(3) for layer in (_doubling(width), nn.BatchNorm2d(width), nn.ReLU())]
        self.contrast = nn.Sequential(*doublings, nn.Conv2d(width, width, 1))  # from the deepest map to stride 4
        self.smim, self.up, self.last_up = Smim(width), _up_block(width), _up_block(width)
        self.predict = nn.Sequential(ConvNorm(width, width, 3), nn.Conv2d(width, 1, 1))

    def logits(self, images: Tensor) -> Outputs:
        """Return one map (B, 1, H, W) and the embedding (B, width, H/4, W/4)."""
        stages = self.encoder(images)[-4:]
        t1, t2, t3, t4 = (reduce(stage) for reduce, stage in zip(self.reducers, stages, strict=True))
        # the deepest first, as in the source: the running statistics of a shared part remember the last call best
        s4, s3, s2 = (self.smim(stage) for stage in (t4, t3, t2))
        middle = self.up(s4) * s3 + s3
        large = self.up(s3) * s2 + s2  # of s3, not of `middle`, as in the source
        fused = t1 + self.last_up(self.up(middle) * large + large)
        logits = enlarge(self.predict(fused), 4, align_corners=False)
        embedding = functional.normalize(self.contrast(t4), dim=1)
        return Outputs((logits,), embedding)
