"""Networks as part of an architecture's row."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.pairs.config import Config

Channels = Annotated[int, Field(ge=4)]


class NetworkConfig(Config):
    """Which network is built, of which width, and where the weights of its encoder come from."""

    network: Literal["unet", "segformer"]
    encoder: str = Field(min_length=1, description="any encoder of segmentation_models_pytorch; tu-NAME is timm's NAME")
    encoder_weights: str | None = Field(
        default=None, description="pretrained weights that the library can fetch, such as imagenet; null starts anew"
    )
    decoder_channels: tuple[Channels, ...] = Field(
        description="widths of the decoder. unet: three to five, the deepest first; segformer: one"
    )

    @model_validator(mode="after")
    def _decoder_fits_network(self) -> "NetworkConfig":
        allowed = {"unet": (3, 4, 5), "segformer": (1,)}[self.network]
        if len(self.decoder_channels) not in allowed:
            text = " or ".join(map(str, allowed))
            raise ValueError(
                f"decoder_channels: a {self.network} takes {text} widths, got {list(self.decoder_channels)}"
            )
        return self
