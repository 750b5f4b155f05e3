"""Floor 3: the generators. The method of the paper is in method/: control.py, losses.py, loss_weights.py and step.py.

Words: the *mask branch* sees the mask as its hint, the *image branch* the image; both run the same ControlNet. *Noise
consistency* pulls the mask branch to the image branch (Eq. 9), *online augmentation* trains the mask branch on latents
that the image branch has denoised (Eq. 11-12), the *dense hint* encoder replaces ControlNet's own.

Other methods stand beside it: config/sections.py lists them all, fit.py and load.py are the two doors, and
method/registry.py has what differs between those on latents. `load_generator` is the door for everybody else.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.pairs.errors import UserError as UserError
    from siamese.generate import Generator as Generator
    from siamese.generate import load_generator as load_generator

__all__ = ["Generator", "UserError", "load_generator"]


def __getattr__(name: str) -> Any:
    """Return what __all__ names; PyTorch is imported then, and not by `import siamese`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from siamese import generate

    return getattr(generate, name)
