"""Polyp-PVT (Dong et al. 2021); spec/segmenters.md, section 2.1."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from segmentation.config.networks import NetworkConfig
from segmentation.networks.blocks import ConvNorm, Network, Outputs, enlarge, resize
from segmentation.networks.encoders import build_encoder

DROP_PATH = 0.1  # of the source; timm's default is 0
GRID = 4  # SAM's nodes are the middle 4 x 4 of 6 x 6 cells
_double = partial(enlarge, factor=2, align_corners=True)


class Cim(nn.Module):
    """Camouflage identification: channel attention, then spatial attention, on the shallowest stage."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(4, channels // 16)  # 4 of 64 as in the source; fewer easily die at toy width
        self.channel = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, C, H, W), each value weighted by two attentions in (0, 1)."""
        pooled = maps.mean((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
        maps = torch.sigmoid(self.channel(pooled[0]) + self.channel(pooled[1])) * maps
        summary = torch.cat([maps.mean(1, keepdim=True), maps.amax(1, keepdim=True)], dim=1)
        return torch.sigmoid(self.spatial(summary)) * maps


class Cfm(nn.Module):
    """Cascaded fusion of the three deeper stages."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.t4_to_a3, self.t4_to_a2, self.t3_to_a2, self.t4_to_b3 = (ConvNorm(width, width, 3) for _ in range(4))
        self.to_b3, self.b3_to_b2 = (ConvNorm(2 * width, 2 * width, 3) for _ in range(2))
        self.to_b2 = ConvNorm(3 * width, 3 * width, 3)
        self.out = ConvNorm(3 * width, width, 3)

    def forward(self, t2: Tensor, t3: Tensor, t4: Tensor) -> Tensor:
        """Return F (B, width, H, W) for t2 (B, width, H, W), t3 of half and t4 of a quarter of its sides."""
        up4 = _double(t4)
        a3 = self.t4_to_a3(up4) * t3
        a2 = self.t4_to_a2(_double(up4)) * self.t3_to_a2(_double(t3)) * t2
        b3 = self.to_b3(torch.cat([a3, self.t4_to_b3(up4)], dim=1))
        b2 = self.to_b2(torch.cat([a2, self.b3_to_b2(_double(b3))], dim=1))
        return self.out(b2)


class Sam(nn.Module):
    """Similarity aggregation: a graph of 16 nodes, in which details of the shallowest stage weight F."""

    def __init__(self, width: int) -> None:
        super().__init__()
        states, nodes = width // 2, GRID * GRID
        self.value, self.query = (nn.Conv2d(width, states, 1) for _ in range(2))
        self.over_nodes = nn.Conv1d(nodes, nodes, 1)
        self.over_states = nn.Conv1d(states, states, 1, bias=False)
        self.out = nn.Conv2d(states, width, 1, bias=False)

    def forward(self, fused: Tensor, details: Tensor) -> Tensor:
        """Return G (B, width, H, W) for F and T of that shape."""
        mask = details.softmax(1)[:, 1:2]
        value, query = self.value(fused), self.query(fused)
        cells = functional.adaptive_avg_pool2d(query * mask, GRID + 2)
        anchors = cells[:, :, 1:-1, 1:-1].flatten(2)
        share = (anchors.transpose(1, 2) @ query.flatten(2)).softmax(1)  # (B, nodes, H W)
        nodes = value.flatten(2) @ share.transpose(1, 2)  # (B, states, nodes)
        mixed = self.over_nodes(nodes.transpose(1, 2)).transpose(1, 2) - nodes
        states = functional.relu(self.over_states(mixed)) @ share
        return fused + self.out(states.unflatten(2, fused.shape[-2:]))


class PolypPvt(Network):
    """Four stages of a pyramid transformer under CFM, CIM and SAM; PVTv2-B2 is its own encoder."""

    def __init__(self, row: NetworkConfig, *, pretrained: bool) -> None:
        super().__init__()
        self.encoder = build_encoder(row, pretrained=pretrained, drop_path_rate=DROP_PATH)
        channels, (width,) = self.encoder.out_channels[-4:], row.widths()
        self.cim = Cim(channels[0])
        self.reducers = nn.ModuleList(ConvNorm(count, width, 1) for count in channels)
        self.cfm, self.sam = Cfm(width), Sam(width)
        self.predict = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in range(2))

    def logits(self, images: Tensor) -> Outputs:
        """Return two maps (B, 1, H, W), of F and of G; inference adds them up."""
        x1, *deeper = self.encoder(images)[-4:]
        t1, *rest = (reduce(x) for reduce, x in zip(self.reducers, [self.cim(x1), *deeper], strict=True))
        fused = self.cfm(*rest)
        # sides are multiples of 32, so that half of t1 has the size of F, and SAM needs no resizing
        details = resize(t1, fused.shape[-2:], align_corners=True)
        logits = (head(maps) for head, maps in zip(self.predict, (fused, self.sam(fused, details)), strict=True))
        return Outputs(tuple(enlarge(each, 8, align_corners=False) for each in logits))
