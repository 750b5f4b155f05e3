"""Networks of segmentation_models_pytorch, with this project's encoders and outputs."""

from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from torch import Tensor, nn

from segmentation.networks.blocks import check_sides, resize
from segmentation.networks.outputs import Outputs


class LibraryNetwork(nn.Module):
    """An encoder, a decoder and a head of the library, put together and initialised as the library does."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, head: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder, self.decoder, self.segmentation_head = encoder, decoder, head
        self.dropout = nn.Dropout2d(dropout)
        initialize_decoder(decoder)
        initialize_head(head)

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Outputs:
        """Return one map (B, 1, *size) for images (B, 3, H, W).

        Raises: UserError when a side is no multiple of 32.
        """
        check_sides(images)
        logits = self.segmentation_head(self.dropout(self.decoder(self.encoder(images))))
        return Outputs((resize(logits, size or images.shape[-2:]),))
