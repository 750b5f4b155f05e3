"""What can be wrong with an encoder and its weights, said before or instead of the library's own errors."""

import contextlib
import difflib
from collections.abc import Iterator

from data.pairs.errors import UserError
from segmentation.config import ArchitectureRow

TIMM = "tu-"  # segmentation_models_pytorch's prefix for encoders that it takes from timm


def weights_argument(row: ArchitectureRow) -> str | bool | None:
    """Return encoder_weights as the library wants them: for timm's encoders the name is part of the encoder's."""
    return True if row.encoder_weights and row.encoder.startswith(TIMM) else row.encoder_weights


def _known_encoders(name: str) -> list[str]:
    """Return the encoders of the family that a name belongs to."""
    if name.startswith(TIMM):
        import timm

        return [TIMM + model for model in timm.list_models() + timm.list_pretrained()]
    import segmentation_models_pytorch as smp

    return smp.encoders.get_encoder_names()


def _check_names(row: ArchitectureRow) -> None:
    """Raise UserError for an unknown encoder, or for weights that it never had."""
    names = _known_encoders(row.encoder)
    if row.encoder not in names:
        near = difflib.get_close_matches(row.encoder, names, n=3, cutoff=0.4)
        hint = f"nearest names: {', '.join(near)}" if near else "names are listed on smp.readthedocs.io under Encoders"
        raise UserError(f"encoder {row.encoder!r} is unknown", [hint])
    if row.encoder_weights and not row.encoder.startswith(TIMM):
        import segmentation_models_pytorch as smp

        weights = sorted(smp.encoders.encoders[row.encoder]["pretrained_settings"])
        if row.encoder_weights not in weights:
            allowed = f"allowed are {', '.join(weights)}, or encoder_weights: null"
            raise UserError(f"encoder {row.encoder!r} has no weights {row.encoder_weights!r}", [allowed])


@contextlib.contextmanager
def checked_encoder(row: ArchitectureRow) -> Iterator[None]:
    """Return a context in which the library may build the encoder of a row.

    Raises: UserError when the encoder is unknown or unfit, or its pretrained weights cannot be had.
    """
    _check_names(row)
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the weights {row.encoder_weights!r} of encoder {row.encoder!r} could not be fetched",
            [
                str(error).splitlines()[0],
                "connect once so that they are downloaded and cached, or set encoder_weights: null to start anew",
            ],
        ) from error
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"encoder {row.encoder!r} cannot serve a {row.network}", [str(error).splitlines()[0], "choose another"]
        ) from error
