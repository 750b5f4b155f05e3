"""Networks as part of an architecture's row."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from data.pairs.config import Config
from data.pretrained import lite0

Channels = Annotated[int, Field(ge=4)]
Argument = bool | int | float | str | tuple[int | float, ...]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

STRIDE = 32  # of the deepest stage of every encoder
LEAST_PX = {"ctnet": 64}  # where it is not the stride: at stride 32 CTNet's SMIM halves the map once more
# network -> the encoder and the widths of the decoder of its source
SOURCES: dict[str, tuple[str | None, tuple[int, ...]]] = {
    "sanet": ("tu-res2net50d", (64,)),
    "polyp_pvt": ("tu-pvt_v2_b2", (32,)),
    "ctnet": ("mit_b3", (32,)),
    "plain_unet": (None, (32, 64, 128, 256)),
    "unet": (None, (256, 128, 64, 32, 16)),
    "segformer": ("mit_b2", (768,)),
}
SMALL_SEGFORMERS = ("mit_b0", "mit_b1")
COUNTS = {"plain_unet": (4,), "unet": (3, 4, 5)}  # of decoder_channels; one for every other network
WRONG_LITE = "timm-tf_efficientnet_lite"  # 0 to 4 of segmentation_models_pytorch 0.6
RATES = frozenset({"drop_rate", "drop_path_rate", "attn_drop_rate", "proj_drop_rate"})


class NetworkConfig(Config):
    """Which network is built, of which width, and where the weights of its encoder come from."""

    network: Literal["sanet", "polyp_pvt", "ctnet", "plain_unet", "unet", "segformer"]
    encoder: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="lite0: EfficientNet-Lite0 with the ImageNet weights that this project installs, no download; or "
        "any encoder of segmentation_models_pytorch; tu-NAME is timm's NAME. Left out, the network's own: "
        "sanet tu-res2net50d, polyp_pvt tu-pvt_v2_b2, ctnet mit_b3, segformer mit_b2; unet needs one",
    )
    encoder_args: dict[str, Argument] = Field(
        default={}, description="handed to the constructor of the encoder: its widths, depths, drop_path_rate"
    )
    encoder_weights: str | None = Field(
        default=None,
        description="pretrained weights that the library can fetch, such as imagenet, or a tag of timm; null starts "
        "anew, unless there is an encoder_file",
    )
    encoder_file: str | None = Field(
        default=None,
        description="a .safetensors, .pth or .bin file of the encoder's weights, read in place of fetching any",
    )
    encoder_sha256: Sha256 | None = Field(default=None, description="of encoder_file; another file is refused")
    decoder_channels: tuple[Channels, ...] | None = Field(
        default=None,
        description="widths of the decoder. unet: three to five, the deepest first; plain_unet: four, the shallowest "
        "first; the others one. Left out, those of the papers: sanet 64, polyp_pvt and ctnet 32, plain_unet 32 to 256, "
        "segformer 256 for mit_b0 and mit_b1, 768 for all others; unet 256 to 16, the library's",
    )

    @model_validator(mode="after")
    def _fits_network(self) -> "NetworkConfig":
        allowed = COUNTS.get(self.network, (1,))
        if len(self.widths()) not in allowed:
            text = " or ".join(map(str, allowed))
            raise ValueError(f"decoder_channels: a {self.network} takes {text} widths, got {list(self.widths())}")
        if self.network == "unet" and self.encoder is None:
            raise ValueError("encoder: a unet needs one, such as resnet34")
        given = [name for name in NetworkConfig.model_fields if name.startswith("encoder") and getattr(self, name)]
        if self.network == "plain_unet" and given:
            raise ValueError(f"{given[0]}: a plain_unet has no encoder of its own to choose")
        problems = list(self._pretrained_problems())
        if problems:
            raise ValueError("; ".join(problems))
        if self.encoder_sha256 and not self.encoder_file:
            raise ValueError("encoder_sha256: there is no encoder_file to compare it with")
        widths = sorted(set(self.encoder_args) - RATES)
        if self.encoder_weights and not self.encoder_file and widths:
            raise ValueError(
                f"encoder_weights: fetched weights fit the encoder as it is, without encoder_args {', '.join(widths)}; "
                "a file of other widths can be given as encoder_file"
            )
        return self

    def _pretrained_problems(self) -> Iterator[str]:
        """Yield why the encoder cannot have the weights that are asked for."""
        name = self.encoder or ""
        if name == lite0.NAME:
            for key in ("encoder_weights", "encoder_file"):
                if getattr(self, key):
                    yield f"{key}: {name} always starts from the weights of its package, so leave {key} out"
            widths = sorted(set(self.encoder_args) - RATES)
            if widths:
                yield f"encoder_args: {name}'s weights fit it as it is, so leave out {', '.join(widths)}"
        if name.startswith(WRONG_LITE) and (self.encoder_weights or self.encoder_file):
            yield (
                f"encoder: the library builds {name} with other padding and epsilon than its weights were trained "
                f"with, so its features would be wrong: use {lite0.NAME}, or tu-{name.removeprefix('timm-')}"
            )

    def encoder_name(self) -> str:
        """Return the encoder that was chosen, or else the network's own."""
        return self.encoder or str(SOURCES[self.network][0])

    def widths(self) -> tuple[int, ...]:
        """Return decoder_channels, or the widths of the network's source where they are left out."""
        if self.decoder_channels is not None:
            return self.decoder_channels
        small = self.network == "segformer" and self.encoder in SMALL_SEGFORMERS
        return (256,) if small else SOURCES[self.network][1]
