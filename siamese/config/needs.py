"""What a method takes and gives: the one list of all of them, free of heavy imports.

A new method is a row class in config.py and a line in this dict; one that trains on latents has its networks and its
step in methods.py, any other names its own functions in fit.py and load.py.
"""

from typing import NamedTuple


class Needs(NamedTuple):
    """What one method asks for beyond pairs, and what its samples are."""

    latents: bool  # trains on cached VAE latents and samples with the base model
    reference: bool  # samples see the real image that the mask belongs to, so that a mask that was moved has none
    normal: bool  # samples see an image without a lesion
    emits_masks: bool  # makes the masks too, instead of following those that are given
    near_copies: bool  # samples are near copies of training images, which nobody should publish as new ones


NEEDS: dict[str, Needs] = {
    "controlnet": Needs(latents=True, reference=False, normal=False, emits_masks=False, near_copies=False),
    "siamese": Needs(latents=True, reference=False, normal=False, emits_masks=False, near_copies=False),
    "controlnet_image": Needs(latents=True, reference=True, normal=False, emits_masks=False, near_copies=True),
    "arsdm": Needs(latents=False, reference=False, normal=False, emits_masks=False, near_copies=False),
    "t2i_adapter": Needs(latents=True, reference=False, normal=False, emits_masks=False, near_copies=False),
}
